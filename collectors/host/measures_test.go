package host_test

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/host"
)

func TestNamesCarryTheirUnits(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range host.Measures() {
		key := m.Source + "." + m.Field
		if seen[key] {
			t.Errorf("%s is listed twice", key)
		}
		seen[key] = true
		if m.Help == "" || strings.ContainsAny(m.Help+m.Instance, "|\n") {
			t.Errorf("%s: help %q, instance %q", key, m.Help, m.Instance)
		}
		suffix, must := map[string]string{"ratio": "_ratio", "bytes": "_bytes", "s": "_seconds", "B/s": "_bytes_per_second",
			"1/s": "s_per_second", "bit/s": "_bits_per_second"}[m.Unit]
		if must && !strings.HasSuffix(m.Field, suffix) {
			t.Errorf("%s: unit %s, but no suffix %s", key, m.Unit, suffix)
		} else if !must && m.Unit != "count" && m.Unit != "text" && m.Unit != "truth" {
			t.Errorf("%s: unknown unit %q", key, m.Unit)
		}
	}
}

var unitOf = sync.OnceValue(func() map[string]string {
	units := map[string]string{}
	for _, m := range host.Measures() {
		units[m.Source+"."+m.Field] = m.Unit
	}
	return units
})

// check holds what is true of every sample of every source, whatever it read.
func check(t testing.TB, samples []collectors.Sample) {
	t.Helper()
	units := unitOf()
	instances := map[string]bool{}
	for _, s := range samples {
		if key := s.Source + " " + s.Instance; instances[key] {
			t.Errorf("%s: two samples in one round", key)
		} else {
			instances[key] = true
		}
		if len(s.Fields) == 0 {
			t.Errorf("%s %s: a sample without fields", s.Source, s.Instance)
		}
		for _, f := range s.Fields {
			name := s.Source + "." + f.Name
			unit, ok := units[name]
			if !ok {
				t.Errorf("%s is in no table", name)
			}
			_, isText := f.Value.Text()
			_, isTruth := f.Value.Bool()
			if isText != (unit == "text") || isTruth != (unit == "truth") {
				t.Errorf("%s: unit %s, value %v", name, unit, f.Value)
			}
			v, _ := f.Value.Number()
			low, high := 0.0, math.MaxFloat64
			switch {
			case unit == "ratio":
				high = 1
			case name == "clock.offset_seconds":
				low = -high
			}
			if !(v >= low && v <= high) {
				t.Errorf("%s %s = %v, want %v to %v", name, s.Instance, v, low, high)
			}
		}
	}
}

// Every field of the table is said by some source on the fake root, but those the agent adds.
func TestEveryMeasureIsMeasured(t *testing.T) {
	root, clock, said := rootOf(t), newTicker(), map[string]bool{}
	sources := host.All(host.Options{Root: root, Now: clock.now, Statfs: statfs, Self: func() []collectors.Field {
		return []collectors.Field{{Name: "spool_bytes", Value: collectors.Number(12)},
			{Name: "records_waiting_count"}, {Name: "records_dropped_count"}, {Name: "reconnects_count"}}
	}, Adjtimex: func(*unix.Timex) (int, error) { return unix.TIME_OK, nil }})
	for range 2 {
		for _, s := range sources {
			samples := take(t, s)
			check(t, samples)
			for _, sample := range samples {
				for _, f := range sample.Fields {
					said[sample.Source+"."+f.Name] = true
				}
			}
		}
		lay(t, root, after)
		clock.pass(10 * time.Second)
	}
	for _, m := range host.Measures() {
		if !said[m.Source+"."+m.Field] {
			t.Errorf("%s.%s: no source says it", m.Source, m.Field)
		}
	}
}
