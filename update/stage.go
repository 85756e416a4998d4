package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/update/bsdiff"
)

// badStreams is how many times in a row bytes of a payload may turn out damaged before the job is given up.
const badStreams = 10

// ahead is how many batches of 128 KiB are decoded ahead. The rest of a small board's memory is for others.
const ahead = 4

// readBytes is how much is read at a time when a slot is read back.
const readBytes = 128 << 10

// errSlice ends a slice of work between two segments.
var errSlice = errors.New("the slice is over")

// stage writes the parts that are missing, segment by segment, and reads the slot back when all are there. What is needed
// to resume is in the journal: the part and the number of the next segment.
func (e *Engine) stage(ctx context.Context, offer *Offer, until time.Time) (Want, error) {
	if e.j.Paused {
		return Want{Wait: time.Hour}, nil
	}
	if err := e.loadManifest(); err != nil {
		return Want{}, e.end(Failed, refuse("records", err))
	}
	if want, err := e.supply(); want != (Want{}) || err != nil {
		return want, err
	}
	e.progress.waiting = ""
	for e.j.Part < len(e.manifest.Parts) {
		if want, err := e.part(ctx, offer, until); want != (Want{}) || err != nil || e.j.Phase != Staging {
			return want, err
		}
	}
	return e.readBack(ctx, offer)
}

// part makes the rest of one part.
func (e *Engine) part(ctx context.Context, offer *Offer, until time.Time) (Want, error) {
	part := e.manifest.Parts[e.j.Part]
	old, payload, err := e.source(ctx, part)
	if err != nil {
		return Want{}, err
	}
	defer old.Close()
	patch, full, ok := offered(offer, payload, part.Full)
	if !ok {
		return wanted(payload, part.Full), nil
	}
	slot, err := e.o.Slots.Open(e.j.Target, part.Name, e.j.Erase && e.j.Segment == 0)
	if err != nil {
		return Want{}, e.end(Failed, refuse("medium", err))
	}
	defer slot.Close()
	a := &e.applier // one for all slices: what it holds is allocated once
	a.Manifest, a.Old, a.New, a.Present, a.Ahead = payload.Patch, old, slot, nil, ahead
	if !e.j.Erase { // the release before the last is in it: much of it is right already
		if present, _, err := e.o.Slots.Image(e.j.Target, part.Name); err == nil {
			defer present.Close()
			a.Present = present // through the cache: slot itself would flush what was written before each look
		}
	}
	e.progress.start(e.o.Clock.Now(), e.made())
	err = a.Run(e.pace.context(ctx), e.j.Segment, patch.open, &bsdiff.Full{Manifest: part.Full.Patch, Open: full.open}, func(next int) error {
		return e.checkpoint(ctx, slot, next, until)
	})
	switch {
	case err == nil:
	case errors.Is(err, errSlice):
		return wanted(payload, part.Full), nil
	default:
		return Want{}, e.blame(ctx, err)
	}
	e.damaged = 0
	j := e.j
	j.Part, j.Segment = j.Part+1, 0
	return Want{}, e.save(j)
}

// offered returns what a part is made from, if it was brought.
func offered(offer *Offer, patch, full Payload) (p, f Stream, ok bool) {
	p, ok = offer.Files[patch.File]
	f, both := offer.Files[full.File]
	return p, f, ok && both
}

func wanted(patch, full Payload) Want {
	return Want{Patch: &File{patch.File, patch.Bytes}, Full: &File{full.File, full.Bytes}}
}

// open is a bsdiff.Range.
func (s Stream) open(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s, offset, length)), nil
}

// checkpoint makes a segment durable and only then notes it.
func (e *Engine) checkpoint(ctx context.Context, slot board.Partition, next int, until time.Time) error {
	if e.o.mutant != noDataSync && e.o.mutant != stateBeforeData {
		if err := slot.Sync(); err != nil {
			return &mediumError{err}
		}
	}
	e.damaged = 0
	last := next == len(e.manifest.Parts[e.j.Part].Full.Patch.Segments)
	if !last { // which is noted with the part
		j := e.j
		j.Segment = next
		if err := e.save(j); err != nil {
			return err
		}
	}
	if e.o.mutant == stateBeforeData {
		if err := slot.Sync(); err != nil {
			return err
		}
	}
	if e.progress.due(e.o.Clock.Now()) {
		if err := e.hook(ctx, OnProgress); err != nil {
			e.o.Log.Warn("progress hook", "err", err)
		}
	}
	if !last && e.o.Clock.Now().After(until) {
		return errSlice
	}
	return nil
}

// A mediumError is the slot's own.
type mediumError struct{ err error }

func (m *mediumError) Error() string { return m.err.Error() }
func (m *mediumError) Unwrap() error { return m.err }

// blame decides what an error of the applier means for the job.
func (e *Engine) blame(ctx context.Context, err error) error {
	var medium *mediumError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &medium), errors.Is(err, bsdiff.ErrWrite):
		return e.end(Failed, refuse("medium", err))
	case errors.Is(err, bsdiff.ErrStream), errors.Is(err, bsdiff.ErrFormat), errors.Is(err, bsdiff.ErrOutput):
		// the range is fetched again: what made it wrong may lie on the way
		if e.damaged++; e.damaged >= badStreams {
			return e.end(Failed, refuse("payload", err))
		}
	}
	return err
}

// nothing is the old image of a full one.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (nothing) Close() error                      { return nil }

// An origin is what a part is made from.
type origin interface {
	io.ReaderAt
	io.Closer
}

// source chooses what a part is made from: the running system where it is known, or found, to hold what a delta starts
// from and nobody can be writing to it; else the full image.
func (e *Engine) source(ctx context.Context, part Part) (origin, Payload, error) {
	if e.j.Full || len(part.Deltas) == 0 {
		return nothing{}, part.Full, nil
	}
	image, size, err := e.o.Slots.Image(e.j.From, part.Name)
	if err != nil {
		e.o.Log.Warn("the running system cannot be read; the full image is taken", "part", part.Name, "err", err)
		return nothing{}, part.Full, nil
	}
	fixed, err := image.Fixed()
	if err != nil || !fixed {
		image.Close()
		e.o.Log.Info("the running system can be written to; the full image is taken", "part", part.Name, "err", err)
		return nothing{}, part.Full, nil
	}
	known := e.known(part.Name)
	for _, d := range part.Deltas {
		same := known == hex.EncodeToString(d.Patch.Old.SHA256[:])
		if known == "" { // no update of ours made it: look
			err := d.Patch.CheckOld(ctx, image, size)
			if ctx.Err() != nil {
				image.Close()
				return nil, Payload{}, context.Cause(ctx)
			}
			same = err == nil
		}
		if same {
			e.found[part.Name] = hex.EncodeToString(d.Patch.Old.SHA256[:])
			return image, d, nil
		}
	}
	image.Close()
	e.o.Log.Info("no delta starts from the running system; the full image is taken", "part", part.Name)
	e.found[part.Name] = "other"
	return nothing{}, part.Full, nil
}

// known returns the SHA-256 of what the running slot is known to hold of a part, "" when it is not known.
func (e *Engine) known(part string) string {
	if found := e.found[part]; found != "" {
		return found
	}
	var h holdings
	if _, err := e.store.read("holdings", recordsBytes, &h); err != nil {
		return ""
	}
	held := h[e.j.From]
	if i := slices.IndexFunc(held.Parts, func(c content) bool { return c.Part == part }); i >= 0 {
		return held.Parts[i].SHA256
	}
	return ""
}

// readBack hashes what the medium holds, past any cache, and makes anew what is not as it was written.
func (e *Engine) readBack(ctx context.Context, offer *Offer) (Want, error) {
	e.progress.stage = "verifying"
	for n, part := range e.manifest.Parts {
		if e.o.mutant == noReadBack {
			break
		}
		slot, err := e.o.Slots.Open(e.j.Target, part.Name, false)
		if err != nil {
			return Want{}, e.end(Failed, refuse("medium", err))
		}
		want, err := e.readPart(ctx, offer, n, part, slot)
		if closed := slot.Close(); err == nil {
			err = closed
		}
		if want != (Want{}) || err != nil || e.j.Phase != Staging {
			return want, err
		}
	}
	e.applier = bsdiff.Applier{} // what it holds is not needed any more
	j := e.j
	j.Phase = Staged
	return Want{}, e.save(j)
}

// readPart reads one part back. Segments that are wrong are made from the full image, once.
func (e *Engine) readPart(ctx context.Context, offer *Offer, n int, part Part, slot board.Partition) (Want, error) {
	wrong, err := e.compare(ctx, part, slot)
	if err != nil {
		return Want{}, e.blame(ctx, &mediumError{err})
	}
	if len(wrong) == 0 {
		return Want{}, nil
	}
	e.o.Log.Warn("the slot does not hold what was written", "part", part.Name, "segments", wrong)
	_, full, ok := offered(offer, part.Full, part.Full)
	if !ok {
		return wanted(part.Full, part.Full), nil
	}
	a := &e.applier
	a.Manifest, a.Old, a.New, a.Present = part.Full.Patch, nothing{}, slot, nil
	for _, s := range wrong {
		segment := part.Full.Patch.Segments[s]
		r, _ := full.open(ctx, segment.Offset, segment.Length)
		if err := a.Segment(e.pace.context(ctx), s, r); err != nil {
			return Want{}, e.blame(ctx, err)
		}
	}
	if err := slot.Sync(); err != nil {
		return Want{}, e.blame(ctx, &mediumError{err})
	}
	if wrong, err = e.compare(ctx, part, slot); err != nil {
		return Want{}, e.blame(ctx, &mediumError{err})
	}
	if len(wrong) > 0 {
		return Want{}, e.end(Failed, refuse("medium", fmt.Errorf("part %s: the slot does not keep what is written to it", part.Name)))
	}
	return Want{}, nil
}

// compare returns the segments of a part that the medium does not hold.
func (e *Engine) compare(ctx context.Context, part Part, slot io.ReaderAt) (wrong []int, err error) {
	buf := make([]byte, readBytes)
	hash := sha256.New()
	for i, s := range part.Full.Patch.Segments {
		hash.Reset()
		for at := s.At; at < s.At+s.Bytes; at += int64(len(buf)) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			p := buf[:min(int64(len(buf)), s.At+s.Bytes-at)]
			if n, err := slot.ReadAt(p, at); n < len(p) {
				e.o.Log.Warn("the slot cannot be read", "part", part.Name, "at", at, "err", err)
				break // its hash tells
			}
			hash.Write(p)
		}
		if !bytes.Equal(hash.Sum(nil), s.SHA256[:]) {
			wrong = append(wrong, i)
		}
	}
	return wrong, nil
}
