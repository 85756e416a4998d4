package demo_test

import (
	"strings"
	"testing"

	"holdfast/cmd/holdfastctl/internal/demo"
	"holdfast/cmd/holdfastctl/internal/ledger"
)

func TestTheCountFindsWhatIsMissing(t *testing.T) {
	ours, other := ledger.Key{Device: demo.Device, Session: "a"}, ledger.Key{Device: demo.Device, Session: "b"}
	for _, tt := range []struct {
		name     string
		received []uint64
		more     func(l *ledger.Ledger) error
		last     uint64
		seen     string
		problem  string
	}{
		{name: "all", received: []uint64{1, 2, 3}, last: 3, seen: "3 made, 3 received, 0 twice, 0 missing"},
		{name: "twice and in disorder", received: []uint64{2, 1, 3, 2}, last: 3, seen: "3 made, 3 received, 1 twice, 0 missing"},
		{name: "one in the middle", received: []uint64{1, 3}, last: 3, problem: "1 of 3 records are missing: 2"},
		{name: "the first", received: []uint64{2, 3}, last: 3, problem: "1 of 3 records are missing: 1"},
		{name: "the last two", received: []uint64{1, 2}, last: 4, problem: "2 of 4 records are missing: 3-4"},
		{name: "everything", last: 2, problem: "2 of 2 records are missing: 1-2"},
		{name: "one that the agent says it dropped", received: []uint64{1, 3}, last: 3,
			more:    func(l *ledger.Ledger) error { return l.Declare(ours, ledger.Range{First: 2, Last: 2}) },
			problem: "1 of 3 records are missing: 2"},
		{name: "more than were made", received: []uint64{1, 2, 3}, last: 2, problem: "3 records received, and the agent made 2"},
		{name: "of another start", received: []uint64{1, 2}, last: 2,
			more: func(l *ledger.Ledger) error { _, err := l.Add(other, 1); return err }, problem: "records of 2 sessions"},
		{name: "none made", last: 0, problem: "made no record"},
	} {
		book := ledger.New(0)
		for _, seq := range tt.received {
			if _, err := book.Add(ours, seq); err != nil {
				t.Fatal(err)
			}
		}
		if tt.more != nil {
			if err := tt.more(book); err != nil {
				t.Fatal(err)
			}
		}
		seen, err := demo.Audit(book, ours.Session, tt.last)
		switch {
		case seen != tt.seen:
			t.Errorf("%s: seen %q, want %q (%v)", tt.name, seen, tt.seen, err)
		case tt.problem == "" && err != nil, tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
			t.Errorf("%s: error = %v, want %q", tt.name, err, tt.problem)
		}
	}
}
