// Package loaders is a leaf: it knows what U-Boot's environment (with the boot scripts of RAUC and of Mender), GRUB's
// environment block, the Raspberry Pi's autoboot.txt and systemd-boot's counted entries look like, and what they mean for
// two slots.
//
// It computes, and touches nothing: package board/linux asks fw_printenv and fw_setenv, or reads and writes the files;
// package board/sim and tests play the bootloaders, all by the same convention.
package loaders

import (
	"fmt"
	"strings"
)

// SectorBytes is what a medium writes as a whole: after a power cut a sector holds what stood in it before or what was
// written. Everything here changes within one.
const SectorBytes = 512

// A Deed is a change of the switch between the slots.
type Deed string

// What can be done, by the running system.
const (
	Arm    Deed = "arm"    // try the other slot once
	Disarm Deed = "disarm" // go on with the slot that was good before, and leave the other alone
	Commit Deed = "commit" // trust the running slot
)

// known returns the other of two slots, or an error for a deed or a slot that there is not.
func known(names [2]string, running string, deed Deed) (other string, err error) {
	if deed != Arm && deed != Disarm && deed != Commit {
		return "", fmt.Errorf("%q is no deed", deed)
	}
	return otherOf(names, running)
}

func otherOf(names [2]string, running string) (string, error) {
	switch running {
	case names[0]:
		return names[1], nil
	case names[1]:
		return names[0], nil
	}
	return "", fmt.Errorf("slot %.40q is neither %s nor %s", running, names[0], names[1])
}

// word reports whether s is 1 to 32 letters, digits and underscores: what may be a part of a variable's name in GRUB.
func word(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
