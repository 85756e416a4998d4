package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"holdfast/remediate/epl"
	"holdfast/remediate/epl/cases"
)

// A Cost is what a rule, or all rules together, take of a machine.
type Cost struct {
	Rule           string  `json:"rule"` // empty for all rules together
	NanosPerEvent  float64 `json:"ns_per_event"`
	AllocsPerEvent float64 `json:"allocs_per_event"`
	BytesHeld      int64   `json:"bytes_held"` // by the engine, after the events
	MaxBytes       int     `json:"max_bytes"`
	Events         int     `json:"events"`
	Matches        uint64  `json:"matches"`
	Overflows      uint64  `json:"overflows"`
}

const (
	mostEvents  = 1_000_000 // of a file
	madeEvents  = 20_000
	madeDevices = 100
	madeMillis  = 20 // between two events: 50 a second
)

// A sent is an event ready to be sent.
type sent struct {
	typ    string
	vals   []epl.Value
	millis int64 // since the first
}

// Bench measures every rule of the files alone, with those that make the events it takes, and then all together: each for
// at least d, over the events of a reader again and again, or, where that is nil, over made ones of 100 devices, 50 a
// second, whose numbers are spread evenly over 0 to 100, and over 0 to 1 for ratios. Only events that a rule takes are
// counted.
func Bench(ctx context.Context, o Options, files []string, events *Reader, d time.Duration, tell func(Cost) error) error {
	e, err := o.engine(epl.Options{})
	if err != nil {
		return err
	}
	if err := deploy(e, files); err != nil {
		return err
	}
	var list []sent
	if events != nil {
		if list, err = readAll(e, events); err != nil {
			return err
		}
	} else {
		list = makeEvents(e)
	}
	all := e.Rules()
	for i := range all {
		c, err := measure(ctx, o, needed(all, i), list, d)
		if err != nil {
			return err
		}
		c.Rule = all[i].Name
		if err := tell(c); err != nil {
			return err
		}
	}
	var statements []*epl.Statement
	for _, r := range all {
		statements = append(statements, r.Statement)
	}
	if len(all) < 2 {
		return nil
	}
	c, err := measure(ctx, o, statements, list, d)
	if err != nil {
		return err
	}
	return tell(c)
}

// needed returns a rule's statement behind those that make what it takes.
func needed(all []*epl.Rule, i int) []*epl.Statement {
	want := map[string]bool{}
	need := map[int]bool{i: true}
	for k := i; k >= 0; k-- {
		if need[k] || want[all[k].Plan().Into] && all[k].Plan().Into != "" {
			need[k] = true
			for _, t := range all[k].Plan().Types {
				want[t] = true
			}
		}
	}
	var out []*epl.Statement
	for k := range all {
		if need[k] {
			out = append(out, all[k].Statement)
		}
	}
	return out
}

func readAll(e *epl.Engine, events *Reader) (list []sent, err error) {
	first := int64(-1)
	for {
		ev, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if ev.Type == "" {
			continue
		}
		t, ok := e.Type(ev.Type)
		if !ok {
			return nil, fmt.Errorf("%s:%d: there is no event type %.60q", events.name, ev.Line, ev.Type)
		}
		vals, err := cases.Values(t, ev.Values)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", events.name, ev.Line, err)
		}
		if first < 0 {
			first = ev.Millis
		}
		if list = append(list, sent{ev.Type, vals, max(0, ev.Millis-first)}); len(list) > mostEvents {
			return nil, fmt.Errorf("%s: more than %d events", events.name, mostEvents)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: there is no event in it", events.name)
	}
	return list, nil
}

// makeEvents makes some of each type that a rule takes from outside, always the same.
func makeEvents(e *epl.Engine) (list []sent) {
	random := rand.New(rand.NewPCG(1, 2))
	var types []*epl.Type
	for _, t := range e.Types {
		if slices.ContainsFunc(e.Rules(), func(r *epl.Rule) bool { return slices.Contains(r.Plan().Types, t.Name) }) {
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		return nil
	}
	for i := range madeEvents {
		t := types[i%len(types)]
		s := sent{typ: t.Name, millis: int64(i) * madeMillis}
		for _, p := range t.Properties {
			s.vals = append(s.vals, made(p, random))
		}
		list = append(list, s)
	}
	return list
}

func made(p epl.Property, random *rand.Rand) epl.Value {
	switch p.Kind {
	case epl.Bool:
		return epl.OfBool(random.IntN(2) == 1)
	case epl.Int:
		return epl.OfInt(int32(random.IntN(10)))
	case epl.Long:
		return epl.OfLong(random.Int64N(10))
	case epl.Text:
		return epl.OfText(fmt.Sprintf("d%d", random.IntN(madeDevices)))
	}
	if strings.HasSuffix(p.Name, "_ratio") {
		return epl.OfDouble(random.Float64())
	}
	return epl.OfDouble(100 * random.Float64())
}

// measure runs statements over the events that they take, again and again, and begins to count after the first time.
func measure(ctx context.Context, o Options, statements []*epl.Statement, list []sent, d time.Duration) (c Cost, err error) {
	before := heap()
	e, err := o.engine(epl.Options{})
	if err != nil {
		return c, err
	}
	rules, err := e.Deploy(statements...)
	if err != nil {
		return c, err
	}
	takes := map[string]*epl.Type{}
	for _, r := range rules {
		for _, name := range r.Plan().Types {
			takes[name], _ = e.Type(name)
		}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(s sent) bool { return takes[s.typ] == nil })
	if len(list) == 0 {
		return c, errors.New("no event is of a type that the rule takes")
	}
	span := list[len(list)-1].millis + madeMillis
	pass := func(round int64) error {
		for i := range list {
			if i&1023 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			e.Advance(round*span + list[i].millis)
			if _, err := e.Send(takes[list[i].typ], list[i].vals); err != nil {
				return err
			}
		}
		return nil
	}
	if err := pass(0); err != nil {
		return c, err
	}
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	began, took := time.Now(), time.Duration(0)
	for round := int64(1); took < d; round++ {
		if err := pass(round); err != nil {
			return c, err
		}
		c.Events += len(list)
		took = time.Since(began)
	}
	runtime.ReadMemStats(&m1)
	c.NanosPerEvent = float64(took.Nanoseconds()) / float64(c.Events)
	c.AllocsPerEvent = float64(m1.Mallocs-m0.Mallocs) / float64(c.Events)
	c.BytesHeld = max(0, heap()-before)
	for _, r := range rules {
		s := r.Standing()
		c.MaxBytes, c.Matches, c.Overflows = c.MaxBytes+s.MaxBytes, c.Matches+s.Matches, c.Overflows+s.Overflows
	}
	runtime.KeepAlive(e)
	return c, nil
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
