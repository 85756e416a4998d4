package linux

import (
	"bytes"
	"errors"
	"fmt"

	"holdfast/board"
	"holdfast/board/loaders"
)

// GRUBOptions say how a board's GRUB is asked.
type GRUBOptions struct {
	Layout   Layout // tells which slot the system runs from; its Names are RAUC's boot names
	Attempts int    // what GRUB's script allows a slot: 3, which 0 means, for ours, or 1 for RAUC's
	Env      string // "" is /boot/grub/grubenv
	// Copy is read by GRUB's script where Env cannot be: a medium may lose a sector that it was writing. "": there is none.
	Copy string
}

// GRUB is a board.Boot over GRUB's environment block. Each deed changes one sector of the block in place, as GRUB itself
// does, and then the copy's.
type GRUB struct {
	o      GRUBOptions
	script loaders.GRUB
	names  map[board.SlotID]string
	after  func() // called after each write, by tests
}

// NewGRUB returns the bootloader. Nothing is read before the first call.
func NewGRUB(o GRUBOptions) (*GRUB, error) {
	if err := o.Layout.Check(); err != nil {
		return nil, err
	}
	if o.Env == "" {
		o.Env = "/boot/grub/grubenv"
	}
	names := o.Layout.names()
	b := &GRUB{o: o, names: names, after: func() {},
		script: loaders.GRUB{Names: [2]string{names[board.SlotA], names[board.SlotB]}, Attempts: o.Attempts}}
	return b, b.script.Check()
}

// read returns the environment that GRUB takes: the copy where the first cannot be read.
func (b *GRUB) read() (loaders.Block, error) {
	var missing error
	for _, name := range b.files() {
		raw, err := fromMedium(name, loaders.BlockBytes)
		var block loaders.Block
		if err == nil {
			if block, err = loaders.DecodeBlock(raw); err == nil {
				return block, nil
			}
			err = fmt.Errorf("%s: %w", name, err)
		}
		missing = errors.Join(missing, err)
	}
	return loaders.Block{}, missing
}

func (b *GRUB) files() []string {
	if b.o.Copy == "" {
		return []string{b.o.Env}
	}
	return []string{b.o.Env, b.o.Copy}
}

// Facts implements board.Boot.
func (b *GRUB) Facts() (board.BootFacts, error) {
	booted, err := b.o.Layout.Booted()
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	block, err := b.read()
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	name, err := b.script.Next(block)
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	return board.BootFacts{Booted: booted, Next: slotNamed(b.names, name), Reset: b.o.Layout.reset()}, nil
}

// slotNamed returns the slot of one of two names.
func slotNamed(names map[board.SlotID]string, name string) board.SlotID {
	if name == names[board.SlotB] {
		return board.SlotB
	}
	return board.SlotA
}

// Arm implements board.Boot.
func (b *GRUB) Arm(id board.SlotID) error {
	if err := b.o.Layout.armable(id); err != nil {
		return err
	}
	return b.change(loaders.Arm)
}

// armable reports a slot that is not the one that does not run.
func (l Layout) armable(id board.SlotID) error {
	booted, err := l.Booted()
	if err == nil && id != booted.Other() {
		err = fmt.Errorf("want the other than %s, which is running", booted)
	}
	if err != nil {
		return fmt.Errorf("arm slot %.20q: %w", id, err)
	}
	return nil
}

// Disarm implements board.Boot.
func (b *GRUB) Disarm() error { return b.change(loaders.Disarm) }

// Commit implements board.Boot.
func (b *GRUB) Commit() error { return b.change(loaders.Commit) }

// change does the deed, and reads it back from the medium. What already is as it should be is not written.
func (b *GRUB) change(deed loaders.Deed) error {
	booted, err := b.o.Layout.Booted()
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	block, err := b.read()
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	if block, err = b.script.Change(block, b.names[booted], deed); err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	raw, err := block.Encode(len(b.script.Variables()))
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	for _, name := range b.files() {
		if err := settle(name, raw, b.after); err != nil {
			return fmt.Errorf("%s: %w", deed, err)
		}
	}
	return nil
}

// settle makes a file of at most 1 KiB hold the bytes, if it does not.
func settle(name string, data []byte, after func()) error {
	if got, err := fromMedium(name, 1024); err == nil && bytes.Equal(got, data) {
		return nil
	}
	if err := overwrite(name, data); err != nil {
		return err
	}
	after()
	got, err := fromMedium(name, 1024)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("read back: %s holds something else than was written", name)
	}
	return nil
}

// Doubts returns what may keep the bootloader from doing its part.
func (b *GRUB) Doubts() (all []string) {
	for _, name := range b.files() {
		raw, err := fromMedium(name, loaders.BlockBytes)
		if err == nil {
			_, err = loaders.DecodeBlock(raw)
		}
		all = doubt(all, name, err)
		all = doubt(all, name, inPlace(name))
	}
	return all
}
