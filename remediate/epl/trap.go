package epl

import (
	"fmt"
	"slices"
	"strings"
)

// Trap tells of what is allowed and likely not meant; nil for nothing. It is a pattern that begins with every sample of a
// measure that stays high or low for long, and so matches once for each sample and not once for each episode. A measure is
// known by a condition with <, <=, >, >= or between, of the event itself. The hint is what begins once; instance returns
// the property that tells several of an event type apart, and nothing where there is one.
func (s *Statement) Trap(instance func(eventType string) string) *Error {
	p := s.from.pattern
	if p == nil {
		return nil
	}
	first := p
	if p.op == opFollowed {
		first = p.kids[0]
	}
	if first.op != opEvery || first.kids[0].op != opFilter {
		return nil
	}
	f := first.kids[0]
	var all []expr
	for _, c := range f.conds {
		all = append(all, conjuncts(c)...)
	}
	for i, c := range all {
		low := opposite(c, f.tag)
		if low == nil {
			continue
		}
		m := &mistake{at: first.at, problem: fmt.Sprintf("it begins anew with each event that has %s, and not once each time that this begins", show(c))}
		if m.hint = f.once(all, i, low, instance(f.typ)); p.op == opFollowed {
			m.hint += "; see 'once per episode' in docs/rules.md"
		}
		return m.in(s.File, s.source)
	}
	return nil
}

// Limit tells of the first limit('…') of the statement that is none of those that are known; nil for none.
func (s *Statement) Limit(known []string) *Error {
	tokens, _ := lex(s.Text, false)
	from := strings.Index(s.source, s.Text)
	for i := range tokens {
		if !tokens[i].is("limit") || i+2 >= len(tokens) || !tokens[i+1].is("(") || tokens[i+2].kind != tokenText || slices.Contains(known, tokens[i+2].text) {
			continue
		}
		m := &mistake{at: from + tokens[i+2].at, problem: fmt.Sprintf("there is no limit %q, and what is not there is null", tokens[i+2].text),
			hint: "there are " + strings.Join(known, ", ")}
		if near := nearest(tokens[i+2].text, known); near != "" {
			m.hint = "did you mean " + near + "?"
		}
		return m.in(s.File, s.source)
	}
	return nil
}

// once is a pattern that begins when the i-th of a filter's conditions becomes true after it was not.
func (p *pattern) once(all []expr, i int, low expr, instance string) string {
	high := p.tag
	if high == "" {
		high = "a"
	}
	others := slices.Delete(slices.Clone(all), i, i+1)
	if instance == "" {
		return fmt.Sprintf("every (%s(%s) -> %s=%s(%s))", p.typ, showTagged(append(others, low), p.tag, ""), high, p.typ, showTagged(all, p.tag, ""))
	}
	same := instance + " = before." + instance
	if len(others) == 0 {
		return fmt.Sprintf("pattern [every before=%[1]s -> %[2]s=%[1]s(%[3]s)] where %[4]s and %[5]s", p.typ, high, same,
			showTagged([]expr{low}, p.tag, "before"), showTagged(all[i:i+1], p.tag, high))
	}
	filter := showTagged(others, p.tag, "")
	return fmt.Sprintf("pattern [every before=%[1]s(%[2]s) -> %[3]s=%[1]s(%[2]s, %[4]s)] where %[5]s and %[6]s", p.typ, filter, high, same,
		showTagged([]expr{low}, p.tag, "before"), showTagged(all[i:i+1], p.tag, high))
}

// showTagged shows conditions with another tag before the event's own properties.
func showTagged(all []expr, own, tag string) string {
	out := make([]expr, len(all))
	for i, e := range all {
		out[i] = renamed(e, own, tag)
	}
	return showAll(out)
}

// renamed is an expression in which the event's own properties have another tag. Below what a condition on a measure is made
// of, they are left as they are.
func renamed(e expr, own, tag string) expr {
	switch e := e.(type) {
	case *name:
		if e.tag == "" || e.tag == own {
			n := *e
			n.tag = tag
			return &n
		}
	case *unary:
		n := *e
		n.e = renamed(e.e, own, tag)
		return &n
	case *isNull:
		n := *e
		n.e = renamed(e.e, own, tag)
		return &n
	case *binary:
		n := *e
		n.l, n.r = renamed(e.l, own, tag), renamed(e.r, own, tag)
		return &n
	case *between:
		n := *e
		n.e, n.lo, n.hi = renamed(e.e, own, tag), renamed(e.lo, own, tag), renamed(e.hi, own, tag)
		return &n
	}
	return e
}

// opposite is the condition that ends what a condition on a measure began; nil when it is on none.
func opposite(e expr, tag string) expr {
	own := func(e expr) bool {
		n, ok := e.(*name)
		return ok && (n.tag == "" || n.tag == tag)
	}
	fixed := func(e expr) bool {
		free := true
		walk(e, func(e expr) bool {
			if _, ok := e.(*name); ok {
				free = false
			}
			return true
		})
		return free
	}
	switch e := e.(type) {
	case *binary:
		back := map[string]string{"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[e.op]
		if back != "" && (own(e.l) && fixed(e.r) || own(e.r) && fixed(e.l)) {
			return &binary{op: back, l: e.l, r: e.r}
		}
	case *between:
		if own(e.e) && fixed(e.lo) && fixed(e.hi) {
			turned := *e
			turned.not = !e.not
			return &turned
		}
	}
	return nil
}
