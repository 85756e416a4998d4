//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

var onset = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// told is an event some seconds after the onset.
func told(seconds float64, kind, phase, fault, by, do string) event {
	return event{Kind: kind, Phase: phase, Fault: fault, By: by, Do: do, Time: onset.Add(time.Duration(seconds * 1e9))}
}

func TestTheSheetCounts(t *testing.T) {
	of := func(name string, mended bool, events ...event) injected {
		return injected{Device: "a", Fault: name, At: onset, Ended: onset.Add(30 * time.Second), Mended: mended, Events: events}
	}
	named := func(fault string) event { return told(9, "diagnosis", "named", fault, "forest", "") }
	begun := func(fault, do string) event { return told(12, "repair", "begun", fault, "", do) }
	helped := func(fault, do string) event { return told(20, "repair", "helped", fault, "", do) }
	for _, tt := range []struct {
		name                   string
		r                      injected
		repairable             bool
		named, repaired, wrong int
		control                int
	}{
		{"named and repaired", of("mem_leak", true, named("mem_leak"), begun("mem_leak", "unit.restart"), helped("mem_leak", "unit.restart")), true, 1, 1, 0, 0},
		{"named and not repaired", of("mem_leak", false, named("mem_leak"), begun("mem_leak", "unit.restart")), true, 1, 0, 0, 0},
		{"it says that it helped, and it did not", of("mem_leak", false, named("mem_leak"), helped("mem_leak", "unit.restart")), true, 1, 0, 0, 0},
		{"it went by itself", of("mem_leak", true, named("mem_leak")), true, 1, 0, 0, 0},
		{"named as another first", of("mem_leak", false, named("cpu_hog"), named("mem_leak")), true, 0, 0, 0, 0},
		{"unknown is no name", of("net_loss", false, named("unknown"), named("net_loss")), false, 1, 0, 0, 0},
		{"named when it was over", of("net_loss", false, told(36, "diagnosis", "named", "net_loss", "forest", "")), false, 0, 0, 0, 0},
		{"not named", of("net_loss", false), false, 0, 0, 0, 0},
		{"repaired as another", of("net_loss", false, named("net_loss"), begun("net_down", "interface.cycle")), false, 1, 0, 1, 0},
		{"a person is asked about another", of("net_loss", false, named("net_loss"), begun("net_down", "ask")), false, 1, 0, 0, 0},
		{"what would be done is not done", of("net_loss", false, named("net_loss"), told(9, "repair", "would", "net_down", "", "interface.cycle")), false, 1, 0, 0, 0},
		{"repaired with nothing wrong", of(control, false, begun("cpu_hog", "unit.restart")), false, 0, 0, 0, 1},
	} {
		s := &sheet{kinds: map[string]*tally{}}
		s.add(tt.r, tt.repairable)
		if s.named != tt.named || s.repaired != tt.repaired || len(s.wrong) != tt.wrong || len(s.control) != tt.control {
			t.Errorf("%s: named %d, repaired %d, wrong %v, control %v", tt.name, s.named, s.repaired, s.wrong, s.control)
		}
	}
}

func TestAMissedFigureIsAnError(t *testing.T) {
	sheetOf := func(injected, named, repairable, repaired, wrong, control int) *sheet {
		return &sheet{kinds: map[string]*tally{}, injected: injected, named: named, repairable: repairable, repaired: repaired,
			wrong: make([]string, wrong), control: make([]string, control)}
	}
	for _, tt := range []struct {
		s    *sheet
		want string
	}{
		{sheetOf(10, 9, 10, 8, 0, 0), ""},
		{sheetOf(10, 8, 10, 8, 0, 0), "named right"},
		{sheetOf(10, 9, 10, 7, 0, 0), "repaired"},
		{sheetOf(10, 9, 10, 8, 1, 0), "not broken"},
		{sheetOf(10, 9, 10, 8, 0, 1), "not broken"},
	} {
		var out strings.Builder
		err := tt.s.print(&out, nil)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.s, err)
		}
	}
	var out strings.Builder
	_ = sheetOf(10, 9, 10, 8, 0, 0).print(&out, []string{"throttle"})
	if last := "faults: 0 kinds, 10 injected, 9 named right (90%), 8 repaired of 10 repairable (80%), 0 wrong repairs, control 0 s: 0 named, 0 repairs, skipped: throttle\n"; !strings.HasSuffix(out.String(), last) {
		t.Errorf("the last line is\n%s", out.String())
	}
}

func TestNeverIsLongerThanAnything(t *testing.T) {
	if got := spread([]float64{-1, 3, 9}); got != "9.0, at most never" {
		t.Error(got)
	}
	if got := spread([]float64{4, 3, 9}); got != "4.0, at most 9.0" {
		t.Error(got)
	}
}
