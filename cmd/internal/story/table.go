//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A table is what was checked, a line each as it is known.
type table struct {
	w              io.Writer
	step           string
	since          time.Time
	passed, failed int
}

func (t *table) title(step, about string) {
	t.step, t.since = step, time.Now()
	fmt.Fprintf(t.w, "\n%s  %s\n", step, about)
}

// check tells how one thing came out; the time is since the check before.
func (t *table) check(what string, err error) bool {
	mark := "passed"
	if err != nil {
		mark = "FAILED"
		t.failed++
	} else {
		t.passed++
	}
	fmt.Fprintf(t.w, "   %-92s %s %6.1f s\n", what, mark, time.Since(t.since).Seconds())
	t.since = time.Now()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(t.w, "      %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return err == nil
}

// note tells something that was seen and is not judged.
func (t *table) note(format string, args ...any) {
	fmt.Fprintf(t.w, "   "+format+"\n", args...)
}
