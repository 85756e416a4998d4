package update_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/update"
	"holdfast/update/updatetest"
)

func TestAReleaseIsStagedTriedAndTrusted(t *testing.T) {
	f := releases()
	m := newMachine(f)
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.Committed || got.Error != "" || got.Trials != 1 {
		t.Fatalf("outcome = %+v, faults %q", got, m.faults)
	}
	if m.loader.Booted() != board.SlotB || m.holds(board.SlotB) != "pump/2" || m.holds(board.SlotA) != "pump/1" || m.boots != 2 {
		t.Errorf("slot %s runs after %d starts, a holds %q, b %q", m.loader.Booted(), m.boots, m.holds(board.SlotA), m.holds(board.SlotB))
	}
	s := m.engine.Status()
	if s.Phase != "idle" || s.Running != "pump/2" || s.Trial || s.Fault != "" {
		t.Errorf("status = %+v", s)
	}
	// and back into slot a, from what slot b is now known to hold
	m.fetched = &counts{}
	if got := m.do(t, "job-2", "pump/3"); got.Result != update.Committed {
		t.Fatalf("outcome = %+v", got)
	}
	if m.holds(board.SlotA) != "pump/3" || m.loader.Booted() != board.SlotA {
		t.Errorf("slot %s runs, a holds %q", m.loader.Booted(), m.holds(board.SlotA))
	}
	if full := f.full("pump/3"); m.fetched.of[full] != 0 {
		t.Errorf("%d bytes of the full image were fetched, beside the delta", m.fetched.of[full])
	}
	past, err := m.engine.History(t.Context())
	if err != nil || len(past) != 2 || past[0].Job != "job-1" || past[1].Result != update.Committed {
		t.Errorf("history = %+v, %v", past, err)
	}
	if got := m.do(t, "job-3", "pump/3"); got.Result != update.Committed || got.Reason != "current" || m.boots != 3 {
		t.Errorf("the release that runs: %+v after %d starts", got, m.boots)
	}
}

// A broker gives the job it keeps at every connection. After another that was given at the board it is over all the same.
func TestAJobThatIsOverIsNotBegunAgainAfterAnother(t *testing.T) {
	m := newMachine(releases())
	m.do(t, "job-1", "pump/2")
	if got := m.do(t, "local-1", "pump/3"); got.Result != update.Committed {
		t.Fatalf("outcome = %+v", got)
	}
	if err := m.engine.Accept(t.Context(), update.Job{ID: "job-1", Release: "pump/2"}); err != nil {
		t.Error(err)
	}
	if s := m.engine.Status(); s.Phase != "idle" || s.Job != "" || s.Last.Job != "local-1" {
		t.Errorf("status = %+v", s)
	}
}

func TestASystemThatIsNotInOrderIsTriedThreeTimesAndHeld(t *testing.T) {
	m := newMachine(releases())
	m.healthy = func(image string) bool { return image != "pump/2" }
	got := m.do(t, "job-1", "pump/2")
	if got.Result != update.RolledBack || got.Reason != "quarantined" || got.Trials != 3 || !strings.Contains(got.Error, "no link to the broker") {
		t.Fatalf("outcome = %+v", got)
	}
	if m.holds(m.loader.Booted()) != "pump/1" || m.backward != 3 || m.boots != 7 {
		t.Errorf("%q runs after %d starts, %d out of trials", m.holds(m.loader.Booted()), m.boots, m.backward)
	}
	if hours := m.clock.now.Sub(epoch).Hours(); hours < 5 || hours > 6 {
		t.Errorf("three trials within %.1f h: pauses of one and four hours are promised", hours)
	}
	if got := m.do(t, "job-2", "pump/2"); got.Result != update.Refused || got.Reason != "quarantined" {
		t.Errorf("once more: %+v", got)
	}
	if got := m.do(t, "job-3", "pump/3"); got.Result != update.Committed {
		t.Errorf("the next release: %+v", got)
	}
}

func TestASystemThatDoesNotComeUpIsLeft(t *testing.T) {
	m := newMachine(releases())
	m.loader.Loads = func(id board.SlotID) bool { return m.holds(id) != "pump/2" }
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.RolledBack || !strings.Contains(got.Error, "it did not come up") || got.Trials != 0 {
		t.Errorf("outcome = %+v", got)
	}
}

func TestAPowerCutDuringATrialIsNotTheReleasesFault(t *testing.T) {
	m := newMachine(releases())
	cuts := 0
	m.loader.Reset = board.ResetPower
	m.healthy = func(string) bool {
		if m.engine.Status().Trial && cuts < 5 {
			cuts++
			m.restart = true // out of the trial, and nobody asked for it
		}
		return true
	}
	got := m.do(t, "job-1", "pump/2")
	if got.Result != update.Committed || cuts != 5 || got.Trials != 6 {
		t.Errorf("outcome = %+v after %d cuts", got, cuts)
	}
}

// The Raspberry Pi's firmware hears of a trial in a warm restart alone. What a cut makes it forget was never tried.
func TestWhatAPowerCutForgetsIsArmedAgain(t *testing.T) {
	for _, tt := range []struct {
		reset  board.Reset
		times  int
		result update.Result
		trials int
	}{
		{board.ResetPower, 5, update.Committed, 1},
		{"", 2, update.Committed, 1},
		{"", 3, update.RolledBack, 0}, // who does not know why it started counts
	} {
		m := newMachine(releases())
		m.loader.Reset = tt.reset
		m.forgets = tt.times
		if got := m.do(t, "job-1", "pump/2"); got.Result != tt.result || got.Trials != tt.trials || m.forgets != 0 {
			t.Errorf("reset %q, forgotten %d times: %+v, %d left", tt.reset, tt.times, got, m.forgets)
		}
	}
}

func TestStartsWithoutAVerdictCountWhereTheBoardKnowsNoReason(t *testing.T) {
	m := newMachine(releases())
	m.healthy = func(string) bool {
		m.restart = m.restart || m.engine.Status().Trial
		return true
	}
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.RolledBack || !strings.Contains(got.Error, "ended without a verdict") || got.Trials != 3 {
		t.Errorf("outcome = %+v", got)
	}
}

func TestAReleaseThatCameThroughIsNotBlamedForEarlierTrials(t *testing.T) {
	f := &fixture{repo: updatetest.New(epoch, 7), images: map[string][]byte{"pump/1": releases().images["pump/1"]}}
	for n, name := range []string{"pump/2", "pump/3"} {
		f.images[name] = words(uint64(50+n), imageBytes)
		f.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": f.images[name]}, Custom: map[string]any{"seq": n + 2, "downgrade_max_seq": 9}})
	}
	f.repo.Publish(epoch)
	m := newMachine(f)
	for round := range 3 {
		was := m.backward
		m.healthy = func(image string) bool { return image != "pump/2" || m.backward-was >= 2 }
		if got := m.do(t, fmt.Sprint("there-", round), "pump/2"); got.Result != update.Committed || got.Trials != 3 {
			t.Fatalf("round %d: %+v", round, got)
		}
		if got := m.do(t, fmt.Sprint("back-", round), "pump/3"); got.Result != update.Committed {
			t.Fatalf("round %d: %+v", round, got)
		}
	}
}

func TestTheDeadlineHoldsEvenWhenTheAgentIsDead(t *testing.T) {
	m := newMachine(releases())
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if err := m.job("job-1", "pump/2"); err != nil {
		t.Fatal(err)
	}
	for !m.restart {
		m.step(t)
	}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	m.clock.now = m.clock.now.Add(9 * time.Minute)
	if m.engine.Alone(t.Context()); m.restart {
		t.Fatal("it was given up before its time")
	}
	m.clock.now = m.clock.now.Add(time.Minute)
	if m.engine.Alone(t.Context()); !m.restart || m.backward != 1 {
		t.Fatalf("nobody reported for ten minutes: restart %t, back %d, %+v", m.restart, m.backward, m.engine.Status())
	}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if m.loader.Booted() != board.SlotA {
		t.Errorf("slot %s runs", m.loader.Booted())
	}
}

func TestATrialIsLookedAtAsOftenAsItHasToHold(t *testing.T) {
	m := newMachine(releases())
	m.options.Settle, m.options.Deadline = time.Second, 4*time.Second
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.Committed {
		t.Fatalf("outcome = %+v", got)
	}
	if took := m.clock.now.Sub(m.up); took > 2*time.Second {
		t.Errorf("trusted %s after its start, and it was in order from the beginning", took)
	}
}

func TestUnitsAndScriptsAreAsked(t *testing.T) {
	m := newMachine(releases())
	units := map[string]bool{"pump.service": true, "broken.service": false}
	m.options.Units = func(context.Context) map[string]bool { return maps.Clone(units) }
	asked, veto := 0, errors.New("the pump is dry")
	m.options.Scripts = func(context.Context) error {
		if asked++; asked < 3 {
			return veto
		}
		return nil
	}
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.Committed || asked != 3 {
		t.Fatalf("outcome = %+v, the scripts ran %d times", got, asked)
	}
	asked = -1000
	if got := m.do(t, "job-2", "pump/3"); got.Result != update.RolledBack || !strings.Contains(got.Error, veto.Error()) {
		t.Errorf("with a script that does not pass: %+v", got)
	}
	m.options.Scripts = nil
	was := m.options.Units
	m.options.Units = func(ctx context.Context) map[string]bool {
		u := was(ctx)
		u["pump.service"] = !m.engine.Status().Trial
		return u
	}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if got := m.do(t, "job-3", "pump/4"); got.Result != update.RolledBack || !strings.Contains(got.Error, "unit pump.service is not active") || strings.Contains(got.Error, "broken") {
		t.Errorf("with a unit that is not active any more: %+v", got)
	}
}

func TestWhatWaitsSaysWhyAndGoesOn(t *testing.T) {
	supply := errors.New("the battery has 12 %, 30 are wanted")
	for _, tt := range []struct {
		name    string
		prepare func(*machine)
		job     update.Job
		waiting string
		after   time.Duration // at least
	}{
		{"until a time", nil, update.Job{NotBefore: epoch.Add(5 * time.Hour)}, "not time yet", 5 * time.Hour},
		{"for a window", nil, update.Job{Window: "22:00-23:00Z"}, "the window is not open", 10 * time.Hour},
		{"for the device's window", func(m *machine) { m.options.Window, _ = update.ParseWindow("13:00-14:00Z") }, update.Job{}, "the window is not open", time.Hour},
		{"for a charge", func(m *machine) {
			m.options.Supply = func() error {
				if m.clock.now.Sub(epoch) < 3*time.Hour {
					return supply
				}
				return nil
			}
		}, update.Job{}, supply.Error(), 3 * time.Hour},
		{"for a hook", func(m *machine) {
			m.options.Hook = func(_ context.Context, e update.Event, _ update.Status) error {
				if e == update.BeforeArm && m.clock.now.Sub(epoch) < 2*time.Hour {
					return errors.New("a customer is being served")
				}
				return nil
			}
		}, update.Job{}, "a customer is being served", 2 * time.Hour},
	} {
		m := newMachine(releases())
		if tt.prepare != nil {
			tt.prepare(m)
		}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		tt.job.ID, tt.job.Release = "job", "pump/2"
		if err := m.engine.Accept(t.Context(), tt.job); err != nil {
			t.Fatal(err)
		}
		said := false
		m.healthy = func(string) bool {
			said = said || strings.Contains(m.engine.Status().Waiting, tt.waiting)
			return true
		}
		if _, err := m.live(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if took := m.clock.now.Sub(epoch); m.engine.Status().Last.Result != update.Committed || !said || took < tt.after || took > tt.after+2*time.Hour {
			t.Errorf("%s: %+v after %v, said %t", tt.name, m.engine.Status().Last, took, said)
		}
	}
}

func TestHooksAreToldInOrder(t *testing.T) {
	m := newMachine(releases())
	var told []update.Event
	m.options.Hook = func(_ context.Context, e update.Event, s update.Status) error {
		if e != update.OnProgress {
			told = append(told, e)
		}
		if s.Release != "pump/2" {
			t.Errorf("%s: status %+v", e, s)
		}
		return nil
	}
	m.do(t, "job-1", "pump/2")
	if want := []update.Event{update.BeforeDownload, update.BeforeArm, update.AfterCommit}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	m = newMachine(releases())
	m.options.Trials = 1
	told = nil
	m.options.Hook = func(_ context.Context, e update.Event, _ update.Status) error {
		told = append(told, e)
		return errors.New("no") // what comes after a deed cannot hold it up
	}
	m.options.Hook = func(_ context.Context, e update.Event, _ update.Status) error {
		told = append(told, e)
		return nil
	}
	m.healthy = func(image string) bool { return image != "pump/2" }
	m.do(t, "job-1", "pump/2")
	if n := len(told); n == 0 || told[n-1] != update.AfterRollBack {
		t.Errorf("told %q", told)
	}
}

func TestPauseResumeAndCancelWorkInEveryPhase(t *testing.T) {
	for _, phase := range []string{"checking", "staging", "staged", "armed", "trial"} {
		at := func(m *machine) {
			t.Helper()
			if err := m.start(); err != nil {
				t.Fatal(err)
			}
			if err := m.job("job-1", "pump/2"); err != nil {
				t.Fatal(err)
			}
			for !m.in(phase) {
				if m.restart && phase == "trial" {
					if err := m.start(); err != nil {
						t.Fatal(err)
					}
				}
				m.step(t)
			}
		}
		fresh := func() *machine {
			m := newMachine(releases())
			m.options.Slice = 1 // a segment at a time
			if phase == "staged" {
				m.options.Window, _ = update.ParseWindow("22:00-23:00Z") // so that it stays there
			}
			return m
		}
		m := fresh()
		at(m)
		if err := m.engine.Pause(t.Context()); err != nil {
			t.Errorf("%s: pause: %v", phase, err)
		}
		if !m.engine.Status().Paused {
			t.Errorf("%s: paused: %+v", phase, m.engine.Status())
		}
		before := m.engine.Status()
		if phase != "armed" && phase != "trial" {
			for range 5 {
				m.step(t)
			}
			if now := m.engine.Status(); now.Bytes != before.Bytes || now.Phase != before.Phase || m.restart {
				t.Errorf("%s: it went on while it was paused: %+v, was %+v", phase, now, before)
			}
		}
		if err := m.engine.Resume(t.Context()); err != nil {
			t.Errorf("%s: resume: %v", phase, err)
		}
		if _, err := m.live(t.Context()); err != nil || m.engine.Status().Last.Result != update.Committed {
			t.Errorf("%s: after resume: %+v, %v", phase, m.engine.Status().Last, err)
		}
		m = fresh()
		at(m)
		if err := m.engine.Cancel(t.Context()); err != nil {
			t.Errorf("%s: cancel: %v", phase, err)
		}
		if _, err := m.live(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := m.engine.Status(); s.Last == nil || s.Last.Result != update.Canceled || s.Last.Reason != "canceled" || m.holds(m.loader.Booted()) != "pump/1" {
			t.Errorf("%s: after cancel: %+v, %q runs", phase, s.Last, m.holds(m.loader.Booted()))
		}
		if got := m.do(t, "job-2", "pump/2"); got.Result != update.Committed {
			t.Errorf("%s: after a canceled one: %+v", phase, got)
		}
	}
	m := newMachine(releases())
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if m.engine.Pause(t.Context()) == nil || m.engine.Resume(t.Context()) == nil || m.engine.Cancel(t.Context()) == nil {
		t.Error("there was nothing to pause, resume or cancel")
	}
}

func TestANewerJobTakesThePlaceOfOneThatIsNotArmed(t *testing.T) {
	m := newMachine(releases())
	m.options.Slice = 1
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if err := m.job("job-1", "pump/2"); err != nil {
		t.Fatal(err)
	}
	for !m.in("staging") {
		m.step(t)
	}
	if err := m.engine.Accept(t.Context(), update.Job{ID: "job-0", Release: "pump/4", Priority: -1}); err == nil {
		t.Error("a job of a lower priority was taken")
	}
	if got := m.do(t, "job-2", "pump/3"); got.Result != update.Committed || m.holds(m.loader.Booted()) != "pump/3" {
		t.Errorf("outcome = %+v, %q runs", got, m.holds(m.loader.Booted()))
	}
	past, _ := m.engine.History(t.Context())
	if len(past) != 2 || past[0].Job != "job-1" || past[0].Reason != "superseded" {
		t.Errorf("history = %+v", past)
	}
	if err := m.job("job-2", "pump/3"); err != nil { // a retained job comes again with each connection
		t.Error(err)
	}
	if s := m.engine.Status(); s.Phase != "idle" {
		t.Errorf("the same job again: %+v", s)
	}
}

func TestADeltaGoesOnAtTheSegmentWhereItWasCut(t *testing.T) {
	f := releases()
	patch := f.manifest("pump/2").Parts[0].Deltas[0]
	for cut := range len(patch.Patch.Segments) {
		m := newMachine(f)
		m.options.Slice = 1
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		if err := m.job("job-1", "pump/2"); err != nil {
			t.Fatal(err)
		}
		for !m.in("staging") || m.made() < cut {
			m.step(t)
		}
		m.disk = m.disk.Cut()
		m.reopen()
		m.fetched = &counts{}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.live(t.Context()); err != nil || m.holds(m.loader.Booted()) != "pump/2" {
			t.Errorf("cut after %d segments: %v, %q runs", cut, err, m.holds(m.loader.Booted()))
		}
		left := int64(0)
		for _, s := range patch.Patch.Segments[cut:] {
			left += s.Length
		}
		if got := m.fetched.of[patch.File]; got > left+16<<10 || m.fetched.of[f.full("pump/2")] != 0 {
			t.Errorf("cut after %d segments: %d bytes fetched, %d were missing; and %d of the full image", cut, got, left, m.fetched.of[f.full("pump/2")])
		}
	}
}

func TestARunningSystemThatWasWrittenToIsRepairedFromTheFullImage(t *testing.T) {
	f := releases()
	m := newMachine(f)
	spoiled := slices.Clone(f.images["pump/1"])
	m.fill(board.SlotA, spoiled)
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	m.do(t, "job-1", "pump/2") // what slot b holds is known now, and what a holds no more
	m.slots.Device(board.SlotB, "root").Flip(5_000, 1)
	m.fetched = &counts{}
	if got := m.do(t, "job-2", "pump/3"); got.Result != update.Committed || m.holds(m.loader.Booted()) != "pump/3" {
		t.Fatalf("outcome = %+v, %q runs", got, m.holds(m.loader.Booted()))
	}
	full := f.manifest("pump/3").Parts[0].Full
	if got := m.fetched.of[full.File]; got == 0 || got > full.Patch.Segments[0].Length+16<<10 {
		t.Errorf("%d bytes of the full image were fetched, its first segment has %d", got, full.Patch.Segments[0].Length)
	}
}

func TestAnUnknownOrWritableSystemTakesTheFullImage(t *testing.T) {
	f := releases()
	for name, prepare := range map[string]func(*machine){
		"unknown":  func(m *machine) { m.fill(board.SlotA, words(99, imageBytes)) },
		"writable": func(m *machine) { m.slots.Mounted = func(id board.SlotID, _ string) bool { return id == board.SlotA } },
	} {
		m := newMachine(f)
		prepare(m)
		if got := m.do(t, "job-1", "pump/2"); got.Result != update.Committed || m.holds(board.SlotB) != "pump/2" {
			t.Errorf("%s: %+v", name, got)
		}
		if n := m.fetched.of[f.manifest("pump/2").Parts[0].Deltas[0].File]; n != 0 {
			t.Errorf("%s: %d bytes of the delta were fetched", name, n)
		}
	}
}

func TestWhatRotsBetweenWritingAndReadingBackIsMadeAnew(t *testing.T) {
	f := releases()
	m := newMachine(f)
	m.options.Slice = 1
	rot := 0
	m.healthy = func(string) bool {
		if m.in("staging") && m.made() == 3 && rot < 1 {
			m.slots.Device(board.SlotB, "root").Flip(70_000, 4)
			rot++
		}
		return true
	}
	if got := m.do(t, "job-1", "pump/2"); got.Result != update.Committed || rot != 1 || m.holds(board.SlotB) != "pump/2" {
		t.Errorf("outcome = %+v, rotted %d times, b holds %q", got, rot, m.holds(board.SlotB))
	}
}

func TestDamagedPayloadsAreFetchedAgainAndGivenUpInTheEnd(t *testing.T) {
	f := releases()
	delta := f.manifest("pump/2").Parts[0].Deltas[0].File
	for name, tt := range map[string]struct {
		bad  int // times that it is brought damaged
		want update.Result
	}{"twice": {2, update.Committed}, "always": {1000, update.Failed}} {
		m := newMachine(f)
		m.files = maps.Clone(f.repo.Files)
		whole := m.files[delta]
		spoiled := slices.Clone(whole)
		spoiled[len(spoiled)-9] ^= 0x40
		n := 0
		m.healthy = func(string) bool {
			if m.in("staging") {
				n++
			}
			if m.files[delta] = whole; n <= tt.bad {
				m.files[delta] = spoiled
			}
			return true
		}
		m.files[delta] = spoiled
		got := m.do(t, "job-1", "pump/2")
		if got.Result != tt.want || tt.want == update.Failed && got.Reason != "payload" {
			t.Errorf("%s: %+v", name, got)
		}
		if m.holds(m.loader.Booted()) == "" {
			t.Errorf("%s: something unknown runs", name)
		}
	}
}

func TestAMediumThatFailsEndsTheJobAndLeavesTheSystem(t *testing.T) {
	m := newMachine(releases())
	m.options.Slice = 1
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if err := m.job("job-1", "pump/2"); err != nil {
		t.Fatal(err)
	}
	for !m.in("staging") {
		m.step(t)
	}
	m.healthy = func(string) bool {
		if s := m.engine.Status(); s.Phase == "downloading" && m.made() == 2 {
			m.disk.Break(sim.Fault{Err: syscall.EIO, Skip: 3, Times: 1})
		}
		return true
	}
	_, err := m.live(t.Context())
	m.disk.Repair()
	if err != nil {
		t.Fatal(err)
	}
	if s := m.engine.Status(); s.Last == nil || m.holds(m.loader.Booted()) == "" {
		t.Errorf("status = %+v", s)
	}
}

func TestADamagedJournalLetsTheTrialDecide(t *testing.T) {
	m := newMachine(releases())
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if err := m.job("job-1", "pump/2"); err != nil {
		t.Fatal(err)
	}
	for !m.restart {
		m.step(t)
	}
	if !m.disk.Flip("warden", "system.journal", 20, 1) {
		t.Fatal("there is no journal")
	}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if s := m.engine.Status(); s.Fault == "" || !s.Trial {
		t.Errorf("status = %+v", s)
	}
	if _, err := m.live(t.Context()); err != nil || m.loader.Booted() != board.SlotB {
		t.Fatalf("%v, slot %s", err, m.loader.Booted())
	}
	if f, err := m.loader.Facts(); err != nil || f.Leaving() {
		t.Errorf("not trusted: %+v, %v", f, err)
	}
}
