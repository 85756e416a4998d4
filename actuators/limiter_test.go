package actuators_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
)

var errCut = errors.New("power cut")

// A disk keeps documents as board.Files promises: a write that is cut leaves the old document or the new one.
type disk struct {
	docs map[string][]byte
	cut  func() (cut, after bool) // asked at every write; after says that the new document got through
	fail error                    // every write's error while set
	n    int                      // writes so far
}

func (d *disk) ReadFile(name string, limit int64) ([]byte, error) {
	doc, ok := d.docs[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if int64(len(doc)) > limit {
		return nil, errors.New("too long")
	}
	return doc, nil
}

func (d *disk) WriteFile(name string, data []byte) error {
	d.n++
	if d.fail != nil {
		return d.fail
	}
	if d.cut != nil {
		if cut, after := d.cut(); cut {
			if after {
				d.docs[name] = append([]byte(nil), data...)
			}
			panic(errCut)
		}
	}
	d.docs[name] = append([]byte(nil), data...)
	return nil
}

func (d *disk) Remove(name string) error { delete(d.docs, name); return nil }

// A machine runs in simulated time: its true time goes on, its uptime starts with each boot, its wall clock lies.
type machine struct {
	clock
	true_  time.Duration
	booted time.Duration
	boots  int
}

func (m *machine) uptime() (string, time.Duration) {
	return fmt.Sprintf("boot-%d", m.boots), m.true_ - m.booted
}

func (m *machine) pass(d time.Duration) { m.true_ += d; m.wall = m.wall.Add(d) }

func (m *machine) boot() { m.boots++; m.booted = m.true_ }

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newMachine() *machine { return &machine{clock: clock{wall: epoch, trusted: true}} }

func newLimiter(t *testing.T, d *disk, m *machine, limits ...actuators.Limit) *actuators.Limiter {
	t.Helper()
	l, err := actuators.NewLimiter(d, m, m.uptime, limits...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWindowsSlide(t *testing.T) {
	d, m := &disk{docs: map[string][]byte{}}, newMachine()
	l := newLimiter(t, d, m)
	var done []time.Duration
	for m.true_ < 72*time.Hour {
		if l.Take(actuators.Reboot) == nil {
			done = append(done, m.true_)
		}
		m.pass(time.Minute)
	}
	if len(done) != 30 || done[2] != 2*time.Minute || done[3] != time.Hour || done[10] != 24*time.Hour {
		t.Errorf("%d reboots in three days, at %v", len(done), done)
	}
	if d.n != len(done) {
		t.Errorf("%d writes for %d reboots: refusals must not wear the flash", d.n, len(done))
	}
}

func TestLeftSaysHowManyAndHowLong(t *testing.T) {
	m := newMachine()
	l := newLimiter(t, &disk{docs: map[string][]byte{}}, m, actuators.Limit{Class: "x", PerHour: 2, PerDay: 3})
	for i, want := range []struct {
		left int
		wait time.Duration
	}{{2, 0}, {1, 0}, {0, 50 * time.Minute}} {
		if left, wait := l.Left("x"); left != want.left || wait != want.wait {
			t.Errorf("after %d: %d, %v, want %v", i, left, wait, want)
		}
		_ = l.Take("x")
		m.pass(10 * time.Minute)
		if i == 1 {
			m.pass(-10 * time.Minute)
		}
	}
	if err := l.Take("y"); !errors.Is(err, actuators.ErrLimited) {
		t.Errorf("a class without a limit: %v", err)
	}
}

// A caller that always asks gets three reboots in any hour and ten in any day, however the power is cut, whenever the
// process restarts, whatever the untrusted clock says; and it is not locked out for ever.
func TestAlwaysAskingRebootsThreeTimesAnHourAndTenADay(t *testing.T) {
	total := 0
	for seed := range uint64(150) {
		total += alwaysAsk(t, seed)
		if t.Failed() {
			return
		}
	}
	// At best 20 in 48 h, less what the gaps cost. A limiter that never refills would give 10.
	if total < 150*12 {
		t.Errorf("%d reboots in 150 runs of 48 h: the limiter hardly refills", total)
	}
}

func alwaysAsk(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 7))
	m := newMachine()
	d := &disk{docs: map[string][]byte{}}
	phantoms := 0 // counted, but the cut came before the deed
	d.cut = func() (bool, bool) {
		cut, after := rng.IntN(4) == 0, rng.IntN(2) == 0
		if cut && after {
			phantoms++
		}
		return cut, after
	}
	var done []time.Duration
	live := func() { // one life of the process, ended by a cut, a reboot, or a restart of the process alone
		defer func() {
			if r := recover(); r != nil {
				if r != errCut {
					panic(r)
				}
				m.boot()
			}
		}()
		l, err := actuators.NewLimiter(d, m, m.uptime)
		if err != nil {
			t.Fatal(err)
		}
		for m.true_ < 48*time.Hour {
			if l.Take(actuators.Reboot) == nil {
				done = append(done, m.true_)
				m.boot()
				return
			}
			m.pass(time.Duration(rng.IntN(600)) * time.Second)
			switch rng.IntN(20) {
			case 0:
				m.boot() // a cut between writes
				return
			case 1:
				return // the process alone
			}
		}
	}
	for m.true_ < 48*time.Hour {
		live()
		m.pass(time.Duration(rng.IntN(60)) * time.Second)
		// What the clock shows next: the truth, or anything while nobody trusts it.
		m.wall, m.trusted = epoch.Add(m.true_), true
		switch rng.IntN(4) {
		case 0:
			m.wall, m.trusted = time.Unix(0, 0), false
		case 1:
			m.wall, m.trusted = m.wall.Add(-time.Hour), false
		case 2:
			m.wall, m.trusted = m.wall.AddDate(30, 0, 0), false
		}
	}
	for i := range done {
		if i >= 3 && done[i]-done[i-3] < time.Hour {
			t.Errorf("seed %d: four reboots within %v", seed, done[i]-done[i-3])
		}
		if i >= 10 && done[i]-done[i-10] < 24*time.Hour {
			t.Errorf("seed %d: eleven reboots within %v", seed, done[i]-done[i-10])
		}
	}
	return len(done) + phantoms
}

func TestAGapIsCreditedOnlyBetweenTrustedClocks(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after bool
		jump          time.Duration // of the wall clock, over the 30 h off
		left          int
	}{
		{"both trusted", true, true, 30 * time.Hour, 3},
		{"written untrusted", false, true, 30 * time.Hour, 0},
		{"read untrusted", true, false, 30 * time.Hour, 0},
		{"set back an hour", true, true, -time.Hour, 0},
		{"back to 1970", true, false, -56 * 365 * 24 * time.Hour, 0},
		{"forty minutes", true, true, 40 * time.Minute, 0},
		{"an hour", true, true, time.Hour, 3},
	} {
		d, m := &disk{docs: map[string][]byte{}}, newMachine()
		m.trusted = tt.before
		l := newLimiter(t, d, m)
		for range 3 {
			if err := l.Take(actuators.Reboot); err != nil {
				t.Fatal(err)
			}
		}
		m.true_ += 30 * time.Hour
		m.wall = m.wall.Add(tt.jump)
		m.boot()
		m.trusted = tt.after
		l = newLimiter(t, d, m)
		if left, _ := l.Left(actuators.Reboot); left != tt.left {
			t.Errorf("%s: %d left, want %d", tt.name, left, tt.left)
		}
	}
}

func TestAClockThatIsSetLaterCreditsTheGapThen(t *testing.T) {
	d, m := &disk{docs: map[string][]byte{}}, newMachine()
	l := newLimiter(t, d, m)
	for range 3 {
		_ = l.Take(actuators.Reboot)
	}
	m.boot()
	m.wall, m.trusted = time.Unix(0, 0), false
	m.true_ += 2 * time.Hour
	m.booted = m.true_
	l = newLimiter(t, d, m)
	if left, _ := l.Left(actuators.Reboot); left != 0 {
		t.Errorf("%d left before the clock is set", left)
	}
	m.wall, m.trusted = epoch.Add(m.true_), true
	if left, _ := l.Left(actuators.Reboot); left != 3 {
		t.Errorf("%d left after the clock was set", left)
	}
	_ = l.Take(actuators.Reboot)
	m.wall = m.wall.AddDate(20, 0, 0) // a jump within the process gains nothing, trusted or not
	if left, _ := l.Left(actuators.Reboot); left != 2 {
		t.Errorf("%d left after a jump", left)
	}
}

func TestADamagedDocumentCountsAsUsedUp(t *testing.T) {
	whole := &disk{docs: map[string][]byte{}}
	m := newMachine()
	l := newLimiter(t, whole, m)
	_ = l.Take(actuators.Reboot)
	doc := whole.docs["limits"]
	damaged := [][]byte{{}, []byte("{}"), []byte("null\n00000000\n"), append(append([]byte(nil), doc...), 'x')}
	for i := range doc {
		flipped := append([]byte(nil), doc...)
		flipped[i] ^= 1
		damaged = append(damaged, doc[:i], flipped)
	}
	damaged = append(damaged, []byte(strings.Repeat("x", 300<<10)))
	for _, bad := range damaged {
		d, m := &disk{docs: map[string][]byte{"limits": bad}}, newMachine()
		l := newLimiter(t, d, m)
		if l.Fault() == nil {
			t.Fatalf("%q was taken for whole", bad)
		}
		if err := l.Take(actuators.Reboot); !errors.Is(err, actuators.ErrLimited) {
			t.Fatalf("%q: Take = %v", bad, err)
		}
		for range 3 { // a process that ends between deeds still sees the day pass
			m.pass(8 * time.Hour)
			l = newLimiter(t, d, m)
		}
		if err := l.Take(actuators.Reboot); err != nil || l.Fault() != nil {
			t.Fatalf("a day later: %v, fault %v", err, l.Fault())
		}
	}
}

func TestWhatCannotBeCountedIsNotDone(t *testing.T) {
	d, m := &disk{docs: map[string][]byte{}}, newMachine()
	l := newLimiter(t, d, m)
	full := errors.New("disk full")
	d.fail = full
	did := 0
	verb := actuators.Verb{Name: "v", Class: actuators.Reboot,
		Do: func(context.Context, actuators.Args) (actuators.Result, error) { did++; return nil, nil }}
	s := newSet(t, actuators.Options{Clock: m, Limiter: l, Allow: []string{"v"}}, verb)
	for range 5 {
		if _, err := s.Do(t.Context(), "v", nil); !errors.Is(err, actuators.ErrLimited) || !errors.Is(err, full) {
			t.Errorf("with a full disk: %v", err)
		}
	}
	d.fail = nil
	for range 5 {
		_, _ = s.Do(t.Context(), "v", nil)
	}
	if did != 3 {
		t.Errorf("%d deeds, want 3: what was refused for the disk is not counted", did)
	}
}

func TestLimitsAreAdjustable(t *testing.T) {
	m := newMachine()
	l := newLimiter(t, &disk{docs: map[string][]byte{}}, m, actuators.Limit{Class: actuators.Reboot, PerHour: 0, PerDay: 0})
	if err := l.Take(actuators.Reboot); !errors.Is(err, actuators.ErrLimited) {
		t.Errorf("a limit of none: %v", err)
	}
	if left, _ := l.Left(actuators.Repair); left != 20 {
		t.Errorf("%d repairs left by default", left)
	}
	if _, err := actuators.NewLimiter(&disk{}, m, nil, actuators.Limit{Class: "x", PerHour: -1}); err == nil {
		t.Error("a negative limit was accepted")
	}
}

func FuzzLimits(f *testing.F) {
	d, m := &disk{docs: map[string][]byte{}}, newMachine()
	l, _ := actuators.NewLimiter(d, m, m.uptime)
	_ = l.Take(actuators.Reboot)
	f.Add(d.docs["limits"])
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, m := &disk{docs: map[string][]byte{"limits": doc}}, newMachine()
		l := newLimiter(t, d, m)
		for range 20 {
			_ = l.Take(actuators.Reboot)
		}
		if left, _ := l.Left(actuators.Reboot); left != 0 {
			t.Fatalf("%d left after twenty", left)
		}
	})
}
