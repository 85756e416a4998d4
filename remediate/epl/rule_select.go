package epl

import (
	"slices"
	"strings"
)

func (r *Rule) selects(sc *scope, s *Statement) {
	p := r.process
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
	case !aggregated:
		p.style = plain
	case bareColumns:
		p.style = eachTotal
	default:
		p.style = total
	}
	need := sc.need
	if p.style != plain && r.window != nil && !r.window.batch {
		sc.need = nil // a row says which group counts it: neither is asked again
	}
	if s.where != nil {
		p.where = sc.cond(s.where)
		if t := r.engine.Trace; t != nil {
			t.terms(sc, whereOf{r}, []expr{s.where})
		}
	}
	for _, g := range s.group {
		if _, ok := g.(*literal); ok {
			throw(g.pos(), "", "a constant is no group")
		}
		f := sc.expr(g)
		p.by = append(p.by, f)
		sc.keyKinds = append(sc.keyKinds, f.kind)
	}
	sc.need = need
	if p.style == perGroup {
		sc.grouped = s.group
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
		if t := r.engine.Trace; t != nil {
			t.terms(sc, havingOf{r}, []expr{s.having})
		}
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
		p.events = p.events || tag >= 0
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
