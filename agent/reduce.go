package agent

import (
	"math"
	"slices"
	"time"

	"holdfast/agent/digest"
	"holdfast/collectors"
)

// Bounds of what is kept for digests and deadbands: a board has a few dozen series of a few fields each, and a storm of
// instances or names must not grow memory. What is beyond them passes unreduced, or is left out of the window.
const (
	maxSeries = 256
	maxFields = 128
)

// reducer stands between the samples and the batch: it holds back what did not move, and turns a window of readings into
// one sample.
type reducer struct {
	series map[series]*reduced
}

type series struct{ source, instance string }

// reduced is what is remembered of one series.
type reduced struct {
	began  time.Time // of the window
	fields []reducedField
	last   collectors.Sample // the latest reading
	count  int               // readings in the window
}

// reducedField is one field of a series. Readings of one source need not all have the same fields, so they are known by
// name; where they do, the place in the list is right at once.
type reducedField struct {
	name   string
	window digest.Window
	gate   digest.Gate
	used   bool             // in this window
	last   collectors.Value // of this window
	count  int              // readings of this window that had the text, or in which it was true
}

// pass takes a reading and returns what is to be sent of it now, if anything: the reading itself, or the digest of the
// window it closes.
func (r *reducer) pass(s collectors.Sample, window time.Duration, deadband float64, silence time.Duration) (collectors.Sample, bool) {
	if window == 0 && deadband == 0 {
		return s, true
	}
	key := series{s.Source, s.Instance}
	one := r.series[key]
	if one == nil {
		if r.series == nil {
			r.series = map[series]*reduced{}
		}
		if len(r.series) >= maxSeries {
			return s, true
		}
		one = &reduced{began: s.Time}
		r.series[key] = one
	}
	if window == 0 {
		return s, one.moved(&s, deadband, silence)
	}
	return one.digest(s, window)
}

// field finds the memory of the i-th field of a reading, nil when there is no room for another.
func (one *reduced) field(i int, name string) *reducedField {
	if i < len(one.fields) && one.fields[i].name == name {
		return &one.fields[i]
	}
	if at := slices.IndexFunc(one.fields, func(f reducedField) bool { return f.name == name }); at >= 0 {
		return &one.fields[at]
	}
	if len(one.fields) >= maxFields {
		return nil
	}
	one.fields = append(one.fields, reducedField{name: name})
	return &one.fields[len(one.fields)-1]
}

// moved reports whether any field moved out of its deadband, came or went, or any text changed.
func (one *reduced) moved(s *collectors.Sample, deadband float64, silence time.Duration) bool {
	moved := len(one.last.Fields) != len(s.Fields)
	for i, f := range s.Fields {
		before, had := one.last.Field(f.Name)
		n, isNumber := f.Value.Number()
		if !had || !isNumber {
			moved = moved || before != f.Value || !had
		}
		if !isNumber {
			continue
		}
		memory := one.field(i, f.Name)
		if memory == nil {
			moved = true
			continue
		}
		if memory.gate.Relative != deadband || memory.gate.Silence != silence {
			memory.gate = digest.Gate{Relative: deadband, Silence: silence}
		}
		moved = memory.gate.Pass(s.Time, n) || moved
	}
	one.last = *s
	return moved
}

// digest adds a reading to the window, and closes the window when its time has come.
func (one *reduced) digest(s collectors.Sample, window time.Duration) (out collectors.Sample, ok bool) {
	if one.count > 0 && s.Time.Sub(one.began) >= window {
		out, ok = one.close(), true
	}
	if one.count == 0 {
		one.began = s.Time
	}
	one.last = s
	one.count++
	for i, f := range s.Fields {
		memory := one.field(i, f.Name)
		if memory == nil {
			continue
		}
		memory.used, memory.last = true, f.Value
		n, isNumber := f.Value.Number()
		switch yes, isTruth := f.Value.Bool(); {
		case isTruth && yes, !isNumber:
			memory.count++
		case !isTruth:
			memory.window.Add(n)
		}
	}
	return out, ok
}

// close returns the window's digest: for each number any of its readings had, its mean under the field's name and the
// rest beside it; of the others the latest text or truth, and how many readings had the text or were true where not all
// were: a fault must not be lost because the sensor mended before the window's end. What no reading had is forgotten.
func (one *reduced) close() collectors.Sample {
	s := collectors.Sample{Source: one.last.Source, Instance: one.last.Instance, Time: one.last.Time,
		Trusted: one.last.Trusted, Fields: make([]collectors.Field, 0, 6*len(one.last.Fields)+2)}
	s.Num("window_seconds", one.last.Time.Sub(one.began).Seconds())
	s.Num("readings_count", float64(one.count))
	one.fields = slices.DeleteFunc(one.fields, func(f reducedField) bool { return !f.used })
	for i := range one.fields {
		f := &one.fields[i]
		_, isText := f.last.Text()
		_, isTruth := f.last.Bool()
		switch w := f.window.Summary(); {
		case isText || isTruth:
			s.Fields = append(s.Fields, collectors.Field{Name: f.name, Value: f.last})
			if f.count > 0 && f.count < one.count {
				s.Num(f.name+"_count", float64(f.count))
			}
		case w.Count == 0: // readings that were no numbers: the window has no value either
			s.Num(f.name, math.NaN())
		default:
			s.Num(f.name, w.Mean).Num(f.name+"_min", w.Min).Num(f.name+"_max", w.Max)
			s.Num(f.name+"_p50", w.P50).Num(f.name+"_p95", w.P95).Num(f.name+"_p99", w.P99)
		}
		f.window.Reset()
		f.used, f.count = false, 0
	}
	one.count = 0
	return s
}

// flush returns the digests of all windows that are open, in order, for a change of the settings or a stop.
func (r *reducer) flush(emit func(collectors.Sample)) {
	keys := make([]series, 0, len(r.series))
	for key := range r.series {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareSeries)
	for _, key := range keys {
		if one := r.series[key]; one.count > 0 {
			emit(one.close())
		}
	}
	clear(r.series)
}

func compareSeries(a, b series) int {
	return slices.Compare([]string{a.source, a.instance}, []string{b.source, b.instance})
}
