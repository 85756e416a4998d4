// Package demo shows Holdfast at work on this machine: a broker on loopback, an agent of the real /proc with simulated
// lines, and a link between them that can be cut. Every chapter says what it does, and is judged by what arrives at the
// broker.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// ErrLinux means that the agent does not run on this system.
var ErrLinux = errors.New("the agent runs on Linux only")

// ErrFailed means that a chapter did not happen as it should.
var ErrFailed = errors.New("the demo did not succeed")

// The bounds of Options.Cut: shorter than ShortestCut it may end before the agent measures once more, and with a
// longer one than LongestCut the demo would take more than a minute.
const (
	ShortestCut = time.Second
	LongestCut  = 20 * time.Second
)

// Options say how the demo is shown.
type Options struct {
	Out      io.Writer     // the narration, or with JSON one line a chapter
	Color    bool          // Out is a terminal that shows it
	JSON     bool          // for programs
	Log      io.Writer     // the agent's and the broker's own log; not nil
	LogName  string        // where Log can be read, as it is told; "" is not told
	Version  string        // the agent's, as it reports it
	Cut      time.Duration // how long the link is cut; 10 s when 0
	Limit    time.Duration // for everything but Stay; 55 s when 0
	Patience time.Duration // for each thing that is waited for; when 0, 12 s for each whole 55 s of Limit
	Stay     bool          // afterwards leave it running until ctx ends

	// Board is a command line that runs Board, in a process of its own, with the file that is appended to it.
	Board []string
	// Leak is a command line that runs Leak, in a process of its own.
	Leak []string

	carry    carrier                         // what the link does with what it carries; nil passes it on
	releases *releases                       // that were made before; nil makes them
	around   func(http.Handler) http.Handler // what stands before the repository; nil for nothing
	tamper   func(dir string)                // what somebody does to the board before it is switched on; nil for nothing
	only     []string                        // chapters; nil for all
}

func (o Options) orDefaults() Options {
	const limit, patience = 55 * time.Second, 12 * time.Second
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&o.Cut, 10 * time.Second}, {&o.Limit, limit}, {&o.Patience, max(1, o.Limit/limit) * patience}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if o.carry == nil {
		o.carry = passOn
	}
	return o
}

// A chapter is one thing that is shown. play tells as it goes, and returns what was seen, in a few words, or why it did
// not happen.
type chapter struct {
	name  string // a word, for programs
	title string
	play  func(*stage, context.Context) (seen string, err error)
}

// chapters are played in this order. The first that does not happen ends the demo. Each finds the stage as those before
// it left it; the count stops the agent, and what follows it is played by another board.
var chapters = []chapter{
	{"telemetry", "Telemetry arrives", (*stage).telemetry},
	{"shadow", "A change is desired, and a bad one", (*stage).desire},
	{"relay", "A relay is switched", (*stage).relay},
	{"input", "An input changes", (*stage).input},
	{"alert", "A rule raises an alert", (*stage).alarm},
	{"repair", "A service leaks, and is repaired", (*stage).heal},
	{"cut", "The link is cut", (*stage).cut},
	{"count", "Every record is counted", (*stage).count},
	{"update", "A board is updated, and its power fails", (*stage).update},
	{"rollback", "A bad release falls back", (*stage).rollBack},
}

// An Outcome is what became of one chapter.
type Outcome struct {
	Chapter string  `json:"chapter"`
	Title   string  `json:"title"`
	OK      bool    `json:"ok"`
	Seen    string  `json:"seen,omitempty"`
	Problem string  `json:"problem,omitempty"` // why not ok; a chapter that was not reached says so
	Seconds float64 `json:"seconds"`
}

// Run plays the demo, prints the table, and returns what became of each chapter. The error wraps ErrFailed when one did
// not happen, and ErrLinux where there is no agent. What it started has ended when it returns, and its files are gone.
func Run(ctx context.Context, o Options) ([]Outcome, error) {
	if !supported {
		return nil, ErrLinux
	}
	o = o.orDefaults()
	if o.Cut < ShortestCut || o.Cut > LongestCut {
		return nil, fmt.Errorf("cut of %s: wants %s to %s", o.Cut, ShortestCut, LongestCut)
	}
	within, cancel := context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("not done after %s", o.Limit))
	defer cancel()
	s, err := open(within, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	outcomes, failed := s.playAll(within)
	if err := s.tell.table(outcomes); err != nil {
		return outcomes, err
	}
	if failed == nil && o.Stay {
		failed = s.stay(ctx)
	}
	return outcomes, failed
}

// playAll plays the chapters until one fails.
func (s *stage) playAll(ctx context.Context) ([]Outcome, error) {
	var failed error
	outcomes := make([]Outcome, 0, len(chapters))
	for i, c := range chapters {
		if s.o.only != nil && !slices.Contains(s.o.only, c.name) {
			continue
		}
		o := Outcome{Chapter: c.name, Title: c.title}
		if failed != nil {
			o.Problem = "not reached"
		} else {
			s.tell.title(i+1, c.title)
			began := time.Now()
			seen, err := c.play(s, ctx)
			o.OK, o.Seen, o.Seconds = err == nil, seen, time.Since(began).Seconds()
			if err != nil {
				o.Problem = err.Error()
				failed = fmt.Errorf("%w: %s: %w", ErrFailed, c.name, err)
			}
			s.tell.verdict(o)
		}
		s.tell.line(o)
		outcomes = append(outcomes, o)
	}
	return outcomes, failed
}
