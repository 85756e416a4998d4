package agent_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/board"
	"holdfast/board/sim"
)

func TestACrashIsToldOnceAndBeforeItIsRemembered(t *testing.T) {
	disk := sim.NewDisk(1)
	var told []string
	var failing, unreadable error
	crashes := []board.Crash{{ID: "new", Tail: "b", Bytes: 100}, {ID: "old", Tail: "a", Reason: "Panic", Bytes: 2}}
	tell := func() error {
		return agent.TellCrashes(t.Context(), disk.Files("state"), board.Facts{Reset: board.ResetWatchdog},
			func(context.Context) ([]board.Crash, error) { return crashes, unreadable },
			func(_ context.Context, kind string, body map[string]any) error {
				if kind != "crash" || body["reset"] != "watchdog" || body["truncated"] != (body["id"] == "new") {
					t.Errorf("event %s %v", kind, body)
				}
				if failing != nil {
					return failing
				}
				told = append(told, body["id"].(string))
				return nil
			})
	}
	failing = errors.New("no room")
	if err := tell(); !errors.Is(err, failing) {
		t.Errorf("no room: %v", err)
	}
	failing = nil
	for range 2 {
		if err := tell(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(told, []string{"old", "new"}) {
		t.Errorf("told %v, want each once, the oldest first", told)
	}
	unreadable = errors.New("needs more power")
	crashes = append(crashes, board.Crash{ID: "third"})
	if err := tell(); !errors.Is(err, unreadable) || told[len(told)-1] != "third" {
		t.Errorf("what could be read: %v, %v", told, err)
	}
	if err := disk.Files("state").WriteFile("crashes.json", []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	told, unreadable = nil, nil
	if err := tell(); err != nil || len(told) != 3 {
		t.Errorf("a damaged memory: %v, %v", told, err)
	}
}

func TestARunningAgentTellsOfCrashesAndTriesAgain(t *testing.T) {
	live(t, func(r *rig) {
		asked := 0
		r.parts.Crashes = func(context.Context) ([]board.Crash, error) {
			if asked++; asked == 1 {
				return nil, errors.New("nobody is there yet")
			}
			return []board.Crash{{ID: "0123456789abcdef", Name: "dmesg-ramoops-0", Reason: "Panic", Tail: "Kernel panic"}}, nil
		}
		r.start()
		if got := r.events("crash"); len(got) != 0 {
			t.Errorf("told at once: %v", got)
		}
		r.pass(2 * time.Minute)
		r.crash() // the event and the memory of it are on flash
		r.start()
		r.pass(10 * time.Minute)
		got := r.events("crash")
		for _, e := range got { // the record may be sent again after the cut, and is the same
			if e["message"] != "Kernel panic" || e["reason"] != "Panic" || e["session"] != got[0]["session"] || e["seq"] != got[0]["seq"] {
				t.Errorf("told: %v", e)
			}
		}
		if len(got) == 0 {
			t.Error("nothing was told")
		}
		if asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
	})
}
