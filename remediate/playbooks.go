package remediate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/remediate/epl"
	"holdfast/remediate/ladder"
)

// mostRows are the rows of a precondition that are remembered: of a board's few units, mounts or interfaces each the latest.
const mostRows = 16

// Playbooks are by the fault that they are about.
type Playbooks = ladder.Shelf

// A plan is a playbook whose statements run.
type plan struct {
	*ladder.Playbook
	before *watch // the precondition; nil without one
	after  *watch // the symptom
}

// A watch is a statement of a playbook.
type watch struct {
	live *epl.Rule
	rows []seenRow // latest last
	seen bool      // a row that agrees with want, since it was last asked
	want map[string]string
}

// A seenRow is a row of a statement, as texts.
type seenRow struct {
	at     time.Time
	values map[string]string
}

// CheckPlaybook compiles the statements of a playbook as an agent would.
func CheckPlaybook(p *ladder.Playbook) error {
	_, err := statementsOf(p)
	return err
}

// statementsOf returns the precondition, nil without one, and the symptom. They are compiled over the catalogue alone: a playbook does
// not depend on what streams a rule makes.
func statementsOf(p *ladder.Playbook) (both [2]*epl.Statement, err error) {
	engine := epl.New(epl.Options{Types: Types(Catalogue()), Limit: func(string) (float64, bool) { return 0, false }})
	for i, text := range []string{p.Precondition, p.Symptom} {
		if text == "" {
			continue
		}
		what := []string{"precondition", "symptom"}[i]
		all, err := epl.Parse(p.File+": "+what, text)
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%s: %s: %d statements, wants one", p.File, what, len(all))
		}
		if err == nil {
			_, err = engine.Deploy(all...)
		}
		if err != nil {
			return both, err
		}
		both[i] = all[0]
	}
	if both[1] == nil {
		return both, fmt.Errorf("%s: it has no symptom", p.File)
	}
	return both, nil
}

// Playbooks puts playbooks in force. Where the statements of one do not compile the one before stays, or none, and the error says why; read is what was wrong
// with those that could not be read, and is told with it.
func (r *Rules) Playbooks(shelf Playbooks, read error) error {
	problems := []error{read}
	r.advance(r.o.Clock.Now())
	old := r.plans
	r.plans = map[string]*plan{}
	for _, fault := range slices.Sorted(maps.Keys(shelf)) {
		book := shelf[fault]
		if was := old[fault]; was != nil && was.Precondition == book.Precondition && was.Symptom == book.Symptom {
			was.Playbook, r.plans[fault] = book, was
			delete(old, fault)
			continue
		}
		p, err := r.start(book)
		if was := old[fault]; err != nil && was != nil {
			p = was
			delete(old, fault)
			err = fmt.Errorf("%w; the one before stays in force", err)
		}
		if err != nil {
			problems = append(problems, err)
		}
		if p != nil {
			r.plans[fault] = p
		}
	}
	for _, p := range old {
		if r.climb.plan == p { // its symptom cannot be watched any more
			r.climb.plan = nil
		}
		r.stop(p)
	}
	r.resume(r.o.Clock.Now())
	err := errors.Join(problems...)
	r.planFault = ""
	if err != nil {
		r.planFault = clip(err.Error(), 4*maxTextBytes)
		r.o.Event("playbooks", map[string]any{"phase": "refused", "error": r.planFault, "in_force": len(r.plans)})
		r.o.Log.Error("not all playbooks are in force", "err", err)
	}
	return err
}

// start deploys a playbook's statements.
func (r *Rules) start(book *ladder.Playbook) (*plan, error) {
	statements, err := statementsOf(book)
	if err != nil {
		return nil, err
	}
	p := &plan{Playbook: book}
	for i, into := range []**watch{&p.before, &p.after} {
		if statements[i] == nil {
			continue
		}
		*into = &watch{}
		r.fresh = *into
		live, err := r.engine.Deploy(statements[i])
		r.fresh = nil
		if err != nil {
			r.stop(p)
			return nil, err
		}
		(*into).live = live[0]
		r.watches[live[0]] = *into
	}
	return p, nil
}

func (r *Rules) stop(p *plan) {
	for _, w := range []*watch{p.before, p.after} {
		if w != nil && w.live != nil {
			r.engine.Undeploy(w.live)
			delete(r.watches, w.live)
		}
	}
}

// hear remembers a row, in place of the one before that differs in nothing but numbers.
func (w *watch) hear(now time.Time, m match) {
	row := seenRow{at: now, values: make(map[string]string, len(m.columns))}
	for i, column := range m.columns {
		events, many := m.row[i].Events()
		if len(events) == 0 {
			row.put(last(column), m.row[i].Value())
		} else if !many {
			for k, p := range events[0].Type().Properties {
				row.put(p.Name, events[0].Value(k))
			}
		}
	}
	if w.want != nil && agrees(w.want, row.values) {
		w.seen = true
	}
	w.rows = slices.DeleteFunc(w.rows, func(o seenRow) bool { return sameThing(o.values, row.values) })
	if len(w.rows) >= mostRows {
		w.rows = slices.Delete(w.rows, 0, 1)
	}
	w.rows = append(w.rows, row)
}

func (s *seenRow) put(name string, v epl.Value) {
	if !v.Null() && len(s.values) < maxValues {
		s.values[name] = clip(v.String(), maxKeyBytes)
	}
}

// sameThing reports whether two rows are of the same unit, mount or whatever the catalogue tells several of a kind apart by.
func sameThing(a, b map[string]string) bool {
	for name, v := range a {
		if isInstance(name) && b[name] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// agrees reports whether what both name is the same thing.
func agrees(want, have map[string]string) bool {
	for name, v := range want {
		if h, both := have[name]; both && isInstance(name) && h != v {
			return false
		}
	}
	return true
}

// find returns the latest row that is fresh enough and of the same thing.
func (w *watch) find(now time.Time, fresh time.Duration, want map[string]string) (map[string]string, bool) {
	for _, row := range slices.Backward(w.rows) {
		if now.Sub(row.at) <= fresh && agrees(want, row.values) {
			return row.values, true
		}
	}
	return nil, false
}
