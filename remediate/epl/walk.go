package epl

import "slices"

// conjuncts divides a condition at its ands.
func conjuncts(e expr) []expr {
	if b, ok := e.(*binary); ok && b.op == "and" {
		return append(conjuncts(b.l), conjuncts(b.r)...)
	}
	return []expr{e}
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

// Asks returns the properties that the statement's conditions name, each once: of filters, where, having and while.
func (s *Statement) Asks() (names []string) {
	look := func(e expr) {
		walk(e, func(e expr) bool {
			if n, ok := e.(*name); ok && !slices.Contains(names, n.prop) {
				names = append(names, n.prop)
			}
			return true
		})
	}
	var within func(p *pattern)
	within = func(p *pattern) {
		if p == nil {
			return
		}
		for _, e := range append(slices.Clone(p.conds), p.cond) {
			look(e)
		}
		for _, kid := range p.kids {
			within(kid)
		}
	}
	within(s.from.pattern)
	for _, e := range append(slices.Clone(s.from.filter.conds), s.where, s.having) {
		look(e)
	}
	return names
}
