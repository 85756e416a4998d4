// Package relay is a driver: it switches outputs by name, inside each one's interlock, and brings them to their safe
// levels when whoever looks after them falls silent.
package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// A Relay is one output and what protects it. The zero interlock lets it switch at any time.
type Relay struct {
	Line         board.Line
	Initial      bool          // driven when the bank is made
	Safe         bool          // driven when nobody looks after the output any more, and after the line did not obey
	Shutdown     bool          // driven when the bank ends
	MinOn        time.Duration // stays on at least this long
	MinOff       time.Duration // stays off at least this long: a compressor's pressure has to fall
	MaxOn        time.Duration // goes off by itself after this long; 0 for no bound
	MaxPerMinute int           // changes in any minute, at most 1,000; 0 for no bound
	Excludes     []string      // relays that are never on together with it; one of the two need say so
}

// mostChanges is the most that MaxPerMinute can be, and as many changes are remembered.
const mostChanges = 1000

func (r Relay) valid() error {
	switch {
	case r.Line == nil || r.MinOn < 0 || r.MinOff < 0 || r.MaxOn < 0 || r.MaxPerMinute < 0 || r.MaxPerMinute > mostChanges:
		return errors.New("wants a line, times that are not negative and at most 1000 changes a minute")
	case r.MaxOn > 0 && (r.MaxOn < r.MinOn || r.Safe):
		return errors.New("cannot be on at most for a while, and longer or for good at other times")
	}
	return nil
}

// Options are a bank's.
type Options struct {
	Clock board.Clock  // required
	Log   *slog.Logger // nil for none
	// Silence is how long a Beat may stay away before Run brings every output to its safe level; 0: none is waited for.
	Silence time.Duration
	// Progress is called by Run as it goes round, every 3 s at least, and after each line that was slow; nil for none.
	Progress func()
}

// A Bank is every relay of the board. Interlocks are counted from the bank's start as if everything had just switched,
// because what happened before is not known. It is safe for concurrent use.
type Bank struct {
	o     Options
	names []string
	table chan *table   // holds the one table; whoever takes it owns it until it is put back
	wake  chan struct{} // one slot: Run has something to look at sooner than it thought
}

// table is all that changes.
type table struct {
	relays   map[string]*state
	beaten   time.Time // the last beat, or the start
	heard    bool      // there was one
	silent   bool      // beats stay away: the outputs are safe
	since    time.Time // of silent
	silences uint64
	resets   uint64
	over     bool // the bank has ended
}

type state struct {
	Relay
	name    string
	on      bool
	known   bool        // false after a line's error: what it drives is anybody's guess
	fault   error       // the last drive's
	safe    bool        // brought to its safe level, and not set since
	since   time.Time   // of the last change
	until   time.Time   // when a pulse, or the longest time on, is over; zero for never
	driven  time.Time   // the last attempt
	changes []time.Time // within the last minute
	count   uint64      // of changes
}

// New returns the bank of the named relays and drives each to its initial level. A line that does not obey is tried
// again by Run.
func New(o Options, relays map[string]Relay) (*Bank, error) {
	if o.Clock == nil || o.Silence < 0 {
		return nil, errors.New("relays: want a clock, and a silence that is not negative")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	now := o.Clock.Now()
	t := &table{relays: make(map[string]*state, len(relays)), beaten: now, resets: 1}
	b := &Bank{o: o, names: slices.Sorted(maps.Keys(relays)), table: make(chan *table, 1), wake: make(chan struct{}, 1)}
	for _, name := range b.names {
		r := relays[name]
		if err := r.valid(); err != nil {
			return nil, fmt.Errorf("relay %s: %w", name, err)
		}
		r.Excludes = slices.Clone(r.Excludes)
		t.relays[name] = &state{Relay: r, name: name, since: now}
	}
	if err := t.exclude(b.names); err != nil {
		return nil, err
	}
	b.bring(t, now, "initial", func(s *state) bool { return s.Initial })
	for _, s := range t.relays {
		s.changes, s.count, s.since, s.safe = nil, 0, now, false
	}
	b.table <- t // one slot: there is one table
	return b, nil
}

// exclude makes every exclusion hold both ways, and refuses levels that would break one.
func (t *table) exclude(names []string) error {
	for _, name := range names {
		s := t.relays[name]
		for _, other := range s.Excludes {
			o, ok := t.relays[other]
			switch {
			case !ok || other == name:
				return fmt.Errorf("relay %s: excludes %q, which is no other relay", name, other)
			case s.Initial && o.Initial || s.Safe && o.Safe || s.Shutdown && o.Shutdown:
				return fmt.Errorf("relay %s: excludes %s, and both are on initially, when safe or at the end", name, other)
			case !slices.Contains(o.Excludes, name):
				o.Excludes = append(o.Excludes, name)
			}
		}
	}
	return nil
}

// Set switches the named relay and reports whether that was a change; a level it already has is driven again, and a pulse
// under way is over. The error is actuators.ErrLocked, with the time left, while an interlock holds, and while the bank
// waits for a beat.
func (b *Bank) Set(name string, on bool) (changed bool, err error) { return b.set(name, on, 0) }

// Pulse switches the named relay for a while, after which it is switched the other way. It returns at once. The time may
// not be shorter than the relay has to stay as it is, nor longer than it may be on (actuators.ErrInvalid).
func (b *Bank) Pulse(name string, on bool, length time.Duration) (changed bool, err error) {
	if length <= 0 {
		return false, fmt.Errorf("relay %s: %w: a pulse of %v", name, actuators.ErrInvalid, length)
	}
	return b.set(name, on, length)
}

func (b *Bank) set(name string, on bool, pulse time.Duration) (changed bool, err error) {
	t := <-b.table
	defer func() { b.table <- t }()
	s, ok := t.relays[name]
	if !ok {
		return false, fmt.Errorf("relay %q: %w", name, actuators.ErrInvalid)
	}
	now := b.o.Clock.Now()
	if err := s.admits(on, pulse); err != nil {
		return false, fmt.Errorf("relay %s: %w", name, err)
	}
	if err := t.locked(s, on, pulse > 0, now); err != nil {
		return false, fmt.Errorf("relay %s: %w", name, err)
	}
	if changed = !s.known || s.on != on; changed {
		s.switched(now)
	}
	s.driven = now
	if err := s.Line.Drive(on); err != nil {
		s.since, s.known, s.fault = now, false, err // a level that was only repeated, too: it may be another one since now
		b.look()
		return false, fmt.Errorf("relay %s: drive line: %w", name, err)
	}
	s.on, s.known, s.fault, s.safe = on, true, nil, false
	s.until = time.Time{}
	if pulse > 0 {
		s.until = now.Add(pulse)
	}
	s.bound()
	b.look()
	return changed, nil
}

// switched takes a change down.
func (s *state) switched(now time.Time) {
	s.since, s.changes = now, append(s.changes, now)
	if len(s.changes) > mostChanges {
		s.changes = s.changes[1:]
	}
	s.count++
}

// look has Run look at the table.
func (b *Bank) look() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// bound ends what is on when it may not be on any longer.
func (s *state) bound() {
	if !s.on || s.MaxOn == 0 {
		return
	}
	if last := s.since.Add(s.MaxOn); s.until.IsZero() || last.Before(s.until) {
		s.until = last
	}
}

// An Output is how a relay stands.
type Output struct {
	On      bool
	Known   bool   // false: the line did not obey, so On is what it was before
	Fault   string // why it did not
	Safe    bool   // at its safe level because of that or of a silence, and not set since
	Changes uint64
	Left    time.Duration // of a pulse or of the longest time on; 0 for none
}

// A Report is how the bank stands.
type Report struct {
	Outputs  map[string]Output
	Silent   bool          // beats stay away
	Since    time.Duration // for how long the bank has been silent
	Silences uint64        // how often beats that had come stayed away
	// Resets counts how often outputs were brought to initial or safe levels, so that what they were told before is void.
	Resets uint64
}

// Beat says that whoever looks after the outputs is alive. The report is of the moment before.
func (b *Bank) Beat() Report {
	t := <-b.table
	defer func() { b.table <- t }()
	now := b.o.Clock.Now()
	r := t.report(now)
	if t.silent {
		b.o.Log.Info("beats are back; the outputs stay safe until they are set", "silent", r.Since)
		b.look() // from now on there is something to miss
	}
	t.beaten, t.heard, t.silent = now, true, false
	return r
}

// Report says how the bank stands.
func (b *Bank) Report() Report {
	t := <-b.table
	defer func() { b.table <- t }()
	return t.report(b.o.Clock.Now())
}

func (t *table) report(now time.Time) Report {
	r := Report{Outputs: make(map[string]Output, len(t.relays)), Silent: t.silent, Silences: t.silences, Resets: t.resets}
	if t.silent {
		r.Since = now.Sub(t.since)
	}
	for name, s := range t.relays {
		o := Output{On: s.on, Known: s.known, Safe: s.safe, Changes: s.count}
		if s.fault != nil {
			o.Fault = s.fault.Error()
		}
		if !s.until.IsZero() {
			o.Left = max(s.until.Sub(now), 0)
		}
		r.Outputs[name] = o
	}
	return r
}
