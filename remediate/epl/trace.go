package epl

import "slices"

// A Trace is told what goes on inside the rules of an engine, step by step: why an event passed a filter or did not, which
// parts of a pattern began and ended, what an aggregate came to. It is for a person with a few events; it makes an engine
// slow, and must be there before the rules are deployed. What it does hangs on fields, so that a program that makes none
// does not carry it.
type Trace struct {
	tell   func(Step)
	terms  func(sc *scope, of any, conds []expr)
	offer  func(m *matcher, kind int)
	state  func(s *state, deed Deed)
	arrive func(r *Rule, vals []Value)
	match  func(r *Rule, tags []*held)
	after  func(r *Rule)

	known map[any][]term
	false *state // that was told to have ended false
}

// A Deed is what happened in a Step.
type Deed string

// The deeds. The first three are of filters and conditions, with their values; the others of parts of a pattern.
const (
	Passes  Deed = "passes"   // the event passes the filter
	Stopped Deed = "stopped"  // Condition is false or null
	Group   Deed = "group"    // what the aggregates of having came to
	More    Deed = "more"     // Count other states wait at the same filter
	Begins  Deed = "begins"   // a part waits, or lets others wait
	Due     Deed = "due"      // its time has come
	True    Deed = "true"     // it came true
	False   Deed = "false"    // it ended false, for good
	Ends    Deed = "ends"     // it was ended by what is around it
	NoRoom  Deed = "no room"  // something did not fit into what the rule may hold
	Anew    Deed = "restarts" // the pattern had nothing left to wait for, and begins anew
)

// A Step is one thing that happened in a rule.
type Step struct {
	Rule      *Rule
	Time      int64 // the engine's
	Deed      Deed
	Part      string // of the rule, as it is written
	Depth     int    // how far inside the pattern
	Clause    string // filter, where or having
	Condition string // that is not true
	Result    Value  // what it is instead
	Values    []Named
	Count     int
	Due       int64 // of a timer that begins
}

// A Named is a value and what it is called.
type Named struct {
	Name  string
	Value Value
}

// A term is a condition of its own, with what is in it.
type term struct {
	text  string
	cond  fn
	names []string
	vals  []fn
}

// The conditions of a rule that are no filter of a pattern.
type (
	streamOf struct{ r *Rule }
	whereOf  struct{ r *Rule }
	havingOf struct{ r *Rule }
)

// NewTrace makes one that tells its steps to a function.
func NewTrace(tell func(Step)) *Trace {
	t := &Trace{tell: tell, known: map[any][]term{}}
	t.terms, t.offer, t.state, t.arrive, t.match, t.after = t.learn, t.offered, t.moved, t.arrived, t.matched, t.left
	return t
}

// learn compiles conditions once more, each with the values in it.
func (t *Trace) learn(sc *scope, of any, conds []expr) {
	for _, c := range conds {
		for _, c := range conjuncts(c) {
			one := term{text: show(c), cond: sc.cond(c)}
			walk(c, func(e expr) bool {
				n, isName := e.(*name)
				call, isCall := e.(*call)
				whole := slices.ContainsFunc(sc.grouped, func(g expr) bool { return alike(e, g) })
				if !whole && !isName && !(isCall && (numbers[call.fn] > 0 || call.fn == "limit")) {
					return true
				}
				text := show(e)
				if isName && n.tag != "" && n.tag == sc.self {
					text = n.prop
				}
				if slices.Contains(one.names, text) {
					return false
				}
				one.names, one.vals = append(one.names, text), append(one.vals, sc.expr(e))
				return false
			})
			t.known[of] = append(t.known[of], one)
		}
	}
}

// judge tells of the first condition that is not true, or that all are.
func (t *Trace) judge(s Step, of any, e *env) bool {
	var all []Named
	for i := range t.known[of] {
		one := &t.known[of][i]
		var vals []Named
		for k := range one.names {
			vals = append(vals, Named{one.names[k], one.vals[k].v(e)})
		}
		if v := one.cond.v(e); v.kind == None || v.bits == 0 {
			s.Deed, s.Condition, s.Result, s.Values = Stopped, one.text, v, vals
			t.tell(s)
			return false
		}
		all = append(all, vals...)
	}
	s.Deed, s.Values = Passes, all
	t.tell(s)
	return true
}

const mostListeners = 10 // of one filter that are told one by one

func (t *Trace) offered(m *matcher, kind int) {
	for _, at := range m.sites[kind] {
		n := 0
		visit := func(l *state) {
			for ; l != nil; l = l.link {
				if n++; n > mostListeners {
					continue
				}
				m.env.tags = l.begin
				t.judge(t.step(l), l.node, &m.env)
			}
		}
		visit(at.first)
		for _, l := range at.buckets {
			visit(l)
		}
		if n > mostListeners {
			t.tell(Step{Rule: m.rule, Time: m.rule.engine.now, Deed: More, Clause: "filter", Part: at.node.show(0), Count: n - mostListeners})
		}
	}
}

func (t *Trace) step(s *state) Step {
	r := s.timer.rule
	out := Step{Rule: r, Time: r.engine.now, Clause: "filter", Part: s.pattern.show(0)}
	for up := s.up; up != nil; up = up.up {
		out.Depth++
	}
	return out
}

func (t *Trace) moved(s *state, deed Deed) {
	if deed == Ends && t.false == s {
		t.false = nil
		return
	}
	if t.false = nil; deed == False {
		t.false = s
	}
	step := t.step(s)
	if step.Deed, step.Clause = deed, ""; deed == Begins && s.period > 0 && s.op != opDistinct {
		step.Due = step.Time + s.period.Milliseconds()
	}
	t.tell(step)
}

func (t *Trace) arrived(r *Rule, vals []Value) {
	e := env{ev: vals, now: r.engine.now}
	s := Step{Rule: r, Time: r.engine.now, Clause: "filter", Part: r.Statement.from.filter.show()}
	if !t.judge(s, streamOf{r}, &e) || r.process.where.v == nil {
		return
	}
	s.Clause, s.Part = "where", show(r.Statement.where)
	t.judge(s, whereOf{r}, &e)
}

func (t *Trace) matched(r *Rule, tags []*held) {
	if r.process.where.v == nil {
		return
	}
	e := env{tags: tags, now: r.engine.now}
	t.judge(Step{Rule: r, Time: r.engine.now, Clause: "where", Part: show(r.Statement.where)}, whereOf{r}, &e)
}

// left tells what having says of each group that an event changed.
func (t *Trace) left(r *Rule) {
	p := r.process
	if p.having.v == nil || p.style == plain {
		return
	}
	for _, g := range p.touch {
		if len(p.by) > 0 && p.all[g.number] != g {
			continue // gone with its last row
		}
		e := p.env
		e.g = g
		s := Step{Rule: r, Time: r.engine.now, Clause: "having", Part: show(r.Statement.having)}
		for i, k := range g.keys {
			s.Part += " of " + show(r.Statement.group[i]) + " " + k.String()
		}
		t.judge(s, havingOf{r}, &e)
	}
}
