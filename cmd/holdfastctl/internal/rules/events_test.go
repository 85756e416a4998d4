package rules_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/rules"
	"holdfast/cmd/internal/config"
)

func TestLinesOfEventsAreReadStrictly(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", "{", "x:1:2: "},
		{"a member too many", `{"type":"D","time":1,"value":{}}`, "x:1:22: unknown"},
		{"two of a name", "\n" + `{"type":"D","type":"E","time":1}`, "x:2:13: "},
		{"no time", `{"type":"D"}`, `there is no "time"`},
		{"a time that is none", `{"type":"D","time":"yesterday"}`, "is not of RFC 3339"},
		{"a time before 1970", `{"type":"D","time":"1969-12-31T23:59:59Z"}`, "is not of RFC 3339, from 1970 on"},
		{"part of a millisecond", `{"type":"D","time":1.5}`, "is no number of milliseconds"},
		{"a time below zero", `{"type":"D","time":-1}`, "is no number of milliseconds"},
		{"a time that overflows", `{"type":"D","time":1e300}`, "is no number of milliseconds"},
		{"a line too long", `{"type":"` + strings.Repeat("x", rules.MaxLine) + `","time":1}`, "x:1: a line of more than 1024 KiB"},
	} {
		if _, err := rules.NewReader("x", strings.NewReader(tt.text)).Next(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	r := rules.NewReader("x", strings.NewReader(`{"type":"D","time":"1970-01-01T00:00:01.5Z","values":{"a":"t","b":true,"c":null,"d":-1.5e3,"e":9007199254740991}}`))
	e, err := r.Next()
	if err != nil || e.Millis != 1500 || !e.Wall || e.Line != 1 || e.Values["a"] != "t" || e.Values["b"] != true || e.Values["c"] != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if n, ok := e.Values["e"].(interface{ Int64() (int64, error) }); !ok {
		t.Errorf("a number became %T", e.Values["e"])
	} else if v, err := n.Int64(); err != nil || v != 9007199254740991 {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last: %v", err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(`{"type":"DeviceStatus","time":"2026-01-02T03:04:05Z","values":{"deviceId":"a","cpuUtilization":95.5}}` + "\n" + `{"time":1000}`)
	f.Add(`{"type":"GpioEdge","time":1,"values":{"level":1,"high":true,"line":null}}`)
	dir := f.TempDir()
	path := filepath.Join(dir, "r.epl")
	if err := os.WriteFile(path, []byte("select * from DeviceStatus#length(2); select * from pattern [every a=GpioEdge -> timer:interval(1 sec)]"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // a long way in time is allowed to take long
		defer cancel()
		_, _ = rules.Test(ctx, rules.Options{}, []string{path}, rules.NewReader("x", strings.NewReader(text)), 0, func(rules.Match) error { return nil })
	})
}

// run tests a text of rules over lines of events.
func run(t *testing.T, text, lines string, rest time.Duration) ([]rules.Match, rules.Tally, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.epl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []rules.Match
	tally, err := rules.Test(context.Background(), rules.Options{}, []string{path}, rules.NewReader("x", strings.NewReader(lines)), rest, func(m rules.Match) error {
		all = append(all, m)
		return nil
	})
	return all, tally, err
}

func TestRulesBeginAtTheFirstEventAndFireWhatIsDueBetween(t *testing.T) {
	all, tally, err := run(t, "select count(*) as n from pattern [every timer:interval(1 hour)]",
		`{"time":"2026-01-02T03:04:05Z"}`+"\n"+`{"time":"2026-01-02T05:04:05Z"}`, time.Hour)
	if err != nil || len(all) != 3 || tally.Events != 0 || tally.Matches != 3 || all[0].Time != "2026-01-02T04:04:05Z" || all[2].Time != "2026-01-02T06:04:05Z" {
		t.Errorf("%+v, %+v, %v", all, tally, err)
	}
}

func TestLimitsAreThoseOfADeviceByDefault(t *testing.T) {
	d := config.Default().Thresholds
	if got := rules.Limits(); len(got) != 3 || got["cpu"] != d.CPU || got["memory"] != d.Memory || got["network"] != d.Network {
		t.Errorf("%v, and a device has %+v", got, d)
	}
	all, _, err := run(t, "select limit('cpu') as l from DeviceStatus", `{"type":"DeviceStatus","time":1}`, 0)
	if err != nil || len(all) != 1 || all[0].New[0]["l"] != 90.0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestTimeThatGoesBackIsCountedAndOtherwiseStandsStill(t *testing.T) {
	all, tally, err := run(t, "select deviceId from DeviceStatus",
		`{"type":"DeviceStatus","time":5000}`+"\n"+`{"type":"DeviceStatus","time":4000}`+"\n"+`{"type":"DeviceStatus","time":6000}`, 0)
	if err != nil || tally.Backwards != 1 || len(all) != 3 || all[1].Time != int64(5000) {
		t.Errorf("%+v, %+v, %v", all, tally, err)
	}
	if _, _, err := run(t, "select deviceId from DeviceStatus", `{"time":5000}`+"\n"+`{"time":"2026-01-02T05:04:05Z"}`, 0); err == nil || !strings.HasPrefix(err.Error(), "x:2: ") {
		t.Errorf("times of two kinds: %v", err)
	}
}

func TestWhatDoesNotFitIsTold(t *testing.T) {
	line := `{"type":"DeviceStatus","time":1}` + "\n"
	_, tally, err := run(t, "@partials(4) select a.deviceId from pattern [every a=DeviceStatus -> timer:interval(1 hour)]", strings.Repeat(line, 9), 0)
	if err != nil || tally.Overflows == 0 {
		t.Errorf("%+v, %v", tally, err)
	}
}

func TestValuesOfTheWrongKindAreAnError(t *testing.T) {
	for lines, want := range map[string]string{
		`{"type":"DeviceStatus","time":1,"values":{"cpuUtilization":"95"}}`: "x:1: DeviceStatus.cpuUtilization: 95 is no double",
		`{"type":"DeviceStatus","time":1,"values":{"cpu":95}}`:              `x:1: DeviceStatus has no property "cpu"`,
		`{"type":"GpioEdge","time":1,"values":{"level":1.5}}`:               "x:1: GpioEdge.level: 1.5 is no int",
	} {
		if _, _, err := run(t, "select deviceId from DeviceStatus", lines, 0); err == nil || err.Error() != want {
			t.Errorf("%s: %v", lines, err)
		}
	}
}
