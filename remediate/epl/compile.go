package epl

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"
)

// env is what an expression is evaluated in.
type env struct {
	ev   []Value                    // the event of the stream
	tags []*held                    // what the pattern's tags are bound to
	g    *group                     // aggregates
	row  int                        // which row of the window is ev
	look func(*earlier, *env) Value // of prev and prior
	now  int64
	old  bool                                    // a row that leaves
	scan func(*aggregate, *group, func(float64)) // over the numbers of a group's rows; nil without a window
	sort []float64
}

// A fn is a compiled expression. It allocates nothing, but for || and functions that make texts.
type fn struct {
	kind Kind
	v    func(*env) Value
	// What is known of it when it is compiled: a constant, or the property of the stream with that index.
	constant bool
	prop     int // -1 for none
}

func (f fn) value() Value { return f.v(nil) }

// scope says what names mean.
type scope struct {
	types    map[string]*Type
	typ      *Type // of the stream; nil in a pattern's select
	self     string
	alias    string
	tags     []tag
	aggs     *aggregates // nil where none may stand
	early    *[]*earlier // likewise, of prev and prior
	windowed bool
	keyKinds []Kind
	grouped  []expr // group by, where its values are read from the group
	limit    func(string) (float64, bool)
	only     string                  // why a property of the stream cannot stand here; empty where it can
	need     func(prop int)          // the stream's property is used
	needs    func(tag, prop int) int // a tag's is; returns where it is among what is held of the event
}

// A tag is a name of a pattern for an event, or with many for all that a repeat took.
type tag struct {
	name string
	typ  *Type
	many bool
}

func bad(at int, problem string, args ...any) *mistake {
	return &mistake{at: at, problem: fmt.Sprintf(problem, args...)}
}

// throw is bad for what is caught by caught.
func throw(at int, hint, problem string, args ...any) {
	panic(&mistake{at: at, problem: fmt.Sprintf(problem, args...), hint: hint})
}

// caught makes a thrown mistake a result.
func caught(m **mistake) {
	switch v := recover().(type) {
	case nil:
	case *mistake:
		*m = v
	default:
		panic(v)
	}
}

// cond compiles what must be true or false.
func (s *scope) cond(e expr) fn {
	f := s.expr(e)
	if f.kind != Bool && f.kind != None {
		throw(e.pos(), "", "a %s where a condition was expected", f.kind)
	}
	return f
}

// number compiles what must be a number.
func (s *scope) number(e expr) fn {
	f := s.expr(e)
	if !f.kind.number() && f.kind != None {
		throw(e.pos(), "", "a %s where a number was expected", f.kind)
	}
	return f
}

func always(v Value) fn {
	return fn{kind: v.kind, v: func(*env) Value { return v }, constant: true, prop: -1}
}

func made(k Kind, v func(*env) Value) fn { return fn{kind: k, v: v, prop: -1} }

func (s *scope) expr(e expr) fn {
	for i, g := range s.grouped {
		if alike(e, g) {
			k := i
			return made(s.keyKinds[i], func(v *env) Value { return v.g.keys[k] })
		}
	}
	switch e := e.(type) {
	case *literal:
		return always(e.v)
	case *period:
		return always(OfDouble(e.d.Seconds()))
	case *name:
		return s.name(e)
	case *unary:
		return s.unary(e)
	case *binary:
		return fold(s.binary(e), e)
	case *isNull:
		f := s.expr(e.e)
		return made(Bool, func(v *env) Value { return OfBool(f.v(v).kind == None) })
	case *between:
		return s.between(e)
	case *in:
		return s.in(e)
	case *match:
		return s.match(e)
	case *call:
		return s.call(e)
	case *caseOf:
		return s.caseOf(e)
	}
	panic("epl: an expression of an unknown kind")
}

// fold evaluates at once what stands on constants only.
func fold(f fn, e *binary) fn {
	if l, ok := e.l.(*literal); ok {
		if r, ok := e.r.(*literal); ok && l.v.kind != None && r.v.kind != None {
			out := always(f.v(nil))
			out.kind = f.kind
			return out
		}
	}
	return f
}

func (s *scope) name(e *name) fn {
	switch {
	case e.tag == "" || e.tag == s.self || e.tag == s.alias && s.alias != "":
		if s.typ == nil {
			if i := s.tag(e.prop); e.tag == "" && i >= 0 {
				throw(e.at, "write "+e.prop+".*, or a property of it", "%s is an event and no value", e.prop)
			}
			throw(e.at, "a tag and a point go before it", "%s is of no event", e.prop)
		}
		i := s.typ.Index(e.prop)
		if i < 0 {
			throw(e.at, s.likely(s.typ, e.prop), "%s has no property %s", s.typ.Name, e.prop)
		}
		if s.only != "" {
			throw(e.at, s.only, "%s has no one value", e.prop)
		}
		if s.need != nil {
			s.need(i)
		}
		return fn{kind: s.typ.Properties[i].Kind, v: func(v *env) Value { return v.ev[i] }, prop: i}
	}
	t := s.tag(e.tag)
	if t < 0 {
		var names []string
		for _, t := range s.tags {
			names = append(names, t.name)
		}
		hint := ""
		if near := nearest(e.tag, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		throw(e.at, hint, "there is no tag %s before this", e.tag)
	}
	typ := s.tags[t].typ
	i := typ.Index(e.prop)
	switch {
	case i < 0:
		throw(e.at, s.likely(typ, e.prop), "%s has no property %s", typ.Name, e.prop)
	case s.tags[t].many != (e.index >= 0):
		if e.index >= 0 {
			throw(e.at, "write "+e.tag+"."+e.prop, "%s is one event", e.tag)
		}
		throw(e.at, "write "+e.tag+"[0]."+e.prop, "%s is all the events of a repeat", e.tag)
	}
	at := s.needs(t, i)
	if n := int32(e.index); n >= 0 {
		return made(typ.Properties[i].Kind, func(v *env) Value {
			h := v.tags[t]
			for h != nil && h.n > n+1 {
				h = h.prev
			}
			if h == nil || h.n != n+1 {
				return Value{}
			}
			return h.item.vals[at]
		})
	}
	return made(typ.Properties[i].Kind, func(v *env) Value {
		if h := v.tags[t]; h != nil {
			return h.vals[at]
		}
		return Value{}
	})
}

func (s *scope) tag(name string) int {
	for i := range s.tags {
		if s.tags[i].name == name {
			return i
		}
	}
	return -1
}

func (s *scope) likely(t *Type, name string) string {
	var names []string
	for _, p := range t.Properties {
		names = append(names, p.Name)
	}
	if near := nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

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

// Bounds of texts, in bytes: of one that an expression makes, and of one that is kept for later.
const (
	maxMade = 1024
	maxKept = 256
)

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// kept is a value as it is kept: a long text is cut, into memory of its own.
func kept(v Value) Value {
	if len(v.text) > maxKept {
		v.text = strings.Clone(cut(v.text, maxKept))
	}
	return v
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

func (s *scope) match(e *match) fn {
	x, pattern := s.expr(e.e), s.expr(e.arg)
	if x.kind != Text && x.kind != None {
		throw(e.e.pos(), "", "a %s where a text was expected", x.kind)
	}
	if !pattern.constant || pattern.kind != Text {
		throw(e.arg.pos(), "", "%s wants a text in quotes", e.op)
	}
	text := pattern.value().text
	if e.op == "like" {
		l := newLike(text, e.escape)
		return made(Bool, func(v *env) Value {
			a := x.v(v)
			if a.kind == None {
				return Value{}
			}
			return OfBool(l.match(a.text))
		})
	}
	if len(text) > 1000 {
		throw(e.arg.pos(), "", "a regular expression of more than 1000 bytes")
	}
	re, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		throw(e.arg.pos(), "the syntax is RE2's", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return made(Bool, func(v *env) Value {
		a := x.v(v)
		if a.kind == None {
			return Value{}
		}
		return OfBool(re.MatchString(a.text))
	})
}

// A like is a pattern in which % stands for any text and _ for one character.
type like []likePart

type likePart struct {
	r   rune
	any rune // '%' or '_'; 0 for r itself
}

func newLike(text, escape string) like {
	if escape == "" {
		escape = `\`
	}
	var l like
	escaped := false
	for _, r := range text {
		switch {
		case !escaped && string(r) == escape:
			escaped = true
			continue
		case !escaped && (r == '%' || r == '_'):
			if r == '%' && len(l) > 0 && l[len(l)-1].any == '%' {
				continue
			}
			l = append(l, likePart{any: r})
		default:
			l = append(l, likePart{r: r})
		}
		escaped = false
	}
	return l
}

// match takes time in proportion to the text's length times the pattern's at most.
func (l like) match(s string) bool {
	p, star, mark := 0, -1, 0 // star is where the last % was, mark what it took so far
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case p < len(l) && (l[p].any == '_' || l[p].any == 0 && l[p].r == r):
			p++
			i += n
		case p < len(l) && l[p].any == '%':
			star, mark = p, i
			p++
		case star >= 0:
			_, n := utf8.DecodeRuneInString(s[mark:])
			mark += n
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(l) && l[p].any == '%' {
		p++
	}
	return p == len(l)
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
