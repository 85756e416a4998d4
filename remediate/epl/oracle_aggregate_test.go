package epl

import (
	"math"
	"slices"
)

// oAggregate reports whether a call is an aggregate: min and max of one thing are.
func oAggregate(e *call) bool {
	switch e.fn {
	case "avg", "sum", "count", "stddev", "median", "avedev", "rate":
		return true
	case "min", "max":
		return len(e.args) == 1
	}
	return false
}

// aggregate is over all rows, from the first.
func (s *oScope) aggregate(e *call) any {
	if e.star {
		return int64(len(s.rows))
	}
	if e.fn == "rate" {
		return s.rate(e)
	}
	var all []any
	for _, r := range s.rows {
		inner := oScope{self: r.ev, tags: r.tags, names: s.names, now: s.now, limit: s.limit}
		if v := inner.eval(e.args[0]); v != nil {
			all = append(all, v)
		}
	}
	if e.fn == "count" {
		return int64(len(all))
	}
	if len(all) == 0 {
		return nil
	}
	switch e.fn {
	case "min", "max":
		best := all[0]
		for _, v := range all {
			if e.fn == "min" && oCompare(v, best) < 0 || e.fn == "max" && oCompare(v, best) > 0 {
				best = v
			}
		}
		return best
	case "sum":
		sum := all[0]
		for _, v := range all[1:] {
			sum = oArithmetic("+", sum, v)
		}
		return sum
	}
	return oStatistic(e.fn, all)
}

func oStatistic(fn string, all []any) any {
	n := float64(len(all))
	fs := make([]float64, len(all))
	sum := 0.0
	for i := range all {
		fs[i], _ = oFloat(all[i])
		sum += fs[i]
	}
	mean := sum / n
	switch fn {
	case "avg":
		if math.IsNaN(mean) {
			return nil
		}
		return mean
	case "stddev":
		if n < 2 {
			return nil
		}
		squares := 0.0
		for _, f := range fs {
			squares += (f - mean) * (f - mean)
		}
		return math.Sqrt(squares / (n - 1))
	case "avedev":
		off := 0.0
		for _, f := range fs {
			off += math.Abs(f - mean)
		}
		return off / n
	}
	slices.Sort(fs)
	if len(fs)%2 == 1 {
		return fs[len(fs)/2]
	}
	return (fs[len(fs)/2-1] + fs[len(fs)/2]) / 2
}

// rate is how many came within a time, once there was that much time.
func (s *oScope) rate(e *call) any {
	f, _ := oFloat(s.eval(e.args[0]))
	n, long := 0.0, false
	for _, r := range s.rows {
		if r.when > s.now-int64(f*1000) {
			n++
		} else {
			long = true
		}
	}
	if !long {
		return nil
	}
	return n / f
}
