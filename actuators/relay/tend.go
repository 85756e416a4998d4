package relay

import (
	"context"
	"slices"
	"time"
)

const (
	retry   = time.Second            // between attempts at a line that does not obey
	refresh = 3 * time.Second        // between drives of the level a line has: an expander that lost its supply shows it again
	slow    = 100 * time.Millisecond // a drive takes microseconds, on a bus that hangs a second (i2c_adapter.timeout)
)

// Run ends pulses, brings the outputs to their safe levels when beats stay away, and tries lines again that did not obey,
// until ctx ends. Then it drives every output to its shutdown level, and nothing can be set any more.
func (b *Bank) Run(ctx context.Context) error {
	for {
		fired, stop := b.o.Clock.Timer(b.tend())
		if b.o.Progress != nil {
			b.o.Progress()
		}
		select {
		case <-fired:
		case <-b.wake:
			stop()
		case <-ctx.Done():
			stop()
			t := <-b.table
			b.bring(t, b.o.Clock.Now(), "shutdown", func(s *state) bool { return s.Shutdown })
			t.over = true
			b.table <- t
			return nil
		}
	}
}

// tend does what is due, and returns how long nothing will be.
func (b *Bank) tend() time.Duration {
	t := <-b.table
	defer func() { b.table <- t }()
	now := b.o.Clock.Now()
	if b.o.Silence > 0 && !t.silent && now.Sub(t.beaten) >= b.o.Silence {
		t.silent, t.since = true, now
		if t.heard {
			t.silences++
			b.o.Log.Warn("no sign of life from the agent; the outputs are driven to their safe levels", "for", now.Sub(t.beaten))
		}
		b.bring(t, now, "safe", func(s *state) bool { return s.Safe })
	}
	next := now.Add(refresh)
	due := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	for _, name := range b.names {
		s := t.relays[name]
		if !s.until.IsZero() && !now.Before(s.until) {
			b.finish(t, s, now)
		}
		if s.known && t.silent && s.on != s.Safe && (s.on || t.against(s) == "") { // one that it excludes was in the way
			b.drive(s, s.Safe, now)
			s.safe = s.known
		}
	}
	if !b.upkeep(t, now) {
		due(now)
	}
	for _, s := range t.relays {
		if !s.until.IsZero() {
			due(s.until)
		}
		if !s.known {
			due(s.driven.Add(retry))
		}
	}
	if b.o.Silence > 0 && !t.silent {
		due(t.beaten.Add(b.o.Silence))
	}
	return max(next.Sub(b.o.Clock.Now()), time.Millisecond)
}

// upkeep drives lines again, those first that have waited longest, and reports whether it came to an end. One that is slow
// ends it: neither beats nor the end of a pulse wait for more than one line of a bus that hangs.
func (b *Bank) upkeep(t *table, now time.Time) (all bool) {
	longest := func(x, y string) int { return t.relays[x].driven.Compare(t.relays[y].driven) }
	for _, name := range slices.SortedStableFunc(slices.Values(b.names), longest) {
		s := t.relays[name]
		switch idle := now.Sub(s.driven); {
		case !s.known && idle >= retry:
			b.mend(t, s, now)
		case s.known && idle >= refresh:
			b.drive(s, s.on, now)
		}
		if b.o.Clock.Now().Sub(now) > slow {
			return false
		}
	}
	return true
}

// finish ends a pulse or the longest time on.
func (b *Bank) finish(t *table, s *state, now time.Time) {
	s.until = time.Time{}
	if !s.known { // mended, to the safe level
		return
	}
	if other := t.against(s); !s.on && other != "" {
		b.o.Log.Warn("a pulse ends and the output stays off", "relay", s.name, "excludes", other)
		return
	}
	b.drive(s, !s.on, now)
	s.bound()
}

// mend brings a line that did not obey to its safe level. Once it obeys, what it was told before is void.
func (b *Bank) mend(t *table, s *state, now time.Time) {
	if s.Safe && t.against(s) != "" {
		s.driven = now
		return
	}
	if b.drive(s, s.Safe, now); s.known {
		s.safe, s.until = true, time.Time{}
		t.resets++
		b.o.Log.Info("an output obeys again", "relay", s.name, "on", s.on)
	}
}

// bring drives every output to the level that level says, whatever its interlock: first those that obeyed, so that they do
// not wait for a bus that hangs; of these first those that go off, and of those that go on none beside one it excludes.
func (b *Bank) bring(t *table, now time.Time, which string, level func(*state) bool) {
	t.resets++
	rank := func(name string) (n int) {
		s := t.relays[name]
		if !s.known {
			n += 2
		}
		if level(s) {
			n++
		}
		return n
	}
	for _, name := range slices.SortedStableFunc(slices.Values(b.names), func(x, y string) int { return rank(x) - rank(y) }) {
		s := t.relays[name]
		on := level(s)
		s.until = time.Time{}
		if other := t.against(s); on && other != "" {
			b.o.Log.Error("an output stays as it is", "relay", name, "level", which, "excludes", other)
			continue
		}
		b.drive(s, on, now)
		s.safe = s.known && which == "safe"
		s.bound()
	}
}

// drive tells the line its level, whatever its interlock.
func (b *Bank) drive(s *state, on bool, now time.Time) {
	err := s.Line.Drive(on)
	if s.driven = b.o.Clock.Now(); s.driven.Sub(now) > slow && b.o.Progress != nil {
		b.o.Progress() // it did not hang for good
	}
	if err != nil {
		if s.fault == nil {
			b.o.Log.Error("an output does not obey; tried again", "relay", s.name, "err", err)
		}
		if s.known {
			s.since = now
		}
		s.known, s.fault = false, err
		return
	}
	if !s.known || s.on != on {
		s.switched(now)
	}
	s.on, s.known, s.fault = on, true, nil
}
