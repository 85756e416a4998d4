package remediate_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/collectors"
	"holdfast/remediate"
)

// A rig is rules with a clock that is set by hand.
type rig struct {
	*remediate.Rules
	t       *testing.T
	now     time.Time
	trusted bool
	files   board.Files
	limits  map[string]float64
	told    []map[string]any // events of alerts and rules, as they would be sent
	asks    []remediate.Ask
	hold    string
	locals  []string
	stale   time.Duration
}

func (r *rig) Now() time.Time { return r.now }
func (r *rig) Trusted() bool  { return r.trusted }
func (r *rig) Timer(time.Duration) (<-chan time.Time, func()) {
	r.t.Fatal("rules wait for nothing themselves")
	return nil, nil
}

func newRig(t *testing.T, files ...remediate.File) *rig {
	t.Helper()
	r := &rig{t: t, now: noon, trusted: true, files: sim.NewDisk(1).Files("state"), limits: map[string]float64{"cpu": 90, "memory": 90, "network": 90}}
	r.start(files...)
	return r
}

// start has the agent begin, with what is on the disk.
func (r *rig) start(files ...remediate.File) {
	r.t.Helper()
	r.begin()
	if err := r.Load(files, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) begin() {
	r.Rules = remediate.New(remediate.Options{Device: "pump", Clock: r, Files: r.files, Log: slog.New(slog.DiscardHandler),
		Ask:   func(a remediate.Ask) { r.asks = append(r.asks, a) },
		Hold:  func() string { return r.hold },
		Stale: func(string) time.Duration { return max(r.stale, 30*time.Second) },
		Local: func(do string) error { r.locals = append(r.locals, do); return nil },
		Limit: func(name string) (float64, bool) { n, ok := r.limits[name]; return n, ok },
		Event: func(kind string, body map[string]any) {
			text, err := json.Marshal(body)
			if err != nil {
				r.t.Errorf("%s cannot be sent: %v", kind, err)
			}
			m := map[string]any{}
			_ = json.Unmarshal(text, &m)
			m["kind"] = kind
			r.told = append(r.told, m)
		}})
}

// wait lets time pass, with ticks when they are due.
func (r *rig) wait(d time.Duration) {
	end := r.now.Add(d)
	for {
		at := r.Next()
		if at.IsZero() || at.After(end) {
			break
		}
		if at.After(r.now) {
			r.now = at
		}
		r.Tick()
	}
	r.now = end
	r.Tick()
}

// take gives the rules a round of samples.
func (r *rig) take(samples ...collectors.Sample) {
	for _, s := range samples {
		s.Time = r.now
		r.Sample(&s)
	}
	r.Round()
}

// alerts are the events of alerts since the last call: phase rule key.
func (r *rig) alerts() []string {
	var out []string
	for _, m := range r.told {
		if m["kind"] == "alert" {
			words := []string{fmt.Sprint(m["phase"])}
			if m["rule"] != nil {
				words = append(words, fmt.Sprint(m["rule"]))
			}
			if key, _ := m["key"].(map[string]any); key != nil {
				for _, name := range []string{"source", "sensor", "device", "mount", "interface", "unit"} {
					if key[name] != nil {
						words = append(words, fmt.Sprint(key[name]))
					}
				}
			}
			out = append(out, strings.Join(words, " "))
		}
	}
	r.told = nil
	return out
}

func (r *rig) want(what string, want ...string) {
	r.t.Helper()
	if got := r.alerts(); !slices.Equal(got, want) {
		r.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// starter are the rules that the package ships.
func starter(t testing.TB) (files []remediate.File) {
	t.Helper()
	paths, err := filepath.Glob("../packaging/rules.d/*.epl")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, remediate.File{Name: filepath.Base(p), Text: string(text)})
	}
	return files
}
