package epl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"
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

// A Standing is what a rule did and holds.
type Standing struct {
	Matches   uint64 // rows that were put out
	Overflows uint64 // things that did not fit into what the rule may hold
	Restarts  uint64 // how often a pattern began anew, since it had nothing left to wait for
	Unusable  uint64 // events that could not be used, as without the time of ext_timed
	Holds     int    // states, events and rows that are held now
	MaxBytes  int    // what it holds at most
}

// Standing returns what the rule did since it was deployed.
func (r *Rule) Standing() Standing {
	s := Standing{Matches: r.matches, Overflows: r.overflows, Restarts: r.restarts, Unusable: r.unusable, MaxBytes: r.maxBytes()}
	if r.matcher != nil {
		s.Holds = r.matcher.states.used + r.matcher.events.used
	}
	if r.window != nil {
		s.Holds = r.window.rows.n
	}
	return s
}

const pointer = int(unsafe.Sizeof(uintptr(0)))

// maxBytes is what the rule's pools and rows may grow to. Texts count as they are bounded where they are kept.
func (r *Rule) maxBytes() int {
	b, p := r.bounds, r.process
	value := int(unsafe.Sizeof(Value{}))
	n := 2 * b.Rows * p.stride * int(unsafe.Sizeof(Cell{}))
	if m := r.matcher; m != nil {
		widest := 0
		for _, of := range m.holds {
			widest = max(widest, len(of.need))
		}
		tags := len(m.tags) * pointer
		n += b.Partials * (int(unsafe.Sizeof(state{})) + tags*(1+repeats(m.root)))
		n += b.Partials * (int(unsafe.Sizeof(held{})) + widest*value)
		if uses(m.root, opAnd) {
			n += b.Partials * (int(unsafe.Sizeof(stored{})) + tags)
		}
		if uses(m.root, opDistinct) {
			n += b.Keys * (int(unsafe.Sizeof(key{})) + value)
		}
	}
	if w := r.window; w != nil {
		n += w.rows.most * w.rows.bytes()
		if w.kind == "unique" {
			n += w.rows.most * 8
		}
	}
	if len(p.by) > 0 {
		n += b.Groups * (int(unsafe.Sizeof(group{})) + len(p.by)*value + p.aggs.size*8 + 16)
	}
	return n
}

func uses(n *node, op patternOp) bool {
	return n.op == op || slices.ContainsFunc(n.kids, func(k *node) bool { return uses(k, op) })
}

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
			e.types[r.into.Name] = &route{typ: r.into}
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
	}
}

// arrive is an event of a stream.
func (r *Rule) arrive(vals []Value) {
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

// match is a pattern that came true.
func (r *Rule) match(tags []*held) {
	p := r.process
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
	r.select_(sc, s)
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

func (r *Rule) stream(sc *scope, s *Statement) {
	f := s.from.filter
	sc.typ = sc.eventType(f.typ, f.at)
	sc.self = f.typ
	r.types = []*route{r.engine.types[f.typ]}
	for _, c := range f.conds {
		for _, c := range conjuncts(c) {
			r.conds = append(r.conds, sc.cond(c))
		}
	}
	if len(s.from.views) == 0 {
		return
	}
	if len(s.from.views) > 1 {
		throw(s.from.views[1].at, "", "more than one window is not part of this EPL")
	}
	sc.windowed = true
	v := s.from.views[0]
	w := &window{kind: v.name, rule: r, stamp: -1}
	w.timer.at, w.timer.rule, w.timer.what = -1, r, 'w'
	args := func(n int) {
		if len(v.args) != n {
			throw(v.at, "", "#%s takes %d arguments", v.name, n)
		}
	}
	span := func(e expr) {
		if w.period = sc.millis(e); w.period <= 0 || w.period > 24*24*3600*1000 {
			throw(e.pos(), "", "a window is of more than no time, and of at most 24 days")
		}
	}
	props := map[int]bool{}
	sc.need = func(p int) { props[p] = true }
	most := r.bounds.Window
	switch v.name {
	case "time", "time_batch":
		args(1)
		span(v.args[0])
	case "length", "length_batch":
		args(1)
		w.length = sc.count(v.args[0], 1_000_000)
		most = w.length
		if v.name == "length_batch" {
			most *= 2
		}
	case "ext_timed", "ext_timed_batch":
		args(2)
		n, ok := v.args[0].(*name)
		if !ok {
			throw(v.args[0].pos(), "", "#%s wants a property that is a time in milliseconds", v.name)
		}
		w.stamp = sc.number(n).prop
		span(v.args[1])
	case "unique":
		if len(v.args) == 0 {
			throw(v.at, "#unique(id)", "#unique takes what is to be unique")
		}
		for _, a := range v.args {
			w.keys = append(w.keys, sc.expr(a))
		}
	case "lastevent":
		args(0)
		w.kind, w.length, most = "length", 1, 1
	case "firstevent":
		args(0)
		most = 1
	case "keepall":
		args(0)
	default:
		hint := ""
		if near := nearest(v.name, windows); near != "" {
			hint = "did you mean #" + near + "?"
		}
		throw(v.at, hint, "there is no window #%s", v.name)
	}
	r.window = w
	r.bounds.Window = most
	r.late = append(r.late, func() {
		list := make([]int, 0, len(props))
		for p := range props {
			list = append(list, p)
		}
		slices.Sort(list)
		w.rows = newRows(sc.typ, list, most+1) // one that comes while one leaves
		w.rows.timed = v.name == "time"
		w.rows.ext = strings.HasPrefix(v.name, "ext_")
		w.rows.count = len(r.process.aggs.all) > 0 || len(r.process.by) > 0
		w.scratch = make([]Value, len(sc.typ.Properties))
		r.process.buffer = make([]Value, len(sc.typ.Properties))
		r.process.second = make([]Value, len(sc.typ.Properties))
		r.process.env.scan = r.process.scan
	})
}

var windows = []string{"time", "time_batch", "length", "length_batch", "ext_timed", "ext_timed_batch", "unique", "lastevent", "firstevent", "keepall"}

// conjuncts divides a condition at its ands.
func conjuncts(e expr) []expr {
	if b, ok := e.(*binary); ok && b.op == "and" {
		return append(conjuncts(b.l), conjuncts(b.r)...)
	}
	return []expr{e}
}

func (r *Rule) select_(sc *scope, s *Statement) {
	p := r.process
	if s.where != nil {
		p.where = sc.cond(s.where)
	}
	for _, g := range s.group {
		if _, ok := g.(*literal); ok {
			throw(g.pos(), "", "a constant is no group")
		}
		f := sc.expr(g)
		p.by = append(p.by, f)
		sc.keyKinds = append(sc.keyKinds, f.kind)
	}
	aggregated, bare := false, false
	look := func(e expr, grouped []expr) {
		walk(e, func(e expr) bool {
			for _, g := range grouped {
				if alike(e, g) {
					return false
				}
			}
			if c, ok := e.(*call); ok && numbers[c.fn] > 0 && (c.fn != "min" && c.fn != "max" || len(c.args) == 1) {
				aggregated = true
				return false
			}
			if _, ok := e.(*name); ok {
				bare = true
			}
			return true
		})
	}
	for _, c := range s.columns {
		if c.all {
			bare = true
		} else {
			look(c.e, s.group)
		}
	}
	bareColumns := bare
	if s.having != nil {
		look(s.having, s.group)
	}
	for _, o := range s.order {
		look(o.e, s.group)
	}
	switch {
	case len(s.group) > 0 && bareColumns:
		p.style = eachGrouped
	case len(s.group) > 0:
		p.style = perGroup
		sc.grouped = s.group
	case !aggregated:
		p.style = plain
	case bareColumns:
		p.style = eachTotal
	default:
		p.style = total
	}
	if p.style == perGroup || p.style == total {
		sc.only = "it is neither in group by nor in an aggregate"
	}
	sc.aggs = p.aggs
	sc.early = &p.early
	for _, c := range s.columns {
		r.column(sc, c)
	}
	seen := map[string]bool{}
	for i, n := range p.names {
		if seen[n] {
			throw(s.columns[min(i, len(s.columns)-1)].at, "give one of them another name with as", "two columns are called %s", n)
		}
		seen[n] = true
	}
	sc.early = nil
	if s.having != nil {
		p.having = sc.cond(s.having)
	}
	for _, o := range s.order {
		e := o.e
		for _, c := range s.columns { // order by may name a column
			if n, ok := e.(*name); ok && n.tag == "" && !c.all && c.name == n.prop {
				e = c.e
			}
		}
		p.order, p.desc = append(p.order, sc.expr(e)), append(p.desc, o.desc)
	}
}

func (r *Rule) column(sc *scope, c column) {
	p := r.process
	add := func(name string, tag int, f fn) {
		p.names, p.tags, p.cols, p.kinds = append(p.names, name), append(p.tags, tag), append(p.cols, f), append(p.kinds, f.kind)
	}
	if !c.all {
		f := sc.expr(c.e)
		if f.kind == None {
			f.kind = Text // of null, nothing better is known
		}
		add(c.name, -1, f)
		return
	}
	if sc.typ != nil {
		if c.tag != "" && c.tag != sc.alias && c.tag != sc.self {
			throw(c.at, "", "%s is not this stream", c.tag)
		}
		for _, prop := range sc.typ.Properties {
			add(prop.Name, -1, sc.expr(&name{at: c.at, index: -1, prop: prop.Name}))
		}
		return
	}
	if c.tag == "" {
		for i, t := range sc.tags {
			for k := range t.typ.Properties {
				sc.needs(i, k)
			}
			add(t.name, i, fn{})
		}
		return
	}
	i := sc.tag(c.tag)
	if i < 0 || sc.tags[i].many {
		throw(c.at, "", "%s is not a tag of one event", c.tag)
	}
	for _, prop := range sc.tags[i].typ.Properties {
		add(c.tag+"."+prop.Name, -1, sc.expr(&name{at: c.at, tag: c.tag, index: -1, prop: prop.Name}))
	}
}

func (r *Rule) finish(sc *scope, s *Statement) {
	p := r.process
	p.timer.at, p.timer.rule, p.timer.what = -1, r, 'o'
	for _, f := range r.late {
		f()
	}
	r.late = nil
	p.env.look = p.look
	p.one.nums = make([]float64, p.aggs.size)
	p.groups = pool[group]{most: r.bounds.Groups, init: func(g []group) {
		nums := make([]float64, len(g)*p.aggs.size)
		keys := make([]Value, len(g)*len(p.by))
		for i := range g {
			g[i].nums, nums = nums[:p.aggs.size:p.aggs.size], nums[p.aggs.size:]
			g[i].keys, keys = keys[:0:len(p.by)], keys[len(p.by):]
		}
	}}
	p.stride = len(p.cols) + len(p.order)
	if p.bare = p.stride == 0; p.bare || p.style == eachGrouped {
		p.stride++
	}
	if s.output != nil && s.output.which == "snapshot" && r.window == nil && p.style != total && p.style != perGroup {
		throw(s.output.at, "add #length(100) or #time(10 min) to the stream", "a snapshot wants a window")
	}
	if s.insert == "" {
		return
	}
	t := &Type{Name: s.insert}
	for i, n := range p.names {
		if p.tags[i] >= 0 {
			throw(s.columns[0].at, "name the properties: select a.id as id", "an event cannot be a property of what is inserted")
		}
		t.Properties = append(t.Properties, Property{n, p.kinds[i]})
	}
	if have := r.engine.types[s.insert]; have != nil {
		if !slices.Equal(have.typ.Properties, t.Properties) {
			throw(s.columns[0].at, "the columns must be "+describe(have.typ), "%s has other properties", s.insert)
		}
		t = have.typ
	}
	r.into = t
}

func describe(t *Type) string {
	var out []string
	for _, p := range t.Properties {
		out = append(out, p.Name+" "+p.Kind.String())
	}
	return strings.Join(out, ", ")
}

// walk visits an expression and all in it, as long as visit returns true.
func walk(e expr, visit func(expr) bool) {
	if e == nil || !visit(e) {
		return
	}
	for _, k := range parts(e) {
		walk(k, visit)
	}
}

func parts(e expr) []expr {
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
		out := append(slices.Clone(e.conds), e.thens...)
		if e.other != nil {
			out = append(out, e.other)
		}
		return out
	}
	return nil
}

// alike reports whether two expressions are written alike.
func alike(a, b expr) bool {
	switch a := a.(type) {
	case *literal:
		o, ok := b.(*literal)
		return ok && a.v == o.v
	case *name:
		o, ok := b.(*name)
		return ok && a.tag == o.tag && a.index == o.index && a.prop == o.prop
	case *unary:
		o, ok := b.(*unary)
		if !ok || a.op != o.op {
			return false
		}
	case *binary:
		o, ok := b.(*binary)
		if !ok || a.op != o.op {
			return false
		}
	case *isNull:
		if _, ok := b.(*isNull); !ok {
			return false
		}
	case *call:
		o, ok := b.(*call)
		if !ok || a.fn != o.fn || a.star != o.star || a.distinct != o.distinct {
			return false
		}
	default:
		return false
	}
	return slices.EqualFunc(parts(a), parts(b), alike)
}
