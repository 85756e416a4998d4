package epl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/remediate/epl"
)

// watched runs a text over events, each "time id cpu" of D or "time" alone, and returns what its trace told and its rows.
func watched(t *testing.T, text string, trace bool, bounds epl.Bounds, events ...string) (steps, rows []string) {
	t.Helper()
	d := &epl.Type{Name: "D", Properties: []epl.Property{{Name: "id", Kind: epl.Text}, {Name: "cpu", Kind: epl.Double}}}
	o := epl.Options{Types: []*epl.Type{d}, Bounds: bounds, Listener: func(o epl.Output) {
		rows = append(rows, fmt.Sprintf("%d: %d new, %d old", o.Time, len(o.New), len(o.Old)))
	}}
	if trace {
		o.Trace = epl.NewTrace(func(s epl.Step) {
			line := fmt.Sprintf("%d %s%s: %s", s.Time, strings.Repeat(" ", s.Depth), s.Part, s.Deed)
			if s.Condition != "" {
				line += fmt.Sprintf(" at %s = %s", s.Condition, s.Result)
			}
			for _, v := range s.Values {
				line += fmt.Sprintf(" %s=%s", v.Name, v.Value)
			}
			if s.Due > 0 {
				line += fmt.Sprintf(" due %d", s.Due)
			}
			if s.Count > 0 {
				line += fmt.Sprintf(" %d", s.Count)
			}
			steps = append(steps, line)
		})
	}
	e := epl.New(o)
	all, err := epl.Parse("x", text)
	if err == nil {
		_, err = e.Deploy(all...)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, line := range events {
		var at int64
		var id string
		var cpu float64
		n, _ := fmt.Sscan(line, &at, &id, &cpu)
		e.Span(at)
		if n == 1 {
			continue
		}
		if _, err := e.Send(d, []epl.Value{epl.OfText(id), epl.OfDouble(cpu)}); err != nil {
			t.Fatal(err)
		}
	}
	return steps, rows
}

func TestTraceTellsWhyAnEventDoesNotPass(t *testing.T) {
	for _, tt := range []struct {
		text   string
		events []string
		want   []string
	}{
		{"select * from D(cpu > 90, id = 'a') where cpu < 95", []string{"1 a 89", "2 b 91", "3 a 96", "4 a 92"}, []string{
			"1 D(cpu > 90, id = 'a'): stopped at cpu > 90 = false cpu=89",
			"2 D(cpu > 90, id = 'a'): stopped at id = 'a' = false id=b",
			"3 D(cpu > 90, id = 'a'): passes cpu=96 id=a",
			"3 cpu < 95: stopped at cpu < 95 = false cpu=96",
			"4 D(cpu > 90, id = 'a'): passes cpu=92 id=a",
			"4 cpu < 95: passes cpu=92",
		}},
		{"select id, avg(cpu) as m from D#length(2) group by id having avg(cpu) > 50 and count(*) > 1", []string{"1 a 60", "2 a 30", "3 a 80"}, []string{
			"1 D: passes",
			"1 avg(cpu) > 50 and count(*) > 1 of id a: stopped at count(*) > 1 = false count(*)=1",
			"2 D: passes",
			"2 avg(cpu) > 50 and count(*) > 1 of id a: stopped at avg(cpu) > 50 = false avg(cpu)=45",
			"3 D: passes",
			"3 avg(cpu) > 50 and count(*) > 1 of id a: passes avg(cpu)=55 count(*)=2",
		}},
		{"select count(*) as n from D#time(1 sec) having count(*) = 0", []string{"1 a 60", "2000"}, []string{
			"1 D: passes",
			"1 count(*) = 0: stopped at count(*) = 0 = false count(*)=1",
			"1001 count(*) = 0: passes count(*)=0",
		}},
		{"select id || 'x' as k, count(*) from D group by id || 'x' having id || 'x' != 'ax'", []string{"1 a 60"}, []string{
			"1 D: passes",
			"1 id || 'x' != 'ax' of id || 'x' ax: stopped at id || 'x' != 'ax' = false id || 'x'=ax",
		}},
		{"select a.id from pattern [a=D(cpu > 90) -> (timer:interval(10 sec) and not D(id = a.id, cpu <= 90))]",
			[]string{"1000 a 95", "2000 b 10", "3000 a 20"}, []string{
				"0 a=D(cpu > 90) -> timer:interval(10 sec) and not D(id = a.id, cpu <= 90): begins",
				"0  a=D(cpu > 90): begins",
				"1000  a=D(cpu > 90): passes cpu=95",
				"1000  a=D(cpu > 90): true",
				"1000  timer:interval(10 sec) and not D(id = a.id, cpu <= 90): begins due 11000",
				"2000  timer:interval(10 sec) and not D(id = a.id, cpu <= 90): stopped at id = a.id = false id=b a.id=a",
				"3000  timer:interval(10 sec) and not D(id = a.id, cpu <= 90): passes id=a a.id=a cpu=20",
				"3000  timer:interval(10 sec) and not D(id = a.id, cpu <= 90): false",
				"3000 a=D(cpu > 90) -> timer:interval(10 sec) and not D(id = a.id, cpu <= 90): false",
			}},
	} {
		if steps, _ := watched(t, tt.text, true, epl.Bounds{}, tt.events...); !slices.Equal(steps, tt.want) {
			t.Errorf("%s\n%s\nwant\n%s", tt.text, strings.Join(steps, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

func TestTraceTellsOfWhatDoesNotFit(t *testing.T) {
	events := make([]string, 20)
	for i := range events {
		events[i] = fmt.Sprintf("%d a 95", i)
	}
	steps, _ := watched(t, "select a.id from pattern [every a=D -> D(cpu < 0)]", true, epl.Bounds{Partials: 15}, events...)
	all := strings.Join(steps, "\n")
	for _, want := range []string{"every a=D -> D(cpu < 0): no room", "D(cpu < 0): more 2"} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing says %q in\n%s", want, all)
		}
	}
}

func TestATraceChangesNothing(t *testing.T) {
	events := []string{"1000 a 95", "2000 b 96", "2500 a 97", "4000 b 10", "12000", "13000 a 1", "14000 a 99", "60000"}
	for _, text := range []string{
		"select * from pattern [every a=D(cpu > 90) -> b=D(cpu <= 90)]",
		"select * from pattern [every a=D(cpu > 90) -> (timer:interval(10 sec) and not D(id = a.id, cpu <= 90))]",
		"select * from pattern [every [2] a=D(cpu > 90) where timer:within(3 sec)]",
		"select * from pattern [every-distinct(a.id) a=D or timer:interval(5 sec)]",
		"select irstream id, avg(cpu), count(*) from D#time(5 sec) group by id having avg(cpu) > 50 and sum(cpu) > 1",
	} {
		_, with := watched(t, text, true, epl.Bounds{}, events...)
		_, without := watched(t, text, false, epl.Bounds{}, events...)
		if !slices.Equal(with, without) || len(with) == 0 {
			t.Errorf("%s: %q with a trace, %q without", text, with, without)
		}
	}
}
