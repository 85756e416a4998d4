package update_test

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/update"
	"holdfast/update/updatetest"
)

// one returns a repository with the release pump/9 and the given particulars.
func one(custom map[string]any, parts map[string][]byte) *updatetest.Repository {
	r := updatetest.New(epoch, 7)
	if parts == nil {
		parts = map[string][]byte{"root": words(9, 70_000)}
	}
	c := map[string]any{"seq": 9}
	maps.Copy(c, custom)
	r.Add(updatetest.Release{Name: "pump/9", Parts: parts, Custom: c})
	r.Publish(epoch)
	return r
}

// spoil returns the repository's files with those changed whose paths end so.
func spoil(r *updatetest.Repository, end string, change func([]byte) []byte) map[string][]byte {
	files := maps.Clone(r.Files)
	for name, raw := range files {
		if strings.HasSuffix(name, end) {
			if files[name] = change(slices.Clone(raw)); files[name] == nil {
				delete(files, name)
			}
		}
	}
	return files
}

func TestRefusedBeforeAByteIsWrittenAndWithAReasonOfItsOwn(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	plain := one(nil, nil)
	stranger := updatetest.New(epoch, 66)
	old := one(nil, nil)
	old.Publish(epoch)
	old.Publish(epoch)
	late := updatetest.New(epoch.AddDate(0, -3, 0), 7)
	late.Add(updatetest.Release{Name: "pump/9", Parts: map[string][]byte{"root": words(9, 70_000)}})
	late.Publish(epoch.AddDate(0, -3, 0))
	for _, tt := range []struct {
		name    string
		repo    *updatetest.Repository
		files   map[string][]byte
		prepare func(*machine)
		reason  string
	}{
		{"for another board", one(map[string]any{"compatible": []string{"kettle"}}, nil), nil, nil, "incompatible"},
		{"of another kind", one(map[string]any{"kind": "agent", "arch": "armv7"}, nil), nil, nil, "kind"},
		{"for a newer agent", one(map[string]any{"min_agent": "1.0.1"}, nil), nil, nil, "program"},
		{"of a lower number", one(map[string]any{"seq": 9}, nil), nil, func(m *machine) { m.options.Running.Seq = 9; m.options.Running.Name = "pump/8" }, "downgrade"},
		{"with a permit that does not reach", one(map[string]any{"seq": 9, "downgrade_max_seq": 11}, nil), nil,
			func(m *machine) { m.options.Running.Seq = 12 }, "downgrade"},
		{"another release than it says", func() *updatetest.Repository {
			r := one(nil, nil)
			m := r.Add(updatetest.Release{Name: "pump/10", Parts: map[string][]byte{"root": words(3, 70_000)}})
			text, _ := m.Encode()
			r.AddTarget("pump/9.json", text, map[string]any{"compatible": []string{"bench"}, "seq": 9, "security_floor": 1, "release": "pump/9", "from": []string{},
				"wave": []any{map[string]any{"after": "2020-01-01T00:00:00Z", "permille": 1000}}, "min_agent": "0.0.0", "issued": "2026-05-01T00:00:00Z"})
			r.Publish(epoch)
			return r
		}(), nil, nil, "manifest"},
		{"whose name is another", one(map[string]any{"release": "pump/8"}, nil), nil, nil, "release"},
		{"with a member nobody knows", one(map[string]any{"force": true}, nil), nil, nil, "release"},
		{"with other parts", one(nil, map[string][]byte{"root": words(9, 70_000), "app": words(8, 70_000)}), nil, nil, "parts"},
		{"too large for the slot", one(nil, map[string][]byte{"root": bytes.Repeat(words(9, 1000), 300)}), nil, nil, "space"},
		{"not listed", func() *updatetest.Repository { r := updatetest.New(epoch, 7); r.Publish(epoch); return r }(), nil, nil, "not_found"},
		{"signed by a stranger", func() *updatetest.Repository {
			stranger.Add(updatetest.Release{Name: "pump/9", Parts: map[string][]byte{"root": words(9, 70_000)}})
			stranger.Publish(epoch)
			return stranger
		}(), nil, func(m *machine) { m.options.Anchor = plain.Anchor() }, "signature"},
		{"out of date", late, nil, nil, "expired"},
		{"with a timestamp that was tampered with", plain, spoil(plain, "timestamp.json", flip), nil, "*"},
		{"with a snapshot that was tampered with", plain, spoil(plain, "snapshot.json", flip), nil, "mismatch"},
		{"with targets that were tampered with", plain, spoil(plain, "1.targets.json", flip), nil, "mismatch"},
		{"with a manifest that was tampered with", plain, spoil(plain, ".9.json", flip), nil, "mismatch"},
		{"with a timestamp that has no end", plain, spoil(plain, "timestamp.json", func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), nil, "too_long"},
		{"with a truncated snapshot", plain, spoil(plain, "snapshot.json", func(b []byte) []byte { return b[:len(b)-1] }), nil, "mismatch"},
		{"without a snapshot", plain, spoil(plain, "snapshot.json", func([]byte) []byte { return nil }), nil, "not_found"},
		{"without a root of trust", plain, nil, func(m *machine) { m.options.Anchor = nil }, "anchor"},
		{"with a root that a stranger made", plain, func() map[string][]byte {
			files := maps.Clone(plain.Files)
			files["metadata/2.root.json"] = stranger.Root(2, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{66}, 32)))
			return files
		}(), nil, "signature"},
	} {
		m := newMachine(releases())
		m.options.Running = &update.Release{Name: "pump/1", Seq: 1}
		m.options.Anchor, m.files = tt.repo.Anchor(), tt.repo.Files
		if tt.files != nil {
			m.files = tt.files
		}
		if tt.prepare != nil {
			tt.prepare(m)
		}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		before := m.disk.Written()
		if err := m.job("job-1", "pump/9"); err != nil {
			t.Fatal(err)
		}
		_, err := m.live(t.Context())
		last := m.engine.Status().Last
		if err != nil || last == nil || last.Result != update.Refused || tt.reason != "*" && last.Reason != tt.reason || last.Error == "" {
			t.Errorf("%s: %+v, %v, want it refused as %q; %q", tt.name, last, err, tt.reason, m.faults)
		}
		slot := make([]byte, slotBytes)
		if _, err := m.slots.Device(board.SlotB, "root").ReadCached(slot, 0); err != nil || !bytes.Equal(slot, make([]byte, slotBytes)) {
			t.Errorf("%s: slot b was written", tt.name)
		}
		if n := m.disk.Written() - before; n > 64<<10 {
			t.Errorf("%s: %d bytes were written for a job that is refused", tt.name, n)
		}
		if past, err := m.engine.History(t.Context()); err != nil || len(past) != 1 || past[0].Reason != last.Reason {
			t.Errorf("%s: history %+v, %v", tt.name, past, err)
		}
		// and nothing of it is left behind that keeps a good one from being taken
		m.files, m.options.Anchor = old.Files, old.Anchor()
		m.options.Running = &update.Release{Name: "pump/1", Seq: 1}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		if got := m.do(t, "job-2", "pump/9"); got.Result != update.Committed && tt.reason != "signature" {
			t.Errorf("%s: a good one after it: %+v %q", tt.name, got, m.faults)
		}
	}
}

func TestTheFloorRisesAfterACommitAndHoldsForEver(t *testing.T) {
	m := newMachine(releases())
	if got := m.do(t, "job-1", "pump/4"); got.Result != update.Committed { // its floor is 3
		t.Fatalf("outcome = %+v", got)
	}
	down := func(seq, version int) map[string][]byte {
		r := one(map[string]any{"seq": seq, "downgrade_max_seq": 100}, nil)
		for range version {
			r.Publish(epoch)
		}
		return r.Files
	}
	m.files = down(2, 2)
	if got := m.do(t, "job-2", "pump/9"); got.Result != update.Refused || got.Reason != "floor" {
		t.Errorf("below the floor, with a permit: %+v", got)
	}
	for _, name := range []string{"system.floor-0", "system.floor-1"} { // one copy is enough
		m := *m
		m.disk = m.disk.Clone()
		m.reopen()
		if !m.disk.Flip("warden", name, 3, 1) {
			t.Fatalf("there is no %s", name)
		}
		if got := m.do(t, "job-3", "pump/9"); got.Result != update.Refused || got.Reason != "floor" {
			t.Errorf("with %s damaged: %+v", name, got)
		}
	}
	m.files = down(3, 4)
	if got := m.do(t, "job-4", "pump/9"); got.Result != update.Committed {
		t.Errorf("at the floor, with a permit: %+v %q", got, m.faults)
	}
}

func TestAWaveThatHasNotComeIsWaitedFor(t *testing.T) {
	r := one(map[string]any{"wave": []any{map[string]any{"after": "2020-01-01T00:00:00Z", "permille": 0},
		map[string]any{"after": epoch.Add(30 * time.Hour).Format(time.RFC3339), "permille": 1000}}}, nil)
	m := newMachine(releases())
	m.files = r.Files
	said := false
	m.healthy = func(string) bool {
		said = said || strings.Contains(m.engine.Status().Waiting, "wave")
		return true
	}
	got := m.do(t, "job-1", "pump/9")
	if took := m.clock.now.Sub(epoch); got.Result != update.Committed || !said || took < 30*time.Hour || took > 32*time.Hour {
		t.Errorf("outcome = %+v after %v, said %t", got, took, said)
	}
}

func TestJobsThatCannotBeAreNotAccepted(t *testing.T) {
	m := newMachine(releases())
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	for _, j := range []update.Job{
		{}, {ID: "x"}, {Release: "pump/2"}, {ID: "x", Release: "pump"}, {ID: "x", Release: "../2"}, {ID: "x", Release: "pump/2/3"}, {ID: "x", Release: "pump/.."},
		{ID: strings.Repeat("x", 65), Release: "pump/2"}, {ID: "x", Release: "pump/" + strings.Repeat("2", 49)}, {ID: "x", Release: "pump/2", Window: "25:00-26:00"},
		{ID: "x", Release: "pump/2", Repository: strings.Repeat("x", 513)}, {ID: "x", Release: "pump/2", Priority: 1001},
	} {
		if err := m.engine.Accept(t.Context(), j); err == nil {
			t.Errorf("%+v was accepted", j)
		}
	}
	if s := m.engine.Status(); s.Phase != "idle" {
		t.Errorf("status = %+v", s)
	}
}
