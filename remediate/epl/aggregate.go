package epl

import (
	"math"
	"slices"
)

// An aggregate is one call such as avg(cpu) of a statement. Its state is numbers, of each group.
type aggregate struct {
	fn    string
	arg   fn // v is nil of count(*) and rate
	call  *call
	kind  Kind
	at    int // where its numbers begin in a group's
	span  int64
	share float64 // of percentile
}

// aggregates are all of a statement.
type aggregates struct {
	all  []*aggregate
	size int
}

// numbers is how many each keeps for a group.
var numbers = map[string]int{"count": 1, "sum": 2, "avg": 2, "min": 2, "max": 2, "stddev": 3, "median": 1, "avedev": 1, "percentile": 1, "rate": 1}

// A group is what is summed up for one value of group by, or for all.
type group struct {
	keys   []Value
	nums   []float64
	refs   int // rows of the window that are in it
	hash   uint64
	number uint32
	stamp  uint64  // of the call that touched it last
	times  []int64 // of rate
	since  uint64  // of output: which interval it was touched in
	told   uint64  // likewise: in which what it was was told
	quiet  int64   // of output first: until when
	shown  bool    // of output all: it was touched once
}

// aggregate compiles a call if it is one.
func (s *scope) aggregate(e *call) (fn, bool) {
	size, ok := numbers[e.fn]
	if !ok || (e.fn == "min" || e.fn == "max") && len(e.args) > 1 {
		return fn{}, false
	}
	if s.aggs == nil {
		throw(e.at, "", "%s cannot stand here", e.fn)
	}
	if e.distinct {
		throw(e.at, "group by, or every-distinct in a pattern", "distinct is not part of this EPL")
	}
	a := &aggregate{fn: e.fn, call: e}
	inner := *s
	inner.aggs = nil // none in another
	inner.grouped, inner.early, inner.only = nil, nil, ""
	one := func(n int) {
		if len(e.args) != n || e.star {
			throw(e.at, "", "%s takes %d arguments", e.fn, n)
		}
	}
	switch {
	case e.fn == "count" && e.star:
		a.kind = Long
	case e.fn == "count":
		one(1)
		a.arg, a.kind = inner.expr(e.args[0]), Long
	case e.fn == "rate":
		one(1)
		a.kind, a.span = Double, s.millis(e.args[0])
		if a.span <= 0 {
			throw(e.at, "", "rate wants more than no time")
		}
	default:
		n := 1
		if e.fn == "percentile" {
			n = 2
		}
		one(n)
		a.arg = inner.number(e.args[0])
		switch a.kind = Double; e.fn {
		case "min", "max":
			a.kind = a.arg.kind
		case "sum":
			if a.kind = a.arg.kind; a.kind == None {
				a.kind = Double
			}
		case "percentile":
			l, ok := e.args[1].(*literal)
			if a.share, _ = value(l, ok).Float(); !(a.share > 0 && a.share < 100) {
				throw(e.args[1].pos(), "percentile(cpu, 95)", "a number between 0 and 100 was expected")
			}
		}
		if !s.windowed && (e.fn == "median" || e.fn == "avedev" || e.fn == "percentile") {
			throw(e.at, "add #length(100) or #time(10 min) to the stream", "%s needs a window", e.fn)
		}
	}
	a.at, s.aggs.size = s.aggs.size, s.aggs.size+size
	s.aggs.all = append(s.aggs.all, a)
	return made(a.kind, func(v *env) Value { return a.value(v) }), true
}

func value(l *literal, ok bool) Value {
	if !ok {
		return Value{}
	}
	return l.v
}

// begin gives a group the numbers of no rows.
func (as *aggregates) begin(g *group) {
	clear(g.nums)
	g.times = g.times[:0]
}

// enter adds the row in v.
func (as *aggregates) enter(g *group, v *env, bounds Bounds) (lost bool) {
	for _, a := range as.all {
		n := g.nums[a.at:]
		if a.fn == "rate" {
			if len(g.times) >= bounds.Rows {
				g.times, lost = append(g.times[:0], g.times[1:]...), true
			}
			g.times = append(g.times, v.now)
			a.expire(g, v.now)
			continue
		}
		if a.arg.v == nil {
			n[0]++
			continue
		}
		x := a.arg.v(v)
		if x.kind == None {
			continue
		}
		if n[0]++; a.fn == "count" {
			continue
		}
		f, _ := x.Float()
		switch a.fn {
		case "sum", "avg":
			n[1] += f
		case "min":
			if n[0] == 1 || f < n[1] && n[1] != again {
				n[1] = f
			}
		case "max":
			if n[0] == 1 || f > n[1] && n[1] != again {
				n[1] = f
			}
		case "stddev": // Welford, as a window needs it to go back too
			d := f - n[1]
			n[1] += d / n[0]
			n[2] += d * (f - n[1])
		}
	}
	return lost
}

const again = math.MaxFloat64 // of min and max: the number left, and the next is to be looked for

// leave takes the row in v away.
func (as *aggregates) leave(g *group, v *env) {
	for _, a := range as.all {
		n := g.nums[a.at:]
		if a.fn == "rate" {
			continue
		}
		if a.arg.v == nil {
			n[0]--
			continue
		}
		x := a.arg.v(v)
		if x.kind == None {
			continue
		}
		if n[0]--; a.fn == "count" {
			continue
		}
		if n[0] <= 0 { // no remainder of rounding is carried on
			clear(n[:numbers[a.fn]])
			continue
		}
		f, _ := x.Float()
		switch a.fn {
		case "sum", "avg":
			if n[1] -= f; math.IsNaN(n[1]) || math.IsInf(n[1], 0) || math.IsInf(f, 0) {
				n[1] = math.NaN() // to be summed up anew
			}
		case "min", "max":
			if f == n[1] {
				n[1] = again
			}
		case "stddev":
			d := f - n[1]
			n[1] -= d / n[0]
			if n[2] -= d * (f - n[1]); n[2] < 0 {
				n[2] = 0
			} else if math.IsNaN(n[2]) {
				n[1] = math.NaN()
			}
		}
	}
}

// expire forgets what is longer ago than rate looks back; the last that is stays, as what tells that there was time enough.
func (a *aggregate) expire(g *group, now int64) {
	n := 0
	for n+1 < len(g.times) && g.times[n+1] <= now-a.span {
		n++
	}
	g.times = append(g.times[:0], g.times[n:]...)
}

// value is what the rows of the group in v come to.
func (a *aggregate) value(v *env) Value {
	g := v.g
	n := g.nums[a.at:]
	switch a.fn {
	case "count":
		return OfLong(int64(n[0]))
	case "rate":
		if len(g.times) == 0 || g.times[0] > v.now-a.span {
			return Value{}
		}
		return OfDouble(float64(len(g.times)-1) * 1000 / float64(a.span))
	}
	if n[0] == 0 {
		return Value{}
	}
	switch a.fn {
	case "sum", "avg":
		if math.IsNaN(n[1]) && v.scan != nil {
			n[1] = 0
			v.scan(a, g, func(f float64) { n[1] += f })
		}
		if a.fn == "avg" {
			return OfDouble(n[1] / n[0])
		}
	case "min", "max":
		if n[1] == again && v.scan != nil {
			first := true
			v.scan(a, g, func(f float64) {
				if first || a.fn == "min" && f < n[1] || a.fn == "max" && f > n[1] {
					n[1], first = f, false
				}
			})
		}
	case "stddev":
		if n[0] < 2 {
			return Value{}
		}
		if math.IsNaN(n[1]) && v.scan != nil {
			n[1], n[2] = 0, 0
			i := 0.0
			v.scan(a, g, func(f float64) {
				i++
				d := f - n[1]
				n[1] += d / i
				n[2] += d * (f - n[1])
			})
		}
		return OfDouble(math.Sqrt(n[2] / (n[0] - 1)))
	default:
		return a.sorted(v)
	}
	switch a.kind {
	case Int:
		return OfInt(int32(int64(n[1])))
	case Long:
		return OfLong(int64(n[1]))
	}
	return OfDouble(n[1])
}

// sorted is what needs all numbers at once.
func (a *aggregate) sorted(v *env) Value {
	if v.scan == nil {
		return Value{}
	}
	all := v.sort[:0]
	v.scan(a, v.g, func(f float64) { all = append(all, f) })
	v.sort = all
	if len(all) == 0 {
		return Value{}
	}
	n := len(all)
	switch a.fn {
	case "median":
		slices.Sort(all)
		if n%2 == 1 {
			return OfDouble(all[n/2])
		}
		return OfDouble((all[n/2-1] + all[n/2]) / 2)
	case "avedev":
		mean, sum := 0.0, 0.0
		for _, f := range all {
			mean += f / float64(n)
		}
		for _, f := range all {
			sum += math.Abs(f - mean)
		}
		return OfDouble(sum / float64(n))
	}
	slices.Sort(all) // percentile: the nearest rank
	return OfDouble(all[max(0, int(math.Ceil(a.share/100*float64(n)))-1)])
}
