//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"holdfast/board/loaders"
)

// hang is step 4: what hangs is started again by what watches it.
func (s *site) hang(ctx context.Context) error {
	from := s.heard.count()
	before, err := s.session(ctx)
	if err != nil {
		return err
	}
	_, err = s.in(ctx, "kill -STOP $(systemctl show -p MainPID --value holdfast)")
	s.t.check("the agent is stopped (SIGSTOP)", err)
	s.t.check("systemd's watchdog ends it", s.until(ctx, func() error {
		out, err := s.in(ctx, "journalctl --no-pager -o cat -u holdfast")
		if err == nil && !strings.Contains(out, "Watchdog timeout") {
			err = errors.New("the journal says nothing of the watchdog")
		}
		return err
	}))
	after := ""
	err = s.until(ctx, func() error {
		var err error
		if after, err = s.session(ctx); err == nil && after == before {
			err = errors.New("it is the one before")
		}
		return err
	})
	if err == nil {
		err = s.hears(ctx, from, "telemetry", after)
	}
	s.t.check("and starts another, which is on the broker", err)

	from = s.heard.count()
	// A signal would not stop it: the kernel keeps signals from PID 1. Its control group can be frozen.
	s.up = s.m.Console.Len()
	start := time.Now()
	err = s.sh.Send("echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze")
	s.t.check("PID 1 is frozen", err)
	err = s.console(ctx, inUBoot)
	s.t.check("the hardware watchdog resets the board", err)
	s.t.note("%.0f s later; it resets 30 s after it was last fed", time.Since(start).Seconds())
	s.t.check("slot "+s.slot+" starts, with "+s.running, s.comesUpAs(ctx, s.slot, s.running))
	s.t.check("and is on the broker", s.hears(ctx, from, "status", `"online":true`))
	return nil
}

var copyBad = []*regexp.Regexp{
	regexp.MustCompile(`^boot: copy 0 of the environment is not valid`),
	regexp.MustCompile(`^boot: copy 1 of the environment is not valid`),
}

// spoilt is step 5: U-Boot's environment is damaged while the board is off.
func (s *site) spoilt(ctx context.Context) error {
	for _, tt := range []struct {
		what  string
		spoil func() (said *regexp.Regexp, err error)
	}{
		{"the copy in force is torn", func() (*regexp.Regexp, error) {
			n, err := s.inForce()
			if err != nil {
				return nil, err
			}
			return copyBad[n], s.spoil(n, 512, []byte(strings.Repeat("torn", envBytes/2/4)))
		}},
		{"copy 0 is gone: zeros", func() (*regexp.Regexp, error) { return copyBad[0], s.spoil(0, 0, make([]byte, envBytes)) }},
		{"both copies are gone", func() (*regexp.Regexp, error) {
			return regexp.MustCompile(`^boot: no environment; starting over`), s.spoil(0, 0, make([]byte, 2*envBytes))
		}},
	} {
		if _, err := s.in(ctx, "sync"); err != nil {
			return err
		}
		if err := s.off(); err != nil {
			return err
		}
		said, err := tt.spoil()
		if err != nil {
			return err
		}
		from := s.heard.count()
		if err := s.on(); err != nil {
			return err
		}
		s.t.check(tt.what+": U-Boot says so", s.console(ctx, said))
		s.t.check("the board starts "+s.running+" all the same", s.comesUpAs(ctx, s.slot, s.running))
		s.t.check("and is on the broker", s.hears(ctx, from, "status", `"online":true`))
		s.t.check("soon both copies are valid again, and lead to it", s.until(ctx, func() error { return s.bothCopies(ctx) }))
	}
	return nil
}

// bothCopies looks at the environment of a board that runs: both copies are valid, and the one in force has the running slot
// first.
func (s *site) bothCopies(ctx context.Context) error {
	out, err := s.in(ctx, "sync; dd if=/dev/disk/by-partlabel/env bs=32k count=1 2>/dev/null | base64 -w 0")
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(out)
	if err != nil || len(raw) != 2*envBytes {
		return fmt.Errorf("the environment has %d bytes: %w", len(raw), err)
	}
	vars0, flag0, err0 := loaders.Decode(raw[:envBytes])
	vars1, flag1, err1 := loaders.Decode(raw[envBytes:])
	if err := errors.Join(err0, err1); err != nil {
		return err
	}
	order := vars0["BOOT_ORDER"]
	if loaders.Newer(flag0, flag1) == 1 {
		order = vars1["BOOT_ORDER"]
	}
	if !strings.HasPrefix(order, s.slot) {
		return fmt.Errorf("BOOT_ORDER=%s while slot %s runs", order, s.slot)
	}
	return nil
}
