package repair_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/repair"
	"holdfast/board/sim"
)

const leak = `fault='mem_leak'
help='A unit takes memory without end.'
symptom='select * from Memory'
per_hour=4
per_day=12
[[rung]]
name='restart'
do='unit.restart'
args={unit='{unit}'}
timeout='30s'
settle='5s'
undo={do='script',args={name='note',args=['{unit}'],n='{n}',quiet='true'}}
[[rung]]
name='reboot'
do='reboot'
[[rung]]
name='settings'
do='safe.enter'
[[rung]]
name='human'
do='ask'
args={text='{unit} leaks'}
`

const app = `{"unit":"app.service","n":3}`

func TestARungIsPlannedDoneAndEnded(t *testing.T) {
	g := newRig(t, leak)
	p := g.plan("mem_leak")
	for name, want := range map[string]any{"fault": "mem_leak", "armed": true, "rung": 0, "name": "restart", "do": "unit.restart", "rungs": 4,
		"timeout_seconds": 30, "settle_seconds": 5, "wait_seconds": 0, "refused": ""} {
		g.is(p[name], want, name)
	}
	s, err := g.step("mem_leak", 0, app)
	if err != nil {
		t.Fatal(err)
	}
	g.is(s, "map[args:map[unit:app.service] do:unit.restart result:map[seconds:1.5]]", "the step")
	g.is(g.did, `[unit.restart {"unit":"app.service"} for repair of mem_leak, rung 0]`, "deeds")
	if want := `msg=repair fault=mem_leak rung=0 name=restart do=unit.restart args=map[unit:app.service] values="map[n:3 unit:app.service]" evidence="{\"why\":\"it leaks\"}"`; !strings.Contains(g.log.String(), want) {
		t.Errorf("the log has\n%s\nwant\n%s", g.log.String(), want)
	}
	_, err = g.step("mem_leak", 0, app)
	g.refused(err, actuators.ErrLocked, "a repair of mem_leak is under way (rung 0, restart)")
	g.is(g.must("repair.status", nil)["under_way"].(map[string]any)["values"], "map[n:3 unit:app.service]", "under way")
	g.is(g.end("mem_leak", 0, true), "map[level:1]", "the end")
	_, err = g.ask("repair.end", actuators.Args{"fault": "mem_leak", "rung": 0.0, "helped": true})
	g.refused(err, actuators.ErrInvalid, "is not under way")
	g.is(len(g.did), 1, "deeds")
}

func TestTheNextRungComesWhenOneDidNotHelpAndItIsUndone(t *testing.T) {
	g := newRig(t, leak)
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Fatal(err)
	}
	g.is(g.end("mem_leak", 0, false), "map[level:1 undone:true]", "the end")
	g.is(g.did[1], `script {"args":["app.service"],"n":3,"name":"note","quiet":true} for undo of mem_leak, rung 0`, "the undo")
	g.m.pass(10 * time.Minute)
	_, err := g.step("mem_leak", 0, app)
	g.refused(err, actuators.ErrInvalid, "rung 0 of mem_leak: 1 is next")
	if _, err := g.step("mem_leak", 1, app); err != nil {
		t.Fatal(err)
	}
	g.m.boot()
	g.start() // the warden of the next boot reads that a reboot is to be verified
	u := g.must("repair.status", nil)["under_way"].(map[string]any)
	g.is([]any{u["fault"], u["rung"], u["restarts"], u["rebooted"]}, "[mem_leak 1 true true]", "after the boot")
	g.is(g.end("mem_leak", 1, false), "map[level:2]", "the end")
	g.m.pass(20 * time.Minute)
	s, err := g.step("mem_leak", 2, app)
	g.is(s["result"], "map[safe:true]", "safe mode as a rung")
	if err != nil {
		t.Fatal(err)
	}
	g.end("mem_leak", 2, false)
	g.is(g.plan("mem_leak")["refused"], "safe mode: repair of mem_leak, rung 2", "refused")
	g.is(g.must("safe.leave", nil), "map[again_seconds:0 boot:boot-1 safe:false unclean:0]", "safe.leave")
	g.m.pass(30 * time.Minute)
	s, err = g.step("mem_leak", 3, app)
	if g.is(s, "map[args:map[text:app.service leaks] do:ask local:true]", "what is left is to ask"); err != nil {
		t.Fatal(err)
	}
	g.is(len(g.did), 3, "deeds")
}

func TestWhatIsNotArmedIsNeitherDoneNorCounted(t *testing.T) {
	g := newRig(t, strings.Replace(leak, "mem_leak", "fd_leak", 1))
	writes := g.disk.Written()
	for range 30 {
		s, err := g.step("fd_leak", 0, app)
		if err != nil {
			t.Fatal(err)
		}
		g.is(s, "map[args:map[unit:app.service] do:unit.restart would:true]", "the step")
	}
	g.is(len(g.did), 0, "deeds")
	g.is(g.disk.Written()-writes, 0, "bytes written")
	g.is(g.plan("fd_leak")["armed"], false, "armed")
	if !strings.Contains(g.log.String(), `msg="would repair" fault=fd_leak rung=0 do=unit.restart`) {
		t.Errorf("the log has %s", g.log.String())
	}
}

func TestWhatIsAgainstARepairIsSaidInItsOrder(t *testing.T) {
	g := newRig(t, leak)
	g.limits = []actuators.Limit{{Class: actuators.Repair, PerHour: 1, PerDay: 1}}
	g.start()
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Fatal(err)
	}
	// All of it at once, taken away from the first on.
	g.m.trusted = false
	maps.Copy(g.says, map[string]string{"off": "the file is there", "busy": "an update is under way", "holds": "held by anna", "sessions": "a user has a session"})
	for range 3 {
		g.m.boot()
		g.must("boot.began", nil)
	}
	g.m.boot()
	g.must("boot.began", nil)
	expect := func(sentinel error, words string) {
		t.Helper()
		rung := g.plan("mem_leak")["rung"].(float64)
		_, err := g.step("mem_leak", int(rung), app)
		g.refused(err, sentinel, words)
		if told := g.plan("mem_leak")["refused"].(string); !strings.Contains(told, words) {
			t.Errorf("the plan says %q, want %q", told, words)
		}
	}
	expect(actuators.ErrLocked, "repairs are switched off: the file is there")
	delete(g.says, "off")
	expect(actuators.ErrLocked, "safe mode: three boots in a row ended neither in order nor after ten minutes")
	g.must("safe.leave", nil)
	expect(actuators.ErrLocked, "an update is under way")
	delete(g.says, "busy")
	expect(actuators.ErrLocked, "held by anna")
	delete(g.says, "holds")
	expect(actuators.ErrLocked, "a user has a session")
	delete(g.says, "sessions")
	expect(actuators.ErrLocked, "the clock is not set")
	g.m.trusted = true
	expect(actuators.ErrLocked, "a repair of mem_leak is under way")
	g.end("mem_leak", 0, true)
	expect(actuators.ErrLimited, "the back-off after the last repair is not over")
	g.m.pass(61 * time.Minute)
	expect(actuators.ErrLimited, "the limit of the class repair is reached")
	if w := g.plan("mem_leak")["wait_seconds"].(float64); w < 22*3600 || w > 24*3600 {
		t.Errorf("the wait is %v s", w)
	}
	g.m.pass(24 * time.Hour)
	if _, err := g.step("mem_leak", 0, app); err != nil {
		t.Error(err)
	}
	g.is(len(g.did), 2, "deeds") // no undo: it helped
}

func TestTheLimitOfAFaultIsKeptAcrossBoots(t *testing.T) {
	g := newRig(t, strings.Replace(leak, "per_hour=4", "per_hour=2", 1))
	done := 0
	for range 60 {
		if p := g.plan("mem_leak"); p["refused"] == "" {
			rung := int(p["rung"].(float64))
			if rung > 0 { // it stays at the first by an hour of health
				g.m.pass(time.Hour)
				continue
			}
			if _, err := g.step("mem_leak", 0, app); err != nil {
				t.Fatal(err)
			}
			done++
			g.end("mem_leak", 0, true)
		}
		g.m.pass(time.Minute)
		g.m.boot()
		g.start()
	}
	h := g.must("repair.status", nil)["faults"].(map[string]any)["mem_leak"].(map[string]any)
	if done < 1 || h["deeds_hour"].(float64) > 2 || h["deeds_day"].(float64) != float64(done) {
		t.Errorf("%d done, %v", done, h)
	}
}

func TestADeedThatFailsIsCountedAndTold(t *testing.T) {
	g := newRig(t, leak)
	g.fail = errors.New("job failed")
	s, err := g.step("mem_leak", 0, app)
	if err != nil {
		t.Fatal(err)
	}
	g.is(s["failed"], "job failed", "the step")
	g.is(g.end("mem_leak", 0, false), "map[failed:job failed level:1 undone:false]", "the end")
	g.is(g.must("repair.status", nil)["faults"].(map[string]any)["mem_leak"].(map[string]any)["deeds_day"], 1, "deeds of the day")
}

// A unit that may not be restarted is no reason to restart the machine.
func TestARungThatCannotBeDoneLeadsToAPerson(t *testing.T) {
	g := newRig(t, leak, "fault='net_down'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\ndo='clean'\nargs={name='logs'}\n[[rung]]\nname='b'\ndo='ask'\n")
	_, err := g.step("mem_leak", 0, `{"unit":"sshd.service","n":1}`)
	g.refused(err, actuators.ErrInvalid, "is not among the choices; a person is asked next")
	g.is(g.plan("mem_leak")["name"], "human", "next")
	if _, err := g.step("mem_leak", 3, app); err != nil {
		t.Error(err)
	}
	g.end("mem_leak", 3, false)
	g.m.pass(2 * time.Hour)
	_, err = g.step("net_down", 0, "") // nothing may be cleaned here
	g.refused(err, actuators.ErrInvalid, "a person is asked next")
	g.is(g.plan("net_down")["do"], "ask", "next")
	h := g.must("repair.status", nil)["faults"].(map[string]any)
	g.is([]any{h["mem_leak"].(map[string]any)["deeds_day"], h["net_down"].(map[string]any)["deeds_day"], len(g.did)}, "[0 0 0]", "deeds")
}

func TestValuesThatDoNotFitAreRefusedBeforeAnythingIsCounted(t *testing.T) {
	g := newRig(t, strings.Replace(leak, "'ask'", "'safe.enter'", 1))
	for _, tt := range []struct{ values, words string }{
		{`{"unit":"sshd.service"}`, `"sshd.service" is not among the choices`},
		{`{}`, "there is no value {unit}"},
		{`{"unit":["app.service"]}`, "values: line 1 column 9: unit"},
		{`{"unit":"app.service"`, "values"},
		{`{"unit":"` + strings.Repeat("x", 300) + `"}`, "there is no value {unit}"},
		{strings.Repeat("x", 1025), "1025 bytes, at most 1024"},
	} {
		_, err := g.step("mem_leak", 0, tt.values)
		g.refused(err, actuators.ErrInvalid, tt.words)
	}
	_, err := g.ask("repair.step", actuators.Args{"fault": "mem_leak", "rung": 0.0, "values": app, "evidence": "no JSON"})
	g.refused(err, actuators.ErrInvalid, "evidence")
	_, err = g.step("mem_leak", 7, app)
	g.refused(err, actuators.ErrInvalid, "0 is next")
	_, err = g.step("nothing", 0, app)
	g.refused(err, actuators.ErrInvalid, "there is no playbook for nothing")
	_, err = g.step("Not-A-Fault", 0, app)
	g.refused(err, actuators.ErrInvalid, `"Not-A-Fault" is no fault`)
	g.is(len(g.did), 0, "deeds")
	if names, _ := g.disk.Dir("warden").List(); slices.Contains(names, "repairs") {
		t.Error("something was counted")
	}
}

func TestAPlaybookThatThisBoardCannotDoIsNotInForceAndTheOthersAre(t *testing.T) {
	with := func(fault, do string) string {
		return "fault='" + fault + "'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\n" + do + "\n"
	}
	g := newRig(t, leak, with("net_down", "do='interface.cycle'"), with("fd_leak", "do='unit.restart'\nargs={unit='ssh.service'}"),
		with("cpu_hog", "do='unit.restart'"), with("io_hog", "do='script'\nargs={name='x',n=10}"), with("dns_fail", "do='script'\nargs={name='x',verbose=true}"),
		with("disk_full", "do='clean'\nargs={name='x'}\nundo={do='script'}"), with("throttle", "do='ask'"), "fault=1")
	s := g.must("repair.status", nil)
	g.is(s["playbooks"], 2, "playbooks in force")
	for _, words := range []string{`p1.toml: not in force: rung 1, a: "interface.cycle": no such verb`, `p2.toml: not in force: rung 1, a: unit.restart: wrong arguments: unit: "ssh.service" is not among`,
		"p3.toml: not in force: rung 1, a: unit.restart: wrong arguments: unit is missing", "p4.toml: not in force: rung 1, a: script: wrong arguments: n: 10 is outside 1 to 9",
		`p5.toml: not in force: rung 1, a: script: wrong arguments: no argument "verbose"`, "p6.toml: not in force: rung 1, a: script: wrong arguments: name is missing", "p8.toml:1:7"} {
		if !strings.Contains(s["fault"].(string), words) {
			t.Errorf("%s\nis not in\n%s", words, s["fault"])
		}
	}
	_, err := g.step("net_down", 0, "")
	g.refused(err, actuators.ErrInvalid, "no playbook for net_down is in force")
	g.is(g.plan("throttle")["do"], "ask", "the others are")
	g.playbooks["p9.toml"] = &fstest.MapFile{Data: []byte(leak)}
	_, err = g.step("mem_leak", 0, app)
	g.refused(err, actuators.ErrInvalid, "p0.toml is for mem_leak, too: neither is in force")
}

func TestADamagedBookCountsAsUsedUp(t *testing.T) {
	for name, body := range map[string]string{"no seal": "{}", "too long": strings.Repeat("x", 40<<10), "nothing": ""} {
		g := newRig(t, leak)
		if err := g.disk.Files("warden").WriteFile("repairs", []byte(body)); err != nil {
			t.Fatal(err)
		}
		_, err := g.step("mem_leak", 0, app)
		g.refused(err, actuators.ErrLimited, "every limit counts as used up")
		for range 23 {
			g.m.pass(time.Hour)
			g.start()
			if p := g.plan("mem_leak"); p["refused"] == "" {
				t.Fatalf("%s: free after %v", name, g.m.true_)
			}
		}
		g.m.pass(61 * time.Minute)
		if _, err := g.step("mem_leak", 0, app); err != nil {
			t.Errorf("%s: after a day: %v", name, err)
		}
	}
}

func TestWhatCannotBeCountedIsNotDone(t *testing.T) {
	done := 0
	for skip := range 40 {
		g := newRig(t, leak)
		g.must("boot.began", nil)
		g.disk.Break(sim.Fault{Err: errors.New("it is broken"), Skip: skip, Times: 1})
		_, err := g.step("mem_leak", 0, app)
		broken := g.disk.Broken()
		g.disk.Repair()
		if len(g.did) > 0 {
			done++
			g.start()
			if n := g.must("repair.status", nil)["faults"].(map[string]any)["mem_leak"].(map[string]any)["deeds_day"]; n != 1.0 {
				t.Errorf("operation %d broke, the deed was done, and %v are counted", skip, n)
			}
		}
		if !broken {
			if err != nil || done == 0 {
				t.Errorf("nothing broke: %v", err)
			}
			return
		}
	}
	t.Error("every round was broken")
}

func TestTheBootLoopGuardOverTheVerbs(t *testing.T) {
	g := newRig(t, leak)
	for i, want := range []int{0, 1, 2} {
		g.m.boot()
		g.m.pass(30 * time.Second)
		g.start()
		r := g.must("boot.began", actuators.Args{"boot": "whatever run says"})
		g.is([]any{r["safe"], r["unclean"]}, []any{false, want}, "boot")
		if i == 0 {
			g.is(r["again_seconds"], 570, "boot.lasted is due")
		}
		g.must("boot.lasted", nil) // too early: the kernel's uptime counts
	}
	g.m.boot()
	r := g.must("boot.began", nil)
	g.is([]any{r["safe"], r["unclean"], r["again_seconds"]}, "[true 3 600]", "the fourth")
	g.is(g.must("repair.status", nil)["safe"].(map[string]any)["why"], "three boots in a row ended neither in order nor after ten minutes", "why")
	g.m.pass(10 * time.Minute)
	r = g.must("boot.lasted", nil)
	g.is([]any{r["safe"], r["unclean"], r["again_seconds"]}, "[true 0 3000]", "after ten minutes")
	g.m.pass(50 * time.Minute)
	g.is(g.must("boot.lasted", nil), "map[again_seconds:0 boot:boot-4 safe:false unclean:0]", "after an hour")
	for range 5 { // in order
		g.must("boot.ended", nil)
		g.m.boot()
		g.start()
		g.is(g.must("boot.began", nil)["unclean"], 0, "after an end in order")
	}
	g.m.boot() // a machine that shuts down starts no warden any more: it is told of at the next start
	g.is(g.must("boot.began", actuators.Args{"ended": "boot-9"})["unclean"], 0, "after an end in order that was told later")
	g.must("boot.lasted", actuators.Args{"ended": "boot-10"}) // by an agent that was started again in the same boot
	g.m.boot()
	g.is(g.must("boot.lasted", actuators.Args{"ended": "boot-9"})["unclean"], 1, "after another")
}

func TestTheVerbsAreDescribedWithoutAnythingBehindThem(t *testing.T) {
	var names []string
	for _, v := range repair.Described() {
		names = append(names, v.Name)
		if v.Class != "" || v.Aside || v.Destructive {
			t.Errorf("%s: it is counted by itself, and waits its turn", v.Name)
		}
	}
	if want := "repair.plan repair.step repair.end repair.status boot.began boot.lasted boot.ended safe.leave"; strings.Join(names, " ") != want {
		t.Errorf("%v", names)
	}
	if _, err := repair.New(repair.Options{}); err == nil {
		t.Error("repairs without anything")
	}
}
