package repair_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/actuators"
)

func TestARungThatNobodyEndedIsUndoneBeforeTheNext(t *testing.T) {
	g := newRig(t, leak)
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Fatal(err)
	}
	g.m.pass(time.Hour) // the timeout, the settle time and an hour are not over
	_, err := g.step("mem_leak", 1, app)
	g.refused(err, actuators.ErrLocked, "is under way")
	g.m.pass(time.Minute)
	g.is(g.plan("mem_leak")["rung"], 1, "the plan looks ahead")
	g.is(len(g.did), 1, "and does nothing")
	_, err = g.step("mem_leak", 1, app)
	g.refused(err, actuators.ErrLimited, "the back-off after the last repair is not over")
	g.is(len(g.did), 2, "deeds, the undo among them")
	g.m.pass(10 * time.Minute)
	if _, err = g.step("mem_leak", 1, app); err != nil {
		t.Error(err)
	}
}

func TestAnUndoIsThatOfTheRungThatWasDone(t *testing.T) {
	g := newRig(t, leak)
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Fatal(err)
	}
	_, err := g.ask("repair.end", actuators.Args{"fault": "mem_leak", "rung": 1.0, "helped": false})
	g.refused(err, actuators.ErrInvalid, "rung 1 of \"mem_leak\" is not under way")
	g.playbooks["p0.toml"] = &fstest.MapFile{Data: []byte(strings.Replace(leak, "name='restart'", "name='another'", 1))}
	g.is(g.end("mem_leak", 0, false), "map[level:1]", "the end, with another playbook")
	g.is(len(g.did), 1, "deeds")
}

func TestAnUndoIsNotDoneDuringAnUpdateOrWhenSwitchedOff(t *testing.T) {
	for what, words := range map[string]string{"off": "the file is there", "busy": "an update is under way"} {
		g := newRig(t, leak)
		if _, err := g.step("mem_leak", 0, app); err != nil {
			t.Fatal(err)
		}
		g.says[what] = words
		g.is(g.end("mem_leak", 0, false), "map[failed:"+words+" level:1 undone:false]", what)
		g.is(len(g.did), 1, "deeds")
	}
}

func TestARollbackOfSettingsCountsAsARepair(t *testing.T) {
	g := newRig(t, "fault='net_down'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\ndo='config.rollback'\n[[rung]]\nname='b'\ndo='config.rollback'\n")
	g.limits = []actuators.Limit{{Class: actuators.Repair, PerHour: 1, PerDay: 1}}
	g.start()
	s, err := g.step("net_down", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	g.is(s["local"], true, "the agent does it")
	g.end("net_down", 0, false)
	g.m.pass(2 * time.Minute)
	_, err = g.step("net_down", 1, "")
	g.refused(err, actuators.ErrLimited, "the limit of the class repair is reached")
}

func TestSafeModeIsLeftByWhoeverAsksAfterAnHour(t *testing.T) {
	g := newRig(t, leak)
	for range 4 {
		g.m.boot()
		g.must("boot.began", nil)
	}
	g.m.pass(59 * time.Minute)
	g.is(g.must("repair.status", nil)["safe"].(map[string]any)["safe"], true, "before")
	g.m.pass(time.Minute)
	g.is(g.plan("mem_leak")["refused"], "", "after")
	g.m.boot()
	g.start()
	g.is(g.must("boot.began", nil)["safe"], false, "in the next boot")
}

func TestADamagedRecordOfBootsCountsTwo(t *testing.T) {
	g := newRig(t, leak)
	if err := g.disk.Files("warden").WriteFile("boots", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	g.is(g.must("boot.began", nil)["unclean"], 2, "unclean")
	g.m.boot()
	g.is(g.must("boot.began", nil)["safe"], true, "after one more")
}

// The time in the book is never after the one that the limiter has kept: else a power cut would use up all limits.
func TestAPowerCutDoesNotUseUpTheLimits(t *testing.T) {
	g := newRig(t, leak)
	for i := range 3 {
		g.m.pass(2 * time.Hour)
		if _, err := g.step("mem_leak", 0, app); err != nil {
			t.Fatal(err)
		}
		g.m.pass(time.Minute)
		g.end("mem_leak", 0, true)
		g.m.boot()
		g.m.trusted = false // the time between the boots is not credited
		g.start()
		g.is(g.must("repair.status", nil)["faults"].(map[string]any)["mem_leak"].(map[string]any)["deeds_day"], i+1, "deeds of the day")
		g.m.trusted = true
	}
}

// An agent that has forgotten what it began asks for the plan alone, and is told to wait no longer than it says.
func TestARungThatNobodyEndedHoldsNothingForEver(t *testing.T) {
	g := newRig(t, leak)
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Fatal(err)
	}
	g.m.pass(90 * time.Minute)
	for range 3 {
		plan := g.plan("mem_leak")
		if plan["refused"] == "" {
			g.is(plan["rung"], 1, "the next rung")
			return
		}
		g.m.pass(time.Duration(plan["wait_seconds"].(float64)+1) * time.Second)
	}
	t.Errorf("refused: %v", g.plan("mem_leak"))
}
