package epl

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

// The oracle is a second, slow evaluator of the language. It shares the parser and its tree with the engine and nothing
// else: values are Go's (nil, bool, int32, int64, float64, string), what is known is kept in maps and lists, and what can be
// computed anew from all that came is. Where a meaning is not in Esper's reference, it is what the observed cases show.

// An oEvent is an event that arrived, or one that a statement made.
type oEvent struct {
	typ   string
	props map[string]any
	name  string // of one that arrived; empty for one that a statement made
}

// oBound is what the tags of a pattern are bound to: *oEvent, or []*oEvent of a repeat. It is never changed, but copied.
type oBound map[string]any

func (t oBound) with(more oBound) oBound {
	out := oBound{}
	for _, m := range []oBound{t, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// An oRow is what a statement makes rows of: an event of a stream, or what a pattern's tags were bound to.
type oRow struct {
	ev   *oEvent
	tags oBound
	when int64
}

// oScope is what an expression is evaluated in.
type oScope struct {
	self  *oEvent  // the stream's event
	names []string // and what it is called
	tags  oBound
	now   int64
	rows  []*oRow // what an aggregate is over
	prior []*oRow // all that came, up to self as the last
	prev  []*oRow // those of the window, likewise
	limit func(string) (float64, bool)
}

func (s *oScope) eval(e expr) any {
	switch e := e.(type) {
	case *literal:
		return oValue(e.v)
	case *period:
		return e.d.Seconds()
	case *name:
		return s.property(e)
	case *unary:
		return oUnary(e.op, s.eval(e.e))
	case *binary:
		return oBinary(e.op, s.eval(e.l), s.eval(e.r))
	case *isNull:
		return s.eval(e.e) == nil
	case *between:
		x, lo, hi := s.eval(e.e), s.eval(e.lo), s.eval(e.hi)
		if x == nil || lo == nil || hi == nil {
			return false
		}
		if oCompare(lo, hi) > 0 {
			lo, hi = hi, lo
		}
		return (oCompare(x, lo) >= 0 && oCompare(x, hi) <= 0) != e.not
	case *in:
		return s.in(e)
	case *match:
		return s.match(e)
	case *caseOf:
		for i := range e.conds {
			if s.eval(e.conds[i]) == true {
				return s.eval(e.thens[i])
			}
		}
		if e.other != nil {
			return s.eval(e.other)
		}
		return nil
	case *call:
		return s.call(e)
	}
	panic(fmt.Sprintf("oracle: %T", e))
}

// oValue is a value of the engine as the oracle has it.
func oValue(v Value) any {
	if i, ok := v.Any().(int64); ok && v.Kind() == Int {
		return int32(i)
	}
	return v.Any()
}

func (s *oScope) property(e *name) any {
	own := e.tag == ""
	for _, n := range s.names {
		own = own || n == e.tag
	}
	if own && s.self != nil {
		return s.self.props[e.prop]
	}
	switch of := s.tags[e.tag].(type) {
	case *oEvent:
		return of.props[e.prop]
	case []*oEvent:
		if e.index >= 0 && e.index < len(of) {
			return of[e.index].props[e.prop]
		}
	}
	return nil
}

func oUnary(op string, x any) any {
	switch x := x.(type) {
	case bool:
		return !x
	case int32:
		return -x
	case int64:
		return -x
	case float64:
		return -x
	}
	return nil
}

func oBinary(op string, l, r any) any {
	switch op {
	case "and":
		if l == false || r == false {
			return false
		}
		if l == nil || r == nil {
			return nil
		}
		return true
	case "or":
		if l == true || r == true {
			return true
		}
		if l == nil || r == nil {
			return nil
		}
		return false
	}
	if l == nil || r == nil {
		return nil
	}
	switch op {
	case "=":
		return oCompare(l, r) == 0
	case "!=":
		return oCompare(l, r) != 0
	case "<":
		return oCompare(l, r) < 0
	case "<=":
		return oCompare(l, r) <= 0
	case ">":
		return oCompare(l, r) > 0
	case ">=":
		return oCompare(l, r) >= 0
	case "||":
		return l.(string) + r.(string)
	}
	return oArithmetic(op, l, r)
}

func oFloat(x any) (float64, bool) {
	switch x := x.(type) {
	case int32:
		return float64(x), true
	case int64:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

// oCompare orders two values that are not null: numbers of any kinds, texts, or booleans.
func oCompare(a, b any) int {
	if x, ok := a.(string); ok {
		return strings.Compare(x, b.(string))
	}
	if x, ok := a.(bool); ok {
		if x == b.(bool) {
			return 0
		}
		return 1
	}
	_, af := a.(float64)
	_, bf := b.(float64)
	if !af && !bf {
		x, y := oInt(a), oInt(b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	x, _ := oFloat(a)
	y, _ := oFloat(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func oInt(x any) int64 {
	if n, ok := x.(int32); ok {
		return int64(n)
	}
	return x.(int64)
}

func oArithmetic(op string, l, r any) any {
	_, lf := l.(float64)
	_, rf := r.(float64)
	if lf || rf || op == "/" {
		a, _ := oFloat(l)
		b, _ := oFloat(r)
		var f float64
		switch op {
		case "+":
			f = a + b
		case "-":
			f = a - b
		case "*":
			f = a * b
		case "/":
			f = a / b
		case "%":
			f = math.Mod(a, b)
		}
		if math.IsNaN(f) {
			return nil
		}
		return f
	}
	a, b := oInt(l), oInt(r)
	switch op {
	case "+":
		a += b
	case "-":
		a -= b
	case "*":
		a *= b
	case "%":
		if b == 0 {
			return nil
		}
		a %= b
	}
	_, li := l.(int32)
	_, ri := r.(int32)
	if li && ri {
		return int32(a)
	}
	return a
}

func (s *oScope) in(e *in) any {
	x := s.eval(e.e)
	if x == nil {
		return nil
	}
	null := false
	for _, k := range e.list {
		v := s.eval(k)
		if v == nil {
			null = true
		} else if oCompare(x, v) == 0 {
			return true
		}
	}
	if null {
		return nil
	}
	return false
}

// match is like by way of a regular expression, and regexp of a whole text.
func (s *oScope) match(e *match) any {
	x, p := s.eval(e.e), s.eval(e.arg)
	if x == nil || p == nil {
		return nil
	}
	pattern := p.(string)
	if e.op == "like" {
		var b strings.Builder
		escape, escaped := e.escape, false
		if escape == "" {
			escape = `\`
		}
		for _, r := range pattern {
			switch {
			case !escaped && string(r) == escape:
				escaped = true
				continue
			case !escaped && r == '%':
				b.WriteString("(?s:.*)")
			case !escaped && r == '_':
				b.WriteString("(?s:.)")
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
			escaped = false
		}
		pattern = b.String()
	}
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(x.(string))
}

func (s *oScope) call(e *call) any {
	if oAggregate(e) {
		return s.aggregate(e)
	}
	var args []any
	if e.fn != "prev" && e.fn != "prior" {
		for _, a := range e.args {
			args = append(args, s.eval(a))
		}
	}
	switch e.fn {
	case "abs":
		if f, ok := oFloat(args[0]); ok && f < 0 {
			return oUnary("-", args[0])
		}
		return args[0]
	case "floor", "ceil", "round":
		f, ok := oFloat(args[0])
		if !ok {
			return nil
		}
		return map[string]func(float64) float64{"floor": math.Floor, "ceil": math.Ceil, "round": math.Round}[e.fn](f)
	case "min", "max":
		var best any
		for _, a := range args {
			if a == nil {
				return nil
			}
			if best == nil || e.fn == "min" && oCompare(a, best) < 0 || e.fn == "max" && oCompare(a, best) > 0 {
				best = a
			}
		}
		return best
	case "coalesce":
		for _, a := range args {
			if a != nil {
				return a
			}
		}
		return nil
	case "current_timestamp":
		return s.now
	case "limit":
		if f, ok := s.limit(args[0].(string)); ok {
			return f
		}
		return nil
	case "prev", "prior":
		back, arg := 1, e.args[0]
		if len(e.args) == 2 {
			back, arg = int(oInt(s.eval(e.args[0]))), e.args[1]
		}
		all := s.prior
		if e.fn == "prev" {
			all = s.prev
		}
		if len(all)-1-back < 0 {
			return nil
		}
		inner := *s
		inner.self = all[len(all)-1-back].ev
		return inner.eval(arg)
	}
	panic("oracle: function " + e.fn)
}
