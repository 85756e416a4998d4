package epl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Rule is a statement that is deployed.
type Rule struct {
	Name      string
	Statement *Statement

	engine  *Engine
	bounds  Bounds
	types   []*route // event types that it takes; of a stream, one
	conds   []fn     // the filter of a stream
	env     env
	window  *window
	process *process
	matcher *matcher
	into    *Type
	dirty   bool
	late    []func() // what is made when all that is needed of events is known

	overflows, restarts, unusable, matches uint64
}

// Columns are the names of a row's cells.
func (r *Rule) Columns() []string { return r.process.names }

// Deploy compiles statements and starts them, in their order: a later one may take what an earlier one inserts. The error is
// of type *Error and of the first that is wrong; those before it are then deployed and returned.
func (e *Engine) Deploy(all ...*Statement) ([]*Rule, error) {
	var out []*Rule
	for _, s := range all {
		r, m := e.compile(s)
		if m != nil {
			return out, m.in(s.File, s.source)
		}
		e.install(r)
		out = append(out, r)
	}
	return out, nil
}

func (e *Engine) install(r *Rule) {
	if r.into != nil {
		if e.types[r.into.Name] == nil {
			e.add(r.into)
		}
		e.types[r.into.Name].makers++
	}
	e.rules = append(e.rules, r)
	for i, t := range r.types {
		if r.matcher == nil {
			t.streams = append(t.streams, r)
		} else {
			t.matches = append(t.matches, listener{r, i})
		}
	}
	if r.matcher != nil {
		r.matcher.run()
		e.output()
		e.drain()
	}
}

// Undeploy ends a rule, and lets go of all it holds.
func (e *Engine) Undeploy(r *Rule) {
	i := slices.Index(e.rules, r)
	if i < 0 {
		return
	}
	e.rules = slices.Delete(e.rules, i, i+1)
	for _, t := range r.types {
		t.streams = slices.DeleteFunc(t.streams, func(o *Rule) bool { return o == r })
		t.matches = slices.DeleteFunc(t.matches, func(l listener) bool { return l.rule == r })
		e.forget(t)
	}
	if r.into != nil {
		t := e.types[r.into.Name]
		t.makers--
		e.forget(t)
	}
	e.timers.cancel(&r.process.timer)
	if r.window != nil {
		e.timers.cancel(&r.window.timer)
	}
	if r.matcher != nil {
		r.matcher.stop()
	}
}

// forget takes away a type that nobody inserts into or takes any more.
func (e *Engine) forget(t *route) {
	if t.makers == 0 && len(t.streams)+len(t.matches) == 0 && !slices.Contains(e.Types, t.typ) {
		delete(e.types, t.typ.Name)
		delete(e.byType, t.typ)
	}
}

// arrive is an event of a stream.
func (r *Rule) arrive(vals []Value) {
	if t := r.engine.Trace; t != nil {
		t.arrive(r, vals)
		defer t.after(r)
	}
	r.env.ev = vals
	for i := range r.conds {
		if v := r.conds[i].v(&r.env); v.kind == None || v.bits == 0 {
			return
		}
	}
	p := r.process
	if len(p.early) > 0 {
		p.arrived(vals)
	}
	if r.window != nil {
		r.window.arrive(vals)
		return
	}
	p.fresh, p.left = append(p.fresh[:0], -1), p.left[:0]
	p.live, p.vals = -1, vals
	p.run()
	p.vals = nil
}

// Unsure reports whether it cannot be said of an event of the rule's stream that it passes the filter, nor that it does not: something
// that is asked for is null. Of a pattern it is false.
func (r *Rule) Unsure(vals []Value) (unsure bool) {
	if r.matcher != nil {
		return false
	}
	r.env.ev = vals
	for i := range r.conds {
		switch v := r.conds[i].v(&r.env); {
		case v.kind == None:
			unsure = true
		case v.bits == 0:
			return false
		}
	}
	return unsure
}

// match is a pattern that came true.
func (r *Rule) match(tags []*held) {
	p := r.process
	if t := r.engine.Trace; t != nil {
		t.match(r, tags)
	}
	p.env.tags = tags
	p.fresh, p.left = append(p.fresh[:0], -1), p.left[:0]
	p.live, p.vals = -1, nil
	p.run()
	p.env.tags = nil
}

// compile makes a rule, and changes nothing in the engine.
func (e *Engine) compile(s *Statement) (r *Rule, m *mistake) {
	defer caught(&m)
	r = &Rule{Statement: s, engine: e, bounds: e.Bounds}
	r.Name = fmt.Sprintf("statement %d", len(e.rules)+1)
	if a, ok := s.Annotation("name"); ok {
		r.Name = a.Value
	}
	for name, n := range map[string]*int{"partials": &r.bounds.Partials, "rows": &r.bounds.Window, "groups": &r.bounds.Groups, "keys": &r.bounds.Keys} {
		if a, ok := s.Annotation(name); ok {
			v, err := strconv.Atoi(a.Value)
			if err != nil || v < 1 || v > 1_000_000 {
				throw(a.at, "", "@%s wants a number from 1 to 1000000", name)
			}
			*n = v
		}
	}
	sc := &scope{types: map[string]*Type{}, limit: e.Limit, alias: s.from.alias}
	for n, t := range e.types {
		sc.types[n] = t.typ
	}
	p := &process{rule: r, live: -1, aggs: &aggregates{}, one: &group{}, out: s.output, lap: 1}
	p.ir, p.r = s.stream == "irstream", s.stream == "rstream"
	r.process = p
	r.env.now = e.now
	if s.from.pattern != nil {
		r.pattern(sc, s)
	} else {
		r.stream(sc, s)
	}
	r.selects(sc, s)
	r.finish(sc, s)
	return r, nil
}

// eventType finds a type by name.
func (s *scope) eventType(name string, at int) *Type {
	t := s.types[name]
	if t == nil {
		var names []string
		for n := range s.types {
			names = append(names, n)
		}
		slices.Sort(names)
		hint := ""
		if near := nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		} else if len(names) > 0 && len(names) <= 12 {
			hint = "there are " + strings.Join(names, ", ")
		}
		throw(at, hint, "there is no event type %s", name)
	}
	return t
}

// Takes returns the event types that a rule listens to.
func (r *Rule) Takes() []*Type {
	types := make([]*Type, len(r.types))
	for i, t := range r.types {
		types[i] = t.typ
	}
	return types
}
