// Package sensors is a driver: it reads what the kernel's own drivers measure, one source a file, from /sys below any root
// directory.
//
// A sensor's fault is data, not an error: the sample then has a field "fault" (see collectors/doubt) in the place of the
// value that cannot be believed. A sensor that never answered is no sensor yet, and is left out.
//
// A source keeps what it found, so it belongs to one caller at a time; collectors.Run sees to that.
package sensors

import (
	"errors"
	"fmt"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
)

// Options say where sensors are and what is believed of them. The zero value is the running machine.
type Options struct {
	Root  string           // directory below which sys lies; empty is "/"
	Now   func() time.Time // nil is time.Now
	Rules doubt.Rules      // what is believed beside what a kind of sensor can measure
}

// All returns every source of this package, always in the same order.
func All(o Options) []collectors.Source {
	if o.Now == nil {
		o.Now = time.Now
	}
	return []collectors.Source{
		&gauges{Options: o, name: "temperature", find: temperatures},
		&gauges{Options: o, name: "hwmon", find: chips},
		&gauges{Options: o, name: "iio", find: converters},
		&gauges{Options: o, name: "w1", find: wires},
		&things{Options: o, name: "cooling", dirs: "sys/class/thermal", prefix: "cooling_device", take: cooling},
		&things{Options: o, name: "power_supply", dirs: "sys/class/power_supply", take: supply},
		&things{Options: o, name: "flash", dirs: "sys/block", prefix: "mmcblk", below: "/device", more: ufs, take: flash},
	}
}

// The bounds of what is listed.
const (
	maxInstances = 64 // of one source
	maxEntries   = 1024
	labelBytes   = 64
)

// How long a list is believed: drivers load seldom, and a walk through /sys costs more than all sensors. While a sensor is
// gone it may come back under another number.
const (
	relistAfter = 10 * time.Minute
	seekAfter   = time.Minute
)

// A tally sums up a round: what failed is reported, what is absent only if nothing else was there.
type tally struct {
	spoke  bool
	faults []error
}

func (t *tally) fault(path string, err error) {
	if len(t.faults) < 8 { // the text is cut at 200 bytes anyway
		t.faults = append(t.faults, fmt.Errorf("read %s: %w", path, err))
	}
}

func (t *tally) verdict(absent string) error {
	switch {
	case len(t.faults) > 0:
		return errors.Join(t.faults...)
	case !t.spoke:
		return fmt.Errorf("%w: %s", collectors.ErrNoData, absent)
	}
	return nil
}

// fieldsOf starts a sample with room for n fields: appending to nothing would allocate four times.
func fieldsOf(source, instance string, n int) collectors.Sample {
	return collectors.Sample{Source: source, Instance: instance, Fields: make([]collectors.Field, 0, n)}
}

func truth(s *collectors.Sample, name string, v bool) {
	s.Fields = append(s.Fields, collectors.Field{Name: name, Value: collectors.Bool(v)})
}
