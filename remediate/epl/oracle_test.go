package epl

import (
	"fmt"
	"slices"
)

// An oracle runs statements over a stream that is known as a whole.
type oracle struct {
	now    int64
	types  map[string]*Type
	rules  []*oRule
	queue  []*oEvent
	limit  func(string) (float64, bool)
	call   func(oCall)
	most   int  // states of a pattern
	turned bool // see oMatcher
}

// An oCall is one call of a listener, of the oracle or of the engine.
type oCall struct {
	step      int
	time      int64
	statement string
	news      []orow
	olds      []orow
}

func (o *oracle) deploy(name string, s *Statement) *oRule {
	r := &oRule{Statement: s, name: name, oracle: o, known: map[string]*oRow{}, first: map[string]*oPolled{}, reps: map[string]*oRow{}, before: map[string]orow{}}
	if s.from.pattern == nil {
		r.names = []string{s.from.alias, s.from.filter.typ}
		if len(s.from.views) > 0 {
			r.window = &oWindow{view: s.from.views[0], names: r.names}
		}
	}
	r.selects()
	if s.insert != "" && o.types[s.insert] == nil {
		t := &Type{Name: s.insert}
		for _, c := range r.columns {
			t.Properties = append(t.Properties, Property{Name: c.name})
		}
		o.types[s.insert] = t
	}
	o.rules = append(o.rules, r)
	if s.from.pattern != nil {
		r.matcher = &oMatcher{now: o.now, limit: o.limit, most: o.most, turned: o.turned}
		r.matched(r.matcher.begin(s.from.pattern))
		o.flush()
	}
	return r
}

func (o *oracle) undeploy(r *oRule) {
	o.rules = slices.DeleteFunc(o.rules, func(x *oRule) bool { return x == r })
}

// selects finds out what the columns are, and what there is a row for (Esper Reference, chapter 5, group by and having).
func (r *oRule) selects() {
	aggregated, bare := false, false
	var look func(e expr)
	look = func(e expr) {
		for _, g := range r.group {
			if oText(g) == oText(e) {
				return
			}
		}
		switch e := e.(type) {
		case *name:
			bare = true
			return
		case *call:
			if oAggregate(e) {
				aggregated = true
				return
			}
		}
		for _, p := range oParts(e) {
			look(p)
		}
	}
	for _, c := range r.Statement.columns {
		if !c.all {
			r.columns = append(r.columns, oColumn{name: c.name, e: c.e})
			look(c.e)
			continue
		}
		bare = true
		switch {
		case r.from.pattern == nil:
			for _, p := range r.oracle.types[r.from.filter.typ].Properties {
				r.columns = append(r.columns, oColumn{name: p.Name, e: &name{index: -1, prop: p.Name}})
			}
		case c.tag == "":
			for _, t := range oTags(r.from.pattern) {
				r.columns = append(r.columns, oColumn{name: t, tag: t})
			}
		}
	}
	only := bare
	if r.having != nil {
		look(r.having)
	}
	switch {
	case len(r.group) > 0 && only:
		r.style = eachGrouped
	case len(r.group) > 0:
		r.style = perGroup
	case aggregated && bare:
		r.style = eachTotal
	case aggregated:
		r.style = total
	}
}

// oText is an expression as it would be written.
func oText(e expr) string {
	switch e := e.(type) {
	case *name:
		return fmt.Sprintf("%s.%d.%s", e.tag, e.index, e.prop)
	case *literal:
		return fmt.Sprintf("%v", e.v)
	case *call:
		return fmt.Sprintf("%s(%v %v)", e.fn, e.star, oTexts(e.args))
	case *binary:
		return "(" + oText(e.l) + e.op + oText(e.r) + ")"
	}
	return fmt.Sprintf("%p", e)
}

func oTexts(es []expr) (out []string) {
	for _, e := range es {
		out = append(out, oText(e))
	}
	return out
}

func oParts(e expr) []expr {
	switch e := e.(type) {
	case *unary:
		return []expr{e.e}
	case *binary:
		return []expr{e.l, e.r}
	case *isNull:
		return []expr{e.e}
	case *between:
		return []expr{e.e, e.lo, e.hi}
	case *in:
		return append([]expr{e.e}, e.list...)
	case *match:
		return []expr{e.e, e.arg}
	case *call:
		return e.args
	case *caseOf:
		return append(append(slices.Clone(e.conds), e.thens...), e.other)
	}
	return nil
}

func (r *oRule) matched(all []oBound) {
	for _, tags := range all {
		row := &oRow{tags: tags, when: r.oracle.now}
		r.feed([]*oRow{row}, nil)
	}
}

// offer gives an event to all rules, and then those that they made.
func (o *oracle) offer(e *oEvent) {
	for _, r := range slices.Clone(o.rules) {
		switch {
		case r.matcher != nil:
			r.matcher.now = o.now
			r.matched(r.matcher.event(e))
		case r.from.filter.typ == e.typ:
			r.arrive(e)
		}
	}
	o.flush()
}

func (r *oRule) arrive(e *oEvent) {
	row := &oRow{ev: e, when: r.oracle.now}
	s := r.scope(row)
	for _, c := range r.from.filter.conds {
		if s.eval(c) != true {
			return
		}
	}
	r.arrived = append(r.arrived, row)
	if r.window == nil {
		r.feed([]*oRow{row}, nil)
		return
	}
	r.feed(r.window.arrive(row, r.oracle.now))
	r.window.settle()
}

// flush calls the listeners, and deals with the events that statements made.
func (o *oracle) flush() {
	for _, r := range o.rules {
		if !r.calls {
			continue
		}
		news, olds := r.newRows, r.oldRows
		r.calls, r.newRows, r.oldRows = false, nil, nil
		o.call(oCall{time: o.now, statement: r.name, news: news, olds: olds})
		if r.insert != "" {
			for _, row := range news {
				o.queue = append(o.queue, &oEvent{typ: r.insert, props: row})
			}
		}
	}
	if len(o.queue) > 0 {
		e := o.queue[0]
		o.queue = o.queue[1:]
		o.offer(e)
	}
}

// dues are when a rule does something without an event.
func (r *oRule) next() (due int64) {
	soon := func(t int64) {
		if t > 0 && (due == 0 || t < due) {
			due = t
		}
	}
	soon(r.due)
	if r.window != nil {
		soon(r.window.next())
	}
	if r.matcher != nil {
		r.matcher.top.each(func(s *oState) { soon(s.due) })
		for _, g := range r.matcher.ghosts {
			soon(g[len(g)-1].due)
		}
	}
	return due
}

// advance moves the time; what is due happens once, that of each rule together.
func (o *oracle) advance(t int64) {
	if t < o.now {
		return
	}
	o.now = t
	due := slices.DeleteFunc(slices.Clone(o.rules), func(r *oRule) bool { return r.next() == 0 || r.next() > t })
	slices.SortStableFunc(due, func(a, b *oRule) int { return int(a.next() - b.next()) })
	for _, r := range due {
		r.time()
	}
	o.flush()
}

func (r *oRule) time() {
	now := r.oracle.now
	tick := r.due > 0 && r.due <= now
	at := r.due
	if r.matcher != nil {
		r.matcher.now = now
		r.matched(r.matcher.time(now))
	}
	if r.window != nil {
		if t := r.window.next(); t > 0 && t <= now {
			if tick && at < t {
				r.tick()
				tick = false
			}
			r.feed(r.window.time(now))
			r.window.settle()
		}
	}
	if tick {
		r.tick()
	}
}

// span moves the time with a stop wherever something is due.
func (o *oracle) span(t int64) {
	for {
		first := int64(0)
		for _, r := range o.rules {
			if n := r.next(); n > 0 && (first == 0 || n < first) {
				first = n
			}
		}
		if first == 0 || first > t {
			break
		}
		o.advance(max(o.now, first))
	}
	o.advance(t)
}
