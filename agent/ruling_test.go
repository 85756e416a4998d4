package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate"
)

const busyRules = `@name('busy') @severity('critical') @remind(1 min) select cpuUtilization from DeviceStatus(cpuUtilization > limit('cpu'));
@name('calm') @clear('busy') select cpuUtilization from DeviceStatus(cpuUtilization < 50);
@name('crashed') select reason from Crash; @name('away') select reason from LinkState(up = false);
@name('back') select down_seconds from LinkState(up = true, down_seconds > 0.1)`

// ruled gives a rig rules, and a processor whose load is set.
func (r *rig) ruled(text *string, unreadable *error) (busy *atomic.Int64) {
	busy = new(atomic.Int64)
	r.parts.Rules = func() ([]remediate.File, error) {
		return []remediate.File{{Name: "rules.epl", Text: *text}}, *unreadable
	}
	r.parts.Sources = []collectors.Source{source{"cpu", func(_ context.Context, emit collectors.Emit) error {
		s := collectors.Sample{Source: "cpu"}
		emit(*s.Num("busy_ratio", float64(busy.Load())/100))
		return nil
	}}}
	return busy
}

// alerts are the alerts that were heard: phase and rule.
func (r *rig) alerts() (all []string) {
	for _, e := range r.events("alert") {
		all = append(all, fmt.Sprint(e["phase"], " ", e["rule"]))
	}
	return all
}

func TestAnAlertIsRaisedRemindedOfAndClearedOnTheBroker(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := busyRules, error(nil)
		busy := r.ruled(&text, &unreadable)
		r.start()
		r.desire(1, `{"cpu":80}`)
		busy.Store(85)
		r.pass(time.Minute)
		if names := r.at("alerts", "names"); fmt.Sprint(names) != "[busy]" || r.at("alerts", "open") != 1.0 || r.at("rules", "count") != 5.0 {
			t.Errorf("reported %v, %v", r.at("alerts"), r.at("rules"))
		}
		if s := r.status().Rules; s == nil || len(s.Open) != 1 || s.Open[0].Rule != "busy" || s.Hash != r.at("rules", "hash") {
			t.Errorf("status = %+v", s)
		}
		r.pass(30 * time.Second)
		r.stop()
		r.start() // the alert is open, and not raised again
		r.pass(30 * time.Second)
		busy.Store(10)
		r.pass(20 * time.Second)
		if got := r.alerts(); !slices.Equal(got, []string{"raised busy", "reminded busy", "cleared busy"}) {
			t.Errorf("alerts: %q", got)
		}
		if e := r.events("alert")[2]; e["by"] != "calm" || e["severity"] != "critical" || e["since"] == nil {
			t.Errorf("cleared: %v", e)
		}
		if r.at("alerts", "open") != 0.0 {
			t.Errorf("reported %v", r.at("alerts"))
		}
		r.whole()
	})
}

// The power goes right after an alert: it is on flash, and told when the board is back.
func TestAnAlertIsToldAlthoughThePowerGoes(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := busyRules, error(nil)
		busy := r.ruled(&text, &unreadable)
		busy.Store(95)
		r.broker.Down()
		r.start()
		r.pass(time.Second)
		r.crash()
		r.broker.Up()
		busy.Store(60)
		r.start()
		r.pass(time.Minute)
		if got := r.alerts(); !slices.Contains(got, "raised busy") {
			t.Errorf("alerts: %q", got)
		}
		r.whole()
	})
}

func TestRulesAreReloadedAndWhatIsWrongIsReported(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := busyRules, error(nil)
		busy := r.ruled(&text, &unreadable)
		r.start()
		hash := r.at("rules", "hash")
		text = "select cpu from\nDeviceStatus"
		if err := r.agent.ReloadRules(context.Background()); err == nil {
			t.Error("a bad file is no error")
		}
		r.pass(10 * time.Second)
		if reason := r.at("rules", "error"); reason == nil || r.at("rules", "hash") != hash {
			t.Errorf("reported %v", r.at("rules"))
		}
		if e := r.events("rules"); len(e) != 1 || e[0]["phase"] != "refused" {
			t.Errorf("events %v", e)
		}
		if r.status().Problems["rules"] == "" {
			t.Errorf("problems = %v", r.status().Problems)
		}
		busy.Store(95)
		r.pass(10 * time.Second)
		if got := r.alerts(); !slices.Equal(got, []string{"raised busy"}) {
			t.Errorf("alerts of the rules in force: %q", got)
		}
		text, unreadable = busyRules, errors.New("rules.d: no such directory")
		if err := r.agent.ReloadRules(context.Background()); !errors.Is(err, unreadable) {
			t.Errorf("unreadable: %v", err)
		}
		unreadable = nil
		if err := r.agent.ReloadRules(context.Background()); err != nil {
			t.Error(err)
		}
		r.pass(10 * time.Second)
		if r.at("rules", "error") != nil {
			t.Errorf("reported %v", r.at("rules"))
		}
	})
}

func TestCrashesAndTheLinkAreEvents(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := busyRules, error(nil)
		r.ruled(&text, &unreadable)
		r.parts.Crashes = func(context.Context) ([]board.Crash, error) { return []board.Crash{{ID: "x", Reason: "Panic"}}, nil }
		r.start()
		r.pass(time.Second)
		r.broker.Cut(device)
		r.pass(time.Minute)
		got := r.alerts()
		slices.Sort(got)
		if !slices.Equal(got, []string{"raised away", "raised back", "raised crashed"}) {
			t.Errorf("alerts: %q", got)
		}
	})
}

func TestWhatIsOpenIsWrittenAtTheEnd(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := busyRules, error(nil)
		busy := r.ruled(&text, &unreadable)
		r.parts.Settings.Period = time.Second
		busy.Store(95)
		r.start()
		r.pass(time.Second)
		busy.Store(10)
		r.pass(2 * time.Second)
		r.stop()
		r.start()
		if s := r.status().Rules; len(s.Open) != 0 {
			t.Errorf("open = %+v", s.Open)
		}
		if got := r.alerts(); !slices.Equal(got, []string{"raised busy", "cleared busy"}) {
			t.Errorf("alerts: %q", got)
		}
	})
}
