package message_test

import (
	"testing"

	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
)

func TestTopicsAreTakenApart(t *testing.T) {
	for topic, want := range map[string][2]string{
		"holdfast/d1/telemetry":      {"d1", "telemetry"},
		"holdfast/d1/command/result": {"d1", "command/result"},
	} {
		if d, k, ok := message.Split(topic); !ok || d != want[0] || k != want[1] {
			t.Errorf("%s: %q %q %v", topic, d, k, ok)
		}
	}
	for _, topic := range []string{"", "holdfast", "holdfast/d1", "holdfast/d1/", "holdfast//x", "other/d1/status"} {
		if _, _, ok := message.Split(topic); ok {
			t.Errorf("%q: accepted", topic)
		}
	}
}

func TestDuplicatesAndDeclaredGapsAreCounted(t *testing.T) {
	l := ledger.New(0)
	for i, tt := range []struct {
		kind, payload string
		fresh, bad    bool
	}{
		{"telemetry", `{"session":"s","seq":1,"samples":[]}`, true, false},
		{"event", `{"session":"s","seq":6,"kind":"gap","of":{"session":"s","from":2,"to":4},"count":3}`, true, false},
		{"telemetry", `{"session":"s","seq":1,"samples":[]}`, false, false},
		{"telemetry", `{"session":"s","seq":-1}`, true, true},
		{"telemetry", `{"session":"s"}`, true, false},
		{"status", `{"session":"s","seq":9}`, true, false},
		{"event", `{"session":"s","seq":7,"kind":"gap","of":{"session":"s","from":9,"to":2}}`, true, true},
	} {
		fresh, err := message.Count(l, "d1", tt.kind, []byte(tt.payload))
		if fresh != tt.fresh || (err != nil) != tt.bad {
			t.Errorf("%d: fresh %v, %v", i, fresh, err)
		}
	}
	if r := l.Report(); r.Missing != 1 || r.Declared != 3 || r.Duplicates != 1 { // 5 is missing
		t.Errorf("%+v", r)
	}
}

func TestNothingReachesTheTerminalThatMovesTheCursor(t *testing.T) {
	if got := message.Clean("a\x1b[2Jb\nc\u202ed\x9b", 8); got != "a·[2Jb·c…" {
		t.Errorf("got %q", got)
	}
}

func FuzzCount(f *testing.F) {
	f.Add("event", []byte(`{"session":"s","seq":6,"kind":"gap","of":{"session":"s","from":2,"to":4}}`))
	f.Add("telemetry", []byte(`{"session":"s","seq":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		l := ledger.New(8)
		first, err := message.Count(l, "d", kind, payload)
		if !first {
			t.Error("the first is a duplicate")
		}
		if again, _ := message.Count(l, "d", kind, payload); err == nil && again && l.Report().Records > 0 {
			t.Error("the second is not a duplicate")
		}
		_, _ = message.ParseEvent(payload)
	})
}
