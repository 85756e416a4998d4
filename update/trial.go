package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/board"
)

// scriptsEvery is how long health scripts that did not pass are left alone.
const scriptsEvery = 15 * time.Second

// mostCuts is how many trials of a job may end in a power cut without being counted. A system that takes the supply with
// it looks the same.
const mostCuts = 10

// arm tells the bootloader to try the slot that was written, when the time has come. The journal says so first.
func (e *Engine) arm(ctx context.Context) (Want, error) {
	if e.j.Phase == Staged {
		if want, err := e.mayArm(ctx); want != (Want{}) || err != nil {
			return want, err
		}
		before := *e.health
		if e.o.Units != nil {
			before.Units = e.o.Units(ctx)
		}
		j := e.j
		j.Phase, j.Armed, j.Arms, j.Verdict, j.Before = Arming, false, j.Arms+1, "", &before
		if err := e.save(j); err != nil {
			return Want{}, err
		}
	}
	if err := e.o.Boot.Arm(e.j.Target); err != nil {
		return Want{}, e.end(Failed, refuse("bootloader", fmt.Errorf("arm slot %s: %w", e.j.Target, err)))
	}
	j := e.j
	j.Armed = true
	return Want{}, e.save(j)
}

// mayArm says what has to come before the restart into the other slot.
func (e *Engine) mayArm(ctx context.Context) (Want, error) {
	now := e.o.Clock.Now()
	window, _ := ParseWindow(e.j.Job.Window) // checked when the job was accepted
	if e.j.Job.Window == "" {
		window = e.o.Window
	}
	opens := window.Opens(now)
	switch {
	case e.j.Paused:
		return Want{Wait: time.Hour}, nil
	case window != (Window{}) && !e.o.Clock.Trusted():
		return e.waits("the clock is not set, so the window is not known", time.Minute)
	case opens > 0:
		return e.waits("the window is not open", opens)
	case e.j.Retry.After(now) && e.o.Clock.Trusted():
		return e.waits("a trial did not come through; the next waits", e.j.Retry.Sub(now))
	case e.health == nil:
		return Want{Health: true}, nil
	}
	if want, err := e.supply(); want != (Want{}) || err != nil {
		return want, err
	}
	if err := e.hook(ctx, BeforeArm); err != nil {
		return e.waits("held up: "+err.Error(), 10*time.Minute)
	}
	e.progress.waiting = ""
	return Want{}, nil
}

// onTrial reports whether the running system is on trial, as far as the journal and the bootloader tell together.
func (e *Engine) onTrial() bool {
	return e.facts.Leaving() && (e.j.Phase == Idle || e.j.Phase == Checking || e.j.Phase == Arming && e.facts.Booted == e.j.Target)
}

// restart asks for the restart that the bootloader's switch is set for.
func (e *Engine) restart(ctx context.Context) (Want, error) {
	back := e.onTrial()
	if back {
		if err := e.o.Boot.Disarm(); err != nil { // it would fall back by itself; this makes sure
			e.o.Log.Error("disarm", "err", err)
		}
	} else if !e.j.Armed { // the power went between arming and the note of it
		j := e.j
		j.Armed = true
		if err := e.save(j); err != nil {
			return Want{}, err
		}
	}
	e.publish()
	if err := e.o.Restart(ctx, back); err != nil {
		return e.waits("restart: "+err.Error(), 5*time.Minute)
	}
	return e.waits("restarting", time.Minute)
}

// probe judges the system on trial by what was last reported.
func (e *Engine) probe(ctx context.Context) (Want, error) {
	boot, up := e.o.Uptime()
	if e.j.Phase == Arming && e.j.Boot != boot {
		j := e.j
		j.Boot, j.Trials, j.Armed = boot, j.Trials+1, true
		if err := e.save(j); err != nil {
			return Want{}, err
		}
	}
	missing := e.missing(ctx)
	now := e.o.Clock.Now()
	left := e.o.Deadline - up
	switch {
	case len(missing) > 0:
		e.good = time.Time{}
	case e.good.IsZero():
		e.good = now
	}
	if e.o.mutant == commitBeforeGate {
		return Want{}, e.commit(ctx)
	}
	if len(missing) == 0 && now.Sub(e.good) >= e.o.Settle {
		err := e.scripts(ctx, now)
		if err == nil {
			return Want{}, e.commit(ctx)
		}
		missing = []string{err.Error()}
	}
	if left <= 0 {
		if len(missing) == 0 {
			missing = []string{"it was not in order for long enough"}
		}
		return e.condemn(ctx, strings.Join(missing, "; "))
	}
	e.progress.waiting = "on trial"
	if len(missing) > 0 {
		e.progress.waiting = "on trial: " + clipped(strings.Join(missing, "; "), 200)
	}
	return Want{Health: true, Wait: max(time.Second, min(left, e.o.Settle, 5*time.Second))}, nil
}

func (e *Engine) missing(ctx context.Context) []string {
	now := e.health
	if now != nil && e.o.Units != nil {
		with := *now
		with.Units = e.o.Units(ctx)
		now = &with
	}
	return Missing(e.j.Before, now)
}

// scripts runs the health scripts, not too often.
func (e *Engine) scripts(ctx context.Context, now time.Time) error {
	if e.o.Scripts == nil {
		return nil
	}
	if !e.asked.IsZero() && now.Sub(e.asked) < scriptsEvery {
		return e.veto
	}
	e.asked, e.veto = now, e.o.Scripts(ctx)
	return e.veto
}

// commit trusts the running system. What follows from that is noted by finish, as often as it takes.
func (e *Engine) commit(ctx context.Context) error {
	if e.o.mutant == toldBeforeDone && e.j.Phase != Idle {
		if err := e.end(Committed, nil); err != nil {
			return err
		}
	}
	e.sure = false
	if err := e.o.Boot.Commit(); err != nil {
		return fmt.Errorf("commit slot %s: %w", e.facts.Booted, err)
	}
	if e.j.Phase != Arming {
		e.o.Log.Info("a system that was on trial, of which the journal knows nothing, is in order", "slot", e.facts.Booted)
	}
	return nil
}

// condemn notes why the system on trial is no good, before it is left.
func (e *Engine) condemn(ctx context.Context, why string) (Want, error) {
	e.o.Log.Error("the system on trial is given up", "slot", e.facts.Booted, "why", why)
	if e.j.Phase != Arming { // nobody here began the trial: there is nothing to note
		return e.restart(ctx)
	}
	j := e.j
	j.Verdict = clipped(why, verdictBytes)
	return Want{}, e.save(j)
}

// finish notes what follows from a committed update, in an order in which each can be done again: what may not run any
// more, what the slot holds, how the job ended.
func (e *Engine) finish(ctx context.Context) error {
	if err := e.store.raise(floor{Seq: e.j.Release.Seq, Security: e.j.Release.Floor}); err != nil {
		e.o.Log.Error("the floor is damaged and begins anew", "err", err)
		for _, name := range floorNames {
			if err := e.store.write(name, floor{Seq: e.j.Release.Seq, Security: e.j.Release.Floor}); err != nil {
				return err
			}
		}
	}
	if err := e.note(); err != nil {
		return err
	}
	var q quarantine
	if _, err := e.store.read("quarantine", recordsBytes, &q); err == nil && q.clear(e.j.Release.Manifest) {
		if err := e.store.write("quarantine", q); err != nil {
			return err
		}
	}
	if err := e.hook(ctx, AfterCommit); err != nil {
		e.o.Log.Warn("hook after the commit", "err", err)
	}
	return e.end(Committed, nil)
}

// note remembers what the slot that was written holds, so that the next update can start from it.
func (e *Engine) note() error {
	if err := e.loadManifest(); err != nil {
		e.o.Log.Error("what the slot holds is not noted", "err", err)
		return nil
	}
	h := holdings{}
	if _, err := e.store.read("holdings", recordsBytes, &h); err != nil {
		h = holdings{}
	}
	held := holding{Release: e.j.Release}
	for _, p := range e.manifest.Parts {
		held.Parts = append(held.Parts, content{p.Name, p.Image.Bytes, hex.EncodeToString(p.Image.SHA256[:])})
	}
	h[e.j.Target] = held
	return e.store.write("holdings", h)
}

// fellBack decides what a trial that ended in the old system means: another trial later, or the end of the job.
func (e *Engine) fellBack(ctx context.Context) error {
	if err := e.secure(); err != nil {
		return err
	}
	why := e.j.Verdict
	switch {
	case why == "canceled":
		return e.gaveUp(ctx, Canceled, "canceled", why)
	case why == "" && e.facts.Reset == board.ResetPower && e.j.Cuts < mostCuts:
		e.o.Log.Warn("a power cut ended the trial; it is begun again")
		e.j.Cuts++
		return e.again(time.Time{})
	case why == "" && e.j.Trials == 0:
		why = "it did not come up"
	case why == "":
		why = "it came up, and ended without a verdict"
	}
	if e.facts.Reset == board.ResetWatchdog {
		why += " (the watchdog had to)"
	}
	var q quarantine
	if _, err := e.store.read("quarantine", recordsBytes, &q); err != nil {
		e.o.Log.Error("the quarantine is damaged and begins anew", "err", err)
		q = quarantine{}
	}
	if e.o.mutant == countForgotten {
		q = quarantine{}
	}
	s := q.blame(e.j.Release, fmt.Sprintf("%s %d", e.j.Job.ID, e.j.Arms), e.o.Trials)
	if err := e.store.write("quarantine", q); err != nil {
		return err
	}
	if s.Held {
		return e.gaveUp(ctx, RolledBack, "quarantined", fmt.Sprintf("trial %d of %d did not come through: %s", s.Failed, e.o.Trials, why))
	}
	e.o.Log.Warn("a trial did not come through", "why", why, "failed", s.Failed)
	return e.again(e.o.Clock.Now().Add(backOff(e.o.BackOff, s.Failed)))
}

// again goes back to the slot as it was written. It is read back once more: whatever ran from it may have written to it.
func (e *Engine) again(retry time.Time) error {
	j := e.j
	j.Phase, j.Armed, j.Verdict, j.Retry = Staging, false, "", retry
	if err := e.loadManifest(); err != nil {
		return e.end(Failed, refuse("records", err))
	}
	j.Part, j.Segment = len(e.manifest.Parts), 0
	e.health = nil
	return e.save(j)
}

func (e *Engine) gaveUp(ctx context.Context, result Result, word, why string) error {
	if err := e.hook(ctx, AfterRollBack); err != nil {
		e.o.Log.Warn("hook after the roll-back", "err", err)
	}
	return e.end(result, refuse(word, errors.New(why)))
}
