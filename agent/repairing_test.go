package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/agent"
	"holdfast/remediate"
	"holdfast/remediate/ladder"
)

const hogBook = `fault = "cpu_hog"
help = "a program takes the processor"
symptom = "select * from DeviceStatus(cpuUtilization > 80)"
windows = 2
[[rung]]
name = "restart"
do = "unit.restart"
args = { unit = "app.service" }
[[rung]]
name = "back"
do = "config.rollback"
`

const hogRules = `@name('hog') @repair('cpu_hog') select cpuUtilization from DeviceStatus(cpuUtilization > 80); @name('calm') @clear('hog') select * from DeviceStatus(cpuUtilization < 50)`

// A keeper stands in for the warden: it answers what it is set to, and notes what it was asked, and what was on flash then.
type keeper struct {
	r      *rig
	asked  []string
	rung   int
	safe   bool
	down   atomic.Bool
	deed   func() error
	before string // the last event of kind "repair" that was at the broker when the deed began
}

func (k *keeper) ask(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
	words := verb
	if ended, ok := args["ended"]; ok {
		words += fmt.Sprint(" ", ended)
	}
	if helped, ok := args["helped"]; ok {
		words += fmt.Sprint(" ", helped)
	}
	k.asked = append(k.asked, words)
	if k.down.Load() {
		return nil, errors.New("nobody answers")
	}
	do := []string{"unit.restart", "config.rollback"}[k.rung]
	switch verb {
	case "repair.plan":
		return actuators.Result{"armed": true, "rung": float64(k.rung), "name": "it", "do": do, "timeout_seconds": 5.0, "settle_seconds": 1.0}, nil
	case "repair.step":
		time.Sleep(time.Second) // of the bubble: what is on flash is at the broker then
		if all := k.r.events("repair"); len(all) > 0 {
			k.before = fmt.Sprint(all[len(all)-1]["phase"])
		}
		if k.deed != nil {
			if err := k.deed(); err != nil {
				return nil, err
			}
		}
		return actuators.Result{"do": do, "local": do == "config.rollback"}, nil
	case "repair.end":
		if args["helped"] == false {
			k.rung = min(k.rung+1, 1)
		}
		return actuators.Result{}, nil
	}
	return actuators.Result{"boot": "b1", "safe": k.safe, "why": "three unclean boots in ten minutes", "again_seconds": 600.0}, nil
}

// kept gives a rig a keeper, rules, a playbook, and a processor whose load is set.
func (r *rig) kept() (k *keeper, busy interface{ Store(int64) }) {
	text, unreadable := hogRules, error(nil)
	k = &keeper{r: r}
	b := r.ruled(&text, &unreadable)
	p, err := ladder.Parse("hog.toml", []byte(hogBook))
	if err != nil {
		r.t.Fatal(err)
	}
	r.parts.Repairs = &agent.Repairs{Ask: k.ask, Playbooks: func() (remediate.Playbooks, error) { return remediate.Playbooks{"cpu_hog": p}, nil }}
	r.parts.Settings.Period = time.Second
	return k, b
}

func (r *rig) repairs() (all []string) {
	for _, e := range r.events("repair") {
		all = append(all, fmt.Sprint(e["phase"]))
	}
	return all
}

func TestAFaultIsRepairedAndEveryStepIsToldBeforeItIsTaken(t *testing.T) {
	live(t, func(r *rig) {
		k, busy := r.kept()
		k.deed = func() error { busy.Store(10); return nil }
		r.start()
		busy.Store(95)
		r.pass(10 * time.Second)
		if got := strings.Join(k.asked, ", "); got != "boot.began, repair.plan, repair.step, repair.end true" {
			t.Errorf("asked %s", got)
		}
		if k.before != "begun" {
			t.Errorf("before the deed the broker had heard %q", k.before)
		}
		if got := r.repairs(); !slices.Equal(got, []string{"begun", "done", "helped"}) {
			t.Errorf("told %v", got)
		}
		if r.at("repairs", "playbooks") != 1.0 || r.at("repairs", "hold") != false {
			t.Errorf("reported %v", r.at("repairs"))
		}
		r.stop()
		if last := k.asked[len(k.asked)-1]; last != "boot.ended" {
			t.Errorf("at the end %s", last)
		}
	})
}

func TestTheDesiredStateHoldsRepairs(t *testing.T) {
	live(t, func(r *rig) {
		k, busy := r.kept()
		r.start()
		r.desire(1, `{"repairs":{"hold":true,"arm":true}}`)
		busy.Store(95)
		r.pass(time.Minute)
		if slices.Contains(k.asked, "repair.plan") || !slices.Equal(r.repairs(), []string{"refused"}) {
			t.Errorf("asked %v, told %v", k.asked, r.repairs())
		}
		if why := r.refused("repairs.arm"); !strings.Contains(why, "no such setting") {
			t.Errorf("refused: %s", why)
		}
		r.desire(2, `{}`)
		r.pass(5 * time.Second)
		if !slices.Contains(k.asked, "repair.step") {
			t.Errorf("asked %v", k.asked)
		}
	})
}

func TestAnActiveOutputHoldsRepairs(t *testing.T) {
	for _, tt := range []struct {
		output string
		on     bool
		want   string
	}{{"valve", false, "is not known"}, {"pump", true, "is active"}, {"pump", false, ""}} {
		live(t, func(r *rig) {
			k, busy := r.kept()
			r.parts.Repairs.Interlocked = []string{tt.output}
			if tt.on {
				r.parts.Settings.Relays = map[string]bool{"pump": true}
			}
			r.start()
			busy.Store(95)
			r.pass(5 * time.Second)
			said := ""
			for _, e := range r.events("repair") {
				if e["phase"] == "refused" {
					said = fmt.Sprint(e["reason"])
				}
			}
			if done := slices.Contains(k.asked, "repair.step"); done != (tt.want == "") || !strings.Contains(said, tt.want) {
				t.Errorf("%+v: done %v, refused %q", tt, done, said)
			}
		})
	}
}

func TestARepairGoesBackToTheDocumentBefore(t *testing.T) {
	live(t, func(r *rig) {
		k, busy := r.kept()
		k.rung = 1
		r.start()
		r.desire(1, `{"cpu":70}`)
		r.pass(5 * time.Minute) // good
		r.desire(2, `{"cpu":60}`)
		r.pass(5 * time.Minute)
		if r.at("limits", "cpu") != 60.0 {
			t.Fatalf("limits %v", r.at("limits"))
		}
		busy.Store(95)
		r.pass(30 * time.Second)
		if r.at("limits", "cpu") != 70.0 {
			t.Errorf("behind the repair: limits %v", r.at("limits"))
		}
		if !strings.Contains(r.refused(""), "by a repair") {
			t.Errorf("refused %q", r.refused(""))
		}
		r.pass(5 * time.Minute) // the ladder is at its top, and there is nothing before the first document
		if r.at("limits", "cpu") != 70.0 {
			t.Errorf("again: limits %v", r.at("limits"))
		}
		r.stop()
		r.start()
		r.desire(2, `{"cpu":60}`) // retained at the broker: it is not tried again
		r.pass(time.Minute)
		if r.at("limits", "cpu") != 70.0 {
			t.Errorf("after a restart: limits %v", r.at("limits"))
		}
	})
}

func TestInSafeModeThereAreTelemetryAndUpdatesOnly(t *testing.T) {
	live(t, func(r *rig) {
		k, busy := r.kept()
		k.safe = true
		r.parts.Settings.Relays = map[string]bool{"pump": true}
		r.parts.Allow = append(r.parts.Allow, "safe.leave")
		r.parts.Verbs = []actuators.Verb{{Name: "safe.leave", Do: func(ctx context.Context, _ actuators.Args) (actuators.Result, error) {
			k.safe = false
			return k.ask(ctx, "safe.leave", nil)
		}}}
		r.start()
		busy.Store(95)
		r.pass(time.Minute)
		if err := r.agent.Restore(r.t.Context(), nil); err != nil { // who owns the lines has started anew
			t.Error(err)
		}
		if len(r.alerts()) != 0 || len(r.repairs()) != 0 || slices.Contains(k.asked, "repair.plan") {
			t.Errorf("alerts %v, repairs %v, asked %v", r.alerts(), r.repairs(), k.asked)
		}
		if r.pump.Level() {
			t.Error("the pump runs")
		}
		if r.at("repairs", "safe_mode") != true || !strings.Contains(r.status().Problems["safe mode"], "three unclean boots") {
			t.Errorf("reported %v, problems %v", r.at("repairs"), r.status().Problems)
		}
		if len(r.heard("telemetry")) < 10 {
			t.Error("no telemetry")
		}
		r.say("command", false, `{"id":"c1","name":"restart","issuer":"a","seq":1,"args":{"unit":"x"}}`)
		r.say("command", false, `{"id":"c2","name":"ping"}`)
		r.pass(time.Second)
		if got := r.result("c1"); len(got) != 1 || !strings.Contains(fmt.Sprint(got[0]["error"]), "safe mode") || len(r.deeds) != 0 {
			t.Errorf("restart: %v", got)
		}
		if got := r.result("c2"); len(got) != 1 || got[0]["ok"] != true {
			t.Errorf("ping: %v", got)
		}
		r.say("command", false, `{"id":"c3","name":"safe.leave"}`)
		r.pass(5 * time.Second)
		if high := r.pump.Level(); !high || !slices.Contains(k.asked, "repair.step") || r.at("repairs", "safe_mode") != false {
			t.Errorf("left: pump %v, asked %v, reported %v", high, k.asked, r.at("repairs"))
		}
		var phases []string
		for _, e := range r.events("safe_mode") {
			phases = append(phases, fmt.Sprint(e["phase"]))
		}
		if fmt.Sprint(phases) != "[entered left]" {
			t.Errorf("told %v", phases)
		}
	})
}

func TestWithoutAWardenOutputsFollowAndItIsAskedAgain(t *testing.T) {
	live(t, func(r *rig) {
		k, busy := r.kept()
		k.down.Store(true)
		r.parts.Settings.Relays = map[string]bool{"pump": true}
		r.start()
		busy.Store(95)
		r.pass(5 * time.Second)
		if !r.pump.Level() {
			t.Error("the pump does not run")
		}
		if got := r.repairs(); !slices.Equal(got, []string{"refused"}) {
			t.Errorf("told %v", got)
		}
		k.down.Store(false)
		r.pass(time.Minute)
		if !slices.Contains(k.asked, "boot.lasted") || !slices.Contains(k.asked, "repair.step") {
			t.Errorf("asked %v", k.asked)
		}
	})
}

func TestARungEntersSafeModeOnlyWhereItWasDone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		result actuators.Result
		safe   bool
	}{
		{"done", actuators.Result{"do": "safe.enter", "result": map[string]any{"safe": true}}, true},
		{"not armed any more", actuators.Result{"do": "safe.enter", "would": true}, false},
		{"not written", actuators.Result{"do": "safe.enter", "failed": "write boots: no space left"}, false},
	} {
		live(t, func(r *rig) {
			k, busy := r.kept()
			r.parts.Repairs.Ask = func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
				if verb == "repair.step" {
					return tt.result, nil
				}
				return k.ask(ctx, verb, args)
			}
			r.start()
			busy.Store(95)
			r.pass(10 * time.Second)
			if got := r.at("repairs", "safe_mode"); got != tt.safe {
				t.Errorf("%s: safe mode %v", tt.name, got)
			}
		})
	}
}

func TestAnEndInOrderThatNobodyHeardIsSaidAtTheNextStart(t *testing.T) {
	live(t, func(r *rig) {
		k, _ := r.kept()
		for _, tt := range []struct {
			down bool
			want string
		}{{true, "boot.began, boot.lasted, boot.ended"}, {false, "boot.began b1, boot.lasted, boot.ended"}, {false, "boot.began, boot.lasted, boot.ended"}} {
			k.asked = nil
			r.start()
			r.pass(11 * time.Minute)
			k.down.Store(tt.down)
			r.stop()
			k.down.Store(false)
			if got := strings.Join(k.asked, ", "); got != tt.want {
				t.Errorf("asked %s, want %s", got, tt.want)
			}
		}
	})
}
