// Package pins is a driver: it reads GPIO lines, and makes lines of periph's pins.
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
// (true or false), or error where the line cannot be read, because it is busy or its chip is gone.
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
			emit(*s.Str("error", err.Error()))
			continue
		}
		level := 0.0
		if high {
			level = 1
		}
		s.Fields = []collectors.Field{{Name: "level", Value: collectors.Number(level)}, {Name: "high", Value: collectors.Bool(high)}}
		emit(s)
	}
	return errors.Join(faults...)
}
