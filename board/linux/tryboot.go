package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/loaders"
)

// TrybootOptions say where a Raspberry Pi's firmware is told what to start.
type TrybootOptions struct {
	Layout     Layout // tells which slot the system runs from
	Autoboot   string // "" is /boot/firmware/autoboot.txt
	Partitions [2]int // numbers of the boot partitions of slot a and b; 2 and 3 when both are 0
	// Parameter is the file from which systemd takes the argument of the next reboot(2); "" is /run/systemd/reboot-param.
	Parameter string
}

// Tryboot is a board.Boot over the Raspberry Pi's tryboot. A commit is one sector of autoboot.txt. What is armed is an
// argument of the next restart: a power cut forgets it, and so does a restart that does not go through systemd. Facts say
// so then.
type Tryboot struct {
	lever
	o     TrybootOptions
	pi    loaders.Tryboot
	names map[board.SlotID]string
}

// NewTryboot returns the bootloader. Nothing is read before the first call.
func NewTryboot(o TrybootOptions) (*Tryboot, error) {
	if err := o.Layout.Check(); err != nil {
		return nil, err
	}
	if o.Autoboot == "" {
		o.Autoboot = "/boot/firmware/autoboot.txt"
	}
	if o.Parameter == "" {
		o.Parameter = "/run/systemd/reboot-param"
	}
	pi := loaders.Tryboot{Parts: o.Partitions}
	names := pi.Names()
	b := &Tryboot{o: o, pi: pi, names: map[board.SlotID]string{board.SlotA: names[0], board.SlotB: names[1]}}
	b.lever = lever{layout: o.Layout, kind: b, after: func() {}}
	return b, pi.Check()
}

// ask returns what the firmware will read, and whether the next restart has our argument.
func (b *Tryboot) ask(booted board.SlotID) (a loaders.Autoboot, armed bool, err error) {
	// The firmware tells which partition it has taken, where it is not too old for that.
	if part, ok := cell(b.o.Layout.under(""), "chosen/bootloader/partition"); ok && strconv.Itoa(int(part)) != b.names[booted] {
		return a, false, fmt.Errorf("slot %s runs, and the firmware has started partition %d: want %s", booted, part, b.names[booted])
	}
	raw, err := fromMedium(b.o.Autoboot, loaders.SectorBytes)
	if err != nil {
		return a, false, err
	}
	if a, err = loaders.ParseAutoboot(raw); err != nil {
		return a, false, err
	}
	parameter, err := readSmall(b.o.Parameter, 256)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a, false, err
	}
	armed, err = b.pi.Armed(parameter)
	return a, armed, err
}

func (b *Tryboot) next(booted board.SlotID) (board.SlotID, error) {
	a, armed, err := b.ask(booted)
	if err != nil {
		return "", err
	}
	name, err := b.pi.Next(a, armed)
	return slotNamed(b.names, name), err
}

func (b *Tryboot) change(booted board.SlotID, deed loaders.Deed) error {
	a, armed, err := b.ask(booted)
	if err != nil {
		return err
	}
	after, arm, err := b.pi.Change(a, b.names[booted], deed)
	if err == nil {
		err = settle(b.o.Autoboot, after.Bytes(), b.after)
	}
	if err != nil {
		return err
	}
	if arm && !armed { // the file is in memory: what becomes of it in a power cut does not matter
		err = os.WriteFile(b.o.Parameter, []byte(loaders.TrybootParameter+"\n"), 0o644)
	} else if !arm && armed {
		err = os.Remove(b.o.Parameter)
	}
	if err != nil {
		return fmt.Errorf("argument of the next restart: %w", err)
	}
	b.after()
	return nil
}

// Doubts returns what may keep the bootloader from doing its part.
func (b *Tryboot) Doubts() []string {
	all := doubt(nil, b.o.Autoboot, inPlace(b.o.Autoboot))
	all = doubt(all, "argument of the next restart", unix.Access(filepath.Dir(b.o.Parameter), unix.W_OK))
	// Bit 2 of what a BCM2711's bootloader says it can is tryboot_a_b; others do not say.
	if can, ok := cell(b.o.Layout.under(""), "chosen/bootloader/capabilities"); ok && can&(1<<2) == 0 {
		all = append(all, "the bootloader in the EEPROM is too old for tryboot_a_b: rpi-eeprom-update")
	}
	return all
}
