package envelope_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/envelope"
)

func TestEnvelopeHasTheDocumentedForm(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 89, time.FixedZone("", 3600))
	e := envelope.New("ann@desk", 7, "relay.set", map[string]any{"line": "pump", "on": true}, now, time.Minute)
	if len(e.ID) < 16 || e.ID == envelope.New("", 0, "", nil, now, 0).ID {
		t.Errorf("id %q is not random", e.ID)
	}
	e.ID = "x"
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"x","issuer":"ann@desk","seq":7,"expires":"2026-03-04T04:07:07Z","name":"relay.set","args":{"line":"pump","on":true}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestNoSequenceNumberIsUsedTwice(t *testing.T) {
	dir := t.TempDir()
	const each, writers = 10, 8
	got := make(chan uint64, each*writers)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				seq, err := envelope.Next(context.Background(), dir, "ann@desk/../x", "d1")
				if err != nil {
					t.Error(err)
				}
				got <- seq
			}
		})
	}
	wg.Wait()
	close(got)
	seen := map[uint64]bool{}
	for seq := range got {
		if seen[seq] || seq == 0 || seq > each*writers {
			t.Errorf("%d came twice, or out of range", seq)
		}
		seen[seq] = true
	}
	if seq, err := envelope.Next(context.Background(), dir, "ann@desk/../x", "d2"); err != nil || seq != 1 {
		t.Errorf("another device begins at %d, %v", seq, err)
	}
}

func TestSequenceFileThatIsNoNumberIsNotStartedAnew(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ann d1"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if seq, err := envelope.Next(context.Background(), dir, "ann", "d1"); err == nil {
		t.Errorf("got %d", seq)
	}
}

func TestLockIsWaitedForAndAnOldOneIsBroken(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "ann d1.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := envelope.Next(ctx, dir, "ann", "d1"); err == nil {
		t.Error("a held lock did not hold")
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := envelope.Next(context.Background(), dir, "ann", "d1"); err != nil {
		t.Errorf("a lock left behind: %v", err)
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"id":"a","ok":true,"result":{"x":1}}`))
	f.Add([]byte(`{"id":"a","ok":false,"error":"no"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := envelope.ParseResult(b); err == nil && r.ID == "" {
			t.Error("an answer to nobody")
		}
	})
}
