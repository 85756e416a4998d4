package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"holdfast/remediate/epl"
)

// A Match is rows that a rule put out together.
type Match struct {
	Rule string           `json:"rule"`
	Time any              `json:"time"` // in milliseconds, or of RFC 3339, as that of the first event was
	New  []map[string]any `json:"new"`
	Old  []map[string]any `json:"old,omitempty"`
}

// A Tally is what came of events.
type Tally struct {
	Events    int `json:"events"`
	Backwards int `json:"backwards"` // events whose time was before that of an earlier one; they count as of then
	Matches   int `json:"matches"`
	Overflows int `json:"overflows"`
}

// A run is rules that are given events.
type run struct {
	engine *epl.Engine
	tally  Tally
	wall   bool
	begun  bool
	last   int64
	before func(Event) // is told of each event, when the time is there
}

// step is how far the time moves before it is looked whether to go on, in milliseconds.
const step = 60_000

// take gives the rules an event. The first sets the time, and only then do the rules begin.
func (r *run) take(ctx context.Context, e Event, begin func() error) error {
	if !r.begun {
		r.begun, r.wall, r.last = true, e.Wall, e.Millis
		r.engine.Advance(e.Millis)
		if err := begin(); err != nil {
			return err
		}
	}
	if e.Wall != r.wall {
		return errors.New("times in milliseconds and of RFC 3339 in one file")
	}
	if e.Millis < r.last {
		r.tally.Backwards++
	} else if err := r.until(ctx, e.Millis); err != nil {
		return err
	}
	if r.before != nil {
		r.before(e)
	}
	if e.Type == "" {
		return nil
	}
	r.tally.Events++
	return send(r.engine, e)
}

// until moves the time, and stops wherever something is due.
func (r *run) until(ctx context.Context, millis int64) error {
	for r.last < millis {
		if err := ctx.Err(); err != nil {
			return err
		}
		due, ok := r.engine.Due()
		if !ok || due > millis {
			due = millis
		}
		r.last = min(millis, max(r.last, due)+step)
		r.engine.Span(r.last)
	}
	return nil
}

func (r *run) time(millis int64) any {
	if r.wall {
		return time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05.999Z07:00")
	}
	return millis
}

// match is what a rule put out, as JSON has it.
func (r *run) match(out epl.Output) Match {
	m := Match{Rule: out.Rule.Name, Time: r.time(out.Time), New: []map[string]any{}}
	for _, row := range out.New {
		m.New = append(m.New, values(out.Rule.Columns(), row))
	}
	for _, row := range out.Old {
		m.Old = append(m.Old, values(out.Rule.Columns(), row))
	}
	return m
}

// all gives the rules every event of a reader, and the time until so much after the last.
func (r *run) all(ctx context.Context, files []string, events *Reader, rest time.Duration) error {
	begin := func() error { return deploy(r.engine, files) }
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := r.take(ctx, e, begin); err != nil {
			if broken := (Broken)(nil); errors.As(err, &broken) || ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("%s:%d: %w", events.name, e.Line, err)
		}
	}
	if !r.begun {
		if err := begin(); err != nil {
			return err
		}
	}
	if err := r.until(ctx, r.last+rest.Milliseconds()); err != nil {
		return err
	}
	for _, rule := range r.engine.Rules() {
		r.tally.Overflows += int(rule.Standing().Overflows)
	}
	return nil
}

// Test gives the rules of a file events, and hands on what they match. The rules begin at the time of the first event; after
// the last one, the time goes on for rest.
func Test(ctx context.Context, o Options, files []string, events *Reader, rest time.Duration, match func(Match) error) (Tally, error) {
	r := &run{}
	var told error
	engine, err := o.engine(epl.Options{Listener: func(out epl.Output) {
		if r.tally.Matches++; told == nil {
			told = match(r.match(out))
		}
	}})
	if err != nil {
		return r.tally, err
	}
	r.engine = engine
	err = r.all(ctx, files, events, rest)
	return r.tally, errors.Join(told, err)
}
