package remediate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/forest"
)

// draft is a forest: a processor above 50 % is hog, memory that grows by more than 1 % a row is leak.
func draft() *forest.Draft {
	d := &forest.Draft{}
	d.Classes, d.Normal, d.Metrics = []string{"cpu_hog", "mem_leak", "normal"}, 2, []string{"cpuUtilization", "memoryUtilization", "temperature"}
	d.Features = []forest.Feature{
		{Metric: 0, Stat: forest.Mean, Median: 10, High: 100}, {Metric: 1, Stat: forest.Slope, Low: -1, High: 3},
		{Metric: 1, Stat: forest.Mean, Median: 20, High: 100}, {Metric: 2, Stat: forest.Mean, Median: 40, High: 100},
	}
	d.Window, d.Step, d.Temperature, d.Sure, d.Margin = 4, time.Second, 1, 0.5, 0.5
	d.Trees = []forest.Tree{{
		{Feature: 0, Threshold: 50, Left: 1, Right: 2}, {Feature: 1, Threshold: 1, Left: 3, Right: 4},
		{Shares: []float64{1, 0, 0}}, {Shares: []float64{0, 0, 1}}, {Shares: []float64{.1, .9, 0}},
	}}
	d.Golden = []forest.Golden{{Row: []float32{90, 0, 20, 40}, Shares: []float64{1, 0, 0}}}
	return d
}

func model(t testing.TB, d *forest.Draft) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judged is a rig with a model in force.
func judged(t *testing.T, files ...remediate.File) *rig {
	r := newRig(t, files...)
	if err := r.Model(model(t, draft()), nil); err != nil {
		t.Fatal(err)
	}
	r.told = nil
	return r
}

// rows are rounds, a second apart.
func (r *rig) rows(n int, cpu, memory float64, growth float64) {
	for i := range n {
		r.take(sample("cpu", "", "busy_ratio", cpu/100), sample("memory", "", "used_ratio", (memory+growth*float64(i))/100))
		r.wait(time.Second)
	}
}

// diagnoses are the events of diagnoses since the last call.
func (r *rig) diagnoses() (out []string) {
	for _, m := range r.told {
		if m["kind"] == "diagnosis" {
			out = append(out, fmt.Sprintf("%v %v %v", m["phase"], m["fault"], m["by"]))
		}
	}
	r.told = nil
	return out
}

func (r *rig) diagnosed(what string, want ...string) {
	r.t.Helper()
	if got := r.diagnoses(); !slices.Equal(got, want) {
		r.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestThreeVerdictsThatAgreeAreADiagnosis(t *testing.T) {
	r := judged(t)
	r.rows(20, 10, 20, 0)
	r.diagnosed("nothing is wrong")
	r.rows(3, 95, 20, 0) // of four rows the mean is above 50 from the second on
	r.diagnosed("two verdicts")
	r.rows(1, 95, 20, 0)
	first := r.told[0]
	reasons, _ := first["reasons"].([]any)
	if len(reasons) != 1 || fmt.Sprint(reasons[0]) != "map[measure:cpuUtilization stat:mean usual:10 value:95 weight:1]" || first["confidence"].(float64) < 0.99 || len(first["model"].(string)) != 12 {
		t.Errorf("evidence: %v", first)
	}
	r.diagnosed("three", "named cpu_hog forest")
	r.rows(30, 95, 20, 0)
	r.diagnosed("it goes on")
	if s := r.Standing(); len(s.Diagnoses) != 1 || s.Diagnoses[0].Fault != "cpu_hog" || s.Model.Class != "cpu_hog" || s.Model.Lacking != 1 {
		t.Errorf("standing %+v, model %+v", s.Diagnoses, s.Model)
	}
	r.rows(2, 10, 20, 0)
	r.rows(1, 95, 20, 0)
	r.diagnosed("a short break is none")
	r.rows(8, 10, 20, 0)
	r.diagnosed("it is gone", "over cpu_hog forest")
	r.rows(8, 10, 20, 2)
	if reasons := fmt.Sprint(r.told[len(r.told)-1]["reasons"]); !strings.Contains(reasons, "measure:memoryUtilization stat:slope usual:0 value:2") {
		t.Errorf("a leak's reasons: %s", reasons)
	}
	r.diagnosed("another", "named mem_leak forest")
	r.rows(6, 95, 20, 0)
	r.diagnosed("one after the other", "over mem_leak forest", "named cpu_hog forest")
}

func TestWhatTheForestCannotKnowItDoesNotName(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(r *rig)
	}{
		{"far out of its range", func(r *rig) { r.rows(20, 190, 20, 0) }},
		{"a measure that is no longer there", func(r *rig) {
			r.rows(1, 95, 20, 0)
			for range 60 {
				r.take(sample("cpu", "", "busy_ratio", 0.95))
				r.wait(time.Second)
			}
			r.told = slices.DeleteFunc(r.told, func(m map[string]any) bool { return m["kind"] == "diagnosis" && m["phase"] == "over" })
			if s := r.Standing().Model; s.Doubt != "missing" {
				t.Errorf("doubt %+v", s)
			}
			r.told = nil
		}},
		{"a machine that lacks most of what is asked for", func(r *rig) {
			for range 20 {
				r.take(sample("cpu", "", "busy_ratio", 0.95))
				r.wait(time.Second)
			}
		}},
		{"rounds that are too far apart", func(r *rig) {
			for range 20 {
				r.take(sample("cpu", "", "busy_ratio", 0.95), sample("memory", "", "used_ratio", 0.2))
				r.wait(10 * time.Second)
			}
		}},
		{"rounds that are too near", func(r *rig) {
			for range 20 {
				r.take(sample("cpu", "", "busy_ratio", 0.95), sample("memory", "", "used_ratio", 0.2))
				r.wait(100 * time.Millisecond)
			}
		}},
	} {
		r := judged(t)
		tt.play(r)
		r.diagnosed(tt.name)
	}
}

func TestRulesComeFirst(t *testing.T) {
	r := judged(t, file(`@name('busy') @repair('app_busy') select cpuUtilization as percent from DeviceStatus(cpuUtilization > 99);
		@name('calm') @clear('busy') select * from DeviceStatus(cpuUtilization < 99)`))
	r.rows(10, 95, 20, 0)
	r.diagnosed("no rule", "named cpu_hog forest")
	r.rows(1, 100, 20, 0)
	last := r.told[len(r.told)-1]
	if last["rule"] != "busy" || fmt.Sprint(last["values"]) != "map[percent:100]" {
		t.Errorf("evidence %v", last)
	}
	r.diagnosed("a rule names it", "over cpu_hog forest", "named app_busy rule")
	r.rows(10, 100, 20, 0)
	r.diagnosed("the forest leaves it")
	r.rows(11*60, 100, 20, 0)
	r.diagnosed("it lasts: the forest sees another fault, too", "named cpu_hog forest")
	r.rows(1, 95, 20, 0)
	r.diagnosed("its alert is over", "over app_busy rule")
}

func TestTheForestSpeaksAgainWhereTheAlertIsOver(t *testing.T) {
	r := judged(t, file(`@name('busy') @repair('app_busy') select cpuUtilization as percent from DeviceStatus(cpuUtilization > 99);
		@name('calm') @clear('busy') select * from DeviceStatus(cpuUtilization < 99)`))
	r.rows(10, 100, 20, 0)
	r.told = nil
	r.rows(1, 95, 20, 0)
	r.diagnosed("the alert is over, and the forest still sees it", "over app_busy rule", "named cpu_hog forest")
}

func TestDiagnosesOfOpenAlertsSurviveARestartInSilence(t *testing.T) {
	rules := file(`@name('full') @repair('disk_full') select mount from Disk(used_ratio > 0.9); @name('room') @clear('full') select mount from Disk(used_ratio < 0.9)`)
	r := newRig(t, rules)
	r.take(sample("disk", "/data", "used_ratio", 0.95))
	r.diagnosed("full", "named disk_full rule")
	r.wait(20 * time.Second)
	r.start(rules)
	r.diagnosed("again")
	if s := r.Standing().Diagnoses; len(s) != 1 || s[0].Fault != "disk_full" || s[0].Key["mount"] != "/data" {
		t.Errorf("%+v", s)
	}
	r.take(sample("disk", "/data", "used_ratio", 0.5))
	r.diagnosed("room", "over disk_full rule")
}

func TestAModelThatIsNotRightLeavesTheOneBefore(t *testing.T) {
	good := model(t, draft())
	for _, tt := range []struct {
		name string
		text []byte
		read error
		want string
	}{
		{"cut off", good[:len(good)-1], nil, "model"},
		{"a bit", append([]byte{good[0] ^ 1}, good[1:]...), nil, "model"},
		{"empty", []byte{}, nil, "model"},
		{"cannot be read", nil, errors.New("model: permission denied"), "permission denied"},
		{"another's measures", changed(t, func(d *forest.Draft) { d.Metrics[0] = "cpuUtilisation" }), nil, "did its maker mean cpuUtilization?"},
		{"too slow", changed(t, func(d *forest.Draft) { d.Step = time.Hour }), nil, "a row every 1h"},
		{"a class of all classes", changed(t, func(d *forest.Draft) { d.Classes[0] = "unknown" }), nil, "unknown"},
	} {
		r := judged(t)
		err := r.Model(tt.text, tt.read)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if m := r.told[0]; m["kind"] != "model" || m["phase"] != "refused" || len(m["in_force"].(string)) != 12 {
			t.Errorf("%s: told %v", tt.name, m)
		}
		r.told = nil
		r.rows(10, 95, 20, 0)
		r.diagnosed(tt.name, "named cpu_hog forest")
		if _, _, fault := r.Named(); fault == "" {
			t.Errorf("%s: not reported", tt.name)
		}
		if err := r.Model(good, nil); err != nil {
			t.Errorf("%s: the same again: %v", tt.name, err)
		}
		r.diagnosed(tt.name + ", then the same model again")
		if err := r.Model(nil, nil); err != nil {
			t.Errorf("%s: none: %v", tt.name, err)
		}
		r.diagnosed(tt.name+", then none", "over cpu_hog forest")
	}
}

func changed(t *testing.T, change func(*forest.Draft)) []byte {
	d := draft()
	change(d)
	return model(t, d)
}

func TestTheModelSaysHowOftenItWantsWhichSources(t *testing.T) {
	if step, sources := newRig(t).Pace(); step != 0 || sources != nil {
		t.Errorf("no model: %v %v", step, sources)
	}
	if step, sources := judged(t).Pace(); step != time.Second || fmt.Sprint(sources) != "[cpu memory temperature]" {
		t.Errorf("%v %v", step, sources)
	}
}

func TestARoundWithAModelAllocatesNothing(t *testing.T) {
	r := judged(t)
	r.rows(20, 30, 30, 0)
	round := []collectors.Sample{sample("cpu", "", "busy_ratio", 0.3), sample("memory", "", "used_ratio", 0.3)}
	if n := testing.AllocsPerRun(200, func() {
		for i := range round {
			round[i].Time = r.now
			r.Sample(&round[i])
		}
		r.Round()
		r.now = r.now.Add(time.Second)
	}); n != 0 {
		t.Errorf("%g allocations a round", n)
	}
}
