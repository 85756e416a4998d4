package epl

import "slices"

// pattern compiles the pattern of a statement.
func (r *Rule) pattern(sc *scope, s *Statement) {
	if len(s.from.views) > 0 {
		throw(s.from.views[0].at, "insert into a type, and take the window of that", "a window of a pattern is not part of this EPL")
	}
	c := &patternCompiler{rule: r, sc: sc}
	sc.needs = c.needs
	sc.typ = nil
	root := c.node(s.from.pattern, 0)
	r.late = append(r.late, func() { r.matcher = newMatcher(r, root, c.sites, sc.tags, c.holds, r.bounds) })
}

type patternCompiler struct {
	rule  *Rule
	sc    *scope
	sites [][]*site
	holds []holding // of each event type
	count int
	kinds []int // of each tag, the number of its event type
}

const maxNodes = 500

// kind returns the number of an event type in the rule.
func (c *patternCompiler) kind(t *Type) int {
	r := c.rule
	for i := range r.types {
		if r.types[i].typ == t {
			return i
		}
	}
	r.types = append(r.types, r.engine.types[t.Name])
	c.sites, c.holds = append(c.sites, nil), append(c.holds, holding{typ: t})
	return len(r.types) - 1
}

// needs returns where a property of a tag's event is among those that are held.
func (c *patternCompiler) needs(tag, prop int) int {
	h := &c.holds[c.kinds[tag]]
	if i := slices.Index(h.need, prop); i >= 0 {
		return i
	}
	h.need = append(h.need, prop)
	return len(h.need) - 1
}

func (c *patternCompiler) node(p *pattern, index int) *node {
	n := &node{pattern: p, op: p.op, period: p.period, index: index, slot: -1}
	if c.count++; c.count > maxNodes {
		throw(p.at, "", "a pattern of more than %d parts", maxNodes)
	}
	sc := c.sc
	switch p.op {
	case opFilter:
		c.filter(n)
		return n
	case opUntil:
		before := len(sc.tags)
		n.kids = append(n.kids, c.node(p.kids[0], 0))
		inside := len(sc.tags)
		for i := before; i < inside; i++ {
			sc.tags[i].many = true
		}
		if len(p.kids) > 1 {
			n.kids = append(n.kids, c.node(p.kids[1], 1))
		}
		n.slots = make([]bool, inside)
		for i := before; i < inside; i++ {
			n.slots[i] = true
		}
		return n
	}
	for i, k := range p.kids {
		n.kids = append(n.kids, c.node(k, i))
	}
	for _, k := range p.keys {
		n.keys = append(n.keys, sc.expr(k))
	}
	if p.cond != nil {
		n.test = sc.cond(p.cond)
	}
	return fused(n)
}

// fused makes one state of an absence, and of a filter with a deadline, which mean the same.
func fused(n *node) *node {
	switch n.op {
	case opWithin:
		if f := n.kids[0]; f.op == opFilter {
			return f.as(opTimely, n)
		}
	case opAnd:
		if len(n.kids) != 2 {
			break
		}
		wait, not := n.kids[0], n.kids[1]
		if wait.op == opNot {
			wait, not = not, wait
		}
		if wait.op == opInterval && wait.period > 0 && not.op == opNot && not.kids[0].op == opFilter {
			f := not.kids[0].as(opAbsent, n)
			f.slot, f.period = -1, wait.period
			return f
		}
	}
	return n
}

// as makes a filter something else, in the place of n.
func (f *node) as(op patternOp, n *node) *node {
	f.pattern, f.op, f.period, f.index = n.pattern, op, n.period, n.index
	return f
}

func (c *patternCompiler) filter(n *node) {
	sc, f := c.sc, n.pattern.filter
	t := sc.eventType(f.typ, f.at)
	kind := c.kind(t)
	own := *sc
	own.typ, own.self, own.alias = t, n.tag, f.typ
	for _, cond := range f.conds {
		for _, e := range conjuncts(cond) {
			f := own.cond(e)
			if n.key.v == nil && c.index(n, &own, e) {
				continue
			}
			n.conds = append(n.conds, f)
		}
	}
	if t := c.rule.engine.Trace; t != nil {
		t.terms(&own, n, f.conds)
	}
	n.site = &site{node: n}
	if n.key.v != nil {
		n.site.buckets = make([]*state, buckets)
	}
	c.sites[kind] = append(c.sites[kind], n.site)
	c.place(n.site, f.conds, t, kind)
	if n.tag == "" {
		return
	}
	if sc.tag(n.tag) >= 0 {
		throw(n.at, "", "there are two tags %s", n.tag)
	}
	n.slot = len(sc.tags)
	sc.tags = append(sc.tags, tag{name: n.tag, typ: t})
	c.kinds = append(c.kinds, kind)
}

// ranks is the order in which Esper puts the conditions of a filter (FilterSpecParamComparator).
var ranks = map[string]int{"=": 1, "in": 2, "other": 3, "between": 4, "<": 5, "<=": 6, ">=": 7, ">": 8, "!=": 9}

// place finds the index that a filter's first condition is in.
func (c *patternCompiler) place(s *site, conds []expr, t *Type, kind int) {
	best, what, all := 100, "", 0
	for _, cond := range conds {
		for _, e := range conjuncts(cond) {
			op, prop, bound := shape(e, t)
			all++
			if r := ranks[op]; r < best {
				best, what, s.bound = r, op+" "+prop, bound
			}
		}
	}
	if all == 0 {
		return
	}
	s.deeper = all > 1
	for _, o := range c.sites[kind] {
		if o.index != nil && o.index.what == what {
			s.index = o.index
			return
		}
	}
	s.index = &index{what: what}
}

// shape says how a condition compares a property of the event, and for an order with what number.
func shape(e expr, t *Type) (op, prop string, bound float64) {
	property := func(e expr) (string, bool) {
		n, ok := e.(*name)
		return nameOf(n, ok), ok && n.tag == "" && t.Index(n.prop) >= 0
	}
	turned := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
	switch e := e.(type) {
	case *binary:
		if turned[e.op] == "" {
			break
		}
		l, r, op := e.l, e.r, e.op
		if _, ok := property(l); !ok {
			l, r, op = r, l, turned[op]
		}
		p, ok := property(l)
		if !ok {
			break
		}
		c, isConstant := r.(*literal)
		if v, ok := value(c, isConstant).Float(); ok && op != "=" && op != "!=" {
			bound = v
		}
		return op, p, bound
	case *in:
		if p, ok := property(e.e); ok {
			return "in", p, 0
		}
	case *between:
		if p, ok := property(e.e); ok && !e.not {
			return "between", p, 0
		}
	}
	return "other", "", 0
}

func nameOf(n *name, ok bool) string {
	if !ok {
		return ""
	}
	return n.prop
}

// index takes a condition such as id = a.id for the key of a filter's listeners, so that an event finds those it fits.
func (c *patternCompiler) index(n *node, own *scope, e expr) bool {
	b, ok := e.(*binary)
	if !ok || b.op != "=" {
		return false
	}
	for _, side := range [][2]expr{{b.l, b.r}, {b.r, b.l}} {
		l := own.expr(side[0])
		if l.prop < 0 || !onlyTags(side[1], n.tag) {
			continue
		}
		k := own.expr(side[1])
		if l.kind == Text && k.kind == Text || (l.kind == Int || l.kind == Long) && (k.kind == Int || k.kind == Long) {
			n.key, n.keyed = k, l.prop
			return true
		}
	}
	return false
}

// onlyTags reports whether an expression stands on tags other than its own, and on nothing of the event.
func onlyTags(e expr, self string) bool {
	only, some := true, false
	walk(e, func(e expr) bool {
		switch e := e.(type) {
		case *name:
			if e.tag == "" || e.tag == self {
				only = false
			} else {
				some = true
			}
		case *call:
			only = false
		}
		return true
	})
	return only && some
}
