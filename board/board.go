// Package board is a noun: it names the machine an agent runs on, its identity, lines, clock and durable files.
//
// It is the ground floor: every other package may import it and it imports nothing of ours. Package board/linux is a
// real machine, package board/sim one of memory and files, and package board/boardtest the contract both keep.
package board

import (
	"context"
	"errors"
	"time"
)

// ErrUnsupported means that this board lacks the part; it is not a fault.
var ErrUnsupported = errors.New("not supported on this board")

// Identity says which machine this is. Every field may be empty except ID.
type Identity struct {
	ID        string `json:"id"`                   // the name the cloud knows it by, 1 to 64 of [A-Za-z0-9_.-]
	Model     string `json:"model,omitempty"`      // device tree model or DMI product, as the vendor spells it
	Serial    string `json:"serial,omitempty"`     // device tree serial-number or DMI serial
	MachineID string `json:"machine_id,omitempty"` // /etc/machine-id, 32 hex digits; changes with a new installation
	Kernel    string `json:"kernel,omitempty"`     // release, as uname -r prints it
	Arch      string `json:"arch,omitempty"`       // GOARCH
}

// A Clock tells the time and waits. It is handed to everything that waits, so that a day can pass in a second.
type Clock interface {
	// Now returns wall time with a monotonic reading.
	Now() time.Time
	// Timer returns a channel that receives once after d, and a function that releases the timer early.
	Timer(d time.Duration) (fired <-chan time.Time, stop func())
	// Trusted reports whether the wall time was set from outside (NTP, RTC the operator vouches for). An untrusted
	// clock still measures intervals.
	Trusted() bool
}

// Wait waits for d by a clock, and reports whether it passed before ctx ended.
func Wait(ctx context.Context, c Clock, d time.Duration) bool {
	fired, stop := c.Timer(d)
	defer stop()
	select {
	case <-fired:
		return true
	case <-ctx.Done():
		return false
	}
}

// A Line is one GPIO line, already requested from its chip.
type Line interface {
	// Read returns the level. An output returns what it was last told to drive; the chip is not asked.
	Read() (high bool, err error)
	// Drive sets the level. It is an error on an input.
	Drive(high bool) error
}

// An Edge is one change of an input's level.
type Edge struct {
	High bool          // the level after it
	At   time.Duration // when the kernel saw it, by CLOCK_MONOTONIC: since the machine's start, suspension left out
	Seq  uint64        // counts this line's edges from 1 since Watch began; a gap is as many edges that were lost
}

// A Watcher is a Line that tells its edges; an input may be one.
type Watcher interface {
	// Watch calls f with each edge from now on, in the order they came, until ctx ends (its cause is returned) or the line
	// cannot be watched any more (an error). f must be quick: what the kernel cannot hold meanwhile is lost, and leaves a
	// gap in Edge.Seq. One Watch at a time.
	Watch(ctx context.Context, f func(Edge)) error
}

// Counts are how many edges a line has had.
type Counts struct {
	Rising, Falling uint64
	Lost            uint64 // beside them: they came faster than they could be taken from the kernel
}

// Total is all of them.
func (c Counts) Total() uint64 { return c.Rising + c.Falling + c.Lost }

// A Counter is a Line whose edges are counted also while nobody watches here; an input of another process may be one.
type Counter interface {
	// Counts returns the counts as they were at the last Read, and whether it could tell them.
	Counts() (Counts, bool)
}

// A Board is one machine. Every field may be nil or empty on a board that lacks the part, except Clock, Files and Logs.
type Board struct {
	Identity Identity
	Facts    Facts
	Root     string // the directory below which proc and sys lie: "/" on a real machine
	Clock    Clock
	Lines    map[string]Line // by the name the configuration gives them
	Files    Files
	Logs     Dir // where the spool keeps its segments
	Power    Power
	Slots    Slots
	Boot     Boot
}

// Power restarts the machine.
type Power interface {
	// Reboot asks for an orderly restart and returns when it is under way. It does not wait for the end.
	Reboot(ctx context.Context) error
}
