package linux

import (
	"fmt"

	"holdfast/board"
	"holdfast/board/loaders"
)

// A lever is a board.Boot over what a bootloader keeps: what all of them have in common.
type lever struct {
	layout Layout
	kind   interface {
		// next returns the slot that the bootloader will take at the next start.
		next(booted board.SlotID) (board.SlotID, error)
		// change does the deed, and reads it back from the medium. What already is as it should be is not written.
		change(booted board.SlotID, deed loaders.Deed) error
	}
	after func() // called after each write of a file, by tests; nil for U-Boot, which has its own tools
}

// Facts implements board.Boot.
func (l *lever) Facts() (board.BootFacts, error) {
	booted, err := l.layout.Booted()
	next := board.SlotA
	if err == nil {
		next, err = l.kind.next(booted)
	}
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	return board.BootFacts{Booted: booted, Next: next, Reset: l.layout.reset()}, nil
}

// Arm implements board.Boot.
func (l *lever) Arm(id board.SlotID) error { return l.do(loaders.Arm, id) }

// Disarm implements board.Boot.
func (l *lever) Disarm() error { return l.do(loaders.Disarm, "") }

// Commit implements board.Boot.
func (l *lever) Commit() error { return l.do(loaders.Commit, "") }

func (l *lever) do(deed loaders.Deed, id board.SlotID) error {
	booted, err := l.layout.Booted()
	if err == nil && deed == loaders.Arm && id != booted.Other() {
		err = fmt.Errorf("slot %.20q: want the other than %s, which is running", id, booted)
	}
	if err == nil {
		err = l.kind.change(booted, deed)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	return nil
}

// slotNamed returns the slot of one of two names.
func slotNamed(names map[board.SlotID]string, name string) board.SlotID {
	if name == names[board.SlotB] {
		return board.SlotB
	}
	return board.SlotA
}

// reset returns why the machine started, as far as it tells.
func (l Layout) reset() board.Reset {
	reason, _ := Reset(l.Root)
	return reason
}
