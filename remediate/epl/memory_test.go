package epl

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// heap is what is in use after a collection, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// slack is what an engine and a compiled rule take apart from what Standing speaks of: the types, the closures, the listeners
// of a filter by key, the test itself.
const slack = 96 << 10

// device are events of one type, whose values a test sets.
type device struct {
	engine *Engine
	typ    *Type
	vals   []Value
	t      testing.TB
}

func newDevice(t testing.TB, statement string) (*device, *Rule) {
	d := &device{t: t, typ: &Type{Name: "D", Properties: []Property{{"id", Text}, {"n", Int}, {"cpu", Double}}}, vals: make([]Value, 3)}
	d.engine = New(Options{Types: []*Type{d.typ}, Listener: func(Output) {}})
	all, err := Parse("", statement)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.engine.Deploy(all...)
	if err != nil {
		t.Fatal(err)
	}
	return d, r[0]
}

func (d *device) send(id string, n int32, cpu float64) {
	d.vals[0], d.vals[1], d.vals[2] = OfText(id), OfInt(n), OfDouble(cpu)
	if _, err := d.engine.Send(d.typ, d.vals); err != nil {
		d.t.Fatal(err)
	}
}

// No stream makes a rule hold more than it said.
func TestMemoryIsBounded(t *testing.T) {
	long := strings.Repeat("x", 60_000)
	for _, tt := range []struct {
		name, statement string
		events          int
		id              func(i int) string
		overflows       bool
	}{
		{"a million groups", "select id, avg(cpu) as a from D group by id", 1_000_000, nil, true},
		{"a million groups of a window", "select irstream id, avg(cpu) as a from D#time(1 hour) group by id", 60_000, nil, true},
		{"a million keys of unique", "select id, cpu from D#unique(id)", 60_000, nil, true},
		{"a million keys of every-distinct", "select * from pattern [every-distinct(a.id) a=D]", 20_000, nil, true},
		{"a million partials", "select a.cpu as x from pattern [every a=D -> b=D(id = a.id, n = 3)]", 60_000, nil, true},
		{"a full window", "select id, cpu, count(*) as c from D#keepall", 60_000, nil, true},
		{"a long time", "select median(cpu) as m from D#time(1 hour) output last every 1 hour", 60_000, nil, true},
		{"batches", "select id, cpu from D#time_batch(1 hour)", 60_000, nil, true},
		{"an exponential pattern", "select * from pattern [every (every a=D)]", 3000, nil, true},
		{"a product of and", "select * from pattern [every a=D(n = 0) and every b=D(n = 1) and every c=D(n = 2)]", 300, nil, true},
		{"a repeat without end", "select * from pattern [every a=D until b=D(id = 'never')]", 50_000, nil, true},
		{"a repeat with an end", "select * from pattern [every ([:9000] a=D until b=D(id = 'never'))]", 50_000, nil, true},
		{"absences", "select * from pattern [every a=D -> (timer:interval(1 hour) and not b=D(id = a.id))]", 50_000, nil, true},
		{"long texts in partials", "select a.id as x from pattern [every a=D -> b=D(n = 7)]", 3000, func(i int) string { return fmt.Sprint(i) + long }, true},
		{"long texts in a window", "select id from D#length(1000)", 3000, func(i int) string { return fmt.Sprint(i) + long }, false},
		{"long texts of groups", "select id, count(*) as c from D group by id", 3000, func(i int) string { return fmt.Sprint(i) + long }, true},
		{"short texts that are part of long ones", "select a.id as x from pattern [every a=D -> b=D(n = 7)]", 3000, func(i int) string { return (fmt.Sprint(i) + long)[:20] }, true},
		{"short texts of groups that are part of long ones", "select id, count(*) as c from D group by id", 3000, func(i int) string { return (fmt.Sprint(i) + long)[:20] }, true},
		{"short texts of every-distinct that are part of long ones", "select 1 as one from pattern [every-distinct(a.id) a=D]", 3000, func(i int) string { return (fmt.Sprint(i) + long)[:20] }, true},
		{"short texts of rows that are part of long ones", "select id from D output every 1 hour", 3000, func(i int) string { return (fmt.Sprint(i) + long)[:20] }, true},
		{"long texts of rows", "select id from D output every 1 hour", 3000, func(i int) string { return fmt.Sprint(i) + long }, true},
		{"short texts of prior", "select prior(900, id) as p from D", 3000, func(i int) string { return (fmt.Sprint(i) + long)[:20] }, false},
		{"rows of an output", "select id, cpu from D output every 1 hour", 20_000, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := heap()
			d, r := newDevice(t, tt.statement)
			for i := range tt.events {
				id := "d" + fmt.Sprint(i)
				if tt.id != nil {
					id = tt.id(i)
				}
				if i%1000 == 0 {
					d.engine.Advance(int64(i))
				}
				d.send(id, int32(i%3), float64(i))
			}
			d.vals[0] = Value{}
			s := r.Standing()
			if used := heap() - before; used > s.MaxBytes+slack {
				t.Errorf("%d bytes after %d events, and it said %d", used, tt.events, s.MaxBytes)
			} else {
				t.Logf("%d of %d bytes; %d overflows, %d held", used, s.MaxBytes, s.Overflows, s.Holds)
			}
			if (s.Overflows > 0) != tt.overflows {
				t.Errorf("%d overflows", s.Overflows)
			}
			runtime.KeepAlive(d)
		})
	}
}

// What a rule needs it has after some time: then an event makes no garbage.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e"}
	for _, statement := range []string{
		"select id, cpu from D(cpu > 90)",
		"select id, avg(cpu) as a from D#time(60 sec) group by id",
		"select irstream id, min(cpu) as a, stddev(cpu) as s from D#length(100) group by id having count(*) > 2",
		"select * from pattern [every a=D(cpu > 90) -> b=D(id = a.id, cpu < 10) where timer:within(10 sec)]",
		"select * from pattern [every (a=D(cpu > 90) -> b=D(id = a.id, cpu < 10) where timer:within(10 sec))]",
		"select * from pattern [every a=D -> (timer:interval(10 sec) and not D(id = a.id))]",
		"select * from pattern [every-distinct(a.id, 5 sec) a=D(cpu > 50)]",
		"select a[0].id as id from pattern [every ([3] a=D(cpu > 50))]",
		"select * from pattern [every a=D(n = 1) and b=D(n = 2)]",
		"select id, max(cpu) as m from D#time_batch(1 sec) group by id",
		"select id, avg(cpu) as a from D#time(10 sec) group by id output last every 2 sec",
		"select cpu, prev(1, cpu) as p, prior(2, id) as q from D#length(20)",
	} {
		d, _ := newDevice(t, statement)
		i := 0
		event := func() {
			i++
			d.engine.Advance(int64(i) * 37)
			d.send(ids[i*i%5], int32(i%3), float64(i*7919%101))
		}
		for range 20_000 {
			event()
		}
		if n := testing.AllocsPerRun(2000, event); n != 0 {
			t.Errorf("%s: an event allocates %g times", statement, n)
		}
	}
}

// A statement that feeds itself is stopped, and says so.
func TestAStatementThatFeedsItselfIsStopped(t *testing.T) {
	d, r := newDevice(t, "insert into L select n as m from D")
	all, err := Parse("", "insert into L select m + 1 as m from L")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.engine.Deploy(all...); err != nil {
		t.Fatal(err)
	}
	d.send("x", 1, 1)
	if n := d.engine.Number(); n > maxQueue+1 {
		t.Errorf("%d events", n)
	}
	if s := d.engine.Rules()[1].Standing(); s.Overflows == 0 || r.Standing().Overflows != 0 {
		t.Errorf("%+v", s)
	}
}
