//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// A cost is what a process took.
type cost struct {
	cpu, wall time.Duration
	rss       int64 // bytes, at the peak
	out       string
}

// measure runs a program to its end.
func measure(name string, args ...string) (cost, error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w: %.300s", name, err, errOut.String())
	}
	c := cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: wall, out: out.String()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.rss = usage.Maxrss << 10
	}
	return c, nil
}

// median repeats a deed and returns its middle, each figure by itself.
func median(n int, do func() (cost, error)) (cost, error) {
	var all []cost
	for range n {
		c, err := do()
		if err != nil {
			return c, err
		}
		all = append(all, c)
	}
	middle := all[0]
	middle.cpu = pick(all, func(c cost) time.Duration { return c.cpu })
	middle.wall = pick(all, func(c cost) time.Duration { return c.wall })
	middle.rss = pick(all, func(c cost) int64 { return c.rss })
	return middle, nil
}

func pick[T time.Duration | int64](all []cost, of func(cost) T) T {
	var v []T
	for _, c := range all {
		v = append(v, of(c))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// own runs this program as a child.
func own(args ...string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	return measure(self, args...)
}

var errMissing = errors.New("not installed")

func installed(tool string) error {
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%s: %w", tool, errMissing)
	}
	return nil
}
