package linux

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"holdfast/board"
	"holdfast/board/loaders"
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

// script is what the conventions of RAUC and of Mender are.
type script interface {
	Check() error
	Variables() []string
	Next(loaders.Vars) (string, error)
	Change(v loaders.Vars, running string, deed loaders.Deed) (loaders.Vars, error)
}

// UBoot is a board.Boot over U-Boot's environment, through fw_printenv and fw_setenv of libubootenv. Each deed is one
// write of one of two copies, so that a power cut leaves the environment of before or that of after.
type UBoot struct {
	lever
	script script
	names  map[board.SlotID]string // as the script calls the slots
	env    environment
}

// NewUBoot returns the bootloader. Nothing is asked before the first call.
func NewUBoot(o UBootOptions) (*UBoot, error) {
	if err := o.Layout.Check(); err != nil {
		return nil, err
	}
	b := &UBoot{env: environment{printenv: o.Printenv, setenv: o.Setenv, config: o.Config, oneCopy: o.OneCopy, limit: o.Limit}}
	b.lever = lever{layout: o.Layout, kind: b}
	b.env.defaults()
	switch o.Convention {
	case "rauc":
		b.names = o.Layout.names()
		b.script = loaders.RAUC{Names: [2]string{b.names[board.SlotA], b.names[board.SlotB]}, Attempts: o.Attempts}
	case "mender":
		parts := o.Partitions
		if parts == [2]int{} {
			parts = [2]int{2, 3}
		}
		b.names = map[board.SlotID]string{board.SlotA: strconv.Itoa(parts[0]), board.SlotB: strconv.Itoa(parts[1])}
		b.script = loaders.Mender{Parts: parts}
	default:
		return nil, fmt.Errorf("boot convention %.40q: want rauc or mender", o.Convention)
	}
	return b, b.script.Check()
}

// next implements what the lever wants.
func (b *UBoot) next(board.SlotID) (board.SlotID, error) {
	v, err := b.ask()
	if err != nil {
		return "", err
	}
	name, err := b.script.Next(v)
	return slotNamed(b.names, name), err
}

// ask returns the variables as the medium has them: what a tool that was killed has written is either there, or not
// believed.
func (b *UBoot) ask() (loaders.Vars, error) {
	if _, err := b.env.carry(); err != nil {
		return nil, err
	}
	return b.env.read(context.Background(), b.script.Variables())
}

// change does the deed in one write, or in none where nothing changes, and reads it back from the medium.
func (b *UBoot) change(booted board.SlotID, deed loaders.Deed) error {
	v, err := b.ask()
	if err != nil {
		return err
	}
	set, err := b.script.Change(v, b.names[booted], deed)
	if err != nil {
		return err
	}
	want := maps.Clone(v)
	maps.Copy(want, set)
	if maps.Equal(v, want) {
		return nil
	}
	ctx := context.Background()
	if err := b.env.write(ctx, set); err != nil {
		return err
	}
	got, err := b.env.read(ctx, b.script.Variables())
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	for name := range want {
		if got[name] != want[name] {
			return fmt.Errorf("read back: %s=%.40q, want %s", name, got[name], want[name])
		}
	}
	return nil
}
