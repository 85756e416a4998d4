package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/update/trust"
)

func TestFilesAreWantedInOrderAndBounded(t *testing.T) {
	p := newPlan()
	p.rotate(func(c cast) { c["root"] = keyNamed("r4", "r5", "r6") })
	files := p.files()
	c := begin(t, p.start())
	var order []string
	for name, most, ok := c.Want(); ok; name, most, ok = c.Want() {
		raw, there := files[name]
		if !there {
			order = append(order, "no "+name)
			if err := c.Absent(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		order = append(order, fmt.Sprintf("%s %t", name, most == int64(len(raw))))
		if err := c.Give(raw); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"2.root.json false", "no 3.root.json", "timestamp.json false", "1.snapshot.json true",
		"1.targets.json true",
		"1.content.json true"}
	if !slices.Equal(order, want) {
		t.Errorf("wanted %v, not %v", order, want)
	}
	for name, role := range map[string]string{"gateway/1.7.0.json": "targets", "content/rules.json": "content"} {
		if got, err := c.Target(name); err != nil || got.Role != role || got.Length == 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := c.Target("gateway/1.8.0.json"); !errors.Is(err, trust.ErrNotFound) {
		t.Errorf("a target that is not there: %v", err)
	}
	if c.Give(nil) == nil || c.Absent() == nil {
		t.Error("something was taken although nothing was wanted")
	}
}

func TestWithoutConsistentSnapshotsNamesCarryNoVersion(t *testing.T) {
	p := newPlan()
	p.roots[0] = sign(with(rootOf(1, p.cast), "consistent_snapshot", false), p.cast["root"]...)
	p.hashes = false
	c := begin(t, p.start())
	if err := pull(c, p.files()); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Target("gateway/1.7.0.json"); err != nil || got.File != got.Name {
		t.Errorf("%+v, %v", got, err)
	}
	p = newPlan()
	c = begin(t, p.start())
	if err := pull(c, p.files()); err != nil {
		t.Fatal(err)
	}
	got, err := c.Target("gateway/1.7.0.json")
	if want := fmt.Sprintf("gateway/%x.1.7.0.json", got.SHA256); err != nil || got.File != want {
		t.Errorf("with consistent snapshots the file is %s, want %s; %v", got.File, want, err)
	}
}

// A power cut may come after any step, and after any part of what is kept was written: the same end is reached.
func TestAfterAnyStepTheNextStartGoesOn(t *testing.T) {
	p := newPlan()
	first := updated(t, p.start(), p.files())
	q := p.next()
	for i := range 4 {
		q.rotate(func(c cast) {
			c["root"] = keyNamed(fmt.Sprint("r", i), fmt.Sprint("s", i), fmt.Sprint("t", i))
			c["timestamp"] = keyNamed(fmt.Sprint("ts", i))
		})
	}
	files := q.files()
	last := updated(t, first, files)
	steps := 0
	for s := first; ; steps++ {
		c := begin(t, s)
		name := change(t, c, s, files)
		if name == "" {
			if !equal(s, last) {
				t.Error("the end is another one")
			}
			break
		}
		if err := c.Give(files[name]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, torn := range tornStates(s, c.State()) {
			if got := updated(t, torn, files); !equal(got, last) {
				t.Errorf("after %s, half of it written, the end is another one", name)
			}
		}
		s = c.State()
	}
	if steps != 8 {
		t.Errorf("%d steps, want 4 roots and 4 files", steps)
	}
}

// change gives what is trusted already and says what is absent, up to the first file that is new.
func change(t *testing.T, c *trust.Client, s trust.State, files map[string][]byte) string {
	t.Helper()
	for name, _, ok := c.Want(); ok; name, _, ok = c.Want() {
		var err error
		switch raw := files[name]; {
		case raw == nil:
			err = c.Absent()
		case bytes.Equal(raw, s.Timestamp):
			err = c.Give(raw)
		default:
			return name
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ""
}

// tornStates are all mixtures of two states, as when the power goes while their parts are written in some order.
func tornStates(a, b trust.State) (mixed []trust.State) {
	for bits := range 32 {
		s := a
		if bits&1 != 0 {
			s.Root = b.Root
		}
		if bits&2 != 0 {
			s.Timestamp = b.Timestamp
		}
		if bits&4 != 0 {
			s.Snapshot = b.Snapshot
		}
		if bits&8 != 0 {
			s.Targets = b.Targets
		}
		if bits&16 != 0 {
			s.Delegated = b.Delegated
		}
		mixed = append(mixed, s)
	}
	return mixed
}

func equal(a, b trust.State) bool {
	return bytes.Equal(a.Root, b.Root) && bytes.Equal(a.Timestamp, b.Timestamp) && bytes.Equal(a.Snapshot, b.Snapshot) &&
		bytes.Equal(a.Targets, b.Targets) && maps.EqualFunc(a.Delegated, b.Delegated, bytes.Equal) &&
		a.Clock.Equal(b.Clock)
}

func TestTargetsAreAnsweredFromWhatIsKept(t *testing.T) {
	p := newPlan()
	s := updated(t, p.start(), p.files())
	c := begin(t, s)
	if _, err := c.Target("content/rules.json"); err != nil {
		t.Error(err)
	}
	if err := c.Absent(); err != nil {
		t.Fatal(err)
	}
	if err := c.Give(s.Timestamp); err != nil {
		t.Fatal(err)
	}
	if name, _, ok := c.Want(); ok {
		t.Errorf("%s is wanted although nothing changed", name)
	}
}

// Whichever runs out first, nothing is answered from what is kept any more.
func TestWhatIsKeptExpires(t *testing.T) {
	const soon = "2026-07-01T00:00:00Z"
	for role, change := range map[string]func(p *plan){
		"1.root.json": func(p *plan) {
			p.roots[0] = sign(with(rootOf(1, p.cast), "expires", soon), p.cast["root"]...)
		},
		"timestamp.json":       func(p *plan) { p.timestamp["expires"] = soon },
		"kept 1.snapshot.json": func(p *plan) { p.snapshot["expires"] = soon },
		"kept 1.targets.json":  func(p *plan) { p.targets["expires"] = soon },
	} {
		p := newPlan()
		change(p)
		s := updated(t, p.start(), p.files())
		if _, err := begin(t, s).Target("operators.json"); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		c, err := trust.New(s, trust.Options{Now: now.AddDate(0, 1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Target("operators.json")
		if !errors.Is(err, trust.ErrExpired) || !strings.Contains(err.Error(), ": "+role+": expired at 2026-07-01") {
			t.Errorf("%s: a month later: %v", role, err)
		}
		if got := c.State(); !equal(got, atClock(s, got.Clock)) {
			t.Errorf("%s: what has expired was forgotten", role)
		}
	}
}

func atClock(s trust.State, clock time.Time) trust.State {
	s.Clock = clock
	return s
}

func TestStandingSaysWhatIsTrustedAndForHowLong(t *testing.T) {
	p := newPlan()
	c := begin(t, p.start())
	if got := fmt.Sprint(c.Standing()); got != "[{root 1 2027-01-01 00:00:00 +0000 UTC}]" {
		t.Errorf("at first: %s", got)
	}
	p.timestamp["expires"], p.delegated["content"]["version"] = "2026-07-01T00:00:00Z", 5
	if err := pull(c, p.files()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range c.Standing() {
		got = append(got, fmt.Sprintf("%s %d %s", s.Role, s.Version, s.Expires.Format("2006-01")))
	}
	want := []string{"root 1 2027-01", "timestamp 1 2026-07", "snapshot 1 2027-01", "targets 1 2027-01", "content 5 2027-01"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	p := newPlan()
	s := updated(t, p.start(), p.files())
	q := p.next()
	q.delegated, q.targets = p.delegated, with(q.targets, "version", 2)
	c := begin(t, s)
	var asked []string
	files := q.files()
	for name, _, ok := c.Want(); ok; name, _, ok = c.Want() {
		asked = append(asked, name)
		if files[name] == nil {
			_ = c.Absent()
		} else if err := c.Give(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if want := "2.root.json timestamp.json 2.snapshot.json 2.targets.json"; strings.Join(asked, " ") != want {
		t.Errorf("asked for %v, want %s", asked, want)
	}
}

func TestWhatDecayedIsDroppedAndFetchedAgain(t *testing.T) {
	p := newPlan()
	files := p.files()
	s := updated(t, p.start(), files)
	for part, spoil := range map[string]func(*trust.State){
		"timestamp":      func(s *trust.State) { s.Timestamp = spoilt(s.Timestamp) },
		"snapshot":       func(s *trust.State) { s.Snapshot = spoilt(s.Snapshot) },
		"targets":        func(s *trust.State) { s.Targets = spoilt(s.Targets) },
		"content":        func(s *trust.State) { s.Delegated = map[string][]byte{"content": spoilt(s.Delegated["content"])} },
		"a role unknown": func(s *trust.State) { s.Delegated = map[string][]byte{"other": s.Targets} },
		"nothing left":   func(s *trust.State) { *s = trust.State{Root: s.Root, Clock: s.Clock} },
		"cut off":        func(s *trust.State) { s.Timestamp, s.Snapshot = s.Timestamp[:9], []byte{} },
		"the wrong file": func(s *trust.State) {
			s.Timestamp, s.Snapshot, s.Targets = s.Targets, s.Timestamp,
				s.Snapshot
		},
	} {
		damaged := s
		spoil(&damaged)
		if got := updated(t, damaged, files); !equal(got, s) {
			t.Errorf("%s: it does not heal", part)
		}
	}
	damaged := s
	damaged.Snapshot = spoilt(s.Snapshot)
	if err := begin(t, damaged).Lost(); !errors.Is(err, trust.ErrSignature) || !strings.Contains(err.Error(),
		"kept snapshot") {
		t.Errorf("Lost says %v", err)
	}
	if err := begin(t, s).Lost(); err != nil {
		t.Errorf("Lost says %v", err)
	}
	for _, root := range [][]byte{nil, {}, spoilt(s.Root), s.Targets} {
		if _, err := trust.New(trust.State{Root: root}, trust.Options{}); err == nil {
			t.Errorf("%.40q was taken for a root", root)
		}
	}
}

// spoilt changes a digit of the first number that is signed.
func spoilt(raw []byte) []byte {
	return bytes.Replace(raw, []byte(`"version":1`), []byte(`"version":3`), 1)
}

func TestTheClockNeverFalls(t *testing.T) {
	p := newPlan()
	p.targets["targets"].(obj)["gateway/1.8.0.json"] = targetOf("m8", with(system(8), "issued", "2026-06-02T00:00:00Z"))
	p.targets["targets"].(obj)["slip.json"] = targetOf("m9", with(system(9), "issued", "2099-01-01T00:00:00Z"))
	p.targets["targets"].(obj)["odd.json"] = targetOf("m9", with(system(9), "issued", "2026-12-01T00:00:00Z", "zzz", 1))
	s := updated(t, p.start(), p.files())
	if want := time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC); !s.Clock.Equal(want) {
		t.Errorf("the clock is at %s, want the newest issued, %s", s.Clock, want)
	}
	c, err := trust.New(s, trust.Options{Now: now.AddDate(-5, 0, 0)})
	if err != nil || !c.State().Clock.Equal(s.Clock) {
		t.Errorf("a clock that was set back: %s, %v", c.State().Clock, err)
	}
	c, err = trust.New(s, trust.Options{Now: now.AddDate(0, 1, 0)})
	if err != nil || !c.State().Clock.Equal(now.AddDate(0, 1, 0)) {
		t.Errorf("a clock that went on: %s, %v", c.State().Clock, err)
	}
	s.Clock = now.AddDate(2, 0, 0)
	if _, err := update(t, s, p.files()); !errors.Is(err, trust.ErrExpired) {
		t.Errorf("what the kept clock has left behind: %v", err)
	}
}

func TestStatesShareNothingWithTheClient(t *testing.T) {
	p := newPlan()
	s := updated(t, p.start(), p.files())
	c := begin(t, s)
	delete(c.State().Delegated, "content")
	delete(s.Delegated, "content")
	if len(c.State().Delegated) != 1 {
		t.Error("a change outside is seen inside")
	}
}
