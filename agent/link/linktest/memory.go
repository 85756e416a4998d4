package linktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/agent/link"
)

// MemoryConn is a link.Conn to a Broker.
type MemoryConn struct {
	broker  *Broker
	session link.Session
	retry   time.Duration
	notify  chan struct{} // 1: something changed

	// owned by broker.mu
	client *client
	lost   error // why the connection is over, nil while it is there
	out    []outgoing
}

type outgoing struct {
	m    link.Message
	done func(error)
	due  time.Time // when it is acknowledged; zero until the broker has it
}

// Conn returns a Conn for the session. It tries again after the broker's Retry.
func (b *Broker) Conn(s link.Session) *MemoryConn {
	return &MemoryConn{broker: b, session: s, retry: b.Retry, notify: make(chan struct{}, 1), lost: link.ErrDown}
}

var errKicked = errors.New("connection closed to make a new one")

// wake is called with broker.mu held, or not; a nil Conn has nobody to wake.
func (c *MemoryConn) wake() {
	if c == nil {
		return
	}
	select {
	case c.notify <- struct{}{}:
	default:
	}
}

// lose is called with broker.mu held.
func (c *MemoryConn) lose(why error) {
	c.lost = why
	c.wake()
}

// Run implements link.Conn.
func (c *MemoryConn) Run(ctx context.Context, on func(link.Event)) error {
	for ctx.Err() == nil {
		err := c.serve(ctx, on)
		if ctx.Err() != nil {
			break
		}
		on(link.Event{Down: &link.Down{Err: err, Retry: c.retry}})
		pause := time.NewTimer(c.retry)
		for waiting := true; waiting; {
			select {
			case <-pause.C:
				waiting = false
			case <-ctx.Done():
				waiting = false
			case <-c.notify:
				c.broker.mu.Lock()
				waiting = !errors.Is(c.lost, errKicked)
				c.broker.mu.Unlock()
			}
		}
		pause.Stop()
	}
	return nil
}

// serve is one connection.
func (c *MemoryConn) serve(ctx context.Context, on func(link.Event)) error {
	var user, password string
	if c.session.Credentials != nil {
		var err error
		if user, password, err = c.session.Credentials(time.Now()); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
	}
	resumed, err := c.broker.connect(c, user, password)
	if err != nil {
		return err
	}
	on(link.Event{Up: &link.Up{Resumed: resumed, Broker: "memory"}})
	over := make(chan struct{})
	var settling sync.WaitGroup
	acks := make(chan struct{}, 1) // 1: wakes the settler
	settling.Go(func() { c.settle(over, acks) })
	err = c.deliver(ctx, on, acks)
	close(over)
	settling.Wait()
	return err
}

// deliver passes messages on until the connection is over.
func (c *MemoryConn) deliver(ctx context.Context, on func(link.Event), acks chan struct{}) error {
	for {
		select {
		case acks <- struct{}{}:
		default:
		}
		m, ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			on(link.Event{Message: &m})
			continue
		}
		select {
		case <-c.notify:
		case <-ctx.Done():
			c.broker.mu.Lock()
			defer c.broker.mu.Unlock()
			if c.lost == nil {
				c.broker.drop(c.client, errStopped, false)
			}
			return errStopped
		}
	}
}

var errStopped = errors.New("connection closed because the agent stops")

// next takes the oldest message off the client's queue.
func (c *MemoryConn) next() (m link.Message, ok bool, err error) {
	b := c.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.lost != nil {
		return m, false, c.lost
	}
	if len(c.client.queue) == 0 || b.stalled {
		return m, false, nil
	}
	m = c.client.queue[0]
	c.client.queue = c.client.queue[1:]
	// As the real driver does: what is too large is cut just above the limit, for the dialect to refuse.
	if limit := c.session.Limits.PayloadBytes; limit > 0 && len(m.Payload) > limit+1 {
		m.Payload = m.Payload[:limit+1]
	}
	return m, true, nil
}

// settle hands publications to the broker and acknowledges them, until the connection is over.
func (c *MemoryConn) settle(over, acks <-chan struct{}) {
	for {
		wait, done := c.turn()
		for _, f := range done {
			f(nil)
		}
		timer := time.NewTimer(wait)
		select {
		case <-acks:
		case <-timer.C:
		case <-over:
			timer.Stop()
			for _, o := range c.abandon() {
				o.done(link.ErrDown)
			}
			return
		}
		timer.Stop()
	}
}

// turn publishes what is new and collects what is due. wait says when to look again.
func (c *MemoryConn) turn() (wait time.Duration, done []func(error)) {
	b := c.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = time.Hour
	if b.stalled || c.lost != nil {
		return wait, nil
	}
	now := time.Now()
	for i := range c.out {
		o := &c.out[i]
		if !o.due.IsZero() {
			continue
		}
		o.due = now.Add(b.delay)
		if b.deny == nil || !b.deny(c.client.id, o.m.Topic, true) {
			b.publish(Publication{Message: o.m, Client: c.client.id})
		}
	}
	for len(c.out) > 0 && !c.out[0].due.IsZero() {
		if wait = c.out[0].due.Sub(now); wait > 0 {
			return wait, done
		}
		done = append(done, c.out[0].done)
		c.out = c.out[1:]
		wait = time.Hour
	}
	return wait, done
}

func (c *MemoryConn) abandon() []outgoing {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	out := c.out
	c.out = nil
	return out
}

// Publish implements link.Conn.
func (c *MemoryConn) Publish(m link.Message, done func(error)) {
	if err := c.enqueue(m, done); err != nil {
		done(err)
	}
}

func (c *MemoryConn) enqueue(m link.Message, done func(error)) error {
	if limit := c.session.Limits.PayloadBytes; limit > 0 && len(m.Payload) > limit {
		return fmt.Errorf("%s: payload of %d bytes, more than the %d the broker takes", m.Topic, len(m.Payload), limit)
	}
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	window := c.session.Limits.InFlight
	if window <= 0 {
		window = 16
	}
	switch {
	case c.lost != nil:
		return link.ErrDown
	case len(c.out) >= 3*window:
		return fmt.Errorf("%w: %d publications wait already", link.ErrDown, len(c.out))
	}
	c.out = append(c.out, outgoing{m: m, done: done})
	c.wake()
	return nil
}

// Kick implements link.Conn.
func (c *MemoryConn) Kick() {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	if c.lost == nil && c.client != nil {
		c.broker.drop(c.client, errKicked, false)
		return
	}
	c.lose(errKicked)
}
