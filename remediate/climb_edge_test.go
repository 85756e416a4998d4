package remediate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/ladder"
)

// doing has a repair of app.service begin, up to the answer to its deed.
func (r *rig) doing(do string) {
	r.t.Helper()
	r.units(1, unit("app.service", 200))
	plan := restartPlan(true)
	plan["name"], plan["do"] = "it", do
	r.Answered(plan, nil)
	if got := r.asked(); !strings.HasSuffix(got, `repair.step mem_leak 0 {"memory_bytes":"200","unit":"app.service"}`) {
		r.t.Fatalf("asked %q", got)
	}
	r.told = nil
}

// done has it done, and settle.
func (r *rig) done() {
	r.t.Helper()
	r.doing("unit.restart")
	r.Answered(actuators.Result{"do": "unit.restart"}, nil)
	r.wait(11 * time.Second)
	r.expect("done", "", "done it")
}

func TestADeedThatMayHaveBeenDoneIsWatched(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.doing("reboot")
	r.Answered(nil, fmt.Errorf("%w: hung up", remediate.ErrLost)) // whoever restarts the machine ends first
	r.expect("lost", "", "failed it nobody knows whether it is done: hung up")
	r.start(file(leakRules))
	r.shelve(leakBook)
	r.units(20, unit("app.service", 20))
	r.expect("behind the start", "repair.end mem_leak 0 true", "helped it")

	r = repaired(t, leakRules, leakBook)
	r.doing("unit.restart")
	r.Answered(nil, remediate.ErrNotAsked)
	r.expect("nobody was asked", "", "failed it nobody was asked")
	r.units(31, unit("app.service", 200))
	r.expect("so it is tried again", "repair.plan mem_leak")
}

func TestAnEndThatIsNotHeardIsSaidAgain(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.done()
	r.units(4, unit("app.service", 20))
	r.expect("helped", "repair.end mem_leak 0 true", "helped it")
	for _, lost := range []error{remediate.ErrNotAsked, remediate.ErrLost} {
		r.Answered(nil, lost)
		r.units(29, unit("app.service", 20))
		r.expect("not heard", "")
		r.wait(2 * time.Second)
		r.expect("after half a minute", "repair.end mem_leak 0 true")
	}
	r.Answered(nil, fmt.Errorf("%w: it is not under way", actuators.ErrInvalid)) // it was heard, and the answer was lost
	r.wait(time.Minute)
	r.expect("heard", "")
}

func TestADeedThatWasDisarmedIsNotDone(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.doing("safe.enter")
	r.Answered(actuators.Result{"would": true, "do": "safe.enter"}, nil)
	r.expect("disarmed", "", "failed it "+actuators.ErrDenied.Error()+": it is not armed any more")
}

func TestTwoDiagnosesOfOneFaultAreRefusedOnceEach(t *testing.T) {
	book := strings.Replace(leakBook, `memory_bytes > 100)"`+"\nsymptom", `memory_bytes > 1000)"`+"\nsymptom", 1)
	r := repaired(t, leakRules, book)
	r.hold = "the shadow holds repairs"
	r.units(50, unit("app.service", 200), unit("b.service", 2000))
	r.expect("one lacks its precondition, the other is held", "",
		"refused its precondition has not matched in the last 1m0s", "refused the shadow holds repairs")
}

func TestWhatHoldsRepairsIsAskedAgainBeforeTheDeed(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.asked()
	r.hold = "output pump is active"
	r.Answered(restartPlan(true), nil)
	r.expect("switched meanwhile", "", "refused output pump is active")
}

func TestWhatIsArmedNowIsAskedOfADiagnosisThatWasTold(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.Answered(restartPlan(false), nil)
	r.units(40, unit("app.service", 200))
	r.asked()
	r.shelve(leakBook) // the configuration is read again
	r.units(1, unit("app.service", 200))
	if got := r.asked(); got != "repair.plan mem_leak" {
		t.Errorf("asked %q", got)
	}
}

// Rounds in which the symptom has nothing to go by are none without it.
func TestASilentSourceIsNoHelp(t *testing.T) {
	whole := strings.Replace(leakBook, `symptom = "select unit from UnitState(memory_bytes > 100)"`, `symptom = "select * from DeviceStatus(unitMemory > 100)"`, 1)
	for _, tt := range []struct {
		name, book string
		round      func(r *rig)
	}{
		{"of the whole machine", whole, func(r *rig) { r.take(sample("cpu", "", "busy_ratio", 0.1)) }},
		{"of another unit", leakBook, func(r *rig) { r.take(unit("b.service", 20)) }},
		{"of one of two measures", strings.Replace(whole, "unitMemory > 100", "cpuUtilization >= 0, unitMemory > 100", 1),
			func(r *rig) { r.take(sample("cpu", "", "busy_ratio", 0.1)) }},
		{"of a pattern", strings.Replace(leakBook, `symptom = "select unit from UnitState(memory_bytes > 100)"`,
			`symptom = "select b.unit as unit from pattern [every a=UnitState -> b=UnitState(unit = a.unit)] where b.memory_bytes > 100"`, 1),
			func(r *rig) { r.take(sample("units", "app.service", "active", 1), unit("b.service", 20)) }},
		{"without the measure", leakBook, func(r *rig) { r.take(sample("units", "app.service", "active", 1)) }},
	} {
		r := repaired(t, leakRules, tt.book)
		r.done()
		r.wait(time.Minute) // readings before are stale
		for range 60 {
			tt.round(r)
			r.wait(time.Second)
		}
		r.expect(tt.name, "")
		r.units(3, unit("app.service", 20))
		r.expect(tt.name+", then heard", "repair.end mem_leak 0 true", "helped it")
	}
}

func TestWhatIsCertainlyGoneNeedsNoOtherMeasure(t *testing.T) {
	r := repaired(t, leakRules, strings.Replace(leakBook, `symptom = "select unit from UnitState(memory_bytes > 100)"`,
		`symptom = "select * from DeviceStatus(cpuUtilization > 50, unitMemory > 100)"`, 1))
	r.done()
	r.wait(time.Minute)
	for range 4 {
		r.take(sample("cpu", "", "busy_ratio", 0.1))
		r.wait(time.Second)
	}
	r.expect("the processor rests", "repair.end mem_leak 0 true", "helped it")
}

func TestASymptomMayBeLookedAtSeldom(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.stale = time.Hour
	r.done()
	for range 3 {
		r.expect("not yet", "")
		r.wait(20 * time.Minute)
		r.take(unit("app.service", 20))
	}
	r.expect("three windows", "repair.end mem_leak 0 true", "helped it")

	r = repaired(t, leakRules, leakBook)
	r.done()
	r.wait(9 * time.Minute)
	r.take(unit("app.service", 20))
	r.wait(9 * time.Minute)
	r.expect("heard of in between", "")
	r.wait(2 * time.Minute)
	r.expect("and no more", "repair.end mem_leak 0 false", "not_helped it nothing was heard of it for 10m0s")
}

func TestAPlaybookThatChangesMeanwhileIsWatchedByItsNewSymptom(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.done()
	r.units(1, unit("app.service", 120))
	r.shelve(strings.Replace(leakBook, `symptom = "select unit from UnitState(memory_bytes > 100)"`, `symptom = "select unit from UnitState(memory_bytes > 150)"`, 1))
	r.units(3, unit("app.service", 120))
	r.expect("by the new one", "repair.end mem_leak 0 true", "helped it")

	r = repaired(t, leakRules, leakBook)
	r.done()
	if err := r.Playbooks(ladder.Shelf{}, nil); err != nil {
		t.Fatal(err)
	}
	r.units(20, unit("app.service", 20))
	r.expect("without any", "")
	r.wait(11 * time.Minute)
	r.expect("given up", "repair.end mem_leak 0 false", "not_helped it nothing was heard of it for 10m0s")
}

func TestTheForestsWordAloneRepairsNothing(t *testing.T) {
	r := judged(t)
	book := strings.ReplaceAll(leakBook, "mem_leak", "cpu_hog")
	r.shelve(strings.Replace(book, `precondition = "select unit, memory_bytes from UnitState(memory_bytes > 100)"`+"\n", "", 1))
	r.rows(6, 95, 20, 0)
	r.expect("no symptom", "", "refused its symptom has not matched in the last 1m0s")
	r.take(sample("cpu", "", "busy_ratio", 0.95), sample("memory", "", "used_ratio", 0.2), unit("app.service", 300))
	r.expect("with it", "repair.plan cpu_hog")
}

func TestWhatIsToldOfARepairHasTheValuesOfItsPrecondition(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.units(1, unit("app.service", 200))
	r.Answered(restartPlan(true), nil)
	if got := fmt.Sprint(r.asks[1].Tell["values"]); got != "map[memory_bytes:200 unit:app.service]" {
		t.Errorf("values %s", got)
	}
}

// A row of a rule may have more in it than a warden takes, or a memo.
func TestLongValuesAreLeftOut(t *testing.T) {
	columns := make([]string, 40)
	for i := range columns {
		columns[i] = fmt.Sprintf("'%s' as c%d", strings.Repeat("<", 250), i)
	}
	r := repaired(t, strings.Replace(leakRules, "select unit", "select unit, "+strings.Join(columns, ", "), 1), leakBook)
	r.units(1, unit("app.service", 200))
	r.Answered(restartPlan(true), nil)
	if len(r.asks) != 2 || len(r.asks[1].Args.Text("values")) > 1<<10 || !strings.Contains(r.asks[1].Args.Text("values"), `"unit":"app.service"`) {
		t.Fatalf("asked %v; told %v", r.asks, r.told)
	}
	r.Answered(nil, errors.New("job failed"))
}

func TestOfALongOutputTheEndIsTold(t *testing.T) {
	r := repaired(t, leakRules, leakBook)
	r.doing("script")
	r.Answered(actuators.Result{"do": "script", "result": map[string]any{"exit_code": 0.0, "output": strings.Repeat("é\x01", 20000) + "end"}}, nil)
	said := fmt.Sprint(r.told[0]["result"].(map[string]any)["output"])
	if len(said) > 1100 || !strings.HasSuffix(said, "end") {
		t.Errorf("%d bytes: %q", len(said), said)
	}
}

func TestTheUndoOfARungHasItsTimeAlsoAfterARestart(t *testing.T) {
	r := repaired(t, leakRules, strings.Replace(leakBook, `settle = "10s"`, `settle = "10s"`+"\n"+`timeout = "20m"`, 1))
	r.doing("unit.restart")
	r.start(file(leakRules))
	r.shelve(strings.Replace(leakBook, `settle = "10s"`, `settle = "10s"`+"\n"+`timeout = "20m"`, 1))
	r.units(25, unit("app.service", 200))
	if len(r.asks) != 1 || r.asks[0].Verb != "repair.end" || r.asks[0].Limit < 20*time.Minute {
		t.Errorf("asked %+v", r.asks)
	}
}

func TestOneFaultOfManyLeavesRoomForOthers(t *testing.T) {
	r := newRig(t, file(leakRules+`; @name('hog') @repair('cpu_hog') select * from Cpu(busy_ratio > 0.9)`))
	leaking := make([]collectors.Sample, 60)
	for i := range leaking {
		leaking[i] = unit(fmt.Sprintf("u%d.service", i), 200)
	}
	faults := func() (leaks, others int) {
		for _, d := range r.Standing().Diagnoses {
			if d.Fault == "mem_leak" {
				leaks++
			} else {
				others++
			}
		}
		return leaks, others
	}
	r.take(leaking...)
	r.take(sample("cpu", "", "busy_ratio", 0.95))
	if leaks, others := faults(); leaks != 8 || others != 1 {
		t.Errorf("%d leaks and %d others are named", leaks, others)
	}
	for i := range leaking[:55] { // those that are named first among them
		leaking[i] = unit(fmt.Sprintf("u%d.service", i), 20)
	}
	r.take(leaking[:55]...)
	r.wait(time.Minute)
	if leaks, _ := faults(); leaks != 5 {
		t.Errorf("of those that were left out %d are named when there is room, want 5", leaks)
	}
}

// What is refused again and again costs the flash little: a day of it is some dozens of events.
func TestWhatIsInVainIsTriedEverMoreSeldom(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(r *rig, n int)
	}{
		{"a deed that is always refused", func(r *rig, _ int) {
			r.Answered(restartPlan(true), nil)
			r.Answered(nil, fmt.Errorf("unit.restart: %w", actuators.ErrInvalid))
		}},
		{"reasons that come and go", func(r *rig, n int) {
			r.Answered(actuators.Result{"refused": []string{"a user has a session", "held by anna"}[n%2]}, nil)
		}},
	} {
		r := repaired(t, leakRules, leakBook)
		n := 0
		for range 24 * 60 * 4 {
			r.take(unit("app.service", 200))
			if len(r.asks) > 0 {
				tt.answer(r, n)
				r.asks = nil
				n++
			}
			r.wait(15 * time.Second)
		}
		if got := len(r.repairs()); got < 20 || got > 200 {
			t.Errorf("%s: %d events in a day", tt.name, got)
		}
	}
}
