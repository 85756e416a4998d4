package update

import (
	"context"
	"errors"
	"fmt"
)

var errStopped = errors.New("stopped by hand")

// interrupt ends the Advance under way, so that somebody else gets a turn.
func (e *Engine) interrupt() {
	if stop := e.working.Load(); stop != nil {
		(*stop)(errStopped)
	}
}

// Pause holds the job where it is, until Resume. A system that is already on trial is judged all the same.
func (e *Engine) Pause(ctx context.Context) error { return e.hold(ctx, true) }

// Resume lets a paused job go on.
func (e *Engine) Resume(ctx context.Context) error { return e.hold(ctx, false) }

func (e *Engine) hold(ctx context.Context, paused bool) error {
	e.interrupt()
	release, err := e.own(ctx)
	if err != nil {
		return err
	}
	defer release()
	if e.j.Phase == Idle {
		return errors.New("there is no update")
	}
	if e.j.Paused == paused {
		return nil
	}
	j := e.j
	j.Paused = paused
	return e.save(j)
}

// Cancel gives the job up. A system that is on trial is left at the next restart, which it asks for.
func (e *Engine) Cancel(ctx context.Context) error {
	e.interrupt()
	release, err := e.own(ctx)
	if err != nil {
		return err
	}
	defer release()
	if e.j.Phase == Idle {
		return errors.New("there is no update")
	}
	canceled := refuse("canceled", errors.New("canceled"))
	if e.j.Phase != Arming {
		return e.end(Canceled, canceled)
	}
	facts, err := e.o.Boot.Facts()
	if err != nil {
		return fmt.Errorf("ask the bootloader: %w", err)
	}
	switch {
	case facts.Booted == e.j.From:
		if err := e.o.Boot.Disarm(); err != nil {
			return fmt.Errorf("disarm: %w", err)
		}
		return e.end(Canceled, canceled)
	case facts.Next == e.j.Target:
		return errors.New("it is committed already")
	}
	_, err = e.condemn(ctx, "canceled")
	return err
}
