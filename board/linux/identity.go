package linux

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"

	"holdfast/board"
)

// identityBytes bounds what is read of any one identity file.
const identityBytes = 256

// Identity reads who the machine says it is, from the device tree, from DMI and from /etc/machine-id below root. What is
// not there stays empty. ID is left empty: it is the configuration's, or SuggestID's.
func Identity(root string) board.Identity {
	id := board.Identity{Arch: runtime.GOARCH}
	first := func(names ...string) string {
		for _, n := range names {
			if s := word(filepath.Join(root, n)); s != "" {
				return s
			}
		}
		return ""
	}
	id.Model = first("proc/device-tree/model", "sys/firmware/devicetree/base/model", "sys/class/dmi/id/product_name")
	id.Serial = first("proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number",
		"sys/class/dmi/id/product_serial")
	id.MachineID = first("etc/machine-id", "var/lib/dbus/machine-id")
	id.Kernel = first("proc/sys/kernel/osrelease")
	return id
}

// deviceTrees are where the device tree is. The first is a link to the second, which a service that sees nothing but
// processes in /proc does not have.
var deviceTrees = []string{"proc/device-tree", "sys/firmware/devicetree/base"}

// compatibleBytes bounds the device tree's list; boards have less than 200 bytes.
const compatibleBytes = 4 << 10

// Compatible returns what the device tree's root calls itself, most particular first; nil where there is none.
func Compatible(root string) []string {
	for _, tree := range deviceTrees {
		text, err := readSmall(filepath.Join(root, tree, "compatible"), compatibleBytes)
		if text = strings.TrimRight(text, "\x00"); err == nil && text != "" {
			return strings.Split(text, "\x00")
		}
	}
	return nil
}

// SuggestID returns a device id for a machine whose configuration gives none: the host name below root or the first
// twelve digits of the machine id, reduced to the letters an id may have; "" when there is neither.
func SuggestID(root string) string {
	name := word(filepath.Join(root, "etc/hostname"))
	if name == "" || name == "localhost" {
		name = word(filepath.Join(root, "etc/machine-id"))
		name = name[:min(len(name), 12)]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return -1
	}, name)
}

// word returns the printable text of a small file, without the trailing NUL of the device tree or the newline of sysfs.
func word(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, identityBytes))
	if err != nil {
		return ""
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(string(b)))
}
