// Package journal is a driver: it follows the system's log through journalctl, and reads its end.
//
// The journal's files are read by systemd's own program, because their format has only that one complete reader; it runs
// as a child, so that a damaged file takes nobody else down.
package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/board"
	"holdfast/collectors"
)

// A Filter says which entries are wanted.
type Filter struct {
	Units    []string // full names; empty for all
	Priority int      // the least important that is wanted, 1 (alert) to 7 (debug); 4 (warning) when 0
}

// A Config says how the log is followed.
type Config struct {
	Program Program
	Clock   board.Clock
	Filter  Filter
	// Changes brings another filter; the log is followed on without a gap. Give it room for one. nil: it never changes.
	Changes <-chan Filter
	Lines   int // most samples a second, 20 when 0; twice as many may come at once after a quiet time
	Bytes   int // most bytes of a message, 1024 when 0
	// Load returns the cursor that Save was given last, "" for none; then only what is written from now on is read. Save
	// is called at most once a minute and when the stream ends. Both may be nil.
	Load func() (cursor string, err error)
	Save func(cursor string) error
}

// A Journal is the stream "log". Its samples have the unit's name as instance, which is empty for what no unit wrote, and
// the fields message, priority (0 to 7), unit, identifier, pid, written (RFC 3339, the wall clock of then); truncated
// (true) where the message is not whole; and dropped_count where as many entries before this one were left out, because
// there were more than Config.Lines a second, or they could not be read.
//
// A sample may come twice after a crash: the cursor is saved seldom, to spare the flash.
type Journal struct {
	Config
	cursor  string
	loaded  bool
	unsaved bool
	savedAt time.Time
	dropped int
}

const (
	saveEvery = time.Minute
	// A flood is read this many times as fast as it is passed on, and beyond that not at all: then journalctl waits.
	readAhead = 20
)

// New returns the stream. It runs nothing.
func New(c Config) *Journal {
	if c.Lines <= 0 {
		c.Lines = 20
	}
	if c.Bytes <= 0 {
		c.Bytes = 1024
	}
	return &Journal{Config: c}
}

// Name implements collectors.Stream.
func (*Journal) Name() string { return "log" }

// errFilter ends one child so that another can start.
var errFilter = errors.New("another filter")

// Stream implements collectors.Stream. It returns after its child is gone.
func (j *Journal) Stream(ctx context.Context, emit collectors.Emit) error {
	if !j.loaded && j.Load != nil {
		c, err := j.Load()
		if err != nil {
			return fmt.Errorf("load journal cursor: %w", err)
		}
		if checkCursor(c) == nil { // else it is none, or was damaged: begin now
			j.cursor = c
		}
	}
	j.loaded = true
	select {
	case f, open := <-j.Changes: // it came while nothing ran, perhaps in place of one that cannot be
		if open {
			j.Filter = f
		}
	default:
	}
	for {
		err := j.follow(ctx, emit)
		if !errors.Is(err, errFilter) {
			return errors.Join(err, j.save())
		}
	}
}

// args returns what to ask journalctl for.
func (j *Journal) args() ([]string, error) {
	priority := j.Filter.Priority
	if priority == 0 {
		priority = 4
	}
	if priority < 1 || priority > 7 {
		return nil, fmt.Errorf("log priority %d: not from 1 to 7", priority)
	}
	args := []string{"--follow", "--priority=" + strconv.Itoa(priority)}
	for _, u := range j.Filter.Units {
		if err := collectors.CheckUnitName(u); err != nil {
			return nil, err
		}
		args = append(args, "--unit="+u)
	}
	if j.cursor == "" {
		return append(args, "--lines=0"), nil
	}
	return append(args, "--no-tail", "--after-cursor="+j.cursor), nil
}

// follow reads one child to its end, which comes when ctx ends, the filter changes, or it dies.
func (j *Journal) follow(ctx context.Context, emit collectors.Emit) error {
	args, err := j.args()
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := j.Program.start(running, args...)
	if err != nil {
		return err
	}
	entries := make(chan found) // no room: while a sample waits, journalctl does
	go j.read(running, c, entries)
	why := j.pass(ctx, entries, emit)
	cancel()
	for range entries { // read closes it; until then it may be about to send
	}
	j.dropped += c.dropped
	err = c.wait()
	if why != nil {
		return why
	}
	if err == nil {
		err = errors.New("journalctl ended")
	}
	if strings.Contains(c.stderr.buf.String(), "cursor") { // its journal is gone: begin now
		j.cursor, j.unsaved = "", false
	}
	return err
}

// found is an entry and how many were left out before it.
type found struct {
	Entry
	dropped int
}

// pass emits what is found until there is no more (nil), ctx ends, or the filter changes.
func (j *Journal) pass(ctx context.Context, entries <-chan found, emit collectors.Emit) error {
	var due <-chan time.Time
	stop := func() {}
	defer func() { stop() }()
	for {
		if due == nil && j.unsaved && j.Save != nil {
			stop()
			due, stop = j.Clock.Timer(max(saveEvery-j.Clock.Now().Sub(j.savedAt), 0))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case f, open := <-j.Changes:
			if !open {
				j.Changes = nil
				continue
			}
			j.Filter = f
			return errFilter
		case <-due:
			due = nil
			_ = j.save() // a full disk does not stop the log; if it stays so, the end of the stream tells
		case e, open := <-entries:
			if !open {
				return nil
			}
			j.dropped += e.dropped
			emit(j.sample(e.Entry))
			if ctx.Err() != nil { // it may not have been taken: better twice than never
				return context.Cause(ctx)
			}
			j.dropped = 0
			if e.Cursor != "" {
				j.cursor, j.unsaved = e.Cursor, true
			}
		}
	}
}

// read sends the child's entries, as many a second as may be, until it ends or ctx does. It closes entries.
func (j *Journal) read(ctx context.Context, c *child, entries chan<- found) {
	second, inSecond, dropped := j.Clock.Now(), 0, 0
	defer func() {
		c.dropped = dropped
		close(entries)
	}()
	most := float64(2 * j.Lines)
	tokens, last := most, second
	for {
		line, err := c.line()
		if err != nil && !errors.Is(err, bufio.ErrTooLong) {
			return
		}
		now := j.Clock.Now()
		if now.Sub(second) >= time.Second {
			second, inSecond = now, 0
		}
		if inSecond++; inSecond > readAhead*j.Lines {
			if !board.Wait(ctx, j.Clock, time.Second-now.Sub(second)) {
				return
			}
		}
		tokens = min(tokens+float64(j.Lines)*now.Sub(last).Seconds(), most)
		last = now
		if err != nil || tokens < 1 {
			dropped++
			continue
		}
		e, err := Parse(line, j.Bytes)
		if err != nil {
			dropped++
			continue
		}
		tokens--
		select {
		case entries <- found{e, dropped}:
			dropped = 0
		case <-ctx.Done():
			return
		}
	}
}

func (j *Journal) save() error {
	if !j.unsaved || j.Save == nil {
		return nil
	}
	j.savedAt = j.Clock.Now()
	if err := j.Save(j.cursor); err != nil {
		return fmt.Errorf("save journal cursor: %w", err)
	}
	j.unsaved = false
	return nil
}

func (j *Journal) sample(e Entry) collectors.Sample {
	s := collectors.Sample{Source: "log", Instance: e.Unit, Fields: make([]collectors.Field, 0, 8)}
	s.Str("message", e.Message).Num("priority", float64(e.Priority)).Str("unit", e.Unit).Str("identifier", e.Identifier).Num("pid", float64(e.PID))
	s.Str("written", e.Time.Format("2006-01-02T15:04:05.000000Z07:00"))
	if e.Truncated {
		s.Fields = append(s.Fields, collectors.Field{Name: "truncated", Value: collectors.Bool(true)})
	}
	if j.dropped > 0 {
		s.Num("dropped_count", float64(j.dropped))
	}
	return s
}
