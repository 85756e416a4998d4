// Package pins is a driver: it reads GPIO lines, and tells and counts their edges.
package pins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/board"
	"holdfast/collectors"
)

// Pins is the source "gpio": one sample a line, with the line's name as instance and the fields level (0 or 1) and high
// (true or false), or error where the line cannot be read, because it is busy or its chip is gone; and of an input whose
// edges somebody counts (board.Counter) edges_count, rising_count, falling_count and lost_count.
type Pins struct {
	lines map[string]board.Line
	names []string
}

// New returns the source of these lines. The lines stay the caller's; the map must not be changed any more.
func New(lines map[string]board.Line) *Pins {
	return &Pins{lines: lines, names: slices.Sorted(maps.Keys(lines))}
}

// Name implements collectors.Source.
func (*Pins) Name() string { return "gpio" }

// Collect implements collectors.Source. A line that cannot be read does not keep the others from being read; what is
// wrong is told in its own sample, and in the error.
func (p *Pins) Collect(ctx context.Context, emit collectors.Emit) error {
	if len(p.names) == 0 {
		return fmt.Errorf("gpio lines: %w", collectors.ErrNoData)
	}
	var faults []error
	for _, name := range p.names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		high, err := p.lines[name].Read()
		s := collectors.Sample{Source: "gpio", Instance: name}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %s: %w", name, err))
			s.Str("error", err.Error())
		} else {
			s = level(s, high)
		}
		emit(p.counted(s))
	}
	return errors.Join(faults...)
}

// counted adds the counts of the line's edges.
func (p *Pins) counted(s collectors.Sample) collectors.Sample {
	l, can := p.lines[s.Instance].(board.Counter)
	if !can {
		return s
	}
	if c, known := l.Counts(); known {
		s.Num("edges_count", float64(c.Rising+c.Falling)).Num("rising_count", float64(c.Rising))
		s.Num("falling_count", float64(c.Falling)).Num("lost_count", float64(c.Lost))
	}
	return s
}
