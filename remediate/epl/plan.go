package epl

import (
	"fmt"
	"slices"
	"strings"
)

// A Plan is what a rule was compiled to, in words.
type Plan struct {
	Types  []string // event types that it takes
	Kind   string   // pattern, window or stream
	From   string   // the pattern, or the filter and its window
	Rows   string   // what makes a row
	Output string   // when rows are put out; empty for at once
	Into   string   // the event type that rows become; empty for none
}

// Plan tells how a rule works.
func (r *Rule) Plan() Plan {
	s := r.Statement
	p := Plan{Kind: "stream", From: s.from.filter.show(), Into: s.insert}
	for _, t := range r.types {
		p.Types = append(p.Types, t.typ.Name)
	}
	switch {
	case s.from.pattern != nil:
		p.Kind, p.From = "pattern", s.from.pattern.show(0)
	case len(s.from.views) > 0:
		v := s.from.views[0]
		p.Kind = "window"
		if p.From += "#" + v.name; len(v.args) > 0 {
			p.From += "(" + showAll(v.args) + ")"
		}
	}
	p.Rows = [...]string{plain: "each event", total: "all events together", eachTotal: "each event, with what all come to",
		perGroup: "each group that changed", eachGrouped: "each event, with what its group comes to"}[r.process.style]
	if p.Kind == "pattern" {
		p.Rows = strings.ReplaceAll(p.Rows, "event", "match")
	}
	if len(s.group) > 0 {
		p.Rows += ", by " + showAll(s.group)
	}
	if s.having != nil {
		p.Rows += ", having " + show(s.having)
	}
	if o := s.output; o != nil {
		every := fmt.Sprintf("%d events", o.events)
		if o.period > 0 {
			every = showTime(o.period)
		}
		p.Output = strings.TrimSpace(o.which + " every " + every)
	}
	return p
}

// At makes an Error of something that is wrong with an annotation of the statement.
func (s *Statement) At(a Annotation, problem, hint string) *Error {
	return (&mistake{at: a.at, problem: problem, hint: hint}).in(s.File, s.source)
}

// Inserts is the event type that the statement makes; empty for none.
func (s *Statement) Inserts() string { return s.insert }

// Trap tells of what is allowed and likely not meant; nil for nothing. It is a pattern that begins with every sample of a
// measure that stays high or low for long, and so matches once for each sample and not once for each episode. A measure is
// known by a condition with <, <=, >, >= or between, of the event itself.
func (s *Statement) Trap() *Error {
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
		if low == "" {
			continue
		}
		if len(all) > 1 {
			low = bare(showAll(slices.Delete(slices.Clone(all), i, i+1)), f.tag) + ", " + low
		}
		high, rest := *f, ""
		if high.tag == "" {
			high.tag = "a"
		}
		if p.op == opFollowed {
			rest = " -> …"
		}
		m := &mistake{at: first.at, problem: fmt.Sprintf("it begins anew with each event that has %s, and not once each time that this begins", show(c)),
			hint: fmt.Sprintf("every (%s(%s) -> %s%s)", f.typ, low, high.show(0), rest)}
		return m.in(s.File, s.source)
	}
	return nil
}

// opposite is the condition that ends what a condition on a measure began; empty when it is none.
func opposite(e expr, tag string) string {
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
			return bare(show(&binary{op: back, l: e.l, r: e.r}), tag)
		}
	case *between:
		if own(e.e) && fixed(e.lo) && fixed(e.hi) {
			turned := *e
			turned.not = !e.not
			return bare(show(&turned), tag)
		}
	}
	return ""
}

// bare takes a filter's own tag from a condition that is for another.
func bare(cond, tag string) string {
	if tag == "" {
		return cond
	}
	return strings.ReplaceAll(cond, tag+".", "")
}
