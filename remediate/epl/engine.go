package epl

import (
	"fmt"
	"slices"
	"time"
)

// Bounds are what one statement may hold. The zero value of a field stands for its default.
type Bounds struct {
	Partials int // states of a pattern, and events that it holds: default 1,000
	Window   int // rows of a window: default 10,000
	Groups   int // values of group by: default 1,000
	Keys     int // of every-distinct: default 1,000
	Rows     int // of one output: default 1,000
}

func (b Bounds) orDefaults() Bounds {
	set := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	set(&b.Partials, 1000)
	set(&b.Window, 10_000)
	set(&b.Groups, 1000)
	set(&b.Keys, 1000)
	set(&b.Rows, 1000)
	return b
}

// Options are what an engine is made of.
type Options struct {
	Types    []*Type
	Bounds   Bounds
	Listener func(Output)                      // called with what a statement puts out; rows are valid during the call only
	Limit    func(name string) (float64, bool) // what limit('cpu') is; nil for no limits
	// Wall is the time of the wall, for timer:at. Nil takes the engine's time for milliseconds since 1970 in UTC.
	Wall func() time.Time
	// Trace is told what goes on inside the rules. Nil costs a test each time.
	Trace *Trace
}

// An Output is rows that a statement puts out together.
type Output struct {
	Rule *Rule
	Time int64 // the engine's
	New  []Row // the insert stream
	Old  []Row // the remove stream
}

// An Engine runs statements. Its time is in milliseconds, begins at 0 and moves as it is told to.
type Engine struct {
	Options
	now    int64
	number uint64
	types  map[string]*route
	byType map[*Type]*route
	rules  []*Rule
	timers timers
	due    []armed
	marked []*Rule // that have rows to put out
	queue  []routed
	spare  [][]Value
	lost   uint64
	texts  owner
}

// A route is who wants events of a type.
type route struct {
	typ     *Type
	streams []*Rule
	matches []listener
	makers  int // statements that insert into it; 0 for a type that comes from outside
}

type listener struct {
	rule *Rule
	kind int // the type's number in the rule
}

type routed struct {
	typ  *Type
	vals []Value
}

const maxQueue = 10_000 // events that statements made and that were not dealt with yet

// New makes an engine without statements.
func New(o Options) *Engine {
	o.Bounds = o.Bounds.orDefaults()
	e := &Engine{Options: o, types: map[string]*route{}, byType: map[*Type]*route{}}
	for _, t := range o.Types {
		e.add(t)
	}
	return e
}

func (e *Engine) add(t *Type) {
	r := &route{typ: t}
	e.types[t.Name], e.byType[t] = r, r
}

// Now is the engine's time.
func (e *Engine) Now() int64 { return e.now }

// Due is when something is due next, without any event; ok is false when nothing is.
func (e *Engine) Due() (t int64, ok bool) { return e.timers.next() }

// Rules are the statements that are deployed, in that order.
func (e *Engine) Rules() []*Rule { return slices.Clone(e.rules) }

// Type returns the event type of a name: one of the options, or one that a statement inserts into.
func (e *Engine) Type(name string) (*Type, bool) {
	r, ok := e.types[name]
	if !ok {
		return nil, false
	}
	return r.typ, true
}

// until returns how many milliseconds it is until a time of timer:at.
func (e *Engine) until(c *cron) (int64, bool) {
	wall := time.UnixMilli(e.now).UTC()
	if e.Wall != nil {
		wall = e.Wall()
	}
	due, ok := c.after(wall)
	return max(1, due.Sub(wall).Milliseconds()), ok
}

// Send offers an event to all statements, and returns its number. The values are those of the type's properties in their
// order, of their kinds or null; none is kept. An event of a type that the engine does not know, or with other values, is an
// error, and nothing happens.
func (e *Engine) Send(t *Type, vals []Value) (uint64, error) {
	r := e.byType[t]
	if r == nil {
		return 0, fmt.Errorf("event type %.80q is not one of this engine's", t.Name)
	}
	if len(vals) != len(t.Properties) {
		return 0, fmt.Errorf("an event of %s with %d values: it has %d", t.Name, len(vals), len(t.Properties))
	}
	for i := range vals {
		if k := vals[i].kind; k != None && k != t.Properties[i].Kind {
			return 0, fmt.Errorf("%s.%s is a %s and no %s", t.Name, t.Properties[i].Name, t.Properties[i].Kind, k)
		}
	}
	e.number++
	n := e.number
	e.offer(r, vals)
	e.drain()
	return n, nil
}

func (e *Engine) offer(r *route, vals []Value) {
	for _, rule := range r.streams {
		rule.arrive(vals)
		e.output()
	}
	for _, l := range r.matches {
		l.rule.matcher.offer(l.kind, vals, e.number)
		e.output()
	}
}

// drain deals with events that statements made.
func (e *Engine) drain() {
	for i := 0; i < len(e.queue); i++ {
		q := e.queue[i]
		e.number++
		if r := e.byType[q.typ]; r != nil {
			e.offer(r, q.vals)
		}
		clear(q.vals)
		e.spare = append(e.spare, q.vals[:0])
	}
	e.queue = e.queue[:0]
}

// route queues a row as an event.
func (e *Engine) route(r *Rule, row Row) {
	if len(e.queue) >= maxQueue {
		e.lost++
		r.overflows++
		return
	}
	var vals []Value
	if n := len(e.spare); n > 0 {
		vals, e.spare = e.spare[n-1], e.spare[:n-1]
	}
	for i := range r.into.Properties {
		vals = append(vals, kept(row[i].v))
	}
	e.queue = append(e.queue, routed{r.into, vals})
}

func (e *Engine) dirty(r *Rule) {
	if !r.dirty {
		r.dirty = true
		e.marked = append(e.marked, r)
	}
}

func (e *Engine) output() {
	for i := 0; i < len(e.marked); i++ {
		r := e.marked[i]
		r.dirty = false
		r.process.flush()
	}
	e.marked = e.marked[:0]
}

// Advance moves the time to t and fires what is due by then, each once, in the order in which it was due. Time that goes
// back is not followed.
func (e *Engine) Advance(t int64) {
	if t < e.now {
		return
	}
	e.now = t
	e.fire()
}

const maxStops = 10_000

// Span moves the time to t and stops at every time at which something is due, at most 10,000 times.
func (e *Engine) Span(t int64) {
	for range maxStops {
		due, ok := e.timers.next()
		if !ok || due > t {
			break
		}
		e.now = max(e.now, due)
		e.fire()
	}
	e.Advance(t)
}

// fire takes what is due and lets each statement deal with what is its own, before the next does.
func (e *Engine) fire() {
	e.due = e.timers.take(e.due[:0], e.now)
	for i := range e.due {
		first := e.due[i]
		if first.t == nil {
			continue
		}
		for k := i; k < len(e.due); k++ {
			if d := e.due[k]; d.t != nil && d.rule == first.rule {
				e.due[k].t = nil
				if d.t.order == d.order || d.t.state != nil && d.t.state.life == d.life && d.t.order == 0 {
					d.t.fire() // of a pattern also what was cancelled meanwhile: ghost
				}
			}
		}
		if m := first.rule.matcher; m != nil {
			m.end()
		}
		e.output()
	}
	e.drain()
}

// Number is that of the last event.
func (e *Engine) Number() uint64 { return e.number }
