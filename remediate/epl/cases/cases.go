// Package cases is a leaf: it replays observations of statements at work: which events came when, and what a listener was
// called with. They are files of JSON in which an engine other than ours was observed.
package cases

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"holdfast/remediate/epl"
)

// A Case is statements, what happens to them, and the calls of their listeners.
type Case struct {
	ID         string                       `json:"id"`
	Types      map[string]map[string]string `json:"types"` // event type, property, kind
	Statements []struct {
		Name string `json:"name"`
		EPL  string `json:"epl"`
	} `json:"statements"`
	Steps  []Step `json:"steps"`
	Expect []Call `json:"expect"`
}

// A Step is one thing that happens; one of its fields is set.
type Step struct {
	Time     *int64         `json:"time"` // the clock moves there, and what is due happens once
	Span     *int64         `json:"span"` // likewise, with a stop at each time at which something is due
	Event    string         `json:"ev"`   // an event with this name arrives
	Type     string         `json:"type"`
	Values   map[string]any `json:"p"`
	Deploy   []string       `json:"deploy"`
	Undeploy []string       `json:"undeploy"`
}

// A Call is one call of a listener. The value of a column may be "@e1" for the event of that name.
type Call struct {
	At        int    `json:"at"` // index of the step
	Time      int64  `json:"t"`
	Statement string `json:"stmt"`
	New       []any  `json:"new"` // rows: their columns, or "@e1" for all of an event
	Old       []any  `json:"old"`
}

// MaxBytes bounds a file, as it is when it is not compressed.
const MaxBytes = 256 << 20

// Read reads a file of cases, which may be compressed by gzip.
func Read(r io.Reader) ([]Case, error) {
	b := bufio.NewReader(r)
	r = b
	if head, _ := b.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b { // RFC 1952, 2.3.1
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		r = z
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("more than %d MB", MaxBytes>>20)
	}
	var f struct {
		Cases []Case `json:"cases"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("no file of cases: %w", err)
	}
	return f.Cases, nil
}

// Run replays a case, and returns what the listeners were called with.
func (c *Case) Run() ([]Call, error) {
	var types []*epl.Type
	for _, name := range slices.Sorted(maps.Keys(c.Types)) {
		t := &epl.Type{Name: name}
		for _, prop := range slices.Sorted(maps.Keys(c.Types[name])) {
			k, ok := epl.ParseKind(c.Types[name][prop])
			if !ok {
				return nil, fmt.Errorf("%s.%s: no kind %q", name, prop, c.Types[name][prop])
			}
			t.Properties = append(t.Properties, epl.Property{Name: prop, Kind: k})
		}
		types = append(types, t)
	}
	var calls []Call
	step := 0
	names := map[uint64]string{}
	e := epl.New(epl.Options{Types: types, Bounds: epl.Bounds{Partials: 20_000, Rows: 20_000}})
	e.Listener = func(o epl.Output) {
		call := Call{At: step, Time: o.Time, Statement: o.Rule.Name}
		call.New = rows(o.Rule.Columns(), o.New, names)
		call.Old = rows(o.Rule.Columns(), o.Old, names)
		calls = append(calls, call)
	}
	rules := map[string]*epl.Rule{}
	number := uint64(0)
	for i, s := range c.Steps {
		step = i
		switch {
		case s.Time != nil:
			e.Advance(*s.Time)
		case s.Span != nil:
			e.Span(*s.Span)
		case s.Deploy != nil:
			for _, name := range s.Deploy {
				r, err := c.deploy(e, name)
				if err != nil {
					return nil, err
				}
				rules[name] = r
			}
		case s.Undeploy != nil:
			for _, name := range s.Undeploy {
				e.Undeploy(rules[name])
			}
		default:
			t, ok := e.Type(s.Type)
			if !ok {
				return nil, fmt.Errorf("step %d: no event type %q", i, s.Type)
			}
			vals, err := Values(t, s.Values)
			if err != nil {
				return nil, fmt.Errorf("step %d: %w", i, err)
			}
			number = e.Number() + 1
			names[number] = "@" + s.Event
			if _, err := e.Send(t, vals); err != nil {
				return nil, fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return calls, nil
}

func (c *Case) deploy(e *epl.Engine, name string) (*epl.Rule, error) {
	for _, s := range c.Statements {
		if s.Name != name {
			continue
		}
		all, err := epl.Parse(name, s.EPL)
		if err != nil {
			return nil, err
		}
		if len(all) != 1 {
			return nil, fmt.Errorf("%s: %d statements", name, len(all))
		}
		r, err := e.Deploy(all...)
		if err != nil {
			return nil, err
		}
		r[0].Name = name
		return r[0], nil
	}
	return nil, fmt.Errorf("no statement %q", name)
}

// Values are the values of an event as JSON has them, by the names of its properties; those that are missing are null.
func Values(t *epl.Type, of map[string]any) ([]epl.Value, error) {
	out := make([]epl.Value, len(t.Properties))
	for i, p := range t.Properties {
		v, ok := value(p.Kind, of[p.Name])
		if !ok {
			return nil, fmt.Errorf("%s.%s: %v is no %s", t.Name, p.Name, of[p.Name], p.Kind)
		}
		out[i] = v
	}
	for name := range of {
		if t.Index(name) < 0 {
			return nil, fmt.Errorf("%s has no property %q", t.Name, name)
		}
	}
	return out, nil
}

func value(k epl.Kind, of any) (epl.Value, bool) {
	if of == nil {
		return epl.Value{}, true
	}
	switch k {
	case epl.Text:
		s, ok := of.(string)
		return epl.OfText(s), ok
	case epl.Bool:
		b, ok := of.(bool)
		return epl.OfBool(b), ok
	}
	n, ok := of.(json.Number)
	if !ok {
		return epl.Value{}, false
	}
	if k == epl.Double {
		f, err := n.Float64()
		return epl.OfDouble(f), err == nil
	}
	i, err := n.Int64()
	if err != nil || k == epl.Int && i != int64(int32(i)) {
		return epl.Value{}, false
	}
	if k == epl.Int {
		return epl.OfInt(int32(i)), true
	}
	return epl.OfLong(i), true
}

func rows(columns []string, of []epl.Row, names map[uint64]string) []any {
	var out []any
	for _, r := range of {
		m := map[string]any{}
		for i, c := range r {
			switch all, many := c.Events(); {
			case many:
				var list []any
				for _, e := range all {
					list = append(list, event(e, names))
				}
				m[columns[i]] = list
				if list == nil {
					m[columns[i]] = nil
				}
			case len(all) == 1:
				m[columns[i]] = event(all[0], names)
			default:
				m[columns[i]] = c.Value().Any()
			}
		}
		out = append(out, m)
	}
	return out
}

// event is the name of an event that arrived, and of one that a statement made its properties.
func event(e epl.Event, names map[uint64]string) any {
	if name, ok := names[e.Number()]; ok {
		return name
	}
	m := map[string]any{}
	for i, p := range e.Type().Properties {
		m[p.Name] = e.Value(i).Any()
	}
	return m
}

// Check replays a case, and says how what came of it differs from what was observed; empty for not at all.
func (c *Case) Check() string {
	calls, err := c.Run()
	if err != nil {
		return err.Error()
	}
	// calls of different statements at one step come in any order
	by := func(a, b Call) int {
		if a.At != b.At {
			return a.At - b.At
		}
		return strings.Compare(a.Statement, b.Statement)
	}
	want := slices.Clone(c.Expect)
	slices.SortStableFunc(calls, by)
	slices.SortStableFunc(want, by)
	for i := 0; i < max(len(calls), len(want)); i++ {
		switch {
		case i >= len(calls):
			return fmt.Sprintf("step %d: %s was not called, with %s", want[i].At, want[i].Statement, show(want[i]))
		case i >= len(want):
			return fmt.Sprintf("step %d: %s was called with %s", calls[i].At, calls[i].Statement, show(calls[i]))
		}
		got, w := calls[i], want[i]
		ordered := c.ordered(w.Statement)
		if got.At != w.At || got.Statement != w.Statement || got.Time != w.Time || !c.same(got.New, w.New, ordered) || !c.same(got.Old, w.Old, ordered) {
			return fmt.Sprintf("step %d: %s was called with %s; step %d: with %s was observed", got.At, got.Statement, show(got), w.At, show(w))
		}
	}
	return ""
}

func (c *Case) ordered(statement string) bool {
	for _, s := range c.Statements {
		if s.Name == statement {
			return strings.Contains(strings.ToLower(s.EPL), "order by")
		}
	}
	return false
}

func show(c Call) string {
	n, _ := json.Marshal(c.New)
	o, _ := json.Marshal(c.Old)
	return fmt.Sprintf("t=%d new %s old %s", c.Time, n, o)
}

// same compares rows as a bag, or in their order.
func (c *Case) same(a, b []any, ordered bool) bool {
	if len(a) != len(b) {
		return false
	}
	b = slices.Clone(b)
	for _, r := range a {
		n := slices.IndexFunc(b, func(o any) bool { return alike(r, c.whole(o)) })
		if n < 0 || ordered && n != 0 {
			return false
		}
		b = slices.Delete(b, n, n+1)
	}
	return true
}

// whole is what an event that stands for a row has in it.
func (c *Case) whole(row any) any {
	name, ok := row.(string)
	if !ok {
		return row
	}
	for _, s := range c.Steps {
		if s.Event != "" && "@"+s.Event == name {
			all := map[string]any{}
			for p := range c.Types[s.Type] {
				all[p] = s.Values[p]
			}
			return all
		}
	}
	return row
}

func alike(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		o, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, o, func(x, y any) bool { return alike(x, y) })
	case []any:
		o, ok := b.([]any)
		return ok && slices.EqualFunc(a, o, alike)
	}
	x, xok := number(a)
	y, yok := number(b)
	if xok && yok { // doubles are summed up in another order
		return x == y || math.Abs(x-y) <= 1e-9*max(math.Abs(x), math.Abs(y), 1e-3)
	}
	return a == b
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}
