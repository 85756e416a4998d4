package trust_test

import (
	"errors"
	"strings"
	"testing"

	"holdfast/update/trust"
)

func TestVersionsThatFall(t *testing.T) {
	p := newPlan().next().next()
	s := updated(t, p.start(), p.files())
	down := func(change func(q *plan)) error {
		q := p.next()
		change(q)
		_, err := update(t, s, q.files())
		return err
	}
	for name, change := range map[string]func(q *plan){
		"timestamp": func(q *plan) { q.timestamp["version"] = 2 },
		"snapshot":  func(q *plan) { q.snapshot["version"] = 2 },
		"targets":   func(q *plan) { q.targets["version"] = 2 },
		"content":   func(q *plan) { q.delegated["content"] = with(q.delegated["content"], "version", 2) },
	} {
		if err := down(change); !errors.Is(err, trust.ErrRollback) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was lost of the timestamp, the snapshot still knows, and the other way round.
	timestamp := s.Timestamp
	s.Timestamp = nil
	if err := down(func(q *plan) { q.snapshot["version"] = 2 }); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("snapshot, with the timestamp lost: %v", err)
	}
	s.Timestamp, s.Snapshot = timestamp, nil
	if err := down(func(q *plan) { q.snapshot["version"] = 2 }); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("snapshot, with the snapshot lost: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	for role, change := range map[string]func(q *plan, expires string){
		"timestamp.json":  func(q *plan, e string) { q.timestamp["expires"] = e },
		"2.snapshot.json": func(q *plan, e string) { q.snapshot["expires"] = e },
		"2.targets.json":  func(q *plan, e string) { q.targets["expires"] = e },
		"2.content.json": func(q *plan, e string) {
			q.delegated["content"] = with(q.delegated["content"], "expires",
				e)
		},
		"2.root.json": func(q *plan, e string) {
			q.roots = append(q.roots, sign(with(rootOf(2, q.cast), "expires", e), q.cast["root"]...))
		},
	} {
		for expires, fine := range map[string]bool{past: false, "2026-06-01T12:00:00Z": false,
			"2026-06-01T12:00:01Z":           true,
			"2026-06-01T12:00:00.000000001Z": true, later: true, "9999-12-31T23:59:59Z": true} {
			p := newPlan()
			s := updated(t, p.start(), p.files())
			q := p.next()
			change(q, expires)
			got, err := update(t, s, q.files())
			if fine && err != nil || !fine && (!errors.Is(err, trust.ErrExpired) || !strings.HasPrefix(err.Error(),
				role+": ")) {
				t.Errorf("%s that expires %s: %v", role, expires, err)
			}
			if fine {
				continue
			}
			heal := q.next()
			change(heal, later)
			if role == "2.root.json" {
				heal.roots = append(heal.roots[:2], sign(rootOf(3, q.cast), q.cast["root"]...))
			}
			updated(t, got, heal.files())
		}
	}
}

func TestAnExpiredRootInTheMiddleIsWalkedOver(t *testing.T) {
	p := newPlan()
	for v := 2; v <= 4; v++ {
		expires := past
		if v == 4 {
			expires = later
		}
		p.roots = append(p.roots, sign(with(rootOf(v, p.cast), "expires", expires), p.cast["root"]...))
	}
	updated(t, p.start(), p.files())
}

func TestNoMoreThan256RootsAreWalked(t *testing.T) {
	p := newPlan()
	for range 300 {
		p.rotate(func(cast) {})
	}
	files := p.files()
	c := begin(t, p.start())
	n := 0
	for name, _, _ := c.Want(); name != "timestamp.json"; name, _, _ = c.Want() {
		if err := c.Give(files[name]); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 256 {
		t.Errorf("%d roots were walked", n)
	}
	if err := pull(begin(t, c.State()), files); err != nil {
		t.Errorf("the next time: %v", err)
	}
}

// Whoever had the key of the timestamp or the snapshot may have counted the versions up; with new keys they begin anew.
func TestNewKeysHealVersionsThatWereCountedUp(t *testing.T) {
	ahead := newPlan()
	const most = int64(1) << 53
	ahead.timestamp["version"], ahead.snapshot["version"], ahead.targets["version"] = most, most, most
	s := updated(t, ahead.start(), ahead.files())
	for name, tt := range map[string]struct {
		change func(cast)
		want   error
	}{
		"nothing":   {func(cast) {}, trust.ErrRollback},
		"timestamp": {func(c cast) { c["timestamp"] = keyNamed("new") }, nil},
		"snapshot":  {func(c cast) { c["snapshot"] = keyNamed("new") }, nil},
		"both":      {func(c cast) { c["timestamp"], c["snapshot"] = keyNamed("new"), keyNamed("newer") }, nil},
		"targets":   {func(c cast) { c["targets"] = keyNamed("new", "newer") }, trust.ErrRollback},
		"one more":  {func(c cast) { c["timestamp"] = keyNamed("ts", "new") }, trust.ErrRollback},
	} {
		if _, err := update(t, s, newPlan().rotate(tt.change).next().files()); !errors.Is(err, tt.want) {
			t.Errorf("new keys for %s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestATimestampOfTheSameVersionIsTheOneThatIsTrusted(t *testing.T) {
	p := newPlan()
	s := updated(t, p.start(), p.files())
	q := p.next()
	q.timestamp["version"] = 1
	got := updated(t, s, q.files())
	if !equal(got, s) {
		t.Error("something else came with a timestamp of the same version")
	}
	q.cast["timestamp"] = keyNamed("x")
	if _, err := update(t, s, q.files()); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("of the same version, and not signed: %v", err)
	}
}
