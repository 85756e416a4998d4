package epl

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// tree is a syntax tree as text, without the places of what is in it.
func tree(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return v.Elem().Type().Name() + tree(v.Elem())
	case reflect.Slice:
		var b strings.Builder
		for i := range v.Len() {
			b.WriteString(tree(v.Index(i)) + ";")
		}
		return "[" + b.String() + "]"
	case reflect.Struct:
		var b strings.Builder
		for i := range v.NumField() {
			switch v.Type().Field(i).Name {
			case "at", "source", "File", "Line", "Column":
				continue
			}
			b.WriteString(tree(v.Field(i)) + ",")
		}
		return "{" + b.String() + "}"
	}
	return fmt.Sprintf("%#v", v)
}

// Any text is statements, or an error with its place; the text of a statement is that statement again.
func FuzzParse(f *testing.F) {
	for _, s := range append(manyStatements, "@name('a b') @severity('critical') @remind(1 hour) select * from D; select 1 from G // end",
		"select * from pattern [every a=D -> [2:3] b=G(id = a.id) until timer:interval(1 min 30 sec)]",
		"select case id when 'x' then 1 else 2 end as c, `order` from D.win:time(30 sec) as s where s.cpu not in (1, 2)",
		"select * from pattern [every timer:at(*/5, 1:3, *, [1, 2], 0)]", "select 'a", "/*", "-[", "select \"\\") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("f", text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Problem == "" || e.File != "f" || len(all) > 0 {
				t.Fatalf("%#v", err)
			}
			if lines := strings.Count(text, "\n") + 1; e.Line > lines {
				t.Fatalf("line %d of %d", e.Line, lines)
			}
			return
		}
		for _, s := range all {
			again, err := Parse("f", s.Text)
			if err != nil || len(again) != 1 {
				t.Fatalf("%q gives %d statements, %v", s.Text, len(again), err)
			}
			if a, b := tree(reflect.ValueOf(s)), tree(reflect.ValueOf(again[0])); a != b {
				t.Fatalf("%q\n%s\n%s", s.Text, a, b)
			}
		}
	})
}

// manyStatements are some of every kind, for hostile streams.
var manyStatements = []string{
	"select id, cpu + n as v, id || '!' as t from D(cpu > n and id like '%x_' or not on)",
	"select cpu / n as q, n % n as r, ts * ts as big, -n as neg, abs(n) as a from D where cpu between mem and ts",
	"select irstream id, avg(cpu) as a, stddev(cpu) as s, median(cpu) as m from D#time(2 sec) group by id",
	"select irstream sum(n) as s, min(ts) as lo, max(cpu) as hi, sum(ts) as t from D#length(5)",
	"select id, cpu, count(*) as c, avedev(mem) as v from D#time_batch(1 sec) group by id, n having count(*) > 1 output last every 2 sec",
	"select irstream * from D#unique(id, n) output all every 3 events",
	"select irstream id, percentile(cpu, 90) as p from D#unique(id) group by id output all every 1 sec",
	"select irstream ts, min(cpu) as m from D#ext_timed(ts, 2 sec)",
	"select count(*) as c from D#ext_timed_batch(ts, 2 sec)",
	"select id, prev(1, cpu) as p, prior(2, id) as q from D#length_batch(3) order by id desc",
	"select id, sum(cpu) as s from D#keepall group by id output first every 2 sec",
	"select id, count(*) as c from G#firstevent group by id output snapshot every 1 sec",
	"select id, line, rate(2) as r from G group by id output all every 2 sec",
	"select * from pattern [every a=D -> b=G(id = a.id)]",
	"select * from pattern [every (every a=D)]",
	"select * from pattern [every a=D and every b=G and every c=D(n = 1)]",
	"select a[1].id as i, count(*) as c from pattern [every ([2:4] a=D(cpu > n) until b=G)]",
	"select * from pattern [every ([2] ([2] every a=D) or c=G)]",
	"select * from pattern [every-distinct(a.id, a.n, 1 sec) a=D -> every (b=G where timer:withinmax(1 sec, 2))]",
	"select * from pattern [every a=D -> (timer:interval(1 sec) and not b=D(id = a.id))]",
	"select * from pattern [every (a=D while (a.n > 1)) -[2]> (b=D(cpu > a.cpu) where timer:within(1 sec))]",
	"select * from pattern [every (not a=D or timer:interval(0) or b=G)]",
	"select * from pattern [every timer:at(*, *, *, *, *, */2) -> a=D]",
	"insert into L select id, n, line from G(line is not null)",
	"insert into L select a.id as id, b.n as n, b.line as line from pattern [every a=D -> b=G]",
	"select id, max(n) as m from L#time(1 sec) group by id",
	"select * from pattern [every x=L -> y=L(id = x.id, n > x.n)]",
}

// hostile are values that something could stumble over.
var hostile = map[Kind][]Value{
	Text:   {{}, OfText(""), OfText("x"), OfText("yx1"), OfText("z"), OfText(strings.Repeat("ü%_\\", 5000)), OfText("\x00\xff")},
	Double: {{}, OfDouble(0), OfDouble(math.Copysign(0, -1)), OfDouble(1.5), OfDouble(math.Inf(1)), OfDouble(math.Inf(-1)), OfDouble(math.MaxFloat64), OfDouble(5e-324), OfDouble(math.NaN())},
	Int:    {{}, OfInt(0), OfInt(1), OfInt(2), OfInt(-1), OfInt(math.MaxInt32), OfInt(math.MinInt32)},
	Long:   {{}, OfLong(0), OfLong(1000), OfLong(-5000), OfLong(math.MaxInt64), OfLong(math.MinInt64), OfLong(3000)},
	Bool:   {{}, OfBool(true), OfBool(false)},
}

// within checks that a rule holds no more than its bounds say.
func (r *Rule) within(t *testing.T) {
	check := func(what string, have, most int) {
		if have > most {
			t.Fatalf("%s: %d %s, and the bound is %d", r.Statement.Text, have, what, most)
		}
	}
	b := r.bounds
	if m := r.matcher; m != nil {
		check("states", m.states.made, b.Partials)
		check("events", m.events.made, b.Partials)
		check("ways of and", m.stores.made, b.Partials)
		check("keys", m.keys.made, b.Keys)
	}
	if w := r.window; w != nil {
		check("rows", w.rows.size, w.rows.most)
		check("texts", len(w.rows.texts.all), 8*w.rows.most)
	}
	check("groups", r.process.groups.made, b.Groups)
	check("cells", max(cap(r.process.newRows), cap(r.process.oldRows)), 4*(b.Rows+1)*r.process.stride)
}

// read looks at all of an output, as a listener may.
func read(o Output) (n int) {
	for _, rows := range [][]Row{o.New, o.Old} {
		for _, row := range rows {
			for _, c := range row {
				n += len(c.Value().String())
				all, _ := c.Events()
				for _, e := range all {
					for i := range e.Type().Properties {
						n += len(e.Value(i).String())
					}
				}
			}
		}
	}
	return n
}

// Whatever comes, in whatever order: no panic, the bounds are kept, and what is undeployed lets go of all.
func FuzzEngine(f *testing.F) {
	for i := range manyStatements {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		b := []byte{byte(i), byte(i + 7), byte(i + 13)}
		for range 300 {
			b = append(b, byte(r.Uint32()))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { hostileRun(t, data) })
}

func hostileRun(t *testing.T, data []byte) {
	types := (&recording{Types: randomTypes}).types()
	d, g := types["D"], types["G"]
	e := New(Options{Types: []*Type{d, g}, Bounds: Bounds{Partials: 40, Window: 12, Groups: 5, Keys: 4, Rows: 10}, Listener: func(o Output) { read(o) }})
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		v := data[0]
		data = data[1:]
		return int(v)
	}
	deploy := func() {
		all, err := Parse("", manyStatements[next()%len(manyStatements)])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Deploy(all...); err != nil && !strings.Contains(err.Error(), "event type L") {
			t.Fatal(err)
		}
	}
	deploy()
	deploy()
	deploy()
	for steps := 0; len(data) > 0 && steps < 400; steps++ {
		switch op := next(); {
		case op < 8 && len(e.Rules()) < 6:
			deploy()
		case op < 12 && len(e.Rules()) > 0:
			e.Undeploy(e.Rules()[next()%len(e.Rules())])
		case op < 40:
			e.Advance(e.Now() + int64(next()*40) - 2000)
		case op < 60:
			e.Span(e.Now() + int64(next()*20))
		case op == 60:
			e.Advance(e.Now() + int64(next())<<32)
		default:
			typ := d
			if op&1 == 1 {
				typ = g
			}
			vals := make([]Value, len(typ.Properties))
			for i, p := range typ.Properties {
				of := hostile[p.Kind]
				vals[i] = of[next()%len(of)]
			}
			if _, err := e.Send(typ, vals); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range e.Rules() {
			r.within(t)
		}
	}
	for _, r := range e.Rules() {
		e.Undeploy(r)
		m := r.matcher
		if m == nil {
			continue
		}
		states := m.states.used
		for s := m.dead; s != nil; s = s.next {
			states--
		}
		if states+m.events.used+m.stores.used+m.keys.used != 0 {
			t.Fatalf("%s: undeployed, it still has %d states, %d events, %d ways and %d keys", r.Statement.Text, states, m.events.used, m.stores.used, m.keys.used)
		}
	}
	if _, ok := e.timers.next(); ok {
		t.Fatal("a timer is left without any rule")
	}
}
