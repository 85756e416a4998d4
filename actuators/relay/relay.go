// Package relay is a driver: it switches outputs by name, inside each one's interlock.
package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// A Relay is one output and what protects it. The zero interlock lets it switch at any time.
type Relay struct {
	Line         board.Line
	MinOn        time.Duration // stays on at least this long
	MinOff       time.Duration // stays off at least this long: a compressor's pressure has to fall
	MaxPerMinute int           // changes in any minute, at most 1,000; 0 for no bound
}

// A Bank is every relay of the board. Interlocks are counted from the bank's start as if everything had just switched,
// because what happened before is not known. It is safe for concurrent use.
type Bank struct {
	clock  board.Clock
	names  []string
	relays chan map[string]*state // holds the one map; whoever takes it owns it until it is put back
}

type state struct {
	Relay
	on      bool
	known   bool        // false after a line's error: what it drives is anybody's guess
	since   time.Time   // of the last change
	changes []time.Time // within the last minute
}

// New returns the bank of the named relays, in the state their lines say they are in.
func New(clock board.Clock, relays map[string]Relay) (*Bank, error) {
	states := make(map[string]*state, len(relays))
	for name, r := range relays {
		if r.Line == nil || r.MinOn < 0 || r.MinOff < 0 || r.MaxPerMinute < 0 || r.MaxPerMinute > 1000 {
			return nil, fmt.Errorf("relay %s: wants a line, times that are not negative and at most 1000 changes a minute", name)
		}
		on, err := r.Line.Read()
		states[name] = &state{Relay: r, on: on, known: err == nil, since: clock.Now()}
	}
	b := &Bank{clock: clock, names: slices.Sorted(maps.Keys(relays)), relays: make(chan map[string]*state, 1)}
	b.relays <- states // one slot: there is one map
	return b, nil
}

// Verb returns relay.set, which answers with the relay's name, whether it is on now, and whether that is a change.
func (b *Bank) Verb() actuators.Verb {
	return actuators.Verb{
		Name: "relay.set",
		Help: "switch a relay on or off",
		Params: []actuators.Param{
			{Name: "name", Kind: actuators.Text, Required: true, Choices: b.names, Help: "which relay"},
			{Name: "on", Kind: actuators.Truth, Required: true, Help: "true closes it"},
		},
		Do: func(_ context.Context, args actuators.Args) (actuators.Result, error) {
			name, on := args.Text("name"), args.Truth("on")
			changed, err := b.Set(name, on)
			if err != nil {
				return nil, err
			}
			return actuators.Result{"name": name, "on": on, "changed": changed}, nil
		},
	}
}

// Set switches the named relay and reports whether that was a change; a level it already has is driven again. The
// error is actuators.ErrLocked, with the time left, while an interlock holds.
func (b *Bank) Set(name string, on bool) (changed bool, err error) {
	relays := <-b.relays
	defer func() { b.relays <- relays }()
	s, ok := relays[name]
	if !ok {
		return false, fmt.Errorf("relay %q: %w", name, actuators.ErrInvalid)
	}
	now := b.clock.Now()
	changed = !s.known || s.on != on
	if changed {
		if err := s.locked(now); err != nil {
			return false, fmt.Errorf("relay %s: %w", name, err)
		}
		s.since, s.changes = now, append(s.changes, now)
	}
	if err := s.Line.Drive(on); err != nil {
		s.known = false
		return false, fmt.Errorf("relay %s: drive line: %w", name, err)
	}
	s.on, s.known = on, true
	return changed, nil
}

// State returns which relays are on. One whose line did not obey is left out.
func (b *Bank) State() map[string]bool {
	relays := <-b.relays
	defer func() { b.relays <- relays }()
	on := make(map[string]bool, len(relays))
	for name, s := range relays {
		if s.known {
			on[name] = s.on
		}
	}
	return on
}

// locked returns why the relay may not change now. One in an unknown state has to outlast both times.
func (s *state) locked(now time.Time) error {
	hold, what := s.MinOff, "off"
	if s.on {
		hold, what = s.MinOn, "on"
	}
	if !s.known {
		hold, what = max(s.MinOn, s.MinOff), "in doubt"
	}
	if left := hold - now.Sub(s.since); left > 0 {
		return fmt.Errorf("%w: %s for at least %v, %v more", actuators.ErrLocked, what, hold, left.Round(time.Millisecond))
	}
	s.changes = slices.DeleteFunc(s.changes, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if s.MaxPerMinute > 0 && len(s.changes) >= s.MaxPerMinute {
		left := time.Minute - now.Sub(s.changes[0])
		return fmt.Errorf("%w: %d changes within a minute, %v more", actuators.ErrLocked, s.MaxPerMinute, left.Round(time.Millisecond))
	}
	return nil
}
