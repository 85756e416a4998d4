// Package confined is a driver for drivers: it runs a program with limits, and nothing of the program outlives its run.
//
// Where systemd is process 1 the program is a transient unit of its own, with the kernel's limits and a sandbox. Elsewhere
// it is a session of its own below this process, with what limits can be had there; the others are named.
package confined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"holdfast/board"
)

// A Program is what is run, and what it may do.
type Program struct {
	Name string   // part of its unit's name: 1 to 64 of [A-Za-z0-9._-]
	Argv []string // the whole path of an executable, and its arguments
	Env  []string // beside a few variables that are always there
	// After is run when the program has ended, however that came, also when this process is gone by then (but only a unit
	// can do that). Nil for none.
	After  []string
	User   string // empty for the user of this process
	Limits Limits
	Powers Powers
}

// Limits are what bounds a run; 0 stands for the default.
type Limits struct {
	Time   time.Duration // from its start to TERM; 60 s
	Grace  time.Duration // from TERM to KILL; 3 s
	Memory int64         // bytes of all its processes; where there are no control groups, of each; no limit
	Tasks  int           // processes and threads at a time; no limit
	CPU    int           // percent of one processor; no limit
	File   int64         // bytes of the longest file it writes; no limit
	Output int           // bytes of output that are kept, the tail; 32 KiB
}

// Powers are what a program may do beyond computing and reading what everybody may read. They are for a unit: a session has
// what this process has, but for the network.
type Powers struct {
	Network      bool
	Write        []string // paths that it may write below; what is not there is passed over
	Runtime      string   // a directory below /run that is there while it runs, and while After does
	Tmp, Home    bool     // it sees the machine's /tmp and /home, to read, and not empty ones
	Devices      bool     // it sees the machine's devices
	Capabilities uint64   // a mask (capabilities(7))
}

// An Ending is how a run came to its end.
type Ending struct {
	Code   int    // exit status, -1 after a signal
	Status string // in words: "exit status 3", "signal: killed"
	Output []byte
	Cut    bool     // Output is only the tail
	Why    error    // why it was stopped; nil when it ended by itself
	Loose  []string // limits that were asked for and did not hold here: network memory tasks cpu
}

// ErrLate says that a program was stopped at its time limit.
var ErrLate = errors.New("stopped at its time limit")

// A Runner runs programs, one at a time.
type Runner struct {
	Clock board.Clock // required
	// Turn has one slot, and is the same for all that run programs in a process: what a run leaves behind is told from
	// the rest by there being one run at a time. Nil where there is no other.
	Turn chan struct{}
	// Units has systemd run it where systemd is process 1, this process is root's, and the bus answers.
	Units bool
	// Bus is the D-Bus address to dial; empty for the system bus.
	Bus string
}

// Run runs the program to its end or to its limit, and returns when nothing that descends from it is left. The error says
// that it could not be started.
//
// In a session the whole process is a subreaper meanwhile, and whatever descends from it in a session not its own is taken
// for the program's and killed at the end: other parts of the process must start their children without Setsid.
func (r Runner) Run(ctx context.Context, p Program) (Ending, error) {
	if r.Turn != nil {
		select {
		case r.Turn <- struct{}{}:
			defer func() { <-r.Turn }()
		case <-ctx.Done():
			return Ending{}, fmt.Errorf("wait for another: %w", context.Cause(ctx))
		}
	}
	if len(p.Argv) == 0 || !filepath.IsAbs(p.Argv[0]) {
		return Ending{}, errors.New("wants the whole path of a program")
	}
	if p.Limits.Time <= 0 {
		p.Limits.Time = time.Minute
	}
	if p.Limits.Grace <= 0 {
		p.Limits.Grace = 3 * time.Second
	}
	if p.Limits.Output <= 0 {
		p.Limits.Output = 32 << 10
	}
	if r.Units && r.booted() {
		end, err := r.unit(ctx, p)
		if !errors.Is(err, errNoBus) {
			return end, err
		}
	}
	return r.session(ctx, p)
}

// booted reports whether systemd is process 1 (sd_booted(3)) and takes orders of ours.
func (r Runner) booted() bool {
	if r.Bus != "" {
		return true
	}
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir() && os.Geteuid() == 0
}

// environment is what every program finds.
func (p Program) environment() []string {
	return append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}, p.Env...)
}

func late(limit time.Duration) error { return fmt.Errorf("%w of %v", ErrLate, limit) }
