package agent

import (
	"time"

	"holdfast/agent/digest"
	"holdfast/collectors"
)

// maxSeries bounds the series that are kept for digests and deadbands: a board has a few dozen, a storm of instances
// must not grow memory. A sample beyond it passes unreduced.
const maxSeries = 256

// reducer stands between the samples and the batch: it holds back what did not move, and turns a window of readings into
// one sample.
type reducer struct {
	series map[series]*reduced
}

type series struct{ source, instance string }

// reduced is what is remembered of one series.
type reduced struct {
	began   time.Time         // of the window
	windows []digest.Window   // by position of the field
	gates   []digest.Gate     // by position of the field
	last    collectors.Sample // names and texts of the window's latest
	count   int
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

// moved reports whether any field moved out of its deadband, or any text changed.
func (one *reduced) moved(s *collectors.Sample, deadband float64, silence time.Duration) bool {
	moved := len(one.last.Fields) != len(s.Fields)
	for len(one.gates) < len(s.Fields) {
		one.gates = append(one.gates, digest.Gate{Relative: deadband, Silence: silence})
	}
	for i, f := range s.Fields {
		if n, ok := f.Value.Number(); ok {
			if one.gates[i].Relative != deadband {
				one.gates[i] = digest.Gate{Relative: deadband, Silence: silence}
			}
			moved = one.gates[i].Pass(s.Time, n) || moved
		} else if i >= len(one.last.Fields) || one.last.Fields[i].Value != f.Value {
			moved = true
		}
	}
	one.last = *s
	return moved
}

// digest adds a reading to the window, and closes the window when its time has come.
func (one *reduced) digest(s collectors.Sample, window time.Duration) (out collectors.Sample, ok bool) {
	if one.count > 0 && s.Time.Sub(one.began) >= window {
		out, ok = one.close(), true
		one.began = s.Time
	}
	if one.count == 0 {
		one.began = s.Time
	}
	one.last = s
	one.count++
	for len(one.windows) < len(s.Fields) {
		one.windows = append(one.windows, digest.Window{})
	}
	for i, f := range s.Fields {
		if n, isNumber := f.Value.Number(); isNumber {
			one.windows[i].Add(n)
		}
	}
	return out, ok
}

// close returns the window's digest: for each numeric field its mean under the field's name and the rest beside it, and
// the latest text and truth of the others.
func (one *reduced) close() collectors.Sample {
	s := collectors.Sample{Source: one.last.Source, Instance: one.last.Instance, Time: one.last.Time,
		Trusted: one.last.Trusted, Fields: make([]collectors.Field, 0, 6*len(one.last.Fields)+2)}
	s.Num("window_seconds", one.last.Time.Sub(one.began).Seconds())
	s.Num("readings_count", float64(one.count))
	for i, f := range one.last.Fields {
		if _, isTruth := f.Value.Bool(); isTruth || i >= len(one.windows) {
			s.Fields = append(s.Fields, f)
			continue
		}
		if _, isText := f.Value.Text(); isText {
			s.Fields = append(s.Fields, f)
			continue
		}
		w := one.windows[i].Summary()
		s.Num(f.Name, w.Mean)
		s.Num(f.Name+"_min", w.Min).Num(f.Name+"_max", w.Max)
		s.Num(f.Name+"_p50", w.P50).Num(f.Name+"_p95", w.P95).Num(f.Name+"_p99", w.P99)
		one.windows[i].Reset()
	}
	one.count = 0
	return s
}

// flush returns the digests of all windows that are open, for an orderly stop.
func (r *reducer) flush(emit func(collectors.Sample)) {
	for _, one := range r.series {
		if one.count > 0 {
			emit(one.close())
		}
	}
	clear(r.series)
}
