package linux

import (
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
	lever
	o      GRUBOptions
	script loaders.GRUB
	names  map[board.SlotID]string
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
	b := &GRUB{o: o, names: names, script: loaders.GRUB{Names: [2]string{names[board.SlotA], names[board.SlotB]}, Attempts: o.Attempts}}
	b.lever = lever{layout: o.Layout, kind: b, after: func() {}}
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

func (b *GRUB) next(board.SlotID) (board.SlotID, error) {
	block, err := b.read()
	if err != nil {
		return "", err
	}
	name, err := b.script.Next(block)
	return slotNamed(b.names, name), err
}

func (b *GRUB) change(booted board.SlotID, deed loaders.Deed) error {
	block, err := b.read()
	if err != nil {
		return err
	}
	if block, err = b.script.Change(block, b.names[booted], deed); err != nil {
		return err
	}
	raw, err := block.Encode(len(b.script.Variables()))
	for _, name := range b.files() {
		if err == nil {
			err = settle(name, raw, b.after)
		}
	}
	return err
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
