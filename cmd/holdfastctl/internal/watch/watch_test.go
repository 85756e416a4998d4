package watch_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/watch"
)

var (
	update = flag.Bool("update", false, "write the golden files anew")
	start  = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
)

// fleet has a device of each sort: well, hot and alerting, gone, and one that was only asked for something.
func fleet() *watch.Fleet {
	f := watch.NewFleet()
	say := func(after time.Duration, retained bool, topic, payload string) {
		f.Take("holdfast/"+topic, []byte(payload), retained, start.Add(after))
	}
	say(0, true, "gate-7/status", `{"online":false,"since":"2026-03-04T02:06:07Z","reason":"connection lost"}`)
	say(0, true, "pump-1/status", `{"online":true,"since":"2026-03-04T05:00:00Z","agent":"1.0.0"}`)
	say(0, true, "pump-2/status", `{"online":true,"since":"2026-03-04T05:00:00Z","agent":"1.0.0"}`)
	say(0, true, "pump-2/shadow/reported", `{"version":1,"state":{"cpu":12,"memory":88}}`)
	say(0, false, "ctl/ABCDEFG", `{}`) // the mark of a tool
	say(0, true, "well-9/shadow/desired", `{"epoch":"e","version":1,"state":{}}`)
	sample := func(source, instance, fields string) string {
		return fmt.Sprintf(`{"source":%q,"instance":%q,"time":"2026-03-04T05:06:08Z","trusted":true,"fields":{%s}}`, source, instance, fields)
	}
	say(2*time.Second, false, "pump-1/telemetry", `{"session":"s","seq":1,"samples":[`+strings.Join([]string{
		sample("cpu", "", `"busy_ratio":0.974`), sample("cpu", "0", `"busy_ratio":0.1`), sample("memory", "", `"used_ratio":0.41`),
		sample("temperature", "cpu", `"temperature_celsius":81.2`), sample("temperature", "board", `"temperature_celsius":55`),
		sample("disk", "/", `"used_ratio":0.78`), sample("disk", "/boot", `"used_ratio":0.2`),
		sample("network", "lo", `"rx_bytes_per_second":9e9,"tx_bytes_per_second":1`),
		sample("network", "eth0", `"rx_bytes_per_second":15000,"tx_bytes_per_second":800.4`),
	}, ",")+`]}`)
	say(3*time.Second, false, "pump-1/event", `{"session":"s","seq":4,"kind":"alert","time":"x","trusted":true,"name":"overheat","severity":"critical","value":81.2}`)
	say(3*time.Second, false, "pump-1/event", `{"session":"s","seq":4,"kind":"alert","name":"overheat again, a duplicate"}`)
	say(4*time.Second, false, "gate-8/status", `{"online":true,"agent":"1.0.0"}`)
	say(5*time.Second, false, "gate-8/status", `{"online":false,"reason":"\u001b[2Jgone\n"}`)
	say(6*time.Second, false, "pump-2/job/status", `{"id":"job-7","phase":"downloading","percent":41.7}`)
	for i, bad := range []string{``, `{`, `[]`, `{"samples":[{"fields":{"busy_ratio":"x"}}]}`, `null`} {
		say(7*time.Second, false, "odd/telemetry", bad)
		say(7*time.Second, false, "odd/status", bad)
		say(time.Duration(i), false, "odd/event", bad)
	}
	return f
}

func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	got := []byte(strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "\x1b", "ESC"))
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestTableIsReadableAtAGlance(t *testing.T) {
	now := start.Add(10 * time.Second)
	golden(t, "plain.golden", fleet().Draw(watch.Screen{Broker: "mqtt://hub"}, now))
	golden(t, "color.golden", fleet().Draw(watch.Screen{Broker: "mqtt://hub", Color: true}, now))
	golden(t, "narrow.golden", fleet().Draw(watch.Screen{Broker: "mqtt://hub", Width: 40, Height: 9, Color: true, Down: "no\x1b route"}, now))
	golden(t, "empty.golden", watch.NewFleet().Draw(watch.Screen{Broker: "mqtt://hub"}, now))
}

func TestTableFitsTheScreen(t *testing.T) {
	f := fleet()
	for i := range 50 {
		f.Take(fmt.Sprintf("holdfast/more-%02d/status", i), []byte(`{"online":true}`), false, start)
	}
	for height := 6; height < 70; height++ {
		lines := f.Draw(watch.Screen{Broker: "b", Width: 60, Height: height}, start)
		if len(lines) > height {
			t.Errorf("height %d: %d lines", height, len(lines))
		}
		for _, l := range lines {
			if n := len([]rune(l)); n > 60 {
				t.Errorf("a line of %d cells: %s", n, l)
			}
		}
	}
}

func TestOnlyNewsIsTold(t *testing.T) {
	f := watch.NewFleet()
	for i, tt := range []struct {
		topic, payload string
		retained       bool
		want           string
	}{
		{"d/status", `{"online":true,"since":"2026-01-01T00:00:00Z"}`, true, ""},
		{"d/status", `{"online":true,"since":"2026-01-01T00:00:00Z"}`, false, ""},
		{"d/status", `{"online":false}`, false, "05:06:07 d offline"},
		{"d/event", `{"session":"s","seq":1,"kind":"gap","count":3}`, false, "05:06:07 d gap count=3"},
		{"d/event", `{"session":"s","seq":1,"kind":"gap","count":3}`, false, ""},
		{"d/telemetry", `{"session":"s","seq":2,"samples":[]}`, false, ""},
		{"d/elsewhere", `{}`, false, ""},
	} {
		e, fresh := f.Take("holdfast/"+tt.topic, []byte(tt.payload), tt.retained, start)
		if fresh != (tt.want != "") || fresh && e.String() != tt.want {
			t.Errorf("%d: %v %q, want %q", i, fresh, e.String(), tt.want)
		}
	}
}

func FuzzTake(f *testing.F) {
	f.Add("holdfast/d/telemetry", []byte(`{"session":"s","seq":1,"samples":[{"source":"cpu","fields":{"busy_ratio":1e308}}]}`))
	f.Add("holdfast/d/event", []byte(`{"session":"s","seq":1,"kind":"\u001b"}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		fl := watch.NewFleet()
		fl.Take(topic, payload, false, start)
		for _, l := range fl.Draw(watch.Screen{Width: 80, Height: 10}, start) {
			if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' }) || len([]rune(l)) > 80 {
				t.Errorf("line %q", l)
			}
		}
	})
}
