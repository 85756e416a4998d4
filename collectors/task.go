package collectors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
	"unicode/utf8"
)

// How streams are restarted.
const (
	leastPause  = time.Second
	mostPause   = time.Minute
	absentPause = 10 * time.Minute // where there is nothing to stream
	settle      = 10 * time.Second // a stream that has run this long is ok, even if it has nothing to say
	longLife    = time.Minute      // a stream that has run this long starts again after the least pause
)

// errorBytes is the longest error text in a sample.
const errorBytes = 200

var (
	errTooLong = errors.New("takes longer than it may")
	errTooMany = fmt.Errorf("more than %d samples in one reading", mostSamples)
	errEnded   = errors.New("stream ended")
	errLeft    = errors.New("left its goroutine")
)

// The states of a task, as samples spell them.
const (
	stateOK      = "ok"
	stateFailing = "failing"
	stateHung    = "hung"
	stateAbsent  = "absent"
)

// A task is a source or a stream as the loop sees it.
type task struct {
	name   string
	do     func(context.Context, Emit) error
	period time.Duration // 0 for a stream

	next    time.Time // of the next reading or start
	pause   time.Duration
	turn    uint64 // counts the readings, so that a message of an old one is known
	started time.Time
	samples int // of this reading
	cancel  context.CancelFunc
	running bool
	late    bool // this reading has been given up: what it still says is dropped
	off     bool // switched off, and kept until it returns
	health
}

// A health is what is known about how a task does.
type health struct {
	state    string
	failures int // in a row
	unsaid   int // notes since the last sample about it
}

// wake returns when the loop has to look at t, zero for never.
func (t *task) wake(limit time.Duration) time.Time {
	switch {
	case !t.running || t.late:
		return t.next
	case t.period > 0:
		return t.started.Add(limit)
	case t.state != stateOK:
		return t.started.Add(settle)
	}
	return time.Time{}
}

// rest sets when a stream that returned is started again.
func (t *task) rest(now time.Time, err error) {
	switch {
	case errors.Is(err, ErrNoData):
		t.pause = absentPause
	case now.Sub(t.started) >= longLife || t.pause > mostPause:
		t.pause = leastPause
	default:
		t.pause = min(max(2*t.pause, leastPause), mostPause)
	}
	t.next = now.Add(t.pause)
}

// reading reports whether the task is a reading under way that may still end in time.
func (t *task) reading() bool { return t.running && t.period > 0 && !t.late && !t.off }

// round says that the readings that began together are over.
func (l *loop) round() {
	l.began = time.Time{}
	if l.Round != nil {
		l.Round()
	}
}

// start begins a reading. Its goroutine ends with a message that nobody but the loop takes.
func (l *loop) start(t *task, now time.Time) {
	ctx, cancel := context.WithCancel(l.ctx)
	if t.period > 0 {
		if !l.began.IsZero() && now.After(l.began) {
			l.round()
		}
		l.began = now
	}
	t.turn++
	t.started, t.samples, t.late, t.running, t.cancel = now, 0, false, true, cancel
	if t.period > 0 {
		t.next = l.grid(now, t.period)
	}
	l.running++
	turn, do := t.turn, t.do
	emit := func(s Sample) {
		if ctx.Err() != nil {
			return
		}
		s.Time, s.Trusted = l.Clock.Now(), l.Clock.Trusted()
		select {
		case l.messages <- message{from: t, turn: turn, sample: s}:
		case <-ctx.Done():
		}
	}
	go func() {
		end := message{from: t, turn: turn, done: true, err: errLeft}
		defer func() {
			if v := recover(); v != nil {
				end.err = &fault{value: v, stack: debug.Stack()}
			}
			cancel() // before the message: what is emitted from here on comes too late
			select {
			case l.messages <- end:
			case <-l.gone:
			}
		}()
		end.err = do(ctx, emit)
	}()
}

// A fault is a panic of a source.
type fault struct {
	value any
	stack []byte
}

func (f *fault) Error() string { return fmt.Sprintf("panic: %v", f.value) }

// note takes down how a reading went, and says so when it is news or when it has been bad for long.
func (l *loop) note(t *task, state string, err error) {
	changed := state != t.state
	t.state = state
	switch state {
	case stateOK, stateAbsent:
		t.failures = 0
	default:
		t.failures++
	}
	t.unsaid++
	if !changed && (state == stateOK || state == stateAbsent || t.unsaid < repeatEvery) {
		return
	}
	t.unsaid = 0
	s := Sample{Source: "collector", Instance: t.name, Time: l.Clock.Now(), Trusted: l.Clock.Trusted()}
	s.Str("state", state)
	if err != nil {
		s.Str("error", clip(err.Error(), errorBytes))
	}
	s.Num("failures_count", float64(t.failures))
	if changed {
		l.log(t, err)
	}
	l.deliver(s)
}

func (l *loop) log(t *task, err error) {
	level := slog.LevelWarn
	if t.state == stateOK || t.state == stateAbsent {
		level = slog.LevelInfo
	}
	attrs := []any{"source", t.name, "state", t.state}
	if err != nil {
		attrs = append(attrs, "reason", err)
	}
	if f := (*fault)(nil); errors.As(err, &f) {
		attrs = append(attrs, "stack", string(f.stack))
	}
	l.Log.Log(l.ctx, level, "collector changed state", attrs...)
}

// clip shortens s to at most n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
