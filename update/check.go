package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"holdfast/board"
	"holdfast/update/trust"
)

// badFiles is how many files in a row may be refused before the job is: a bad link spoils one, an attacker all.
const badFiles = 3

// Directories of a repository.
const (
	metadataDir = "metadata/"
	targetsDir  = "targets/"
)

// check verifies the release, and whether it may run here. Not a byte of a slot is written before it has passed.
func (e *Engine) check(ctx context.Context, offer *Offer) (Want, error) {
	if want, err := e.mayFetch(); want != (Want{}) || err != nil {
		return want, err
	}
	if e.client == nil {
		if err := e.trusted(); err != nil {
			return Want{}, e.end(Refused, refuse("anchor", err))
		}
	}
	for {
		name, most, more := e.client.Want()
		if !more {
			break
		}
		want, err := e.give(offer, metadataDir+name, most, e.client.Give, e.client.Absent)
		if err != nil || want != (Want{}) || e.j.Phase != Checking { // the last: it was refused once too often
			return want, err
		}
		if err := e.keepTrust(); err != nil {
			return Want{}, err
		}
	}
	target, err := e.client.Target(e.j.Job.Release + ".json")
	if err != nil {
		return Want{}, e.end(Refused, refuse(word(err), err))
	}
	release, err := target.Release()
	if err != nil {
		return Want{}, e.end(Refused, refuse("release", err))
	}
	r := Release{Name: release.Name, Seq: release.Seq, Floor: release.Floor, Manifest: hex.EncodeToString(target.SHA256[:])}
	if want, err := e.mayRun(release, r); err != nil {
		if errors.Is(err, errAlready) {
			return Want{}, e.end(Committed, err)
		}
		return Want{}, e.end(Refused, err)
	} else if want != (Want{}) {
		return want, nil
	}
	if e.manifest == nil {
		if want, err := e.fetchManifest(offer, target); e.manifest == nil {
			return want, err
		}
	}
	return e.prepare(ctx, r)
}

// mayFetch says what has to come before anything is asked of the network.
func (e *Engine) mayFetch() (Want, error) {
	switch wait := e.j.Job.NotBefore.Sub(e.o.Clock.Now()); {
	case e.j.Paused:
		return Want{Wait: time.Hour}, nil
	case !e.j.Job.NotBefore.IsZero() && !e.o.Clock.Trusted():
		return e.waits("the clock is not set", time.Minute)
	case !e.j.Job.NotBefore.IsZero() && wait > 0:
		return e.waits("it is not time yet", wait)
	}
	return e.supply()
}

func (e *Engine) supply() (Want, error) {
	if e.o.Supply != nil {
		if err := e.o.Supply(); err != nil {
			return e.waits(err.Error(), 5*time.Minute)
		}
	}
	return Want{}, nil
}

// waits notes why nothing goes on. What was verified is verified anew after it: the time it was compared with has passed.
func (e *Engine) waits(why string, wait time.Duration) (Want, error) {
	e.client = nil
	e.progress.waiting = why
	return Want{Wait: max(time.Second, min(wait, time.Hour))}, nil
}

// give hands a small file to whom it is for, or asks for it.
func (e *Engine) give(offer *Offer, name string, most int64, take func([]byte) error, absent func() error) (Want, error) {
	var err error
	file, brought := offer.Files[name]
	switch {
	case brought:
		delete(offer.Files, name)
		var raw []byte
		if raw, err = whole(file, most); err == nil {
			err = take(raw)
		} else if !errors.Is(err, errTooLong) {
			return Want{}, fmt.Errorf("fetch %s: %w", name, err)
		}
	case offer.Absent == name && absent != nil:
		offer.Absent = ""
		err = absent()
	default:
		return Want{Metadata: name, Most: most}, nil
	}
	if err == nil {
		return Want{}, nil
	}
	err = refuse(word(err), fmt.Errorf("%s: %w", name, err))
	if e.damaged++; e.damaged < badFiles {
		e.client = nil // from what is trusted, anew
		return Want{}, err
	}
	return Want{}, e.end(Refused, err)
}

// word is the one word for why a small file is not taken.
func word(err error) string {
	for _, w := range []struct {
		err  error
		word string
	}{
		{trust.ErrExpired, "expired"}, {trust.ErrSignature, "signature"}, {trust.ErrRollback, "rollback"}, {trust.ErrMismatch, "mismatch"},
		{trust.ErrType, "type"}, {trust.ErrKey, "key"}, {trust.ErrNotFound, "not_found"}, {trust.ErrFormat, "format"}, {errTooLong, "too_long"},
	} {
		if errors.Is(err, w.err) {
			return w.word
		}
	}
	return Reason(err)
}

var errTooLong = errors.New("longer than it may be")

// whole reads a small file of at most so many bytes; one more is an error, and not read on.
func whole(s Stream, most int64) ([]byte, error) {
	if s.Bytes > most+1 {
		s.Bytes = most + 1
	}
	raw, err := io.ReadAll(io.NewSectionReader(s, 0, s.Bytes))
	if err == nil && int64(len(raw)) > most {
		err = errTooLong
	}
	return raw, err
}

var errAlready = refuse("current", errors.New("this release runs already"))

// mayRun says why a verified release may not run here, or what it has to wait for.
func (e *Engine) mayRun(t trust.Release, r Release) (Want, error) {
	running := e.running()
	var f floor
	f, err := e.store.loadFloor()
	if err != nil { // what the running release demands is known all the same
		e.o.Log.Error("the floor is damaged; that of the running release holds", "err", err)
		f = floor{Seq: running.Seq, Security: running.Floor}
	}
	var q quarantine
	if _, err := e.store.read("quarantine", recordsBytes, &q); err != nil {
		return Want{}, refuse("records", err)
	}
	switch {
	case r.Name != e.j.Job.Release:
		return Want{}, refuse("release", fmt.Errorf("it says it is %s", r.Name))
	case string(t.Kind) != e.o.Kind:
		return Want{}, refuse("kind", fmt.Errorf("it is for %q, not for %q", t.Kind, e.o.Kind))
	case !slices.ContainsFunc(e.o.Compatible, func(c string) bool { return slices.Contains(t.Compatible, c) }):
		return Want{}, refuse("incompatible", fmt.Errorf("it is for %s, this board is %s", strings.Join(t.Compatible, ", "), strings.Join(e.o.Compatible, ", ")))
	case t.Arch != "" && e.o.Arch != "" && t.Arch != e.o.Arch:
		return Want{}, refuse("incompatible", fmt.Errorf("it is a program for %s, this is %s", t.Arch, e.o.Arch))
	case e.program().Compare(t.MinAgent) < 0:
		return Want{}, refuse("program", fmt.Errorf("it needs holdfast %s, this is %s", t.MinAgent, e.o.Program))
	case q.find(r.Manifest).Held:
		return Want{}, refuse("quarantined", fmt.Errorf("it was given up after %d trials", q.find(r.Manifest).Failed))
	case r.Manifest == running.Manifest, running.Manifest == "" && running.Seq == r.Seq && running.Name == r.Name:
		return Want{}, errAlready
	case r.Seq < f.Security:
		return Want{}, refuse("floor", fmt.Errorf("its number %d is below %d, the lowest that is secure", r.Seq, f.Security))
	case r.Seq <= running.Seq && (t.DowngradeMaxSeq == 0 || running.Seq > t.DowngradeMaxSeq):
		return Want{}, refuse("downgrade", fmt.Errorf("its number %d is not above %d, and it carries no permit to go down from there", r.Seq, running.Seq))
	}
	if open, opens := trust.Open(e.o.Device, r.Name, t.Wave, e.client.State().Clock); !open {
		wait := time.Hour
		if !opens.IsZero() && e.o.Clock.Trusted() {
			wait = opens.Sub(e.o.Clock.Now())
		}
		return e.waits("its wave has not reached this device", wait)
	}
	return Want{}, nil
}

// running is the release this slot holds, as far as anybody knows.
func (e *Engine) running() Release {
	var h holdings
	if _, err := e.store.read("holdings", recordsBytes, &h); err != nil {
		e.o.Log.Error("what the slots hold is not known", "err", err)
	}
	if held, known := h[e.facts.Booted]; known {
		return held.Release
	}
	if e.o.Running != nil {
		return *e.o.Running
	}
	return Release{}
}

// program is this program's version; one that is no version is the oldest.
func (e *Engine) program() trust.Version {
	v, err := trust.ParseVersion(e.o.Program)
	if err != nil {
		return trust.Version{}
	}
	return v
}

// fetchManifest reads the release's manifest from what is offered, or asks for it.
func (e *Engine) fetchManifest(offer *Offer, target trust.Target) (Want, error) {
	if target.Length > ManifestBytes {
		return Want{}, e.end(Refused, refuse("manifest", fmt.Errorf("a manifest of %d bytes", target.Length)))
	}
	return e.give(offer, targetsDir+target.File, target.Length, func(raw []byte) error {
		if err := target.Check(raw); err != nil {
			return err
		}
		m, err := ParseManifest(raw)
		if err == nil && m.Release != e.j.Job.Release {
			err = fmt.Errorf("manifest of %s", m.Release)
		}
		if err != nil {
			return refuse("manifest", err)
		}
		e.manifest, e.raw = m, raw
		return nil
	}, nil)
}

// prepare takes the last look before the other slot is written, and then notes that it will be.
func (e *Engine) prepare(ctx context.Context, r Release) (Want, error) {
	if err := e.fits(); err != nil {
		return Want{}, e.end(Refused, err)
	}
	if err := e.hook(ctx, BeforeDownload); err != nil {
		return e.waits("held up: "+err.Error(), 10*time.Minute)
	}
	target := e.facts.Booted.Other()
	if e.o.mutant == wrongSlot {
		target = e.facts.Booted
	}
	if e.o.mutant == floorEarly {
		_ = e.store.raise(floor{Seq: r.Seq, Security: r.Floor})
	}
	var h holdings
	if _, err := e.store.read("holdings", recordsBytes, &h); err != nil {
		h = nil // nothing is known of either slot: full images are taken
	}
	_, known := h[target]
	if known {
		delete(h, target)
		if err := e.store.write("holdings", h); err != nil {
			return Want{}, err
		}
	}
	if err := e.o.Files.WriteFile(e.store.prefix+"manifest", e.raw); err != nil {
		return Want{}, fmt.Errorf("keep the manifest: %w", err)
	}
	e.raw, e.damaged = nil, 0
	if err := e.secure(); err != nil {
		return Want{}, e.end(Failed, refuse("bootloader", err))
	}
	j := e.j
	j.Phase, j.Release, j.From, j.Target, j.Erase = Staging, r, e.facts.Booted, target, !known || e.o.Whole
	return Want{}, e.save(j)
}

// fits reports whether the release has just the parts this board has, none too large.
func (e *Engine) fits() error {
	var names []string
	for _, p := range e.manifest.Parts {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	if have := e.o.Slots.Parts(); !slices.Equal(names, have) {
		return refuse("parts", fmt.Errorf("it has the parts %s, this board has %s", strings.Join(names, ", "), strings.Join(have, ", ")))
	}
	for _, p := range e.manifest.Parts {
		bytes, err := e.o.Slots.Room(e.facts.Booted.Other(), p.Name)
		if err != nil {
			return refuse("slots", err)
		}
		if p.Image.Bytes > bytes {
			return refuse("space", fmt.Errorf("part %s has %d bytes, slot %s has room for %d", p.Name, p.Image.Bytes, e.facts.Booted.Other(), bytes))
		}
	}
	return nil
}

func (e *Engine) hook(ctx context.Context, event Event) error {
	if e.o.Hook == nil {
		return nil
	}
	return e.o.Hook(ctx, event, e.present())
}

// loadManifest opens the manifest that was kept when the job was checked.
func (e *Engine) loadManifest() error {
	if e.manifest != nil {
		return nil
	}
	raw, err := e.o.Files.ReadFile(e.store.prefix+"manifest", ManifestBytes)
	if err != nil {
		return fmt.Errorf("the manifest that was kept: %w", err)
	}
	if sumOf(raw) != e.j.Release.Manifest {
		return fmt.Errorf("the manifest that was kept: %w", board.ErrDamaged)
	}
	e.manifest, err = ParseManifest(raw)
	return err
}
