package epl

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A writer writes random statements and streams, of few values, so that things meet.
type writer struct {
	*rand.Rand
	tags []written // of the pattern that is being written
}

// written is a tag that can be spoken of.
type written struct {
	name, typ string
	many      bool
}

var randomTypes = map[string]map[string]string{
	"D": {"id": "string", "cpu": "double", "mem": "double", "n": "int", "ts": "long", "on": "boolean"},
	"G": {"id": "string", "n": "int", "line": "string"},
}

func pick[T any](w *writer, of ...T) T { return of[w.IntN(len(of))] }

func (w *writer) one(in int) bool { return w.IntN(in) == 0 }

// number writes a number of an event that has cpu, mem and n, or only n.
func (w *writer) number(typ string, depth int) string {
	props := []string{"n"}
	if typ == "D" {
		props = []string{"cpu", "mem", "n", "cpu", "ts"}
	}
	if depth <= 0 || w.one(2) {
		if w.one(4) {
			return pick(w, "10", "30", "50.5", "0", "2", "-3", "7L", "1e2")
		}
		return pick(w, props...)
	}
	a, b := w.number(typ, depth-1), w.number(typ, depth-1)
	switch w.IntN(9) {
	case 0:
		return "abs(" + a + ")"
	case 1:
		return "coalesce(" + a + ", " + b + ")"
	case 2:
		return "case when " + w.condition(typ, depth-1) + " then " + a + " else " + b + " end"
	case 3:
		return pick(w, "min", "max") + "(" + a + ", " + b + ")"
	case 4:
		return pick(w, "floor", "ceil") + "(" + a + ")"
	}
	return "(" + a + pick(w, " + ", " - ", " * ", " / ", " % ") + b + ")"
}

func (w *writer) text(typ string) string {
	if typ == "G" {
		return pick(w, "id", "line")
	}
	return "id"
}

// condition writes one over the properties of a type.
func (w *writer) condition(typ string, depth int) string {
	if depth > 0 && w.one(3) {
		a, b := w.condition(typ, depth-1), w.condition(typ, depth-1)
		return pick(w, "("+a+" and "+b+")", "("+a+" or "+b+")", "not ("+a+")")
	}
	n := w.number(typ, depth-1)
	switch w.IntN(12) {
	case 0:
		return w.text(typ) + pick(w, " = ", " != ", " < ", " >= ") + pick(w, "'x'", "'y'")
	case 1:
		return w.text(typ) + pick(w, " in ", " not in ") + pick(w, "('x', 'y')", "('z')", "('x', null)")
	case 2:
		return w.text(typ) + pick(w, " like ", " not like ") + pick(w, "'x%'", "'_'", "'%o%'", "'d__r'")
	case 3:
		return w.text(typ) + pick(w, " regexp ", " not regexp ") + pick(w, "'x|y'", "'.*o.*'", "'[a-x]+'")
	case 4:
		return n + pick(w, " is null", " is not null")
	case 5:
		return n + pick(w, " between ", " not between ") + pick(w, "10 and 50", "60 and 20", "0 and 3")
	case 6:
		return n + pick(w, " in ", " not in ") + pick(w, "(1, 2, 3)", "(50, 2.0)", "(3, null)")
	case 7:
		if typ == "D" {
			return pick(w, "on", "not on", "on = true", "on != false")
		}
	}
	return n + pick(w, " = ", " != ", " <> ", " < ", " <= ", " > ", " >= ") + w.number(typ, depth-1)
}

// filter writes an event type with conditions, which may speak of tags before it.
func (w *writer) filter(typ string) string {
	var conds []string
	for w.one(2) && len(conds) < 2 {
		conds = append(conds, w.condition(typ, 1))
	}
	if len(w.tags) > 0 && w.one(2) {
		t := pick(w, w.tags...)
		of := t.name
		if t.many {
			of += fmt.Sprintf("[%d]", w.IntN(2))
		}
		conds = append(conds, pick(w, "id = "+of+".id", "id = "+of+".id", "n > "+of+".n", "n = "+of+".n", of+".n is null", "id != "+of+".id"))
	}
	if len(conds) == 0 {
		return typ
	}
	return typ + "(" + strings.Join(conds, pick(w, ", ", " and ")) + ")"
}

func (w *writer) atom() string {
	if w.one(7) {
		return "timer:interval(" + pick(w, "1 sec", "2 sec", "1500 msec") + ")"
	}
	typ := pick(w, "D", "D", "G")
	f := w.filter(typ)
	if w.one(4) {
		return f
	}
	name := string(rune('a' + len(w.tags)))
	w.tags = append(w.tags, written{name: name, typ: typ})
	return name + "=" + f
}

// pattern writes one; repeats and every-distinct stand where they can.
func (w *writer) pattern(depth int) string {
	if depth == 0 || w.one(6) {
		return w.atom()
	}
	kid := func() string { return "(" + w.pattern(depth-1) + ")" }
	switch w.IntN(16) {
	case 0, 1, 2:
		return "every " + kid()
	case 3, 4, 5, 6:
		return kid() + pick(w, " -> ", " -> ", " -> ", " -[1]> ", " -[2]> ") + kid()
	case 7:
		return kid() + " and " + kid()
	case 8:
		return kid() + " or " + kid()
	case 9, 10:
		return kid() + " and not " + kid()
	case 11:
		return kid() + " where timer:within(" + pick(w, "1 sec", "2 sec", "2500 msec") + ")"
	case 12:
		return kid() + " where timer:withinmax(2 sec, " + pick(w, "1", "2") + ")"
	case 13:
		before := len(w.tags)
		k := kid()
		if len(w.tags) == before || w.tags[len(w.tags)-1].many {
			return k
		}
		t := w.tags[len(w.tags)-1]
		return k + " while (" + pick(w, t.name+".n > 1", t.name+".id != 'y'", t.name+".n is not null") + ")"
	case 14:
		before := len(w.tags)
		k := kid()
		if len(w.tags) == before || w.tags[len(w.tags)-1].many {
			return k
		}
		return "every-distinct(" + w.tags[len(w.tags)-1].name + pick(w, ".id", ".n") + pick(w, "", ", 2 sec") + ") " + k
	}
	return w.repeat(depth, kid)
}

func (w *writer) repeat(depth int, kid func() string) string {
	before := len(w.tags)
	k := kid()
	for i := before; i < len(w.tags); i++ {
		w.tags[i].many = true
	}
	if w.one(2) {
		return pick(w, "[2] ", "[3] ") + k
	}
	return pick(w, "", "[1:3] ", "[2:] ", "[:2] ") + k + " until " + kid()
}

// chosen writes a pattern statement.
func (w *writer) matching(depth int) string {
	w.tags = nil
	p := w.pattern(depth)
	if w.one(2) {
		p = "every (" + p + ")"
	}
	if len(w.tags) == 0 {
		if w.one(3) {
			return "select count(*) as c from pattern [" + p + "]"
		}
		return "select 1 as one from pattern [" + p + "]"
	}
	if w.one(3) {
		t := pick(w, w.tags...)
		of := t.name
		if t.many {
			of += "[1]"
		}
		return "select " + of + ".id as id, " + of + ".n + 1 as m" + pick(w, "", ", count(*) as c", ", sum("+of+".n) as s") + " from pattern [" + p + "]"
	}
	return "select * from pattern [" + p + "]"
}

// windowed writes a statement over a stream.
func (w *writer) windowed(typ string) string {
	val, mem := "cpu", "mem"
	from := ""
	switch typ {
	case "D":
		from = "D"
		if w.one(3) {
			from += "(" + w.condition("D", 2) + ")"
		}
	default:
		from, val, mem = "L", "a", "a"
	}
	win := pick(w, "", "#time(2 sec)", "#time(3500 msec)", "#length(1)", "#length(3)", "#time_batch(2 sec)", "#length_batch(2)", "#length_batch(3)",
		"#unique(id)", "#lastevent", "#firstevent", "#keepall")
	if typ == "D" && w.one(12) {
		win = "#ext_timed(ts, 2 sec)"
	}
	if typ == "D" && w.one(12) {
		win = "#unique(id, n)"
	}
	agg := func() string {
		fns := []string{"avg(%s)", "sum(%s)", "min(%s)", "max(%s)", "count(%s)", "count(*)", "stddev(%s)"}
		if win != "" {
			fns = append(fns, "median(%s)", "avedev(%s)")
		}
		f := pick(w, fns...)
		if strings.Contains(f, "%") {
			return fmt.Sprintf(f, pick(w, val, mem, val, val+" + 1"))
		}
		return f
	}
	grouped, aggregated := w.one(2), !w.one(4)
	var cols []string
	if grouped && !w.one(4) {
		cols = append(cols, "id")
	}
	if aggregated || grouped {
		cols = append(cols, agg()+" as v")
		if w.one(3) {
			cols = append(cols, agg()+" * 2 as w")
		}
	}
	if len(cols) == 0 || w.one(5) {
		cols = append(cols, val+" as plain")
	}
	where, group, having := "", "", ""
	if w.one(3) {
		where = " where " + pick(w, val+" > 20", val+" is not null and "+mem+" < 90", "id != 'z'")
	}
	if grouped {
		group = " group by id"
	}
	if (aggregated || grouped) && w.one(3) {
		having = " having " + agg() + pick(w, " > 20.3", " < 60.3", " is not null", " > 1")
	}
	s := "select " + pick(w, "", "", "irstream ", "irstream ") + strings.Join(cols, ", ") + " from " + from + win + where + group + having
	if !w.one(3) {
		return s
	}
	out := w.output()
	// Of these nothing was observed, and the reference does not say.
	plain := strings.Contains(s, "plain") || grouped && !strings.Contains(s, "id, ")
	if grouped && strings.Contains(out, "first") && (plain || strings.Contains(out, "events")) {
		return s
	}
	seldom := strings.Contains(out, "last") || strings.Contains(out, "all") || strings.Contains(out, "first") && (!grouped || strings.Contains(out, "events"))
	if win == "" && plain && strings.Contains(out, "snapshot") || having != "" && seldom {
		return s
	}
	return s + out
}

func (w *writer) output() string {
	return " output " + pick(w, "", "first ", "last ", "all ", "snapshot ") + "every " + pick(w, "2 sec", "1 sec", "2500 msec", "2 events", "3 events")
}

// random writes statements and a stream of up to n steps.
func (w *writer) random(n int) *recording {
	c := &recording{Types: randomTypes}
	state := func(text string) {
		name := fmt.Sprintf("s%d", len(c.Statements))
		c.Statements = append(c.Statements, struct{ Name, EPL string }{name, text})
	}
	switch w.IntN(8) {
	case 0:
		state("select id, " + w.number("D", 3) + " as v, " + w.condition("D", 3) + " as c from D(" + w.condition("D", 2) + ")" + pick(w, "", " where "+w.condition("D", 2)))
	case 1:
		state("insert into L select id, avg(cpu) as a from D" + pick(w, "#length(2)", "#time(2 sec)", "") + " group by id")
		if w.one(2) {
			state(w.windowed("L"))
		} else {
			state("select * from pattern [every x=L(a > 40) " + pick(w, "->", "and", "or") + " y=L(" + pick(w, "a < 60", "a <= 40") + pick(w, "", ", id = 'x'") + ")]")
		}
	case 2, 3, 4:
		state(w.windowed("D"))
	default:
		state(w.matching(1 + w.IntN(4)))
	}
	var names []string
	for _, s := range c.Statements {
		names = append(names, s.Name)
	}
	c.Steps = append(c.Steps, recorded{Deploy: names})
	now := int64(0)
	for len(c.Steps) < n {
		if w.one(3) {
			now += 250 * w.Int64N(pick(w, int64(3), 3, 8, 20))
			t := now
			if w.one(2) {
				c.Steps = append(c.Steps, recorded{Span: &t})
			} else {
				c.Steps = append(c.Steps, recorded{Time: &t})
			}
			continue
		}
		c.Steps = append(c.Steps, w.event(len(c.Steps), now))
	}
	return c
}

func (w *writer) event(i int, now int64) recorded {
	e := recorded{Ev: fmt.Sprintf("e%d", i), Type: pick(w, "D", "D", "G"), P: map[string]any{}}
	set := func(name string, v any) {
		if !w.one(12) {
			e.P[name] = v
		}
	}
	set("id", pick(w, "x", "y", "z"))
	set("n", w.Int32N(4))
	if e.Type == "G" {
		set("line", pick(w, "door", "fan"))
		return e
	}
	set("cpu", float64(w.IntN(200))/2)
	set("mem", float64(w.IntN(20))*5)
	set("ts", now+250*w.Int64N(4))
	set("on", w.one(2))
	return e
}
