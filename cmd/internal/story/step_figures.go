//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What the project promises of memory, in KiB.
const (
	idleKiB  = 16 << 10 // of run at rest: resident, its program's pages included
	linesKiB = 8 << 10  // of lines, as of run
	peakKiB  = 24 << 10 // of all processes in an update, pages that are shared counted once
)

// figures is the last step: what it costs, on this board.
func (s *site) figures(ctx context.Context) error {
	if _, err := s.ctl(ctx, "shadow", "set", id, "period=10s"); err != nil {
		return err
	}
	pause(ctx, 20*time.Second)
	rss, anon, before, err := s.costs(ctx)
	if err != nil {
		return err
	}
	s.t.check(fmt.Sprintf("run at rest has %.1f MiB resident, %.1f MiB of them its own (promised: 16)", mib(rss), mib(anon)), atMost(rss, idleKiB))
	if s.peakKiB > 0 {
		s.t.check(fmt.Sprintf("all processes together had %.1f MiB at most in an update (promised: 24)", mib(s.peakKiB)), atMost(s.peakKiB, peakKiB))
	}
	out, err := s.in(ctx, `grep -h ^VmRSS: /proc/$(systemctl show -p MainPID --value holdfast-lines)/status`)
	lines := 0
	if err == nil {
		_, err = fmt.Sscanf(out, "VmRSS: %d kB", &lines)
	}
	s.t.check(fmt.Sprintf("lines has %.1f MiB resident (promised: 8)", mib(lines)), errors.Join(err, atMost(lines, linesKiB)))
	const span = time.Minute
	start := time.Now()
	pause(ctx, span)
	_, _, after, err := s.costs(ctx)
	if err != nil {
		return err
	}
	s.t.note("run took %.2f %% of one processor with a reading of everything each 10 s; the emulated one is some 20 times as slow as a board's",
		100*(after-before).Seconds()/time.Since(start).Seconds())
	return nil
}

func mib(kib int) float64 { return float64(kib) / 1024 }

func atMost(have, limit int) error {
	if have > limit {
		return fmt.Errorf("%d KiB are more than %d", have, limit)
	}
	return nil
}

// costs returns what the agent takes: resident memory, what of it is its own, both in KiB, and its processor time so far.
func (s *site) costs(ctx context.Context) (rss, anon int, cpu time.Duration, err error) {
	out, err := s.in(ctx, `p=$(systemctl show -p MainPID --value holdfast); grep -h -E '^(VmRSS|RssAnon):' /proc/$p/status; cut -d' ' -f14,15 /proc/$p/stat`)
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return 0, 0, 0, fmt.Errorf("guest says %q", line)
		}
		switch f[0] {
		case "VmRSS:":
			rss = n
		case "RssAnon:":
			anon = n
		default: // utime and stime in hundredths of a second
			user, err := strconv.Atoi(f[0])
			if err != nil {
				return 0, 0, 0, fmt.Errorf("guest says %q", line)
			}
			cpu = time.Duration(user+n) * 10 * time.Millisecond
		}
	}
	if rss == 0 || cpu == 0 {
		return 0, 0, 0, fmt.Errorf("guest says %q", out)
	}
	return rss, anon, cpu, nil
}
