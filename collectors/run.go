package collectors

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"holdfast/board"
)

// The bounds of the loop.
const (
	leastPeriod  = 100 * time.Millisecond
	mostDeadline = 10 * time.Second
	grace        = 2 * time.Second
	absentPace   = 10   // periods between two questions to a source that has no data
	repeatEvery  = 10   // periods between two reports of a source that stays broken
	mostSamples  = 4096 // from one reading
)

// A Runner takes each source at its period and keeps the streams running. Set the fields before Run.
//
// A source that hangs, fails or panics does not stop the others. It shows as a sample of source "collector" whose
// instance is its name, with the fields state ("ok", "failing", "hung" or "absent"), error (a text of at most 200 bytes,
// absent when ok) and failures_count (readings in a row without success): at each change of state, and at every tenth
// period while it is failing or hung. A source is ok until it shows otherwise.
type Runner struct {
	Clock   board.Clock
	Log     *slog.Logger // nil: no log
	Sources []Schedule   // names are unique; of two with the same name the first counts
	Streams []Stream
	// Changes brings a new set of sources, in place of the present one. A source whose name stays is not disturbed: it
	// keeps its rhythm while its period stays, and its hung reading. Give the channel room for one, so that the sender
	// need not wait for the loop. nil: the set never changes.
	Changes <-chan []Schedule
	// Round is called where emit is when the readings that began together are over, but for those that hang, and at the
	// latest when the next begin: what is known then is the present. nil: nobody wants to know.
	Round func()
	// Deadline is how long a reading may take, 10 s when 0, and never more than the source's period. Time in which emit
	// blocked does not count.
	Deadline time.Duration
	// Grace is how long Run waits at its end for what still runs, 2 s when 0.
	Grace time.Duration
}

// Run reads every source at once and then at its period, on a grid that begins with Run: sources of equal periods are
// read together, and no rhythm drifts. It calls emit from its own goroutine only, and hands the samples over with their
// fields. It returns the cause of ctx's end, after everything it started has returned, or, where a source hangs, after
// the grace.
func (r *Runner) Run(ctx context.Context, emit Emit) error {
	l := &loop{Runner: *r, ctx: ctx, emit: emit, messages: make(chan message), gone: make(chan struct{})}
	defer close(l.gone)
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	if l.Deadline <= 0 {
		l.Deadline = mostDeadline
	}
	if l.Grace <= 0 {
		l.Grace = grace
	}
	l.origin = l.Clock.Now()
	l.reschedule(r.Sources, l.origin)
	for _, s := range r.Streams {
		l.tasks = append(l.tasks, &task{name: s.Name(), do: s.Stream, next: l.origin, health: health{state: stateOK}})
	}
	return l.run()
}

// A loop is one Run. Everything in it belongs to the goroutine of Run; readings talk to it through messages.
type loop struct {
	Runner
	ctx      context.Context
	emit     Emit
	origin   time.Time
	tasks    []*task
	running  int
	began    time.Time     // of the readings that Round has not been called for; zero when there are none
	messages chan message  // no room: a stream waits while the receiver of its samples is busy
	gone     chan struct{} // closed when nobody receives messages any more
}

// A message is one sample of a reading, or its end.
type message struct {
	from   *task
	turn   uint64
	sample Sample
	done   bool
	err    error
}

func (l *loop) run() error {
	var fired <-chan time.Time
	var armed time.Time
	stop := func() {}
	defer func() { stop() }()
	for {
		now := l.Clock.Now()
		wake := l.turn(now)
		if !l.began.IsZero() && !slices.ContainsFunc(l.tasks, (*task).reading) {
			l.round()
		}
		if !wake.Equal(armed) {
			stop()
			fired, stop, armed = nil, func() {}, wake
			if !wake.IsZero() {
				fired, stop = l.Clock.Timer(wake.Sub(now))
			}
		}
		select {
		case <-l.ctx.Done():
			return l.end()
		case s, open := <-l.Changes:
			if !open {
				l.Changes = nil
				continue
			}
			l.reschedule(s, l.Clock.Now())
		case m := <-l.messages:
			l.receive(m)
		case <-fired:
			armed = time.Time{}
		}
	}
}

// turn starts what is due, gives up what takes too long, and returns when it has to be called again; zero for never.
func (l *loop) turn(now time.Time) (wake time.Time) {
	for _, t := range l.tasks {
		if t.off {
			continue
		}
		if t.running {
			l.watch(t, now)
		} else if !now.Before(t.next) {
			l.start(t, now)
		}
		if w := t.wake(l.limit(t)); !w.IsZero() && (wake.IsZero() || w.Before(wake)) {
			wake = w
		}
	}
	return wake
}

// watch looks after a task that runs.
func (l *loop) watch(t *task, now time.Time) {
	switch {
	case t.period == 0:
		if t.state != stateOK && now.Sub(t.started) >= settle {
			l.note(t, stateOK, nil)
		}
	case !t.late:
		if now.Sub(t.started) >= l.limit(t) {
			t.late = true
			t.cancel()
			if !now.Before(t.next) {
				t.next = l.grid(now, t.period)
			}
			l.note(t, stateHung, errTooLong)
		}
	case !now.Before(t.next):
		t.next = l.grid(now, t.period)
		l.note(t, stateHung, errTooLong)
	}
}

// limit returns how long a reading of t may take.
func (l *loop) limit(t *task) time.Duration { return min(l.Deadline, t.period) }

// receive takes what a reading says.
func (l *loop) receive(m message) {
	t := m.from
	switch {
	case m.turn != t.turn: // from a reading that has ended
	case m.done:
		l.finish(t, m.err)
	case t.late || t.off: // it had been given up
	case t.period > 0 && t.samples >= mostSamples:
		t.samples++
	default:
		t.samples++
		if t.period == 0 && t.state != stateOK {
			l.note(t, stateOK, nil)
		}
		l.deliver(m.sample)
	}
}

// finish ends a reading, or one life of a stream.
func (l *loop) finish(t *task, err error) {
	now := l.Clock.Now()
	t.running = false
	l.running--
	if t.off {
		l.tasks = slices.DeleteFunc(l.tasks, func(other *task) bool { return other == t })
		return
	}
	if t.period == 0 {
		t.rest(now, err)
		if err == nil {
			err = errEnded
		}
	}
	switch {
	case t.late: // it is hung until a reading succeeds
	case errors.Is(err, ErrNoData):
		if t.period > 0 {
			t.next = l.grid(now, absentPace*t.period)
		}
		l.note(t, stateAbsent, err)
	case err == nil && t.period > 0 && t.samples > mostSamples:
		l.note(t, stateFailing, errTooMany)
	case err != nil:
		l.note(t, stateFailing, err)
	default:
		l.note(t, stateOK, nil)
	}
}

// deliver hands a sample on. While the receiver blocks the loop cannot take samples, and that is no reading's fault.
func (l *loop) deliver(s Sample) {
	before := l.Clock.Now()
	l.emit(s)
	took := l.Clock.Now().Sub(before)
	if took < 10*time.Millisecond {
		return
	}
	for _, t := range l.tasks {
		if t.running && t.period > 0 {
			t.started = t.started.Add(took)
		}
	}
}

// reschedule puts set in place of the present sources.
func (l *loop) reschedule(set []Schedule, now time.Time) {
	kept := make(map[*task]bool, len(set))
	for _, s := range set {
		if s.Source == nil || s.Period <= 0 {
			continue
		}
		name, period := s.Source.Name(), max(s.Period, leastPeriod)
		i := slices.IndexFunc(l.tasks, func(t *task) bool { return t.name == name && t.period > 0 })
		if i < 0 {
			l.tasks = append(l.tasks, &task{name: name, period: period, next: now, health: health{state: stateOK}})
			i = len(l.tasks) - 1
		}
		t := l.tasks[i]
		if kept[t] {
			l.Log.Warn("source left out", "source", name, "reason", "a second one with this name")
			continue
		}
		kept[t] = true
		t.do = s.Source.Collect
		switch {
		case t.off: // it was switched off and has not returned yet
			t.off, t.period, t.next, t.health = false, period, now, health{state: stateOK}
		case t.period != period:
			t.period = period
			if t.next = l.grid(now, period); now.Sub(t.started) >= period {
				t.next = now
			}
		}
	}
	l.tasks = slices.DeleteFunc(l.tasks, func(t *task) bool {
		if t.period == 0 || kept[t] {
			return false
		}
		if t.running {
			t.off, t.late = true, true // until it returns, so that it is never called twice at a time
			t.cancel()
		}
		return !t.running
	})
}

// grid returns the next reading's time: the next multiple of the period, or the one after when that is too near.
func (l *loop) grid(now time.Time, period time.Duration) time.Time {
	since := now.Sub(l.origin)
	next := since - since%period + period
	if next-since < period/2 {
		next += period
	}
	return l.origin.Add(next)
}

// end waits for what still runs.
func (l *loop) end() error {
	over, stop := l.Clock.Timer(l.Grace)
	defer stop()
	for l.running > 0 {
		select {
		case m := <-l.messages:
			if m.done && m.turn == m.from.turn {
				m.from.running = false
				l.running--
			}
		case <-over:
			for _, t := range l.tasks {
				if t.running {
					l.Log.Warn("source left behind", "source", t.name, "after", l.Grace)
				}
			}
			return context.Cause(l.ctx)
		}
	}
	return context.Cause(l.ctx)
}
