package epl

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// engineSays is what the engine makes of a recording. full is true when something did not fit: then it need not agree.
func (c *recording) engineSays() (calls []oCall, full bool, err error) {
	types := c.types()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panics: %v", r)
		}
	}()
	step := 0
	names := map[uint64]string{}
	o := Options{Bounds: Bounds{Partials: 2000, Rows: 2000}}
	for _, t := range types {
		o.Types = append(o.Types, t)
	}
	o.Listener = func(out Output) {
		calls = append(calls, oCall{step, out.Time, out.Rule.Name, cellsOf(out.Rule, out.New, names), cellsOf(out.Rule, out.Old, names)})
	}
	e := New(o)
	rules := map[string]*Rule{}
	for i, s := range c.Steps {
		step = i
		switch {
		case s.Time != nil:
			e.Advance(*s.Time)
		case s.Span != nil:
			e.Span(*s.Span)
		case s.Deploy != nil:
			for _, st := range c.Statements {
				all, err := Parse("", "@name('"+st.Name+"') "+st.EPL)
				if err != nil {
					return nil, false, err
				}
				r, err := e.Deploy(all...)
				if err != nil {
					return nil, false, err
				}
				rules[st.Name] = r[0]
			}
		default:
			t := types[s.Type]
			vals := make([]Value, len(t.Properties))
			for k, p := range t.Properties {
				vals[k] = engineValue(s.P[p.Name])
			}
			names[e.Number()+1] = s.Ev
			if _, err := e.Send(t, vals); err != nil {
				return nil, false, err
			}
		}
	}
	for _, r := range rules {
		full = full || r.Standing().Overflows > 0
	}
	return calls, full, nil
}

func engineValue(v any) Value {
	switch v := v.(type) {
	case bool:
		return OfBool(v)
	case int32:
		return OfInt(v)
	case int64:
		return OfLong(v)
	case float64:
		return OfDouble(v)
	case string:
		return OfText(v)
	}
	return Value{}
}

func cellsOf(r *Rule, rows []Row, names map[uint64]string) (out []orow) {
	event := func(e Event) *oEvent {
		o := &oEvent{typ: e.Type().Name, name: names[e.Number()], props: map[string]any{}}
		for i, p := range e.Type().Properties {
			o.props[p.Name] = oValue(e.Value(i))
		}
		return o
	}
	for _, row := range rows {
		m := orow{}
		for i, cell := range row {
			switch all, many := cell.Events(); {
			case many:
				var list []*oEvent
				for _, e := range all {
					list = append(list, event(e))
				}
				m[r.Columns()[i]] = list
			case len(all) == 1:
				m[r.Columns()[i]] = event(all[0])
			default:
				m[r.Columns()[i]] = oValue(cell.Value())
			}
		}
		out = append(out, m)
	}
	return out
}

// disagree says how the engine and the oracle differ; comparable is false when one had too much to do, or nobody knows.
func (c *recording) disagree() (d string, comparable bool) {
	calls, full, err := c.engineSays()
	if err != nil {
		return "the engine: " + err.Error(), true
	}
	if full {
		return "", false
	}
	want, vague, err := c.replayed(300, false)
	if vague {
		return "", false
	}
	if err != nil {
		if strings.Contains(err.Error(), errTooLarge.Error()) {
			return "", false
		}
		return "the oracle: " + err.Error(), true
	}
	if d := differ(lines(calls), lines(want)); d != "" {
		other, _, err := c.replayed(300, true)
		if err != nil || differ(lines(other), lines(want)) != "" { // the order of filters matters, which the oracle does not know
			return "", false
		}
		return "the engine says " + strings.Replace(d, "where", "the oracle:", 1), true
	}
	return "", true
}

// shrink drops steps as long as the two differ.
func (c *recording) shrink() *recording {
	for size := len(c.Steps) / 2; size > 0; size /= 2 {
		for at := 1; at+size <= len(c.Steps); {
			less := *c
			less.Steps = slices.Delete(slices.Clone(c.Steps), at, at+size)
			if d, ok := less.disagree(); ok && d != "" {
				c = &less
			} else {
				at += size
			}
		}
	}
	return c
}

func (c *recording) String() string {
	var b strings.Builder
	for _, s := range c.Statements {
		fmt.Fprintf(&b, "\t%s: %s\n", s.Name, s.EPL)
	}
	for i, s := range c.Steps {
		switch {
		case s.Time != nil:
			fmt.Fprintf(&b, "\t%d: time %d\n", i, *s.Time)
		case s.Span != nil:
			fmt.Fprintf(&b, "\t%d: span %d\n", i, *s.Span)
		case s.Type != "":
			p, _ := json.Marshal(s.P)
			fmt.Fprintf(&b, "\t%d: %s %s %s\n", i, s.Ev, s.Type, p)
		}
	}
	return b.String()
}

// rounds is how many random statements there are, or HOLDFAST_EPL_ROUNDS; HOLDFAST_EPL_SEED starts at another.
func rounds(t *testing.T, n int) (rounds int, seed uint64) {
	set := func(name string, n int) int {
		v := os.Getenv(name)
		if v == "" {
			return n
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return set("HOLDFAST_EPL_ROUNDS", n), uint64(set("HOLDFAST_EPL_SEED", 1))
}

// Whatever the statement and the stream, the engine does what the oracle does.
func TestEngineDoesWhatTheOracleDoes(t *testing.T) {
	n, seed := rounds(t, 2000)
	skipped, spoke, failed := 0, 0, 0
	for i := range n {
		w := &writer{Rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		c := w.random(10 + w.IntN(40))
		d, ok := c.disagree()
		if !ok {
			skipped++
			continue
		}
		if d == "" {
			if calls, _, _ := c.engineSays(); len(calls) > 0 {
				spoke++
			}
			continue
		}
		c = c.shrink()
		d, _ = c.disagree()
		t.Errorf("round %d: %s\n%s", i, d, c)
		if failed++; failed == 20 {
			t.Fatalf("and that is enough, after %d rounds", i+1)
		}
	}
	t.Logf("%d rounds, of which %d put something out and %d were too large or unclear", n, spoke, skipped)
	if spoke < n/3 || skipped > n/10 {
		t.Errorf("of %d rounds %d put something out and %d were too large or unclear: that tests little", n, spoke, skipped)
	}
}

// What the two once did not agree on.
func TestOnceWrong(t *testing.T) {
	d := func(id string, cpu float64, n int32) recorded {
		return recorded{Ev: "e", Type: "D", P: map[string]any{"id": id, "cpu": cpu, "n": n}}
	}
	later := int64(5000)
	for _, tt := range []struct {
		name, statement string
		steps           []recorded
	}{
		{"the median of what unique replaces", "select irstream median(cpu) as v from D#unique(id)", []recorded{d("x", 70, 0), d("x", 43, 0)}},
		{"a row that where keeps out takes the place of one that was counted", "select irstream count(*) as v, median(cpu) as w from D#unique(id) where cpu > 20",
			[]recorded{d("x", 30, 0), d("x", 10, 0), d("x", 50, 0), d("y", 60, 0)}},
		{"the number of a group that is gone is another's", "select irstream id, cpu, sum(cpu) as v from D#length(1) group by id output last every 3 events",
			[]recorded{d("x", 50, 0), d("z", 55, 0), d("y", 5, 0)}},
		{"a snapshot when rows leave", "select cpu from D#time(3 sec) output snapshot every 2 events", []recorded{d("x", 1, 0), d("x", 2, 0), {Span: &later}}},
		{"a repeat of repeats has all of their events", "select * from pattern [[2] ([2] a=D)]", []recorded{d("x", 1, 0), d("x", 2, 0), d("x", 3, 0), d("x", 4, 0)}},
		{"a repeat of a choice of repeats", "select a[2].n as n from pattern [[2] ([2] a=D) or b=G]", []recorded{d("x", 1, 0), d("x", 2, 1), d("x", 3, 2), d("x", 4, 3)}},
	} {
		c := &recording{Types: randomTypes, Steps: append([]recorded{{Deploy: []string{"s"}}}, tt.steps...)}
		c.Statements = append(c.Statements, struct{ Name, EPL string }{"s", tt.statement})
		if d, _ := c.disagree(); d != "" {
			t.Errorf("%s: %s\n%s", tt.name, d, c)
		}
	}
}
