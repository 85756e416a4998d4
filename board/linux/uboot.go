package linux

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"holdfast/board"
	"holdfast/board/uboot"
)

// UBootOptions say how a board's U-Boot is asked.
type UBootOptions struct {
	Layout Layout // tells which slot the system runs from; its Names are RAUC's boot names
	// Convention is whose boot script U-Boot runs: "rauc" or "mender".
	Convention string
	Attempts   int    // RAUC: what a committed slot gets, 1 to 9; 0 means 3
	Partitions [2]int // Mender: partition numbers of slot a and b; 2 and 3 when both are 0

	Printenv, Setenv string // the programs; "" are /usr/bin/fw_printenv and /usr/bin/fw_setenv
	Config           string // "" is /etc/fw_env.config
	// OneCopy puts up with an environment that is not redundant: a power cut while it is written leaves U-Boot with its
	// built-in one.
	OneCopy bool
	// Limit bounds one run of a program; 0 means 20 s, some environments lie on slow NAND.
	Limit time.Duration
}

// script is what both conventions of package uboot are.
type script interface {
	Check() error
	Variables() []string
	Next(uboot.Vars) (string, error)
	Change(v uboot.Vars, running string, deed uboot.Deed) (uboot.Vars, error)
}

// UBoot is a board.Boot over U-Boot's environment, through fw_printenv and fw_setenv of libubootenv. Each deed is one
// write of one of two copies, so that a power cut leaves the environment of before or that of after.
type UBoot struct {
	o      UBootOptions
	script script
	names  map[board.SlotID]string // as the script calls the slots
	env    environment
}

// NewUBoot returns the bootloader. Nothing is asked before the first call.
func NewUBoot(o UBootOptions) (*UBoot, error) {
	if err := o.Layout.Check(); err != nil {
		return nil, err
	}
	b := &UBoot{o: o, env: environment{printenv: o.Printenv, setenv: o.Setenv, config: o.Config, oneCopy: o.OneCopy, limit: o.Limit}}
	b.env.defaults()
	switch o.Convention {
	case "rauc":
		b.names = o.Layout.names()
		b.script = uboot.RAUC{Names: [2]string{b.names[board.SlotA], b.names[board.SlotB]}, Attempts: o.Attempts}
	case "mender":
		parts := o.Partitions
		if parts == [2]int{} {
			parts = [2]int{2, 3}
		}
		b.names = map[board.SlotID]string{board.SlotA: strconv.Itoa(parts[0]), board.SlotB: strconv.Itoa(parts[1])}
		b.script = uboot.Mender{Parts: parts}
	default:
		return nil, fmt.Errorf("boot convention %.40q: want rauc or mender", o.Convention)
	}
	return b, b.script.Check()
}

// Facts implements board.Boot.
func (b *UBoot) Facts() (board.BootFacts, error) {
	booted, v, err := b.ask()
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	name, err := b.script.Next(v)
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	next := board.SlotA
	if name == b.names[board.SlotB] {
		next = board.SlotB
	}
	return board.BootFacts{Booted: booted, Next: next, Reset: b.o.Layout.reset()}, nil
}

// ask returns the slot that runs and the variables as the medium has them: what a tool that was killed has written is
// either there, or not believed.
func (b *UBoot) ask() (board.SlotID, uboot.Vars, error) {
	booted, err := b.o.Layout.Booted()
	if err != nil {
		return "", nil, err
	}
	if _, err := b.env.carry(); err != nil {
		return "", nil, err
	}
	v, err := b.env.read(context.Background(), b.script.Variables())
	return booted, v, err
}

// Arm implements board.Boot.
func (b *UBoot) Arm(id board.SlotID) error {
	booted, err := b.o.Layout.Booted()
	if err != nil {
		return fmt.Errorf("arm slot %.20q: %w", id, err)
	}
	if id != booted.Other() {
		return fmt.Errorf("arm slot %.20q: want the other than %s, which is running", id, booted)
	}
	return b.change(uboot.Arm)
}

// Disarm implements board.Boot.
func (b *UBoot) Disarm() error { return b.change(uboot.Disarm) }

// Commit implements board.Boot.
func (b *UBoot) Commit() error { return b.change(uboot.Commit) }

// change does the deed in one write, or in none where nothing changes, and reads it back from the medium.
func (b *UBoot) change(deed uboot.Deed) error {
	booted, v, err := b.ask()
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	set, err := b.script.Change(v, b.names[booted], deed)
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	want := maps.Clone(v)
	maps.Copy(want, set)
	if maps.Equal(v, want) {
		return nil
	}
	ctx := context.Background()
	if err := b.env.write(ctx, set); err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	got, err := b.env.read(ctx, b.script.Variables())
	if err != nil {
		return fmt.Errorf("%s: read back: %w", deed, err)
	}
	for name := range want {
		if got[name] != want[name] {
			return fmt.Errorf("%s: read back: %s=%.40q, want %s", deed, name, got[name], want[name])
		}
	}
	return nil
}

// reset returns why the machine started, as far as it tells.
func (l Layout) reset() board.Reset {
	reason, _ := Reset(l.Root)
	return reason
}
