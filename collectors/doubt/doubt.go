// Package doubt is a leaf: it says whether what a sensor answers can be believed.
//
// A sensor that broke seldom falls silent. It repeats itself, answers what its kind cannot measure, or answers with the
// value its registers have at power-on. Such a value is worse than none: it is left out, and its fault is reported in its place.
package doubt

import (
	"errors"
	"math"
	"path"
	"syscall"
)

// A Fault is what is wrong with a sensor, as the field "fault" of a sample spells it. It is empty where nothing is.
type Fault string

// The faults.
const (
	None       Fault = ""
	Stuck      Fault = "stuck"        // the same value, to the bit, for longer than noise allows
	OutOfRange Fault = "out_of_range" // what the sensor cannot measure, or the configuration does not believe
	Gone       Fault = "gone"         // it answered before, and does not now
	Mangled    Fault = "crc"          // the answer was damaged on its way
	PowerOn    Fault = "power_on"     // the value of a chip that has not measured since it was switched on
	Broken     Fault = "broken"       // the chip itself says that its sensor is open or shorted
)

// Limits say what can be believed of one measure. The zero value believes any number.
type Limits struct {
	Low, High  float64 // both 0: no bounds
	StuckAfter int     // equal readings in a row from which on the sensor is stuck; 0: never, as for what may stand still
}

// A Judge remembers one measure of one sensor. The zero value is ready.
type Judge struct {
	last float64
	same int // readings in a row that were last
}

// Judge takes a reading and returns what is wrong with it.
func (j *Judge) Judge(l Limits, v float64) Fault {
	if j.same > 0 && v == j.last {
		j.same = min(j.same+1, math.MaxInt32)
	} else {
		j.last, j.same = v, 1
	}
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return OutOfRange
	case (l.Low != 0 || l.High != 0) && (v < l.Low || v > l.High):
		return OutOfRange
	case l.StuckAfter > 0 && j.same >= l.StuckAfter:
		return Stuck
	}
	return None
}

// Last returns the reading before, if there was one.
func (j *Judge) Last() (v float64, ok bool) { return j.last, j.same > 0 }

// A Rule is what somebody who knows the place says of its sensors. Patterns are the shell's (path.Match); an empty one
// matches everything, a malformed one nothing.
type Rule struct {
	Source, Instance, Field string
	Low, High               *float64 // nil: what the chip can measure
	StuckAfter              int
}

// Rules are asked in their order: the first that matches counts.
type Rules []Rule

// Limits returns what is believed of a measure of which the chip's kind believes as physical says.
func (rs Rules) Limits(source, instance, field string, physical Limits) Limits {
	for _, r := range rs {
		if !matches(r.Source, source) || !matches(r.Instance, instance) || !matches(r.Field, field) {
			continue
		}
		l := physical
		if l.Low == 0 && l.High == 0 && (r.Low != nil || r.High != nil) {
			l.Low, l.High = -math.MaxFloat64, math.MaxFloat64
		}
		if r.Low != nil {
			l.Low = *r.Low
		}
		if r.High != nil {
			l.High = *r.High
		}
		l.StuckAfter = r.StuckAfter
		return l
	}
	return physical
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}

// Absent reports whether an error is a sensor that does not answer: no such file or device, or a bus on which nobody
// acknowledges (ENXIO or EREMOTEIO, as the adapter's driver has it), times out, does so in the middle (EIO), or has gone itself
// (ESHUTDOWN, of USB).
func Absent(err error) bool {
	if err == nil {
		return false
	}
	errno, bare := err.(syscall.Errno)
	if !bare && !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ENOENT, syscall.ENODEV, syscall.ENXIO, syscall.EREMOTEIO, syscall.EIO, syscall.ETIMEDOUT, syscall.ENOTDIR,
		syscall.ESHUTDOWN:
		return true
	}
	return false
}
