package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// RollBack goes back to what ran before the last update that was committed, and returns which release that is: the other
// slot is armed, as for any trial, and the machine is asked to restart at once. Who calls counts that restart.
//
// It is refused while there is a job or a trial, when nobody knows what the other slot holds (only updates of ours are known),
// when that is not older, is below the floor, or reads otherwise than it was written. There is no job: the old system is
// on trial as one that nobody here began: when it does not report, or a watched unit is not active, the machine comes back.
func (e *Engine) RollBack(ctx context.Context) (release string, err error) {
	done, err := e.own(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if err := e.ask(); err != nil {
		return "", err
	}
	if e.j.Phase != Idle {
		return "", fmt.Errorf("roll back: busy with the update %s", e.j.Job.ID)
	}
	if e.facts.Leaving() {
		return "", errors.New("roll back: a system is on trial")
	}
	held, err := e.former()
	if err != nil {
		return "", fmt.Errorf("roll back: %w", err)
	}
	target := e.facts.Booted.Other()
	for _, part := range held.Parts {
		if err := e.still(ctx, part); err != nil {
			return "", fmt.Errorf("roll back: slot %s: %s: %w", target, part.Part, err)
		}
	}
	e.o.Log.Warn("update", "back", held.Release.Name, "slot", target, "from", e.running().Name)
	e.good = time.Time{} // until the restart the running system seems to be on trial: it is not trusted before Settle has passed
	if err := e.o.Boot.Arm(target); err != nil {
		return "", fmt.Errorf("roll back: arm slot %s: %w", target, err)
	}
	if err := e.o.Restart(ctx, true); err != nil { // what is armed and not started would be taken for a trial
		return "", errors.Join(fmt.Errorf("roll back: restart: %w", err), e.o.Boot.Disarm(), e.o.Boot.Commit())
	}
	return held.Release.Name, nil
}

// former is what the other slot holds, if it may run.
func (e *Engine) former() (holding, error) {
	var h holdings
	if _, err := e.store.read("holdings", recordsBytes, &h); err != nil {
		return holding{}, err
	}
	held, known := h[e.facts.Booted.Other()]
	now, here := h[e.facts.Booted]
	switch {
	case !known || len(held.Parts) == 0:
		return holding{}, fmt.Errorf("it is not known what slot %s holds", e.facts.Booted.Other())
	case !here:
		return holding{}, fmt.Errorf("it is not known what slot %s holds", e.facts.Booted)
	case held.Release.Seq >= now.Release.Seq:
		return holding{}, fmt.Errorf("%s is not older than %s, which runs", held.Release.Name, now.Release.Name)
	}
	f, err := e.store.loadFloor()
	if err == nil && held.Release.Seq < f.Security {
		err = fmt.Errorf("the number of %s, %d, is below %d, the lowest that is secure", held.Release.Name, held.Release.Seq, f.Security)
	}
	return held, err
}

// still reports what of the other slot is not as it was written.
func (e *Engine) still(ctx context.Context, want content) error {
	image, room, err := e.o.Slots.Image(e.facts.Booted.Other(), want.Part)
	if err != nil {
		return err
	}
	defer image.Close()
	if want.Bytes > room {
		return fmt.Errorf("%d bytes were written, and it has %d", want.Bytes, room)
	}
	sum, all := sha256.New(), io.NewSectionReader(image, 0, want.Bytes)
	for at := int64(0); at < want.Bytes; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.CopyN(sum, all, min(4<<20, want.Bytes-at))
		if at += n; err != nil {
			return err
		}
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return errors.New("it reads otherwise than it was written")
	}
	return nil
}
