//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"holdfast/board"
	"holdfast/cmd/internal/lab"
)

// What a start came to.
var (
	errCut   = errors.New("the power was cut")
	errStuck = errors.New("the board does not come to an end")
	errBrick = errors.New("the board does not start")
	errWrong = errors.New("the board runs what is no release, or not the one it should")
)

// A lane is one board and its weather.
type lane struct {
	d    *device
	rnd  *rand.Rand
	torn bool // sectors, too

	runs   string           // the release that was committed last
	first  string           // what has to start next; empty: either release may
	length time.Duration    // of an update that nobody disturbs
	deeds  map[string]int64 // in it, of each disk
	cuts   int
	t      tally        // since it was taken over
	slot   board.SlotID // that was started last
	stage  string       // what the board is at
	kept   int64        // deeds of the environment when the system was up
}

// A tally is what a lane has seen.
type tally struct {
	cuts, jobs, committed, bricks, wrong, starts int
	where                                        map[string]int // cuts by the stage they fell into
	deed                                         map[string]int // cuts in the middle of a request, by the disk it was for
	half                                         int            // starts with one copy of the environment damaged
	held, kept, torn                             int64          // sectors that were not flushed; of them those that became what they were to be, and something older
}

// stages are what a board may be at, in the order of an update.
var stages = []string{"bootloader", "kernel", "before", "checking", "staging", "staged", "arming", "restart", "trial", "commit"}

// add adds what another has seen.
func (t *tally) add(o tally) {
	t.cuts, t.jobs, t.committed, t.bricks, t.wrong, t.starts = t.cuts+o.cuts, t.jobs+o.jobs, t.committed+o.committed, t.bricks+o.bricks, t.wrong+o.wrong, t.starts+o.starts
	t.half, t.held, t.kept, t.torn = t.half+o.half, t.held+o.held, t.kept+o.kept, t.torn+o.torn
	for _, m := range []struct {
		to   *map[string]int
		from map[string]int
	}{{&t.where, o.where}, {&t.deed, o.deed}} {
		for k, n := range m.from {
			if *m.to == nil {
				*m.to = map[string]int{}
			}
			(*m.to)[k] += n
		}
	}
}

// A plan is when the power goes: at a deed of a disk, or after a time; never when both are 0.
type plan struct {
	disk  string
	deed  int64
	after time.Duration
}

// weather plans the next cut: half of them at a moment, half in the middle of a request, as often for the environment, which
// is written seldom, as for the data or the slot that does not run.
func (l *lane) weather() plan {
	if l.rnd.IntN(2) == 0 {
		return plan{after: 1 + time.Duration(l.rnd.Int64N(int64(l.length)))}
	}
	disk := [...]string{"env", "data", "slot-" + string(l.slot.Other())}[l.rnd.IntN(3)]
	most := max(l.deeds[disk], l.deeds["slot-b"]*int64(strings.Count(disk, "slot"))) // the first job wrote slot b
	return plan{disk: disk, deed: 1 + l.rnd.Int64N(most)}
}

// job moves the board to the other release through so many cuts, and then lets it come to its end.
func (l *lane) job(ctx context.Context, cuts int) error {
	target := releases[0]
	if l.runs == target {
		target = releases[1]
	}
	if err := l.d.order(target); err != nil {
		return err
	}
	l.first = l.runs
	for stuck := 0; ; {
		var p plan
		if cuts > 0 {
			p = l.weather()
		}
		began := time.Now()
		result, err := l.start(ctx, p, target)
		switch {
		case errors.Is(err, errCut):
			cuts--
			l.count()
			continue
		case errors.Is(err, errStuck):
			if stuck++; stuck < 2 {
				continue
			}
			return fmt.Errorf("%w: %w", errBrick, errStuck)
		case err != nil:
			return err
		}
		if l.deeds == nil {
			l.length, l.deeds = time.Since(began), map[string]int64{}
			for _, name := range disks {
				l.deeds[name] = l.d.supply.Of(name)
			}
		}
		return l.ended(target, result)
	}
}

// count notes where a cut fell.
func (l *lane) count() {
	l.cuts++
	l.t.cuts++
	if l.t.where == nil {
		l.t.where = map[string]int{}
	}
	l.t.where[l.stage]++
}

// ended checks the board after a job, and takes its power away.
func (l *lane) ended(target, result string) error {
	have, err := l.d.holds(l.slot)
	if err != nil {
		return err
	}
	if result == "committed" && have != target || have == "" {
		return fmt.Errorf("%s, and slot %s runs %q, not %s: %w", result, l.slot, have, target, errWrong)
	}
	l.runs = have
	l.t.jobs++
	if result == "committed" {
		l.t.committed++
	}
	return l.off()
}

func (l *lane) off() error {
	loss, err := l.d.off(l.rnd, l.torn)
	l.t.held, l.t.kept, l.t.torn = l.t.held+loss.Held, l.t.kept+loss.Kept, l.t.torn+loss.Torn
	return err
}

// patience is how long a board may take to the end of a job at least; on a busy machine, twelve times what the first took.
const patience = 4 * time.Minute

var told = regexp.MustCompile(`^storm: (environment lost|environment [01][01]|boots ([AB])|up|nothing to do|slot .* cannot|data cannot)|^Starting kernel|reboot: Restarting|` +
	`msg=update part=update phase=(\w+)|msg="update ended" part=update .*release=(\S+) result=(\w+)`)

// start turns the board on and follows it until the job is over, or the power goes.
func (l *lane) start(ctx context.Context, p plan, target string) (result string, err error) {
	l.stage = "bootloader"
	from := 0
	if l.d.machine.Console != nil {
		from = l.d.machine.Console.Len()
	}
	gone, err := l.d.on(p.disk, p.deed)
	if err != nil {
		return "", err
	}
	l.t.starts++
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		after := max(patience, 12*l.length)
		if p.after > 0 {
			after = p.after
		}
		select {
		case <-gone:
			stop(errCut)
		case <-time.After(after):
			if p.after > 0 {
				l.d.supply.Off()
				stop(errCut)
			} else {
				stop(errStuck)
			}
		case <-within.Done():
		}
	}()
	for {
		i, line, err := l.d.machine.Console.Wait(within, from, told)
		switch cause := context.Cause(within); {
		case errors.Is(cause, errCut):
			l.placed(p)
			return "", errors.Join(errCut, l.off())
		case errors.Is(cause, errStuck):
			return "", errors.Join(errStuck, l.off())
		case errors.Is(err, lab.ErrOff):
			return "", fmt.Errorf("%w: %w", errBrick, err)
		case err != nil:
			return "", err
		}
		from = i + 1
		if result, err = l.hear(line.Text, target); result != "" || err != nil {
			return result, err
		}
	}
}

// placed notes in the middle of what a cut fell.
func (l *lane) placed(p plan) {
	if l.stage == "trial" && l.d.supply.Of("env") > l.kept {
		l.stage = "commit"
	}
	if p.deed > 0 {
		_, last := l.d.supply.Deeds()
		if l.t.deed == nil {
			l.t.deed = map[string]int{}
		}
		l.t.deed[last.Medium]++
	}
}

// hear follows what the board says. A result ends the job.
func (l *lane) hear(text, target string) (result string, err error) {
	m := told.FindStringSubmatch(text)
	switch {
	case m[1] == "environment lost":
		return "", fmt.Errorf("%s: %w", text, errBrick)
	case strings.HasPrefix(m[1], "environment"):
		if m[1] != "environment 11" {
			l.t.half++
		}
	case m[2] != "":
		l.slot, l.stage = board.SlotA, "bootloader"
		if m[2] == "B" {
			l.slot = board.SlotB
		}
		have, err := l.d.holds(l.slot)
		if err == nil && (have == "" || l.first != "" && have != l.first) {
			err = fmt.Errorf("slot %s starts and holds %q, and %q was committed: %w", l.slot, have, l.runs, errWrong)
		}
		l.first = ""
		return "", err
	case m[1] == "up":
		l.stage, l.kept = "before", l.d.supply.Of("env")
		if have, err := l.d.holds(l.slot); err != nil || have == target {
			l.stage = "trial"
			return "", err
		}
	case m[1] == "nothing to do":
		return "committed", nil
	case strings.HasPrefix(m[1], "data"):
		return "", fmt.Errorf("%s: %w", text, errBrick)
	case m[1] != "":
		return "", fmt.Errorf("%s: %w", text, errWrong)
	case m[3] != "":
		l.stage = m[3]
	case m[4] == target:
		return m[5], nil
	case m[4] != "": // the end of the job before was told, and not noted yet when the power went
		l.stage = "before"
	case text == "Starting kernel ...":
		l.stage = "kernel"
	default:
		l.stage = "restart"
	}
	return "", nil
}
