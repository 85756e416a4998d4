package epl

import (
	"math"
	"strings"
)

func (s *scope) call(e *call) fn {
	if f, ok := s.aggregate(e); ok {
		return f
	}
	if e.star || e.distinct {
		throw(e.at, "", "%s takes values", e.fn)
	}
	want := func(lo, hi int) {
		if len(e.args) < lo || len(e.args) > hi {
			throw(e.at, "", "%s takes %d arguments", e.fn, lo)
		}
	}
	switch e.fn {
	case "abs":
		want(1, 1)
		f := s.number(e.args[0])
		return made(f.kind, func(v *env) Value {
			x := f.v(v)
			switch n, _ := x.Float(); {
			case n >= 0:
				return x
			case x.kind == Double:
				return OfDouble(-n)
			default:
				return Value{kind: x.kind, bits: -x.bits}
			}
		})
	case "floor", "ceil", "round":
		want(1, 1)
		f := s.number(e.args[0])
		do := map[string]func(float64) float64{"floor": math.Floor, "ceil": math.Ceil, "round": math.Round}[e.fn]
		return made(Double, func(v *env) Value {
			if n, ok := f.v(v).Float(); ok {
				return OfDouble(do(n))
			}
			return Value{}
		})
	case "min", "max":
		return s.extreme(e)
	case "coalesce":
		want(2, 100)
		c := &caseOf{at: e.at}
		for _, a := range e.args {
			c.conds, c.thens = append(c.conds, &unary{at: a.pos(), op: "not", e: &isNull{at: a.pos(), e: a}}), append(c.thens, a)
		}
		return s.caseOf(c)
	case "current_timestamp":
		want(0, 0)
		return made(Long, func(v *env) Value { return OfLong(v.now) })
	case "limit":
		want(1, 1)
		name, ok := e.args[0].(*literal)
		if !ok || name.v.kind != Text {
			throw(e.at, "write limit('cpu')", "limit takes a name in quotes")
		}
		if s.limit == nil {
			throw(e.at, "", "there are no limits here")
		}
		get, of := s.limit, name.v.text
		return made(Double, func(*env) Value {
			if n, ok := get(of); ok {
				return OfDouble(n)
			}
			return Value{}
		})
	case "prev", "prior":
		return s.earlier(e)
	}
	hint := ""
	if near := nearest(e.fn, functions); near != "" {
		hint = "did you mean " + near + "?"
	}
	throw(e.at, hint, "there is no function %s", e.fn)
	return fn{}
}

// functions are all names that call knows, for hints.
var functions = strings.Fields(`avg sum count min max stddev median avedev rate percentile abs floor ceil round coalesce
	current_timestamp limit prev prior`)

// extreme is min and max of two numbers or more.
func (s *scope) extreme(e *call) fn {
	var fs []fn
	kind := None
	for _, a := range e.args {
		f := s.number(a)
		kind = max(kind, f.kind)
		fs = append(fs, f)
	}
	sign := 1
	if e.fn == "min" {
		sign = -1
	}
	return made(kind, func(v *env) Value {
		var best Value
		for i := range fs {
			x := as(fs[i].v(v), kind)
			if x.kind == None {
				return Value{}
			}
			if c, ok := ordered(x, best, kind == Double); !ok || c*sign > 0 {
				best = x
			}
		}
		return best
	})
}

// millis is a time that is a constant: a period, or a number of seconds.
func (s *scope) millis(e expr) int64 {
	switch e := e.(type) {
	case *period:
		return e.d.Milliseconds()
	case *literal:
		if f, ok := e.v.Float(); ok && f >= 0 && f <= maxPeriod.Seconds() {
			return int64(math.Round(f * 1000))
		}
	}
	throw(e.pos(), "", "a time such as 10 sec was expected")
	return 0
}

// count is a whole number that is a constant, of at least one.
func (s *scope) count(e expr, most int) int {
	if l, ok := e.(*literal); ok && (l.v.kind == Int || l.v.kind == Long) && int64(l.v.bits) >= 1 && int64(l.v.bits) <= int64(most) {
		return int(l.v.bits)
	}
	throw(e.pos(), "", "a number from 1 to %d was expected", most)
	return 0
}

// An earlier is a call of prev or prior.
type earlier struct {
	n     int
	prior bool
	arg   fn
	ring  []Value // of prior: what arg was, the last first
}

const mostEarlier = 1000

func (s *scope) earlier(e *call) fn {
	if s.early == nil || s.typ == nil {
		throw(e.at, "it stands behind select, of a stream", "%s cannot stand here", e.fn)
	}
	if e.fn == "prev" && !s.windowed {
		throw(e.at, "add #length(2) to the stream, or write prior", "prev needs a window")
	}
	c := &earlier{n: 1, prior: e.fn == "prior"}
	arg := 0
	switch len(e.args) {
	case 1:
	case 2:
		c.n, arg = s.count(e.args[0], mostEarlier), 1
	default:
		throw(e.at, "prev(1, cpu)", "%s takes how many back, and a property", e.fn)
	}
	inner := *s
	inner.aggs, inner.early, inner.grouped, inner.only = nil, nil, nil, ""
	c.arg = inner.expr(e.args[arg])
	*s.early = append(*s.early, c)
	return made(c.arg.kind, func(v *env) Value { return v.look(c, v) })
}

// look is prev and prior of the row in e.
func (p *process) look(c *earlier, e *env) Value {
	w := p.rule.window
	if c.prior && e.row == p.live && !e.old {
		if c.n < len(c.ring) {
			return c.ring[c.n]
		}
		return Value{}
	}
	if w == nil || e.row < 0 || e.old {
		return Value{}
	}
	r := w.rows
	k := e.row - r.head
	if k < 0 {
		k += r.size
	}
	if k-c.n < w.first() {
		return Value{}
	}
	r.load(r.slot(k-c.n), p.second)
	p.aside = env{ev: p.second, now: e.now}
	return c.arg.v(&p.aside)
}

// arrived remembers of an event what prior looks back to.
func (p *process) arrived(vals []Value) {
	for _, c := range p.early {
		if c.prior {
			if len(c.ring) <= c.n {
				c.ring = append(c.ring, Value{})
			}
			copy(c.ring[1:], c.ring)
			p.aside = env{ev: vals, now: p.rule.engine.now}
			c.ring[0] = p.rule.engine.texts.own(c.arg.v(&p.aside))
		}
	}
}
