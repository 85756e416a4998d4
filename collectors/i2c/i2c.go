// Package i2c is a driver: it reads chips on I2C buses that no driver of the kernel has, through /dev/i2c-N and periph's
// drivers, and never through /dev/mem.
//
// Where the kernel has a driver for a chip, that is the better way: collectors/sensors then reads it without any right to
// the bus.
package i2c

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"periph.io/x/conn/v3/i2c"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/collectors/doubt"
)

// A Chip is one to be read.
type Chip struct {
	Name      string  // the instance of its samples
	Bus       string  // such as /dev/i2c-1
	Address   uint16  // 7 bits
	Kind      string  // one of Kinds
	FullScale float64 // of ads1115: the largest voltage; 0 is 4.096 V
	Shunt     float64 // of ina219: the resistor; 0 is 0.1 ohm
}

// Options say what New reads.
type Options struct {
	Chips []Chip
	Open  func(bus string) (i2c.BusCloser, error) // nil is Open
	Clock board.Clock                             // required
	Rules doubt.Rules                             // what is believed beside what a kind of chip can measure
}

// Chips is the source "i2c": a sample for each chip. It belongs to one caller at a time.
type Chips struct {
	Options
	buses map[string]i2c.BusCloser
	chips []*chip
}

// New returns the source of these chips. Nothing is opened before the first reading.
func New(o Options) *Chips {
	if o.Open == nil {
		o.Open = func(bus string) (i2c.BusCloser, error) { return Open(bus) }
	}
	cs := &Chips{Options: o, buses: map[string]i2c.BusCloser{}}
	for _, c := range o.Chips {
		cs.chips = append(cs.chips, &chip{Chip: c, judges: map[string]*verdict{}})
	}
	return cs
}

// A chip is one as the source remembers it.
type chip struct {
	Chip
	line   line
	read   reading // nil while it has to be set up
	judges map[string]*verdict
	fault  doubt.Fault // of the last reading as a whole
	err    error       // likewise
	seen   bool        // it has answered
	pause  time.Duration
	retry  time.Time // not before
}

// A verdict is what is believed of one measure, and what was seen of it.
type verdict struct {
	limits doubt.Limits
	judge  doubt.Judge
}

// A reading takes one from a chip that is set up, and puts what it measured.
type reading func(put func(field string, v float64, physical doubt.Limits)) error

// What a reading says of the chip as a whole.
var (
	errMangled    = errors.New("checksum is wrong")
	errPowerOn    = errors.New("has lost its settings")
	errOutOfRange = errors.New("more than it can measure")
	errEndless    = errors.New("does not come to an end of measuring")
)

// The pause before a chip that failed is set up again doubles from the least to the most; a bus with a chip that hangs takes
// a second for each question.
const (
	leastPause = time.Second
	mostPause  = time.Minute
)

// Name implements collectors.Source.
func (*Chips) Name() string { return "i2c" }

// Collect implements collectors.Source. A chip that does not answer is data, and asked again later. What is wrong with a bus or
// with the configuration is an error.
func (cs *Chips) Collect(ctx context.Context, emit collectors.Emit) error {
	if len(cs.chips) == 0 {
		return fmt.Errorf("i2c chips: %w", collectors.ErrNoData)
	}
	var faults []error
	for _, c := range cs.chips {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s := collectors.Sample{Source: "i2c", Instance: c.Name, Fields: make([]collectors.Field, 0, 4)}
		if now := cs.Clock.Now(); !now.Before(c.retry) {
			cs.take(ctx, c, &s, now)
		}
		if c.fault != doubt.None {
			s.Str("fault", string(c.fault))
		}
		if c.err != nil {
			faults = append(faults, fmt.Errorf("chip %s: %w", c.Name, c.err))
		}
		if len(s.Fields) > 0 {
			emit(s)
		}
	}
	return errors.Join(faults...)
}

// take sets the chip up where that is needed, and reads it into s.
func (cs *Chips) take(ctx context.Context, c *chip, s *collectors.Sample, now time.Time) {
	c.fault, c.err = doubt.None, nil
	wait := func(d time.Duration) error {
		if !board.Wait(ctx, cs.Clock, d) {
			return context.Cause(ctx)
		}
		return nil
	}
	err := cs.setUp(c, wait)
	if err == nil {
		c.line.begin(wait)
		err = c.read(func(field string, v float64, physical doubt.Limits) { cs.put(c, s, field, v, physical) })
	}
	if c.line.err != nil { // periph's drivers tell of it in words only
		err = c.line.err
	}
	switch {
	case err == nil:
		c.pause, c.seen = 0, true
		return
	case errors.Is(err, errMangled):
		c.fault = doubt.Mangled // one bad answer is no reason to set it up anew
		s.Fields = s.Fields[:0]
		return
	case errors.Is(err, errOutOfRange):
		c.fault = doubt.OutOfRange
		return
	case errors.Is(err, errPowerOn):
		c.fault = doubt.PowerOn
	case doubt.Absent(err) && (c.seen || cs.buses[c.Bus] != nil): // a bus that never was is a mistake; one that went is a cable
		c.fault = doubt.Gone
	default:
		c.err = err
	}
	s.Fields = s.Fields[:0]
	c.read = nil
	c.pause = min(max(2*c.pause, leastPause), mostPause)
	c.retry = now.Add(c.pause)
	if bus := cs.buses[c.Bus]; bus != nil && absentBus(err) {
		_ = bus.Close()
		delete(cs.buses, c.Bus)
	}
}

// setUp opens the bus and sets up the chip, where that has not been done.
func (cs *Chips) setUp(c *chip, wait func(time.Duration) error) error {
	c.line.err = nil
	bus := cs.buses[c.Bus]
	if bus == nil {
		var err error
		if bus, err = cs.Open(c.Bus); err != nil {
			c.read = nil
			return err
		}
		cs.buses[c.Bus] = bus
		for _, other := range cs.chips {
			if other.Bus == c.Bus {
				other.read = nil
			}
		}
	}
	if c.read != nil {
		return nil
	}
	kind, known := kinds[c.Kind]
	if !known {
		return fmt.Errorf("no such kind %q", c.Kind)
	}
	c.line = line{Bus: bus}
	c.line.begin(wait)
	read, err := kind(&c.line, c.Chip)
	if err == nil {
		c.read = read
	}
	return err
}

// put judges one measure and takes it into the sample, or what is wrong with it.
func (cs *Chips) put(c *chip, s *collectors.Sample, field string, v float64, physical doubt.Limits) {
	j := c.judges[field]
	if j == nil {
		j = &verdict{limits: cs.Rules.Limits("i2c", c.Name, field, physical)}
		c.judges[field] = j
	}
	f := j.judge.Judge(j.limits, v)
	switch {
	case f == doubt.None:
		s.Num(field, v)
	case c.fault == doubt.None:
		c.fault = f
		s.Str("fault_field", field)
	}
}

// celsius, and the like, are the same for several kinds.
const (
	celsius  = "temperature_celsius"
	humidity = "humidity_percent"
	volts    = "voltage_volts"
)

// either is what a measure can be to both sides of zero.
func either(v float64) doubt.Limits { return doubt.Limits{Low: -math.Abs(v), High: math.Abs(v)} }
