//go:build linux

package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Tally counts records by what names them, a session and a number in it, which counts up from 1. The zero value is empty.
type Tally struct {
	seen map[string]map[uint64]bool
}

// Add notes a record, and reports whether it is new: what comes at least once comes twice at times.
func (t *Tally) Add(session string, seq uint64) bool {
	if t.seen == nil {
		t.seen = map[string]map[uint64]bool{}
	}
	if t.seen[session] == nil {
		t.seen[session] = map[uint64]bool{}
	}
	fresh := !t.seen[session][seq]
	t.seen[session][seq] = true
	return fresh
}

// Count returns how many there are.
func (t *Tally) Count() (n int) {
	for _, numbers := range t.seen {
		n += len(numbers)
	}
	return n
}

// Missing is an error that says how many are not there of each session, between the first and the last that are.
func (t *Tally) Missing() error {
	var errs []error
	for _, session := range slices.Sorted(maps.Keys(t.seen)) {
		numbers := slices.Sorted(maps.Keys(t.seen[session]))
		first, last := numbers[0], numbers[len(numbers)-1]
		if n := last - first + 1 - uint64(len(numbers)); n > 0 {
			errs = append(errs, fmt.Errorf("session %s: %d of records %d to %d are missing", session, n, first, last))
		}
	}
	return errors.Join(errs...)
}
