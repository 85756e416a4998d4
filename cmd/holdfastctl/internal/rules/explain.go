package rules

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/remediate/epl"
)

// A Told is one step of an explanation. Of an event there is Event and Values, of the steps that follow in a rule the rest.
type Told struct {
	Time      any              `json:"time"`
	Event     string           `json:"event,omitempty"` // its type
	Line      int              `json:"line,omitempty"`  // in the file of events
	Rule      string           `json:"rule,omitempty"`
	Deed      string           `json:"deed,omitempty"` // of epl.Deed, or matches
	Part      string           `json:"part,omitempty"` // of the rule
	Clause    string           `json:"clause,omitempty"`
	Condition string           `json:"condition,omitempty"`
	Values    map[string]any   `json:"values,omitempty"`
	Due       any              `json:"due,omitempty"`
	Count     int              `json:"count,omitempty"`
	New       []map[string]any `json:"new,omitempty"`
	Old       []map[string]any `json:"old,omitempty"`

	depth int
	null  bool
}

// An Outcome is what became of a rule over all events.
type Outcome struct {
	Rule    string      `json:"rule"`
	Matches int         `json:"matches"`
	Holds   int         `json:"holds"` // states, events and rows that it still has
	Stopped []StoppedAt `json:"stopped,omitempty"`
}

// A StoppedAt is a condition that was not true, and how often.
type StoppedAt struct {
	Condition string `json:"condition"`
	Part      string `json:"part"`
	Times     int    `json:"times"`
}

// An explainer tells what goes on in the rule of a name, or in all for no name.
type explainer struct {
	run
	name     string
	tell     func(Told)
	outcomes map[*epl.Rule]*Outcome
}

func (x *explainer) of(rule *epl.Rule) *Outcome {
	if x.outcomes[rule] == nil {
		x.outcomes[rule] = &Outcome{}
	}
	return x.outcomes[rule]
}

func (x *explainer) wanted(rule *epl.Rule) bool { return x.name == "" || rule.Name == x.name }

func (x *explainer) step(s epl.Step) {
	if !x.wanted(s.Rule) {
		return
	}
	t := Told{Time: x.time(s.Time), Rule: s.Rule.Name, Deed: string(s.Deed), Part: s.Part, Clause: s.Clause, Condition: s.Condition,
		Count: s.Count, depth: s.Depth, null: s.Result.Null()}
	if s.Due > 0 {
		t.Due = x.time(s.Due)
	}
	for _, v := range s.Values {
		if t.Values == nil {
			t.Values = map[string]any{}
		}
		t.Values[v.Name] = number(v.Value)
	}
	if s.Deed == epl.Stopped {
		x.of(s.Rule).stopped(s)
	}
	x.tell(t)
}

func (x *explainer) output(out epl.Output) {
	if !x.wanted(out.Rule) {
		return
	}
	x.of(out.Rule).Matches++
	m := x.match(out)
	x.tell(Told{Time: m.Time, Rule: m.Rule, Deed: "matches", New: m.New, Old: m.Old})
}

// Explain gives rules events and tells step by step what goes on in the one of that name, or in all for no name.
func Explain(ctx context.Context, o Options, files []string, events *Reader, name string, rest time.Duration, tell func(Told)) ([]Outcome, error) {
	x := &explainer{name: name, tell: tell, outcomes: map[*epl.Rule]*Outcome{}}
	engine, err := o.engine(epl.Options{Trace: epl.NewTrace(x.step), Listener: x.output})
	if err != nil {
		return nil, err
	}
	x.engine = engine
	x.before = func(e Event) {
		if e.Type != "" {
			tell(Told{Time: x.time(e.Millis), Event: e.Type, Line: e.Line, Values: e.Values})
		}
	}
	if err := x.all(ctx, files, events, rest); err != nil {
		return nil, err
	}
	var out []Outcome
	var names []string
	for _, rule := range engine.Rules() {
		if names = append(names, rule.Name); !x.wanted(rule) {
			continue
		}
		one := x.of(rule)
		one.Rule, one.Holds = rule.Name, rule.Standing().Holds
		slices.SortStableFunc(one.Stopped, func(a, b StoppedAt) int { return b.Times - a.Times })
		out = append(out, *one)
	}
	if len(out) == 0 && name != "" {
		return nil, fmt.Errorf("%w: there is no rule %q: %s", ErrOptions, name, suggest(name, names, ""))
	}
	return out, nil
}

const mostStopped = 1000 // different conditions of a rule that are counted

func (o *Outcome) stopped(s epl.Step) {
	for i := range o.Stopped {
		if o.Stopped[i].Condition == s.Condition && o.Stopped[i].Part == s.Part {
			o.Stopped[i].Times++
			return
		}
	}
	if len(o.Stopped) < mostStopped {
		o.Stopped = append(o.Stopped, StoppedAt{s.Condition, s.Part, 1})
	}
}

// String is a step as a person reads it.
func (t Told) String() string {
	if t.Event != "" {
		return fmt.Sprintf("%v  %s%s", t.Time, t.Event, shown(t.Values))
	}
	before := "  " + t.Rule + ": " + strings.Repeat("  ", t.depth)
	switch epl.Deed(t.Deed) {
	case epl.Passes:
		if t.Clause == "having" {
			return before + "having holds" + shown(t.Values)
		}
		return before + t.Part + ": the event passes" + shown(t.Values)
	case epl.Stopped:
		not := "false"
		if t.null {
			not = "null"
		}
		return before + t.Part + ": " + t.Condition + " is " + not + shown(t.Values)
	case epl.More:
		return fmt.Sprintf("%s%s: and %d more that wait for it", before, t.Part, t.Count)
	case epl.Begins:
		if t.Due != nil {
			return fmt.Sprintf("%s%s begins, until %v", before, t.Part, t.Due)
		}
		return before + t.Part + " begins"
	case epl.Due:
		return fmt.Sprintf("%s%s: its time has come, at %v", before, t.Part, t.Time)
	case epl.True:
		return before + t.Part + " came true"
	case epl.False:
		return before + t.Part + " ended false"
	case epl.Ends:
		return before + t.Part + " is ended"
	case epl.NoRoom:
		return before + t.Part + ": no room for more, and something was left out"
	case epl.Anew:
		return before + t.Part + " begins anew, since it lost what it waited for"
	}
	out := before + "MATCHES"
	for _, row := range t.New {
		out += shown(row)
	}
	for _, row := range t.Old {
		out += ", old" + shown(row)
	}
	return out
}

func shown(vals map[string]any) string {
	var out strings.Builder
	for _, k := range keys(vals) {
		text, ok := vals[k].(string)
		if !ok {
			b, _ := json.Marshal(vals[k]) // number made it so that it can be
			text = string(b)
		}
		out.WriteString(" " + k + "=" + text)
	}
	return out.String()
}
