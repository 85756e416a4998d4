package update_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/update"
)

// updated has pump/2 in slot b and pump/3 in slot a, which runs.
func updated(t *testing.T) *machine {
	t.Helper()
	m := newMachine(releases())
	for i, release := range []string{"pump/2", "pump/3"} {
		if got := m.do(t, []string{"job-1", "job-2"}[i], release); got.Result != update.Committed {
			t.Fatalf("%+v", got)
		}
	}
	return m
}

func TestTheDeviceGoesBackToWhatRanBefore(t *testing.T) {
	m := updated(t)
	release, err := m.engine.RollBack(t.Context())
	if err != nil || release != "pump/2" || !m.restart {
		t.Fatalf("%q, %v, restart %v", release, err, m.restart)
	}
	if _, err := m.live(t.Context()); err != nil {
		t.Fatal(err)
	}
	facts, _ := m.loader.Facts()
	if facts.Booted != board.SlotB || facts.Next != board.SlotB || m.runs != "pump/2" {
		t.Errorf("%+v, %s runs", facts, m.runs)
	}
	if s := m.engine.Status(); s.Phase != "idle" || s.Running != "pump/2" || s.Trial {
		t.Errorf("%+v", s)
	}
	// Not forward again: that is an update.
	if _, err := m.engine.RollBack(t.Context()); err == nil || !strings.Contains(err.Error(), "pump/3 is not older than pump/2, which runs") {
		t.Errorf("once more: %v", err)
	}
	if got := m.do(t, "job-3", "pump/3"); got.Result != update.Committed || m.loader.Booted() != board.SlotA {
		t.Errorf("the update once more: %+v", got)
	}
}

func TestAnOldSystemThatIsNotInOrderIsLeftAgain(t *testing.T) {
	m := newMachine(releases())
	bad := ""
	m.options.Units = func(context.Context) map[string]bool { return map[string]bool{"app.service": m.runs != bad} }
	m.do(t, "job-1", "pump/2")
	m.do(t, "job-2", "pump/3")
	bad = "pump/2"
	if _, err := m.engine.RollBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if restarts, err := m.live(t.Context()); err != nil || restarts != 2 || m.runs != "pump/3" {
		t.Errorf("%d restarts, %v, %s runs", restarts, err, m.runs)
	}
}

func TestNoWayBack(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		prepare     func(m *machine)
	}{
		{"a job", "busy with the update job-3", func(m *machine) {
			if err := m.job("job-3", "pump/4"); err != nil {
				t.Fatal(err)
			}
		}},
		{"what was damaged", "slot b: root: it reads otherwise than it was written", func(m *machine) { m.fill(board.SlotB, []byte("other")) }},
		{"below the floor", "the number of pump/2, 2, is below 3", func(m *machine) {
			if err := update.Raise(m.docs, 9, 3); err != nil {
				t.Fatal(err)
			}
		}},
		{"a floor that is lost", "both copies are damaged", func(m *machine) {
			for _, name := range []string{"system.floor-0", "system.floor-1"} {
				if err := m.docs.WriteFile(name, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"nobody knows what is there", "it is not known what slot b holds", func(m *machine) {
			if err := m.docs.Remove("system.holdings"); err != nil {
				t.Fatal(err)
			}
		}},
		{"a slot that is armed", "a system is on trial", func(m *machine) {
			if err := m.loader.Arm(board.SlotB); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		m := updated(t)
		tt.prepare(m)
		if release, err := m.engine.RollBack(t.Context()); err == nil || !strings.Contains(err.Error(), tt.words) || m.restart {
			t.Errorf("%s: %q, %v, restart %v", tt.name, release, err, m.restart)
		}
	}
	m := newMachine(releases()) // what the factory wrote is not known
	m.do(t, "job-1", "pump/2")
	if _, err := m.engine.RollBack(t.Context()); err == nil || !strings.Contains(err.Error(), "it is not known what slot a holds") {
		t.Errorf("the factory's: %v", err)
	}
}

func TestARestartThatIsRefusedLeavesNothingArmed(t *testing.T) {
	m := updated(t)
	o := m.options
	o.Files, o.Slots, o.Boot, o.Clock, o.Uptime = m.docs, m.slots, m.loader, m.clock, func() (string, time.Duration) { return "boot", time.Hour }
	o.Device, o.Compatible, o.Program, o.Built = "pump-7", []string{"bench"}, "1.0.0", epoch
	o.Restart = func(context.Context, bool) error { return errors.New("systemd is not there") }
	e, err := update.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.RollBack(t.Context()); err == nil || !strings.Contains(err.Error(), "systemd is not there") {
		t.Errorf("%v", err)
	}
	if facts, err := m.loader.Facts(); err != nil || facts.Leaving() {
		t.Errorf("%+v, %v", facts, err)
	}
}

// A power cut after any operation on the disk leaves a machine that runs one of the two, and trusts it in the end.
func TestAPowerCutOnTheWayBack(t *testing.T) {
	ends := map[string]int{}
	for cut := range 200 {
		m := updated(t)
		left := cut
		m.disk.Watch(func() {
			if left--; left < 0 {
				panic(errCut)
			}
		})
		all := func() (all bool) {
			defer func() {
				if r := recover(); r != nil && r != errCut {
					panic(r)
				}
			}()
			_, err := m.engine.RollBack(t.Context())
			return err == nil
		}()
		m.disk.Watch(nil)
		for state := range m.disk.CrashStates() {
			n := *m
			n.disk = state
			n.reopen()
			if err := n.start(); err != nil {
				t.Fatal(err)
			}
			if _, err := n.live(t.Context()); err != nil {
				t.Fatalf("cut %d: %v, %+v", cut, err, n.engine.Status())
			}
			facts, err := n.loader.Facts()
			if err != nil || facts.Leaving() || n.runs != "pump/2" && n.runs != "pump/3" || n.engine.Status().Running != n.runs {
				t.Fatalf("cut %d: %+v, %s runs, %+v", cut, facts, n.runs, n.engine.Status())
			}
			ends[n.runs]++
		}
		if all {
			if ends["pump/2"] == 0 || ends["pump/3"] == 0 {
				t.Errorf("after %d cuts: %v", cut, ends)
			}
			return
		}
	}
	t.Error("it never came to its end")
}
