package epl_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast/remediate/epl"
)

func deploy(t *testing.T, text string) *epl.Rule {
	t.Helper()
	d := &epl.Type{Name: "D", Properties: []epl.Property{{Name: "id", Kind: epl.Text}, {Name: "cpu", Kind: epl.Double}, {Name: "n", Kind: epl.Int}}}
	all, err := epl.Parse("x", text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	rules, err := epl.New(epl.Options{Types: []*epl.Type{d, {Name: "E"}}, Limit: func(string) (float64, bool) { return 0, false }}).Deploy(all...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rules[len(rules)-1]
}

// What a plan shows is what was written, but for parentheses that are not needed; so it stays the same when it is read again.
func TestPlanShowsThePattern(t *testing.T) {
	for _, text := range []string{
		"every a=D(cpu > 90) -> b=D(id = a.id, cpu <= 90)",
		"every (a=D -> b=D and not E or timer:interval(10 sec))",
		"(every a=D) where timer:within(1 min)",
		"every a=D where timer:withinmax(90 sec, 3)",
		"every-distinct(a.id, a.n + 1, 1 hour) a=D(cpu * (n - 1) >= -2.5) -[2]> E",
		"[3] a=D -> [2:] b=D(a[1].id = id) until E",
		"(a=D -> E) while (a.n in (1, 2) or not a.id like 'x%' escape '!' and a.cpu is not null)",
		"every a=D((id = 'it\\'s' or n is null) and cpu not between 1 and 2 and case when n > 1 then true else false end)",
		"a=D(id || 'x' regexp 'a.*') -> (E or every (not E)) and timer:interval(1500 msec)",
		"every ([2] a=D(cpu > limit('cpu') - (1 - 2)))",
	} {
		plan := deploy(t, "select * from pattern ["+text+"]").Plan()
		if plan.From != text {
			t.Errorf("%s\nis shown as %s", text, plan.From)
		}
	}
}

func TestPlanTellsWhatMakesRows(t *testing.T) {
	p := deploy(t, "insert into X select id, avg(cpu) as a, count(*) as n from D(cpu > 1)#time(1 min) group by id having avg(cpu) > 90 output last every 90 sec").Plan()
	if p.Kind != "window" || p.From != "D(cpu > 1)#time(1 min)" || p.Rows != "each group that changed, by id, having avg(cpu) > 90" || p.Output != "last every 90 sec" || p.Into != "X" || !slices.Equal(p.Types, []string{"D"}) {
		t.Errorf("%+v", p)
	}
}

func TestTheTrapOfOncePerSampleIsSeen(t *testing.T) {
	for _, tt := range []struct{ text, instance, hint string }{
		{"every a=D(cpu > 90)", "", "every (D(cpu <= 90) -> a=D(cpu > 90))"},
		{"every D(id = 'x', 90 < cpu)", "", "every (D(id = 'x', 90 >= cpu) -> a=D(id = 'x', 90 < cpu))"},
		{"every a=D(a.cpu between 1 and 2)", "", "every (D(cpu not between 1 and 2) -> a=D(cpu between 1 and 2))"},
		{"every a=D(cpu > limit('cpu')) -> (timer:interval(9 sec) and not E)", "", "every (D(cpu <= limit('cpu')) -> a=D(cpu > limit('cpu')))"},
		{"every d=D(cpu > 90)", "id", "pattern [every before=D -> d=D(id = before.id)] where before.cpu <= 90 and d.cpu > 90"},
		{"every D(n is not null and 1 > cpu)", "id", "pattern [every before=D(n is not null) -> a=D(n is not null, id = before.id)] where 1 <= before.cpu and 1 > a.cpu"},
		{"every a=D -> b=D(cpu > 90)", "", ""},
		{"every (a=D(cpu <= 90) -> b=D(cpu > 90))", "", ""},
		{"every a=D(id = 'x')", "", ""},
		{"every-distinct(a.id) a=D(cpu > 90)", "", ""},
		{"a=D(cpu > 90)", "", ""},
	} {
		e := deploy(t, "select * from pattern ["+tt.text+"]").Statement.Trap(func(string) string { return tt.instance })
		if e == nil {
			if tt.hint != "" {
				t.Errorf("%s: no trap", tt.text)
			}
			continue
		}
		hint, _, more := strings.Cut(e.Hint, "; see")
		if hint != tt.hint || e.Column != 24 || e.File != "x" || more != strings.Contains(tt.text, "->") {
			t.Errorf("%s: %v", tt.text, e)
		}
		if !strings.HasPrefix(hint, "pattern") {
			hint = "pattern [" + hint + "]"
		}
		deploy(t, "select * from "+hint)
	}
}

func TestALimitThatIsNotThereIsSeen(t *testing.T) {
	known := []string{"cpu", "memory"}
	for text, want := range map[string]string{
		"select limit('cpu') as limit from D(cpu > LIMIT('memory'))": "",
		"select cpu from D(\ncpu > limit('memori'))":                 `x:2:13: there is no limit "memori", and what is not there is null (did you mean memory?)`,
		"select cpu from D(cpu > limit('x'))":                        `x:1:31: there is no limit "x", and what is not there is null (there are cpu, memory)`,
	} {
		e := deploy(t, text).Statement.Limit(known)
		if e == nil && want != "" || e != nil && e.Error() != want {
			t.Errorf("%s: %v", text, e)
		}
	}
}
