package rows_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/rows"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

// An agent is what the device's own feed sees, beside what it says of it.
type agent struct {
	feed   *remediate.Feed
	now    time.Time
	rnd    *rand.Rand
	values []epl.Value
	rows   [][]float64 // of DeviceStatus; NaN for null
	said   []byte
}

func newAgent(start time.Time, seed uint64) *agent {
	a := &agent{now: start, rnd: rand.New(rand.NewPCG(seed, 2))}
	a.feed = remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: "d1", CapacityBits: 100e6, Send: func(t *epl.Type, vals []epl.Value) {
		if t.Name == "DeviceStatus" {
			a.values = vals
		}
	}})
	return a
}

func (a *agent) say(s collectors.Sample) {
	a.now = a.now.Add(time.Duration(a.rnd.IntN(5)) * time.Millisecond)
	s.Time, s.Trusted = a.now, true
	a.feed.Sample(&s)
	if len(a.said) > 0 {
		a.said = append(a.said, ',')
	}
	a.said = s.AppendJSON(a.said)
}

// round is one round: sources end in any order, some fail now and then, and one is asked every third time.
func (a *agent) round(n int) {
	start := a.now
	cpu := collectors.Sample{Source: "cpu"}
	cpu.Num("busy_ratio", a.rnd.Float64()).Num("iowait_ratio", a.rnd.Float64()/3)
	memory := collectors.Sample{Source: "memory"}
	memory.Num("used_ratio", a.rnd.Float64()).Num("available_bytes", float64(a.rnd.IntN(1<<30)))
	samples := []collectors.Sample{cpu, memory}
	for _, mount := range []string{"/", "/data"} {
		s := collectors.Sample{Source: "disk", Instance: mount}
		samples = append(samples, *s.Num("used_ratio", a.rnd.Float64()).Num("free_bytes", math.Floor(1e9*a.rnd.Float64())))
	}
	unit := collectors.Sample{Source: "units", Instance: "app.service", Fields: []collectors.Field{{Name: "active", Value: collectors.Bool(a.rnd.IntN(2) == 0)}}}
	samples = append(samples, *unit.Str("state", "active/running"))
	hot := collectors.Sample{Source: "temperature", Instance: "soc"}
	if a.rnd.IntN(3) == 0 {
		hot.Str("fault", "stuck")
	} else {
		hot.Num("temperature_celsius", 40+a.rnd.NormFloat64())
	}
	samples = append(samples, hot)
	if n%3 == 0 {
		up := collectors.Sample{Source: "uptime"}
		samples = append(samples, *up.Num("uptime_seconds", float64(n)))
	}
	a.rnd.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
	for i, s := range samples {
		if a.rnd.IntN(20) == 0 {
			continue
		}
		if i == len(samples)-1 && a.rnd.IntN(10) == 0 { // one that takes long
			a.now = start.Add(800 * time.Millisecond)
		}
		a.say(s)
	}
	a.feed.Round(a.now, true)
	row := []float64{}
	for _, v := range a.values[1:] {
		f, ok := v.Float()
		switch {
		case v.Null():
			f = math.NaN()
		case !ok:
			f = map[any]float64{true: 1, false: 0}[v.Any()]
		}
		row = append(row, f)
	}
	a.rows = append(a.rows, row)
	a.now = start.Add(time.Second)
}

// telemetry takes what was said, as the broker gets it.
func (a *agent) telemetry(t *testing.T, session string) *message.Telemetry {
	t.Helper()
	m := &message.Telemetry{}
	if err := message.Decode([]byte(fmt.Sprintf(`{"session":%q,"seq":1,"samples":[%s]}`, session, a.said)), m); err != nil {
		t.Fatal(err)
	}
	a.said = nil
	return m
}

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func table(t *testing.T, b *bytes.Buffer) (head []string, rows [][]string) {
	t.Helper()
	all, err := csv.NewReader(b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1:]
}

func TestARowIsWhatTheDeviceSawInThatRound(t *testing.T) {
	var out bytes.Buffer
	w, err := rows.New(&out, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(start, 1)
	session := "one"
	for n := range 300 {
		if n == 150 { // the agent starts anew, and remembers nothing
			if err := w.Take("d1", a.telemetry(t, session)); err != nil {
				t.Fatal(err)
			}
			seen := a.rows
			a, session = newAgent(a.now.Add(3*time.Second), 2), "two"
			a.rows = seen
		}
		a.round(n)
		if a.rnd.IntN(3) == 0 { // messages know nothing of rounds
			if err := w.Take("d1", a.telemetry(t, session)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Take("d1", a.telemetry(t, session)), w.Close()); err != nil {
		t.Fatal(err)
	}
	head, got := table(t, &out)
	names := remediate.StatusNames()
	if len(got) != len(a.rows) || w.Rows != len(got) || w.Late != 0 {
		t.Fatalf("%d rows of %d rounds, %d late", len(got), len(a.rows), w.Late)
	}
	for n, row := range got {
		for i, name := range head[6:] {
			want := a.rows[n][slices.Index(names, name)]
			if row[6+i] == "" {
				if !math.IsNaN(want) {
					t.Errorf("round %d: %s is missing, and was %v", n, name, want)
				}
				continue
			}
			have, err := strconv.ParseFloat(row[6+i], 64)
			if err != nil || !(math.Abs(have-want) <= 1e-5*math.Abs(want)) {
				t.Errorf("round %d: %s = %s, and was %v (%v)", n, name, row[6+i], want, err)
			}
		}
	}
}

func TestOnlyTheLinkIsMissing(t *testing.T) {
	var out bytes.Buffer
	if _, err := rows.New(&out, time.Second); err != nil {
		t.Fatal(err)
	}
	want := "dev,t,label,fault_no,rep,since," + strings.Join(slices.DeleteFunc(remediate.StatusNames(), func(n string) bool { return n == "linkUp" }), ",") + "\n"
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

func TestARowHasTheLabelOfItsOwnTime(t *testing.T) {
	var out bytes.Buffer
	w, err := rows.New(&out, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(start, 3)
	for n := range 12 {
		a.round(n)
	}
	// Everything is known before the first sample comes, as after a link that was away.
	at := func(s float64) time.Time { return start.Add(time.Duration(s * 1e9)) }
	w.Label(at(2.5), "cpu_hog")
	w.Label(at(4.5), "normal")
	w.Label(at(5.5), "normal") // said twice
	w.Repetition(1)
	w.Label(at(7.5), "cpu_hog")
	w.Label(at(9.5), "mem_leak")
	if err := errors.Join(w.Take("d1", a.telemetry(t, "one")), w.Close()); err != nil {
		t.Fatal(err)
	}
	want := []string{"normal -1 0 100", "normal -1 0 100", "normal -1 0 100", "cpu_hog 0 0 0.5", "cpu_hog 0 0 1.5", "normal -1 0 0.5", "normal -1 0 1.5", "normal -1 0 2.5",
		"cpu_hog 1 1 0.5", "cpu_hog 1 1 1.5", "mem_leak 2 1 0.5", "mem_leak 2 1 1.5"}
	_, got := table(t, &out)
	for n, row := range got {
		since, err := strconv.ParseFloat(row[5], 64)
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(want[n])
		near, _ := strconv.ParseFloat(f[3], 64)
		if row[2] != f[0] || row[3] != f[1] || row[4] != f[2] || math.Abs(since-near) > 0.1 {
			t.Errorf("row %d: %v, want %s", n, row[2:6], want[n])
		}
	}
}

// tell makes a record of samples of one field, some milliseconds after the start.
func tell(session string, samples ...message.Sample) *message.Telemetry {
	return &message.Telemetry{Session: session, Samples: samples}
}

func one(ms int, source, field string, v float64) message.Sample {
	return message.Sample{Source: source, Time: start.Add(time.Duration(ms) * time.Millisecond), Trusted: true, Fields: map[string]any{field: v}}
}

func TestASourceThatSpeaksAgainBeginsARound(t *testing.T) {
	var out bytes.Buffer
	w, err := rows.New(&out, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Take("d1", tell("s", one(0, "cpu", "busy_ratio", 0.1), one(5, "memory", "used_ratio", 0.2), one(1000, "cpu", "busy_ratio", 0.3))), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, got := table(t, &out); len(got) != 2 {
		t.Errorf("%d rows: %v", len(got), got)
	}
}

func TestAnAgentThatStartsAnewRemembersNothing(t *testing.T) {
	var out bytes.Buffer
	w, err := rows.New(&out, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Take("d1", tell("one", one(0, "cpu", "busy_ratio", 0.1), one(5, "memory", "used_ratio", 0.2))),
		w.Take("d1", tell("two", one(2000, "cpu", "busy_ratio", 0.3))), w.Close()); err != nil {
		t.Fatal(err)
	}
	head, got := table(t, &out)
	if at := slices.Index(head, "memoryUtilization"); len(got) != 2 || got[0][at] != "20" || got[1][at] != "" || got[1][1] != "1.995" {
		t.Errorf("%v", got)
	}
}

func TestDigestsAreNoReadings(t *testing.T) {
	w, err := rows.New(&bytes.Buffer{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s := message.Sample{Source: "cpu", Time: start, Fields: map[string]any{"window_seconds": 60.0, "busy_ratio": 0.5}}
	if err := w.Take("d1", &message.Telemetry{Session: "s", Samples: []message.Sample{s}}); !errors.Is(err, rows.ErrDigest) {
		t.Errorf("got %v", err)
	}
}

func TestWhatComesTwiceOrTooLateMakesNoRow(t *testing.T) {
	var out bytes.Buffer
	w, err := rows.New(&out, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(start, 4)
	a.round(0)
	first := a.telemetry(t, "one")
	a.round(1)
	a.round(2)
	if err := errors.Join(w.Take("d1", a.telemetry(t, "one")), w.Take("d1", first), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, got := table(t, &out); len(got) != 2 || w.Late != len(first.Samples) {
		t.Errorf("%d rows, %d late of %d", len(got), w.Late, len(first.Samples))
	}
}

func FuzzTake(f *testing.F) {
	a := newAgent(start, 5)
	a.round(0)
	a.round(1)
	f.Add([]byte(`{"session":"s","seq":1,"samples":[` + string(a.said) + `]}`))
	f.Add([]byte(`{"session":"s","samples":[{"source":"disk","instance":"/","time":"9999-01-01T00:00:00Z","fields":{"used_ratio":1e308}},{"source":"disk","instance":"/","time":"0001-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message.Telemetry
		if message.Decode(b, &m) != nil {
			return
		}
		var out bytes.Buffer
		w, err := rows.New(&out, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		w.Label(start, "cpu_hog")
		if w.Take("d1", &m) == nil && w.Close() != nil {
			t.Error("it does not end")
		}
		if _, err := csv.NewReader(&out).ReadAll(); err != nil {
			t.Error(err)
		}
		_ = json.Valid(b)
	})
}
