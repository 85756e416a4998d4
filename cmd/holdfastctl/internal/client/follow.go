package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// An Event is what Follow tells; exactly one of Up, Down and Message is set.
type Event struct {
	Up      *Up
	Down    *Down
	Message *Message
}

// Up says that we are connected and subscribed.
type Up struct{ Resumed bool }

// Down says why we are not, and when the next attempt is made.
type Down struct {
	Err   error
	Retry time.Duration
}

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	minSession = 5 * time.Second // a shorter one does not reset the pause: the broker lets us in only to cut us off
)

// Follow subscribes to the filters and calls on, from one goroutine, until ctx ends; it connects again whenever the
// connection is lost, with full jitter. It returns nil when ctx has ended, and an error only when the options cannot
// be used, or when the very first attempt shows that we are not let in.
func Follow(ctx context.Context, o Options, filters []string, on func(Event)) error {
	if _, _, err := o.paho(); err != nil {
		return err
	}
	pause, first := firstPause, true
	for ctx.Err() == nil {
		lived, err := session(ctx, o, filters, on)
		if ctx.Err() != nil {
			return nil
		}
		if first && lived == 0 && (Denied(err) || errors.Is(err, ErrOptions)) {
			return err
		}
		first = false
		if lived >= minSession {
			pause = firstPause
		}
		wait := time.Duration(rand.Int64N(int64(pause))) + time.Millisecond
		pause = min(2*pause, lastPause)
		on(Event{Down: &Down{Err: err, Retry: wait}})
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return nil
}

// session is one connection from dialing to its end. lived is 0 when it was never up.
func session(ctx context.Context, o Options, filters []string, on func(Event)) (lived time.Duration, err error) {
	c, err := Dial(ctx, o)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	// What the broker kept for us may fill the queue before it answers the subscription: read meanwhile.
	subscribed := make(chan error, 1)
	go func() { subscribed <- c.Subscribe(ctx, filters...) }()
	start := time.Now()
	up := false
	for {
		select {
		case err := <-subscribed:
			if err != nil {
				return 0, err
			}
			subscribed, up = nil, true
			on(Event{Up: &Up{Resumed: c.Resumed()}})
		case m := <-c.Messages():
			on(Event{Message: &m})
		case <-c.Lost():
			if !up {
				return 0, c.Why()
			}
			return time.Since(start), c.Why()
		case <-ctx.Done():
			return time.Since(start), ctx.Err()
		}
	}
}
