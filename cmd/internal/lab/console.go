//go:build linux

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// ErrOff means that the machine went off while something was awaited of it.
var ErrOff = errors.New("the machine is off")

// A Line is one line of a console, without its end.
type Line struct {
	At   time.Duration // since the console was made
	Text string
}

// lineBytes bounds a line; a guest may write without end. What is beyond is another line.
const lineBytes = 4096

// A Console keeps what a machine writes on its serial line, over all its starts.
type Console struct {
	log   io.Writer
	since time.Time

	mu      sync.Mutex
	lines   []Line
	on      bool
	changed chan struct{} // closed, and replaced, when there is more
}

// NewConsole returns a console that copies its lines, with their times, to a log.
func NewConsole(log io.Writer) *Console {
	return &Console{log: log, since: time.Now(), changed: make(chan struct{})}
}

// Follow reads a start of the machine to its end.
func (c *Console) Follow(r io.Reader) error {
	c.turn(true)
	defer c.turn(false)
	in := bufio.NewReaderSize(r, lineBytes)
	for {
		raw, err := in.ReadSlice('\n') // of at most lineBytes
		if len(raw) > 0 {
			c.add(strings.TrimRight(string(raw), "\r\n"))
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (c *Console) turn(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
	c.tell()
}

// tell wakes those who wait. The lock is held.
func (c *Console) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Console) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := Line{time.Since(c.since), text}
	c.lines = append(c.lines, line)
	fmt.Fprintf(c.log, "%9.2f %s\n", line.At.Seconds(), text)
	c.tell()
}

// Len returns how many lines there are: what Wait is given to see only those that come.
func (c *Console) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}

// Lines returns those from a number on.
func (c *Console) Lines(from int) []Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Line(nil), c.lines[min(from, len(c.lines)):]...)
}

// Wait returns the number and text of the first line from a number on that matches. Its error is ErrOff when the machine
// goes off before there is one.
func (c *Console) Wait(ctx context.Context, from int, pattern *regexp.Regexp) (int, Line, error) {
	for i := from; ; {
		c.mu.Lock()
		for ; i < len(c.lines); i++ {
			if pattern.MatchString(c.lines[i].Text) {
				line := c.lines[i]
				c.mu.Unlock()
				return i, line, nil
			}
		}
		on, changed := c.on, c.changed
		c.mu.Unlock()
		if !on {
			return 0, Line{}, fmt.Errorf("console: wait for %q: %w", pattern, ErrOff)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, Line{}, fmt.Errorf("console: wait for %q: %w; the last lines:\n%s", pattern, context.Cause(ctx), c.tail(10))
		}
	}
}

func (c *Console) tail(n int) string {
	var b strings.Builder
	for _, line := range c.Lines(max(0, c.Len()-n)) {
		fmt.Fprintf(&b, "%9.2f %s\n", line.At.Seconds(), line.Text)
	}
	return b.String()
}
