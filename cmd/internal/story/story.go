//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// inside is what happens in a network of its own.
func inside(ctx context.Context, o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	s := &site{dir: o.dir, bin: bin, t: &table{w: os.Stdout}}
	defer s.close()
	if err := s.set(ctx); err != nil {
		return err
	}
	if o.try {
		return s.try(ctx)
	}
	s.makeReleases(ctx)
	for i, step := range steps {
		number := fmt.Sprint(i + 1)
		if i > 0 && len(o.only) > 0 && !slices.Contains(o.only, number) {
			continue
		}
		s.t.title(number, step.about)
		if err := step.tell(s, ctx); err != nil {
			s.t.check("the step goes on to its end", err)
			break // the next would build on what is not there
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	fmt.Printf("\n%d passed, %d failed\n", s.t.passed, s.t.failed)
	if s.t.failed > 0 {
		return errFailed
	}
	return nil
}

// set sets the stage: everything but the board is on.
func (s *site) set(ctx context.Context) error {
	if err := s.network(ctx); err != nil {
		return err
	}
	if err := s.around(ctx); err != nil {
		return err
	}
	image, err := s.image(ctx, releases[0])
	if err != nil {
		return err
	}
	if err := s.disk(ctx, image); err != nil {
		return err
	}
	s.later(func() {
		s.hangUp()
		if s.m != nil {
			_ = s.m.Close()
		}
	})
	return s.publish(ctx, releases[0])
}

// publish makes a release public, with a delta from the one that the board runs when it gets it.
func (s *site) publish(ctx context.Context, r release) error {
	image, err := s.image(ctx, r)
	if err != nil {
		return err
	}
	defer os.Remove(image)
	args := []string{"release", "add", "repo", r.name, "--keys", "keys", "--compatible", "holdfast,lab", "--image", "root=" + image, "--publish"}
	if r.number > 1 {
		args = append(args, "--from", releases[min(r.number, 3)-2].name)
	}
	_, err = s.ctl(ctx, args...)
	return err
}

// A step tells one part of the story. An error ends the story; what fails and can be lived with is a check.
type step struct {
	about string
	tell  func(*site, context.Context) error
}

var steps = []step{
	{"first boot", (*site).first},
	{"an update by delta, its power cut in the middle", (*site).delta},
	{"releases that are no good", (*site).bad},
	{"what hangs", (*site).hang},
	{"U-Boot's environment is damaged", (*site).spoilt},
	{"no time, a bad link, none", (*site).adverse},
	{"a full disk", (*site).full},
	{"what it costs", (*site).figures},
}

func (s *site) first(ctx context.Context) error {
	if err := s.lossy(ctx); err != nil {
		return err
	}
	if err := s.on(); err != nil {
		return err
	}
	if !s.t.check("the board starts slot A, with lab/1", s.comesUpAs(ctx, "A", "lab/1")) {
		return errFailed
	}
	cpu, err := s.m.CPU()
	s.t.note("QEMU took %.0f s of a processor, %v", cpu.Seconds(), err)
	s.t.check("the broker has its status", s.hears(ctx, 0, "status", `"online":true`))
	s.t.check("telemetry comes", s.hears(ctx, 0, "telemetry", `"cpu"`))
	return s.lines(ctx)
}
