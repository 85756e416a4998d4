package epl

import (
	"slices"
	"strings"
)

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
	if t := r.engine.Trace; t != nil {
		t.terms(sc, streamOf{r}, f.conds)
	}
	if len(s.from.views) == 0 {
		return
	}
	if len(s.from.views) > 1 {
		throw(s.from.views[1].at, "", "more than one window is not part of this EPL")
	}
	sc.windowed = true
	v := s.from.views[0]
	w := &window{kind: v.name, batch: strings.HasSuffix(v.name, "_batch"), rule: r, stamp: -1}
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
