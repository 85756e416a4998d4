//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"holdfast/cmd/internal/lab"
)

// patient bounds everything that is waited for: on a busy machine a board starts in minutes.
const patient = 8 * time.Minute

var (
	isUp     = regexp.MustCompile(`^board: up, rauc\.slot=([AB]), \{"release":"([^"]+)"`)
	inUBoot  = regexp.MustCompile(`^U-Boot 20`)
	slotGone = regexp.MustCompile(`^boot: slot (.) does not load`)
)

// until tries something every half second until it succeeds.
func (s *site) until(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// on switches the board on.
func (s *site) on() error {
	s.up = 0
	if s.m == nil {
		s.m = &lab.Machine{Dir: s.dir, Program: "qemu-system-aarch64"}
	} else if s.m.Console != nil {
		s.up = s.m.Console.Len()
	}
	s.m.Args = lab.Arm64{CPUs: 2, MiB: 256, Disk: s.drive(), Flash: s.path("flash"), Tap: tapName,
		More: []string{"-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-rng-pci", "-rtc", "base=" + cmp.Or(s.rtc, "utc")}}.Args()
	return s.m.Start()
}

// off takes the power away.
func (s *site) off() error {
	s.hangUp()
	err := s.m.Cut()
	if s.store != nil {
		_ = s.store.Process.Kill()
		_ = s.store.Wait()
		s.store = nil
	}
	return err
}

func (s *site) hangUp() {
	if s.sh != nil {
		s.sh.Close()
		s.sh = nil
	}
}

// awaitUp waits until the board has started, and returns the slot and release that did.
func (s *site) awaitUp(ctx context.Context) (slot, name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	s.hangUp()
	i, line, err := s.m.Console.Wait(ctx, s.up, isUp)
	if err != nil {
		return "", "", err
	}
	s.up = i + 1
	m := isUp.FindStringSubmatch(line.Text)
	s.slot, s.running = m[1], m[2]
	s.sh, err = s.m.Shell(ctx)
	return s.slot, s.running, err
}

// comesUpAs is awaitUp where it is known what should start.
func (s *site) comesUpAs(ctx context.Context, slot, name string) error {
	gotSlot, gotName, err := s.awaitUp(ctx)
	if err == nil && (gotSlot != slot || gotName != name) {
		err = fmt.Errorf("slot %s started, with %s", gotSlot, gotName)
	}
	return err
}

// console waits for a line on the console since the board was last up.
func (s *site) console(ctx context.Context, pattern *regexp.Regexp) error {
	return s.consoleFrom(ctx, s.up, pattern)
}

func (s *site) consoleFrom(ctx context.Context, line int, pattern *regexp.Regexp) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	_, _, err := s.m.Console.Wait(ctx, line, pattern)
	return err
}

// in runs a script in the guest.
func (s *site) in(ctx context.Context, script string) (string, error) {
	if s.sh == nil {
		return "", fmt.Errorf("guest: %w", lab.ErrOff)
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	return s.sh.Do(ctx, script)
}

// hears waits for a message on the broker.
func (s *site) hears(ctx context.Context, from int, topic string, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	_, err := s.heard.wait(ctx, from, func(m message) bool {
		if m.topic != topic {
			return false
		}
		for _, w := range words {
			if !strings.Contains(string(m.body), w) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("%s with %q: %w", topic, words, err)
	}
	return nil
}
