package remediate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/ladder"
)

const leakRules = `@name('leak') @repair('mem_leak') select unit from UnitState(memory_bytes > 100);
@name('tight') @clear('leak') select unit from UnitState(memory_bytes < 50)`

const leakBook = `fault = "mem_leak"
help = "a unit takes memory without end"
precondition = "select unit, memory_bytes from UnitState(memory_bytes > 100)"
symptom = "select unit from UnitState(memory_bytes > 100)"
windows = 3
[[rung]]
name = "restart"
do = "unit.restart"
args = { unit = "{unit}" }
settle = "10s"
[[rung]]
name = "reboot"
do = "reboot"
[[rung]]
name = "person"
do = "ask"
`

// repaired is a rig with rules and a playbook.
func repaired(t *testing.T, rules, book string) *rig {
	t.Helper()
	r := newRig(t, file(rules))
	r.shelve(book)
	r.told = nil
	return r
}

func (r *rig) shelve(book string) {
	r.t.Helper()
	p, err := ladder.Parse("leak.toml", []byte(book))
	if err == nil {
		err = r.Playbooks(ladder.Shelf{p.Fault: p}, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func unit(name string, bytes float64) collectors.Sample {
	return sample("units", name, "memory_bytes", bytes)
}

// units are rounds, a second apart, in which units have so much memory.
func (r *rig) units(n int, all ...collectors.Sample) {
	for range n {
		r.take(all...)
		r.wait(time.Second)
	}
}

// asked is the verb that was asked for since the last call, with its fault, rung and whether it helped.
func (r *rig) asked() string {
	var all []string
	for _, a := range r.asks {
		words := []string{a.Verb, fmt.Sprint(a.Args["fault"])}
		for _, name := range []string{"rung", "helped", "values"} {
			if v, ok := a.Args[name]; ok {
				words = append(words, fmt.Sprint(v))
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	r.asks = nil
	return strings.Join(all, ", ")
}

// repairs are the events of repairs since the last call.
func (r *rig) repairs() (out []string) {
	for _, m := range r.told {
		if m["kind"] != "repair" {
			continue
		}
		words := []string{fmt.Sprint(m["phase"])}
		for _, name := range []string{"name", "reason", "error"} {
			if m[name] != nil {
				words = append(words, fmt.Sprint(m[name]))
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	r.told = nil
	return out
}

func (r *rig) expect(what, asked string, repairs ...string) {
	r.t.Helper()
	if got := r.asked(); got != asked {
		r.t.Errorf("%s: asked %q, want %q", what, got, asked)
	}
	if got := r.repairs(); !slices.Equal(got, repairs) {
		r.t.Errorf("%s: told %q, want %q", what, got, repairs)
	}
}

func restartPlan(armed bool) actuators.Result {
	return actuators.Result{"fault": "mem_leak", "armed": armed, "rung": 0.0, "name": "restart", "do": "unit.restart", "rungs": 3.0, "timeout_seconds": 60.0, "settle_seconds": 10.0}
}

func TestARungIsPlannedDoneAndWatched(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  float64 // bytes behind the rung
		end    string
		repair string
	}{
		{"it helps", 40, "repair.end mem_leak 0 true", "helped restart"},
		{"it does not", 200, "repair.end mem_leak 0 false", "not_helped restart the symptom is still there"},
	} {
		r := repaired(t, leakRules, leakBook)
		r.units(2, unit("app.service", 200), unit("b.service", 20))
		r.expect(tt.name+", plan", "repair.plan mem_leak")
		r.Answered(restartPlan(true), nil)
		if a := r.asks[0]; a.Tell["phase"] != "begun" || a.Tell["by"] != "rule" || a.Tell["before"] == nil || a.Limit < time.Minute || !strings.Contains(a.Args.Text("evidence"), `"rule":"leak"`) {
			t.Errorf("%s: %+v", tt.name, a)
		}
		r.expect(tt.name+", step", `repair.step mem_leak 0 {"memory_bytes":"200","unit":"app.service"}`)
		r.Answered(actuators.Result{"do": "unit.restart", "result": map[string]any{"seconds": 1.0}}, nil)
		r.expect(tt.name+", done", "", "done restart")
		r.units(10, unit("app.service", 200), unit("b.service", 20)) // while it settles
		r.units(2, unit("app.service", tt.after), unit("b.service", 200))
		r.expect(tt.name+", two windows", "")
		for range 20 { // rounds without its sample are no windows
			r.take(sample("cpu", "", "busy_ratio", 0.1))
			r.wait(time.Second)
		}
		r.expect(tt.name+", no windows", "")
		r.units(8, unit("app.service", tt.after), unit("b.service", 200))
		last := r.told[slices.IndexFunc(r.told, func(m map[string]any) bool { return m["kind"] == "repair" })]
		if last["before"] == nil || last["after"] == nil {
			t.Errorf("%s: %v", tt.name, last)
		}
		r.expect(tt.name+", end", tt.end, tt.repair)
	}
}

func TestWithoutArmsItIsSaidOnceWhatWouldBeDone(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.asked()
	r.Answered(restartPlan(false), nil)
	r.expect("once", "", "would restart")
	r.units(300, unit("app.service", 200))
	r.expect("and not again", "")
	r.units(1, unit("app.service", 20))
	r.units(1, unit("app.service", 200))
	r.expect("until it is another", "repair.plan mem_leak")
}

func TestWhatHoldsARepairIsToldOnceAndAskedAgain(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.hold = "the shadow holds repairs"
	r.units(5, unit("app.service", 200))
	r.expect("held", "", "refused the shadow holds repairs")
	r.hold = ""
	r.units(1, unit("app.service", 200))
	r.expect("no more", "repair.plan mem_leak")
	r.Answered(actuators.Result{"refused": "a user is at work", "wait_seconds": 60.0}, nil)
	r.units(59, unit("app.service", 200))
	r.expect("refused", "", "refused a user is at work")
	r.units(2, unit("app.service", 200))
	r.expect("after a minute", "repair.plan mem_leak")
	r.Answered(nil, errors.New("nobody answers"))
	r.units(29, unit("app.service", 200))
	r.expect("nobody", "", "refused nobody answers")
	r.units(2, unit("app.service", 200))
	r.expect("after half a minute", "repair.plan mem_leak")
	r.Answered(restartPlan(true), nil)
	r.asked()
	r.Answered(nil, fmt.Errorf("unit: %w", actuators.ErrDenied))
	r.expect("the warden says no to the deed", "", "failed restart unit: "+actuators.ErrDenied.Error())
	r.units(32, unit("app.service", 200))
	r.asked()
	r.Answered(restartPlan(true), nil)
	r.asked()
	r.Answered(nil, errors.New("job failed"))
	r.expect("the deed fails", "repair.end mem_leak 0 false", "failed restart job failed", "not_helped restart")
	r.Answered(actuators.Result{"level": 1.0}, nil)
	r.units(32, unit("app.service", 200))
	r.asked()
	r.Answered(restartPlan(true), nil)
	r.asked()
	r.Answered(actuators.Result{"do": "unit.restart", "failed": "job failed"}, nil) // as the warden says it
	r.expect("the deed was counted and fails", "repair.end mem_leak 0 false", "failed restart job failed", "not_helped restart")
}

func TestNothingIsDoneWithoutItsPreconditionOrAPlaybook(t *testing.T) {
	book := strings.Replace(leakBook, `memory_bytes > 100)"`+"\nsymptom", `memory_bytes > 1000)"`+"\nsymptom", 1)
	r := repaired(t, leakRules, book)
	r.units(2, unit("app.service", 200))
	r.expect("not so much", "", "refused its precondition has not matched in the last 1m0s")
	r.units(1, unit("b.service", 2000))
	if got := r.asks; len(got) != 1 { // of b there is a diagnosis of its own
		t.Fatalf("asked %v", got)
	}
	r.Answered(restartPlan(true), nil)
	if values := r.asks[1].Args.Text("values"); !strings.Contains(values, "b.service") || strings.Contains(values, "app.service") {
		t.Errorf("values %s", values)
	}
	r = repaired(t, strings.ReplaceAll(leakRules, "mem_leak", "other"), leakBook)
	r.units(5, unit("app.service", 200))
	r.expect("no playbook", "")
	r = repaired(t, leakRules, leakBook)
	r.take(unit("app.service", 200))
	r.asks = nil
	r.Answered(actuators.Result{"refused": "wait", "wait_seconds": 120.0}, nil)
	r.told = nil
	r.wait(3 * time.Minute)
	r.take(sample("cpu", "", "busy_ratio", 0.1))
	r.expect("it has not matched for long", "", "refused its precondition has not matched in the last 1m0s")
}

func TestARepairThatRestartsTheMachineIsWatchedBehindTheStart(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.Answered(actuators.Result{"armed": true, "rung": 1.0, "name": "reboot", "do": "reboot", "timeout_seconds": 60.0, "settle_seconds": 5.0}, nil)
	if r.asked() == "" {
		t.Fatal("nothing was asked")
	}
	r.told = nil
	r.now = r.now.Add(time.Minute)
	r.start(file(leakRules)) // the power went, and came again
	r.shelve(leakBook)
	r.units(20, unit("app.service", 20))
	r.expect("behind the start", "repair.end mem_leak 1 true", "helped reboot")
	r.Answered(actuators.Result{"level": 0.0}, nil)
	r.start(file(leakRules))
	r.shelve(leakBook)
	r.units(20, unit("app.service", 20))
	r.expect("and no more", "")
}

func TestADamagedMemoIsNoRepair(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	if err := r.files.WriteFile("repair.json", []byte("{\"fault\":\"mem_leak\",\"rung\":1}")); err != nil {
		t.Fatal(err)
	}
	r.start(file(leakRules))
	r.shelve(leakBook)
	r.units(20, unit("app.service", 20))
	r.expect("unsealed", "")
}

func TestWhatNeedsNoPowerIsDoneHereAndAPersonIsAskedOnce(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.Answered(actuators.Result{"armed": true, "rung": 1.0, "name": "back", "do": "config.rollback", "timeout_seconds": 60.0}, nil)
	r.asked()
	r.Answered(actuators.Result{"do": "config.rollback", "local": true}, nil)
	if fmt.Sprint(r.locals) != "[config.rollback]" {
		t.Errorf("done %v", r.locals)
	}
	r.expect("config", "", "done back")
	r.units(30, unit("app.service", 200))
	r.expect("it has not helped", "repair.end mem_leak 1 false", "not_helped back the symptom is still there")
	r.Answered(actuators.Result{"undone": true}, nil)
	r.expect("undone", "", "undone back")
	r.units(2, unit("app.service", 200))
	r.expect("next", "repair.plan mem_leak")
	r.Answered(actuators.Result{"armed": true, "rung": 2.0, "name": "person", "do": "ask", "timeout_seconds": 60.0}, nil)
	r.asked()
	r.Answered(actuators.Result{"do": "ask", "local": true}, nil)
	r.expect("asks", "repair.end mem_leak 2 false", "done person")
	r.Answered(actuators.Result{}, nil)
	r.units(300, unit("app.service", 200))
	r.expect("and not again", "")
}

func TestPlaybooksThatDoNotCompileAreLeftOutAndTheOthersStay(t *testing.T) {
	r := newRig(t, file(leakRules))
	good, err := ladder.Parse("leak.toml", []byte(leakBook))
	if err != nil {
		t.Fatal(err)
	}
	bad := *good
	bad.Fault, bad.File, bad.Symptom = "cpu_hog", "hog.toml", "select nothing from UnitState"
	err = r.Playbooks(ladder.Shelf{"mem_leak": good, "cpu_hog": &bad}, errors.New("third.toml: 3:1: unknown key"))
	if err == nil || !strings.Contains(err.Error(), "hog.toml: symptom") || !strings.Contains(err.Error(), "third.toml") {
		t.Errorf("error %v", err)
	}
	if s := r.Standing().Repairs; s.Playbooks != 1 || s.Fault == "" {
		t.Errorf("standing %+v", s)
	}
	r.units(1, unit("app.service", 200))
	if got := r.asked(); got != "repair.plan mem_leak" {
		t.Errorf("asked %q", got)
	}
	bad = *good
	bad.Symptom = "select nothing from UnitState"
	if err := r.Playbooks(ladder.Shelf{"mem_leak": &bad}, nil); err == nil || !strings.Contains(err.Error(), "the one before stays in force") || r.Standing().Repairs.Playbooks != 1 {
		t.Errorf("error %v, %+v", err, r.Standing().Repairs)
	}
	for _, text := range []string{"", "select unit from UnitState; select unit from UnitState", "select", "select * from Nothing"} {
		p := *good
		if p.Symptom = text; remediate.CheckPlaybook(&p) == nil {
			t.Errorf("symptom %q is taken", text)
		}
	}
}

func TestTheForestsDiagnosisIsRepairedByThePrecondition(t *testing.T) {
	r := judged(t)
	r.shelve(strings.ReplaceAll(strings.ReplaceAll(leakBook, "mem_leak", "cpu_hog"), "precondition", "precondition"))
	r.rows(6, 95, 20, 0)
	r.expect("no precondition", "", "refused its precondition has not matched in the last 1m0s")
	r.take(sample("cpu", "", "busy_ratio", 0.95), sample("memory", "", "used_ratio", 0.2), unit("app.service", 300))
	r.expect("with it", "repair.plan cpu_hog")
	r.Answered(restartPlan(true), nil)
	if e := r.asks[0].Args.Text("evidence"); !strings.Contains(e, `"by":"forest"`) || !strings.Contains(e, `"reasons"`) || !strings.Contains(e, `"model"`) {
		t.Errorf("evidence %s", e)
	}
}
