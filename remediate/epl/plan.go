package epl

import (
	"fmt"
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
