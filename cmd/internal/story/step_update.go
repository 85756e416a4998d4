//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// delta is step 2: an update whose power is cut in the middle.
func (s *site) delta(ctx context.Context) error {
	if err := s.release(ctx, 2); err != nil {
		return err
	}
	from := s.heard.count()
	_, err := s.ctl(ctx, "update", "push", id, "lab/2", "--id", "job-2")
	s.t.check("holdfastctl gives the job lab/2", err)
	written, err := s.cutInStaging(ctx)
	s.t.check(fmt.Sprintf("the power is cut when %d of %d MiB of slot B are written; what was not flushed is lost", written, slotMiB), err)
	if err := s.on(); err != nil {
		return err
	}
	if !s.t.check("the board starts slot A again", s.comesUpAs(ctx, "A", "lab/1")) {
		return errFailed
	}
	more, err := s.untilRestart(ctx)
	s.t.check(fmt.Sprintf("the update goes on by itself and writes %d MiB; the board restarts", more), err)
	if more >= slotMiB {
		s.t.check("what was staged before the cut is not staged again", fmt.Errorf("%d MiB were written", more))
	}
	s.t.check("slot B starts, with lab/2", s.comesUpAs(ctx, "B", "lab/2"))
	s.t.check("the broker has job-2 as committed", s.hears(ctx, from, "job/status", `"job-2"`, `"committed"`))
	return s.ended(ctx, "job-2", "committed", "")
}

// makeReleases makes and publishes all releases but the first, one after the other, while the story goes on.
func (s *site) makeReleases(ctx context.Context) {
	s.made = make([]chan error, len(releases))
	for i := range s.made {
		s.made[i] = make(chan error, 1) // what came of it, for who waits later
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, r := range releases[1:] {
			s.made[i+1] <- s.publish(ctx, r)
		}
	}()
	s.later(func() { stop(); <-done })
}

// release waits until one is published.
func (s *site) release(ctx context.Context, number int) error {
	select {
	case err := <-s.made[number-1]:
		s.t.note("%s %s; it is published", releases[number-1].name, releases[number-1].about)
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cutInStaging cuts the power when a third of the slot is written.
func (s *site) cutInStaging(ctx context.Context) (written int, err error) {
	err = s.until(ctx, func() error {
		var err error
		if written, err = s.slotWritten(ctx); err != nil {
			return err
		}
		if written < slotMiB/3 {
			return fmt.Errorf("%d MiB are written", written)
		}
		return nil
	})
	return written, errors.Join(err, s.off())
}

// slotWritten returns how much was written to the partition of slot B since the board's start, in MiB, and notes the
// memory of Holdfast's processes.
func (s *site) slotWritten(ctx context.Context) (int, error) {
	out, err := s.in(ctx, `read -r _ _ _ _ _ _ sectors _ </sys/class/block/vda4/stat; echo "sectors $sectors"
for p in $(pidof holdfast); do grep -h ^Pss: /proc/$p/smaps_rollup; done`)
	if err != nil {
		return 0, err
	}
	sectors, pss := 0, 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return 0, fmt.Errorf("guest says %q", line)
		}
		if f[0] == "sectors" {
			sectors = n
		} else {
			pss += n
		}
	}
	s.peakKiB = max(s.peakKiB, pss)
	return sectors * 512 >> 20, nil
}

// untilRestart waits until the board restarts, and returns how much it wrote to slot B before.
func (s *site) untilRestart(ctx context.Context) (written int, err error) {
	err = s.until(ctx, func() error {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if n, err := s.slotWritten(one); err == nil {
			written = n
		}
		restarts := s.m.Console.Lines(s.up)
		for _, line := range restarts {
			if inUBoot.MatchString(line.Text) {
				return nil
			}
		}
		return errors.New("it does not restart")
	})
	return written, err
}

// ended checks what the board's own history says of a job.
func (s *site) ended(ctx context.Context, job, result, reason string) error {
	out, err := s.in(ctx, "holdfast status --history --json")
	if err == nil && !regexp.MustCompile(`"`+job+`"[^}]*"result":"`+result+`"[^}]*`+reason).MatchString(out) {
		err = fmt.Errorf("it says %s", out)
	}
	s.t.check(strings.TrimSpace(fmt.Sprintf("the board's history has %s as %s %s", job, result, reason)), err)
	return nil
}

// bad is step 3: three releases that are no good, each taken back.
func (s *site) bad(ctx context.Context) error {
	for _, tt := range []struct {
		number  int
		seen    *regexp.Regexp
		what    string
		reasons string
	}{
		{3, regexp.MustCompile(`^board: up, rauc.slot=A, \{"release":"lab/3"`), "slot A starts, with lab/3", "the pump runs dry"},
		{4, regexp.MustCompile(`^board: hangs`), "slot A starts, and hangs", ""},
		{5, slotGone, "U-Boot finds that slot A does not load", ""},
	} {
		if err := s.release(ctx, tt.number); err != nil {
			return err
		}
		from, job, name := s.heard.count(), fmt.Sprintf("job-%d", tt.number), releases[tt.number-1].name
		_, err := s.ctl(ctx, "update", "push", id, name, "--id", job)
		s.t.check("holdfastctl gives the job "+name, err)
		s.t.check(tt.what, s.console(ctx, tt.seen))
		if tt.number == 4 {
			n, _, err := s.m.Console.Wait(ctx, s.up, tt.seen)
			if err == nil {
				err = s.consoleFrom(ctx, n, inUBoot)
			}
			s.t.check("the hardware watchdog resets the board", err)
		}
		err = s.backTo(ctx, "B", "lab/2")
		s.t.check("slot B starts again, with lab/2", err)
		s.t.check("the broker has "+job+" as rolled back", s.hears(ctx, from, "job/status", `"`+job+`"`, `"rolled_back"`, tt.reasons))
		if err := s.ended(ctx, job, "rolled_back", tt.reasons); err != nil {
			return err
		}
	}
	return nil
}

// backTo waits until a slot is up, passing over starts of the other.
func (s *site) backTo(ctx context.Context, slot, name string) error {
	for range 4 {
		gotSlot, gotName, err := s.awaitUp(ctx)
		if err != nil {
			return err
		}
		if gotSlot == slot && gotName == name {
			return nil
		}
	}
	return fmt.Errorf("slot %s does not start", slot)
}
