package epl

import (
	"math"
	"strings"
)

func (s *scope) unary(e *unary) fn {
	if e.op == "not" {
		f := s.cond(e.e)
		return made(Bool, func(v *env) Value {
			if x := f.v(v); x.kind != None {
				return OfBool(x.bits == 0)
			}
			return Value{}
		})
	}
	f := s.number(e.e)
	return made(f.kind, func(v *env) Value {
		switch x := f.v(v); x.kind {
		case Double:
			return OfDouble(-math.Float64frombits(x.bits))
		case Int:
			return OfInt(-int32(x.bits))
		default:
			return Value{kind: x.kind, bits: -x.bits}
		}
	})
}

func (s *scope) binary(e *binary) fn {
	switch e.op {
	case "and", "or":
		return s.logic(e)
	case "=", "!=", "<", "<=", ">", ">=":
		return compared(e.at, e.op, s.expr(e.l), s.expr(e.r))
	case "||":
		l, r := s.expr(e.l), s.expr(e.r)
		for i, f := range []fn{l, r} {
			if f.kind != Text && f.kind != None {
				throw([]expr{e.l, e.r}[i].pos(), "", "a %s where a text was expected", f.kind)
			}
		}
		return made(Text, func(v *env) Value {
			a, b := l.v(v), r.v(v)
			if a.kind == None || b.kind == None {
				return Value{}
			}
			return OfText(cut(a.text+b.text, maxMade))
		})
	}
	return arithmetic(e.op, s.number(e.l), s.number(e.r))
}

// logic is three-valued: null is neither true nor false (Esper Reference, 9.3).
func (s *scope) logic(e *binary) fn {
	l, r := s.cond(e.l), s.cond(e.r)
	decides := uint64(0) // what one side alone decides
	if e.op == "or" {
		decides = 1
	}
	return made(Bool, func(v *env) Value {
		a := l.v(v)
		if a.kind != None && a.bits == decides {
			return a
		}
		b := r.v(v)
		if b.kind != None && b.bits == decides {
			return b
		}
		if a.kind == None || b.kind == None {
			return Value{}
		}
		return a
	})
}

// order says how two numbers or texts stand to one another; ok is false when one is null.
func ordered(a, b Value, floats bool) (c int, ok bool) {
	if a.kind == None || b.kind == None {
		return 0, false
	}
	if a.kind == Text {
		return strings.Compare(a.text, b.text), true
	}
	if floats {
		x, _ := a.Float()
		y, _ := b.Float()
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	switch x, y := int64(a.bits), int64(b.bits); {
	case x < y:
		return -1, true
	case x > y:
		return 1, true
	}
	return 0, true
}

// comparable reports whether values of these kinds can be compared, and whether that is done as doubles.
func comparable(at int, l, r Kind) (floats bool) {
	switch {
	case l == None || r == None:
	case l.number() && r.number():
		return l == Double || r == Double
	case l != r:
		throw(at, "", "a %s cannot be compared with a %s", l, r)
	}
	return false
}

func compared(at int, op string, l, r fn) fn {
	floats := comparable(at, l.kind, r.kind)
	if (l.kind == Bool || r.kind == Bool) && op != "=" && op != "!=" {
		throw(at, "", "conditions have no order")
	}
	if l.kind == None || r.kind == None {
		return always(Value{})
	}
	var less, same, more bool // whether the result is true then
	switch op {
	case "=":
		same = true
	case "!=":
		less, more = true, true
	case "<":
		less = true
	case "<=":
		less, same = true, true
	case ">":
		more = true
	case ">=":
		more, same = true, true
	}
	if l.prop >= 0 && r.constant && floats { // the most frequent by far: cpu > 90
		i, limit := l.prop, 0.0
		limit, _ = r.value().Float()
		return made(Bool, func(v *env) Value {
			p := &v.ev[i]
			x := math.Float64frombits(p.bits)
			if p.kind != Double {
				if p.kind == None {
					return Value{}
				}
				x = float64(int64(p.bits))
			}
			return OfBool(x < limit && less || x == limit && same || x > limit && more)
		})
	}
	if r.constant && floats { // having avg(cpu) > 60
		limit, _ := r.value().Float()
		return made(Bool, func(v *env) Value {
			x, ok := l.v(v).Float()
			if !ok {
				return Value{}
			}
			return OfBool(x < limit && less || x == limit && same || x > limit && more)
		})
	}
	if l.kind == Text && same && !less && !more && l.prop >= 0 && r.constant {
		i, text := l.prop, r.value().text
		return made(Bool, func(v *env) Value {
			p := &v.ev[i]
			if p.kind == None {
				return Value{}
			}
			return OfBool(p.text == text)
		})
	}
	return made(Bool, func(v *env) Value {
		c, ok := ordered(l.v(v), r.v(v), floats)
		if !ok {
			return Value{}
		}
		return OfBool(c < 0 && less || c == 0 && same || c > 0 && more)
	})
}

// arithmetic is Java's: int of 32 bits, long of 64, and / always of doubles (Esper Reference, 9.2). Division of doubles by
// zero gives an infinity, or null where it has no value; % by zero gives null.
func arithmetic(op string, l, r fn) fn {
	kind := max(l.kind, r.kind)
	if l.kind == None || r.kind == None {
		return always(Value{})
	}
	if op == "/" {
		kind = Double
	}
	if kind == Double {
		return made(Double, func(v *env) Value {
			a, aok := l.v(v).Float()
			b, bok := r.v(v).Float()
			if !aok || !bok {
				return Value{}
			}
			switch op {
			case "+":
				return OfDouble(a + b)
			case "-":
				return OfDouble(a - b)
			case "*":
				return OfDouble(a * b)
			case "/":
				return OfDouble(a / b)
			}
			return OfDouble(math.Mod(a, b))
		})
	}
	return made(kind, func(v *env) Value {
		x, y := l.v(v), r.v(v)
		if x.kind == None || y.kind == None {
			return Value{}
		}
		a, b := int64(x.bits), int64(y.bits)
		switch op {
		case "+":
			a += b
		case "-":
			a -= b
		case "*":
			a *= b
		case "%":
			if b == 0 {
				return Value{}
			}
			a %= b
		}
		if kind == Int {
			a = int64(int32(a))
		}
		return Value{kind: kind, bits: uint64(a)}
	})
}

// between takes its ends in either order; with null among the three it is false.
func (s *scope) between(e *between) fn {
	x, lo, hi := s.expr(e.e), s.expr(e.lo), s.expr(e.hi)
	f1, f2 := comparable(e.at, x.kind, lo.kind), comparable(e.at, x.kind, hi.kind)
	f3 := comparable(e.at, lo.kind, hi.kind)
	if x.kind == Bool {
		throw(e.at, "", "conditions have no order")
	}
	return made(Bool, func(v *env) Value {
		a, l, h := x.v(v), lo.v(v), hi.v(v)
		if c, ok := ordered(l, h, f3); !ok || a.kind == None {
			return OfBool(false)
		} else if c > 0 {
			l, h = h, l
		}
		c1, _ := ordered(a, l, f1 || f2)
		c2, _ := ordered(a, h, f1 || f2)
		return OfBool((c1 >= 0 && c2 <= 0) != e.not)
	})
}

func (s *scope) in(e *in) fn {
	x := s.expr(e.e)
	list := make([]fn, len(e.list))
	floats := make([]bool, len(e.list))
	for i := range e.list {
		list[i] = s.expr(e.list[i])
		floats[i] = comparable(e.list[i].pos(), x.kind, list[i].kind)
	}
	return made(Bool, func(v *env) Value {
		a := x.v(v)
		if a.kind == None {
			return Value{}
		}
		null := false
		for i := range list {
			b := list[i].v(v)
			if b.kind == None {
				null = true
				continue
			}
			if c, _ := ordered(a, b, floats[i]); c == 0 {
				return OfBool(true)
			}
		}
		if null {
			return Value{}
		}
		return OfBool(false)
	})
}

func (s *scope) caseOf(e *caseOf) fn {
	conds := make([]fn, len(e.conds))
	thens := make([]fn, len(e.thens))
	kind := None
	join := func(at int, k Kind) {
		switch {
		case k == None:
		case kind == None:
			kind = k
		case kind.number() && k.number():
			kind = max(kind, k)
		case kind != k:
			throw(at, "", "a %s where the cases before have a %s", k, kind)
		}
	}
	for i := range conds {
		conds[i], thens[i] = s.cond(e.conds[i]), s.expr(e.thens[i])
		join(e.thens[i].pos(), thens[i].kind)
	}
	other := always(Value{})
	if e.other != nil {
		other = s.expr(e.other)
		join(e.other.pos(), other.kind)
	}
	return made(kind, func(v *env) Value {
		for i := range conds {
			if c := conds[i].v(v); c.kind != None && c.bits != 0 {
				return as(thens[i].v(v), kind)
			}
		}
		return as(other.v(v), kind)
	})
}

// as makes a number of a wider kind.
func as(v Value, k Kind) Value {
	switch {
	case v.kind == None || v.kind == k || !k.number():
	case k == Double:
		f, _ := v.Float()
		return OfDouble(f)
	case k == Long:
		v.kind = Long
	}
	return v
}
