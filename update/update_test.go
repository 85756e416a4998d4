package update_test

import (
	"testing"

	"holdfast/board"
	"holdfast/update"
)

func TestNext(t *testing.T) {
	on := func(booted, next board.SlotID) board.BootFacts { return board.BootFacts{Booted: booted, Next: next} }
	staging := update.Journal{Phase: update.Staging, From: "a", Target: "b"}
	staged := update.Journal{Phase: update.Staged, From: "a", Target: "b"}
	arming := update.Journal{Phase: update.Arming, From: "a", Target: "b"}
	armed := update.Journal{Phase: update.Arming, From: "a", Target: "b", Armed: true}
	judged := update.Journal{Phase: update.Arming, From: "a", Target: "b", Armed: true, Verdict: "no link"}
	for _, tt := range []struct {
		name string
		j    update.Journal
		f    board.BootFacts
		want update.Step
	}{
		{"nothing to do", update.Journal{}, on("a", "a"), update.Wait},
		{"a trial nobody began", update.Journal{}, on("b", "a"), update.Probe},
		{"a new job", update.Journal{Phase: update.Checking}, on("a", "a"), update.Check},
		{"cut while staging", staging, on("a", "a"), update.Stage},
		{"the slots were switched while staging", staging, on("b", "b"), update.Abandon},
		{"whole", staged, on("a", "a"), update.Arm},
		{"the slots were switched before arming", staged, on("b", "b"), update.Abandon},
		{"cut before the bootloader knew", arming, on("a", "a"), update.Arm},
		{"cut after the bootloader knew", arming, on("a", "b"), update.Restart},
		{"armed", armed, on("a", "b"), update.Restart},
		{"on trial", armed, on("b", "a"), update.Probe},
		{"on trial, and nobody noted that it was armed", arming, on("b", "a"), update.Probe},
		{"judged", judged, on("b", "a"), update.Restart},
		{"committed, then cut", armed, on("b", "b"), update.Finish},
		{"committed after a verdict that came too late", judged, on("b", "b"), update.Finish},
		{"the bootloader fell back", armed, on("a", "a"), update.FallBack},
		{"fell back after a verdict", judged, on("a", "a"), update.FallBack},
	} {
		if got := update.Next(tt.j, tt.f); got != tt.want {
			t.Errorf("%s: Next = %s, want %s", tt.name, got, tt.want)
		}
	}
}
