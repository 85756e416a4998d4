package agent_test

import (
	"reflect"
	"strings"
	"testing"

	"holdfast/agent"
	"holdfast/board"
)

func TestFactsAreReportedAsFarAsTheyAreTold(t *testing.T) {
	got := agent.FactsTree(board.Facts{Compatible: []string{"acme,pump-2", "acme,pump"}, Revision: "c03114", Profile: "pump", Reset: board.ResetWatchdog,
		ResetWords: strings.Repeat("x", 200), Root: "read-only", Watchdogs: []board.WatchdogFacts{{Name: "watchdog0", Identity: "idle"}, {Name: "watchdog1", Identity: "fed", Active: true}}})
	want := map[string]any{"compatible": "acme,pump-2", "revision": "c03114", "profile": "pump", "profile_verified": false, "reset": "watchdog",
		"root": "read-only", "watchdog": "fed"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("facts %v, want %v", got, want)
	}
	if got := agent.FactsTree(board.Facts{}); len(got) != 0 {
		t.Errorf("a board that says nothing: %v", got)
	}
}
