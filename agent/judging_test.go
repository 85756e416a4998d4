package agent_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/remediate/forest"
)

// hogs is a model that calls a processor above 50 % a hog. It wants a row a second.
func hogs(t *testing.T) []byte {
	d := forest.Draft{Golden: []forest.Golden{{Row: []float32{90}, Shares: []float64{1, 0}}}}
	d.Classes, d.Normal, d.Metrics, d.Window, d.Step = []string{"cpu_hog", "normal"}, 1, []string{"cpuUtilization"}, 4, time.Second
	d.Features = []forest.Feature{{Median: 10, High: 100}}
	d.Temperature, d.Sure, d.Margin = 1, 0.5, 0.5
	d.Trees = []forest.Tree{{{Threshold: 50, Left: 1, Right: 2}, {Shares: []float64{0, 1}}, {Shares: []float64{1, 0}}}}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAModelNamesAFaultOnTheBrokerAndIsReloaded(t *testing.T) {
	live(t, func(r *rig) {
		text, unreadable := "", error(nil)
		busy := r.ruled(&text, &unreadable)
		r.parts.Rules = nil
		model, missing := hogs(t), error(nil)
		r.parts.Model = func() ([]byte, error) { return model, missing }
		r.start()
		busy.Store(95)
		r.pass(4 * time.Second)
		if all := r.events("diagnosis"); len(all) != 0 {
			t.Errorf("too early: %v", all)
		}
		r.pass(56 * time.Second)
		all := r.events("diagnosis")
		if len(all) != 1 || all[0]["fault"] != "cpu_hog" || all[0]["by"] != "forest" || all[0]["reasons"] == nil {
			t.Errorf("told %v", all)
		}
		if faults := fmt.Sprint(r.at("diagnosis", "faults")); faults != "[cpu_hog]" || len(r.at("diagnosis", "model").(string)) != 12 {
			t.Errorf("reported %v", r.at("diagnosis"))
		}
		if s := r.status().Rules; s.Model == nil || s.Model.Class != "cpu_hog" || len(s.Diagnoses) != 1 {
			t.Errorf("status %+v", s)
		}
		missing = errors.New("read model: input/output error")
		if err := r.agent.ReloadRules(context.Background()); err == nil {
			t.Error("a model that cannot be read was taken")
		}
		r.pass(10 * time.Second)
		if r.at("diagnosis", "error") == nil || r.at("diagnosis", "model") == nil {
			t.Errorf("reported %v", r.at("diagnosis"))
		}
		model, missing = nil, nil
		if err := r.agent.ReloadRules(context.Background()); err != nil {
			t.Error(err)
		}
		r.pass(10 * time.Second)
		if r.at("diagnosis", "error") != nil || r.at("diagnosis", "model") != nil || fmt.Sprint(r.at("diagnosis", "faults")) != "[]" {
			t.Errorf("reported %v", r.at("diagnosis"))
		}
	})
}

// The broker gets readings at the source's own period, whatever the model wants; a digest is of all of them.
func TestWhatTheModelReadsMoreOftenIsNotSentMoreOften(t *testing.T) {
	for _, tt := range []struct {
		name         string
		model        bool
		digest       time.Duration
		reads, sends int
	}{
		{"no model", false, 0, 30, 30},
		{"a model", true, 0, 300, 30},
		{"a model and digests", true, time.Minute, 300, 4},
	} {
		live(t, func(r *rig) {
			text, unreadable := "", error(nil)
			busy := r.ruled(&text, &unreadable)
			busy.Store(20)
			read := 0
			inner := r.parts.Sources[0]
			r.parts.Sources[0] = source{"cpu", func(ctx context.Context, emit collectors.Emit) error { read++; return inner.Collect(ctx, emit) }}
			r.parts.Settings.Digest = tt.digest
			if model := hogs(t); tt.model {
				r.parts.Model = func() ([]byte, error) { return model, nil }
			}
			r.start()
			r.pass(5*time.Minute - time.Second)
			sent := 0
			for _, m := range r.heard("telemetry") {
				for _, s := range m["samples"].([]any) {
					if s.(map[string]any)["source"] == "cpu" {
						sent++
					}
				}
			}
			if read != tt.reads || sent != tt.sends {
				t.Errorf("%s: read %d times, want %d; sent %d, want %d", tt.name, read, tt.reads, sent, tt.sends)
			}
		})
	}
}
