package epl

import "fmt"

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

// throw ends a compilation with a mistake, which caught makes a result.
func throw(at int, hint, problem string, args ...any) {
	panic(&mistake{at: at, problem: fmt.Sprintf(problem, args...), hint: hint})
}

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
