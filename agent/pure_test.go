package agent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/shadow"
	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/board/strict"
	"holdfast/collectors"
)

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fuzzAgent is an agent that does not run.
func fuzzAgent(t testing.TB) *agent.Agent {
	disk, dialect := sim.NewDisk(1), link.Plain{Device: device}
	a, err := agent.New(agent.Parts{Dialect: dialect, Conn: linktest.NewBroker().Conn(dialect.Session()), Allow: []string{"ping", "sample"},
		Board: &board.Board{Clock: &bubble{}, Files: disk.Files("state"), Logs: disk.Dir("spool")},
		Log:   slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var catalogue = agent.Catalogue{Sources: []string{"cpu", "memory"}, Relays: []string{"pump"}}

func tree(t testing.TB, text string) map[string]any {
	v, err := strict.Tree([]byte(text), strict.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func TestResolve(t *testing.T) {
	base := agent.Settings{Period: 10 * time.Second, LogLevel: slog.LevelInfo, Labels: map[string]string{"site": "south"}}
	for _, tt := range []struct {
		name, desired string
		refused       string // path=part of the reason, or nothing
		holds         func(s agent.Settings) bool
	}{
		{"nothing", `{}`, "", func(s agent.Settings) bool { return s.Period == 10*time.Second && s.Labels["site"] == "south" }},
		{"seconds", `{"period":30}`, "", func(s agent.Settings) bool { return s.Period == 30*time.Second }},
		{"a fraction", `{"period":1.5}`, "", func(s agent.Settings) bool { return s.Period == 1500*time.Millisecond }},
		{"a day", `{"period":"24h"}`, "", func(s agent.Settings) bool { return s.Period == 24*time.Hour }},
		{"too fast", `{"period":"999ms"}`, "period=want 1s to 24h", func(s agent.Settings) bool { return s.Period == 10*time.Second }},
		{"too slow", `{"period":86401}`, "period=want 1s to 24h", nil},
		{"huge", `{"period":1e300}`, "period=want 1s to 24h", nil},
		{"negative", `{"digest":-1}`, "digest=want 0s to 24h", nil},
		{"no duration", `{"period":"fast"}`, "period=want a duration", nil},
		{"digest off", `{"digest":0}`, "", func(s agent.Settings) bool { return s.Digest == 0 }},
		{"null is not there", `{"period":null,"log":{"level":null}}`, "", func(s agent.Settings) bool { return s.Period == 10*time.Second }},
		{"percent", `{"cpu":100,"memory":0,"network":0.5}`, "", func(s agent.Settings) bool {
			return s.Thresholds == agent.Thresholds{CPU: 100, Memory: 0, Network: 0.5}
		}},
		{"over", `{"cpu":101}`, "cpu=0 to 100", func(s agent.Settings) bool { return s.Thresholds.CPU == 0 }},
		{"text", `{"memory":"40"}`, "memory=not the text", nil},
		{"typo", `{"perod":"5s"}`, `perod=did you mean "period"?`, nil},
		{"empty key", `{"":1}`, `\e=no such setting`, nil},
		{"collector", `{"collectors":{"cpu":{"enabled":false,"period":"5s","digest":"1m","deadband":0.1}}}`, "", func(s agent.Settings) bool {
			c := s.Sources["cpu"]
			return !*c.Enabled && *c.Period == 5*time.Second && *c.Digest == time.Minute && *c.Deadband == 0.1
		}},
		{"half of a collector", `{"collectors":{"cpu":{"deadband":2,"period":"5s"}}}`, "collectors.cpu.deadband=0 to 1",
			func(s agent.Settings) bool { return *s.Sources["cpu"].Period == 5*time.Second }},
		{"no collector", `{"collectors":{"cpus":{}}}`, `collectors.cpus=did you mean "cpu"?`, nil},
		{"collectors text", `{"collectors":"all"}`, "collectors=want an object", nil},
		{"level", `{"log":{"level":"warn"}}`, "", func(s agent.Settings) bool { return s.LogLevel == slog.LevelWarn }},
		{"level of another kind", `{"log":{"level":"INFO+2"}}`, "log.level=want debug", nil},
		{"relay", `{"relays":{"pump":true}}`, "", func(s agent.Settings) bool { return s.Relays["pump"] }},
		{"no relay", `{"relays":{"fan":true}}`, "relays.fan=no such output", func(s agent.Settings) bool { return len(s.Relays) == 0 }},
		{"relay by number", `{"relays":{"pump":1}}`, "relays.pump=true or false", nil},
		{"units", `{"units":{"watch":["ssh.service","a@b.timer"]}}`, "", func(s agent.Settings) bool { return len(s.Watch) == 2 }},
		{"no unit", `{"units":{"watch":["ssh"]}}`, "units.watch=is not a unit", func(s agent.Settings) bool { return len(s.Watch) == 0 }},
		{"unit with a path", `{"units":{"watch":["../x.service"]}}`, "units.watch=is not a unit", nil},
		{"label", `{"labels":{"a.b":"c"}}`, "", func(s agent.Settings) bool { return s.Labels["a.b"] == "c" && s.Labels["site"] == "south" }},
		{"label of spaces", `{"labels":{"a b":"c"}}`, "labels.a b=is not a name", nil},
		{"long label", `{"labels":{"a":"` + strings.Repeat("x", 257) + `"}}`, "labels.a=at most 256", nil},
	} {
		s, refused := agent.Resolve(base, tree(t, tt.desired), catalogue)
		path, reason, wants := strings.Cut(tt.refused, "=")
		switch {
		case !wants && len(refused) > 0:
			t.Errorf("%s: refused %v", tt.name, refused)
		case wants && (len(refused) != 1 || !strings.Contains(refused[path], reason)):
			t.Errorf("%s: refused %v, want %s", tt.name, refused, tt.refused)
		case tt.holds != nil && !tt.holds(s):
			t.Errorf("%s: %+v", tt.name, s)
		}
		if base.Labels["a.b"] != "" || base.Relays != nil {
			t.Fatalf("%s: the base was changed", tt.name)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{`{"period":"5s","cpu":1}`, `{"collectors":{"cpu":{"enabled":true,"digest":5}}}`, `{"labels":{"a.b\\":"c","":""}}`,
		`{"units":{"watch":["a.service",1]},"relays":{"pump":true}}`, `{"":{"":[null]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := strict.Tree(raw, strict.Limits{})
		desired, ok := v.(map[string]any)
		if err != nil || !ok {
			return
		}
		base := agent.Settings{Period: time.Second}
		s, refused := agent.Resolve(base, desired, catalogue)
		if s.Period < time.Second || s.Period > 24*time.Hour || s.Digest < 0 || len(s.Watch) > 32 || len(s.Labels) > 32 {
			t.Fatalf("%s gives %+v", raw, s)
		}
		// What is taken is all that is not refused: without the refused paths the document passes, and does the same.
		rest := desired
		for path := range refused {
			rest = shadow.Apply(rest, shadow.Change{Path: path, Removed: true})
		}
		again, still := agent.Resolve(base, rest, catalogue)
		if len(still) > 0 || mustJSON(t, again.Tree()) != mustJSON(t, s.Tree()) {
			t.Fatalf("%s: refused %v, and then %v", raw, refused, still)
		}
	})
}

func TestVerdict(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, tt := range []struct {
		name        string
		since, down time.Time
		commit      bool
		back        bool
	}{
		{"nothing on trial", time.Time{}, ago(time.Hour), false, false},
		{"young", ago(time.Minute), time.Time{}, false, false},
		{"held", ago(2 * time.Minute), time.Time{}, true, false},
		{"old, the link just down", ago(time.Hour), ago(time.Minute), false, false},
		{"the link away for long", ago(6 * time.Minute), ago(5 * time.Minute), false, true},
		{"the link away since before", ago(time.Minute), ago(time.Hour), false, false},
	} {
		commit, back := agent.Verdict(tt.since, tt.down, now, 2*time.Minute, 5*time.Minute)
		if commit != tt.commit || (back != "") != tt.back {
			t.Errorf("%s: commit %v, roll back %q", tt.name, commit, back)
		}
	}
}

func TestDesiredSurvivesAPowerCutAtAnyMoment(t *testing.T) {
	disk := sim.NewDisk(5)
	d, _, err := agent.OpenDesired(disk.Files("state"))
	if err != nil {
		t.Fatal(err)
	}
	least, states := int64(0), 0
	disk.Watch(func() {
		for left := range disk.CrashStates() {
			states++
			l, _, err := agent.OpenDesired(left.Files("state"))
			if v := l.InForce().Version; err != nil || v < least || v > least+1 {
				t.Fatalf("after a cut: version %d, want %d or the next; %v", v, least, err)
			}
		}
	})
	for v := range int64(6) {
		doc := shadow.Document{Epoch: "e", Version: v + 1, State: map[string]any{"labels": map[string]any{"a": strings.Repeat("x", 2000)}}}
		if !d.Take(doc) || d.Try(doc) != nil {
			t.Fatal(v)
		}
		least = v + 1
		if err := d.Commit(); err != nil || d.Take(doc) {
			t.Fatal(err)
		}
	}
	if states < 100 {
		t.Errorf("only %d states", states)
	}
}

func sample(at time.Time, fields ...any) collectors.Sample {
	s := collectors.Sample{Source: "s", Time: at}
	for i := 0; i < len(fields); i += 2 {
		switch v := fields[i+1].(type) {
		case float64:
			s.Num(fields[i].(string), v)
		case string:
			s.Str(fields[i].(string), v)
		case bool:
			s.Fields = append(s.Fields, collectors.Field{Name: fields[i].(string), Value: collectors.Bool(v)})
		}
	}
	return s
}

func number(t *testing.T, s collectors.Sample, name string) float64 {
	t.Helper()
	v, ok := s.Field(name)
	if !ok {
		t.Fatalf("no %s in %v", name, s.Fields)
	}
	n, _ := v.Number()
	return n
}

func TestAWindowKeepsMeasuresApartWhenFieldsComeAndGo(t *testing.T) {
	var r agent.Reducer
	at := time.Now()
	for i := range 10 {
		s := sample(at.Add(time.Duration(i)*time.Second), "a", 1.0, "b", 100.0, "state", "ok", "on", true)
		if i%2 == 1 {
			s = sample(s.Time, "b", 102.0, "c", math.NaN(), "state", "bad", "on", false)
		}
		if _, ok := r.Pass(s, 10*time.Second, 0); ok {
			t.Fatal("sent before the window's end")
		}
	}
	out, ok := r.Pass(sample(at.Add(10*time.Second), "b", 5000.0), 10*time.Second, 0)
	if !ok {
		t.Fatal("nothing sent at the window's end")
	}
	for name, want := range map[string]float64{"a": 1, "a_max": 1, "b": 101, "b_min": 100, "b_max": 102, "readings_count": 10, "window_seconds": 9, "on": 0} {
		if got := number(t, out, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if c := number(t, out, "c"); !math.IsNaN(c) {
		t.Errorf("c, which never had a value, is %v", c)
	}
	if state, _ := out.Field("state"); state != collectors.Text("bad") {
		t.Errorf("state %v", state)
	}
	n := 0
	r.Flush(func(s collectors.Sample) {
		n++
		if _, ok := s.Field("a"); ok || number(t, s, "b") != 5000 {
			t.Errorf("the next window holds %v", s.Fields)
		}
	})
	if n != 1 {
		t.Errorf("%d open windows", n)
	}
}

// A sensor that was gone for a moment answers again when the window ends: that it was gone is told all the same.
func TestAWindowDoesNotLoseAFaultInItsMiddle(t *testing.T) {
	var r agent.Reducer
	at := time.Now()
	readings := [][]any{{"a", 20.0, "alarm", false, "kind", 1.0}, {"fault", "stuck"}, {"fault", "gone", "alarm", true}, {"a", 22.0, "alarm", false, "kind", "x"},
		{"a", 20.0, "alarm", false, "kind", 1.0}, {"a", 21.0, "alarm", false}}
	for window, want := range []map[string]any{
		{"a": 21.0, "alarm": false, "alarm_count": 1.0, "fault": "gone", "fault_count": 2.0, "kind": "x", "kind_count": 1.0, "readings_count": 4.0},
		{"a": 20.5, "alarm": false, "kind": 1.0, "readings_count": 2.0},
	} {
		for i := range 4 {
			if i += 4 * window; i < len(readings) {
				if _, ok := r.Pass(sample(at.Add(time.Duration(i)*time.Second), readings[i]...), time.Hour, 0); ok {
					t.Fatal("sent before the window's end")
				}
			}
		}
		r.Flush(func(s collectors.Sample) {
			for _, f := range s.Fields {
				switch _, rest, _ := strings.Cut(f.Name, "_"); rest {
				case "seconds", "min", "max", "p50", "p95", "p99":
					continue
				}
				if got, want := string(f.Value.AppendJSON(nil)), mustJSON(t, want[f.Name]); got != want {
					t.Errorf("window %d: %s = %s, want %s", window, f.Name, got, want)
				}
				delete(want, f.Name)
			}
			if len(want) > 0 {
				t.Errorf("window %d: left out: %v", window, want)
			}
		})
	}
}

func TestADeadbandHoldsBackWhatDoesNotMove(t *testing.T) {
	var r agent.Reducer
	at := time.Now()
	for i, tt := range []struct {
		s    collectors.Sample
		sent bool
	}{
		{sample(at, "a", 100.0, "state", "ok"), true},
		{sample(at, "a", 109.0, "state", "ok"), false},
		{sample(at, "a", 111.0, "state", "ok"), true},
		{sample(at, "state", "ok", "a", 112.0), false}, // another order is no news
		{sample(at, "a", 112.0, "state", "bad"), true},
		{sample(at, "a", 112.0, "b", 1.0, "state", "bad"), true},
		{sample(at, "a", 112.0, "b", 1.0, "state", "bad"), false},
		{sample(at, "a", 112.0, "c", 1.0, "state", "bad"), true},
	} {
		if _, sent := r.Pass(tt.s, 0, 0.1); sent != tt.sent {
			t.Errorf("reading %d: sent %v", i, sent)
		}
	}
}

func TestNoRecordIsLargerThanItMayBe(t *testing.T) {
	live(t, func(r *rig) {
		sizes := []int{100, 30_000, 100, 31_000, 3_000, 59_000, 64_000, 200, 70_000, 30_000, 30_000, 30_000}
		r.parts.Policy.BatchBytes = 60 << 10
		many := collectors.Source(source{"s", manySizes(sizes)})
		r.parts.Sources = []collectors.Source{many}
		r.start()
		r.pass(95 * time.Second)
		r.stop()
		if a := r.whole(); a.told > 0 {
			t.Errorf("%+v", a)
		}
		got := map[string]int{}
		for _, p := range r.broker.Heard() {
			if len(p.Payload) > 60<<10 && strings.HasSuffix(p.Topic, "/telemetry") {
				t.Errorf("a record of %d bytes", len(p.Payload))
			}
		}
		for _, m := range r.heard("telemetry") {
			for _, s := range m["samples"].([]any) {
				got[fmt.Sprint(s.(map[string]any)["instance"])]++
			}
		}
		for i, n := range sizes {
			want := 10
			if n > 60_000 {
				want = 0
			}
			if got[fmt.Sprint("i", i)] != want {
				t.Errorf("sample of %d bytes came %d times, want %d", n, got[fmt.Sprint("i", i)], want)
			}
		}
	})
}

// A job that is accepted has an id and a kind, each within bounds.
func FuzzParseJob(f *testing.F) {
	f.Add([]byte(`{"id":"j1","kind":"update","release":"pump/2"}`))
	f.Add([]byte(`{"id":"j1","kind":"content","release":"content/2","repository":"https://u.example.com/","window":"22:30-05:00","not_before":"2026-01-02T15:04:05Z","priority":-3}`))
	f.Add([]byte(`{"id":"j1","release":"pump/2","repository":"inline","metadata":{"payload":"","files":{}}}`))
	f.Add([]byte(`{"id":`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		j, err := agent.ParseJob(raw)
		switch {
		case j == nil:
			t.Fatal("no job, not even one that is refused")
		case len(j.ID) > 64:
			t.Errorf("an id of %d bytes", len(j.ID))
		case err == nil && (j.ID == "" || j.Kind != "system" && j.Kind != "agent" && j.Kind != "content"):
			t.Errorf("accepted: %+v", j)
		}
	})
}
