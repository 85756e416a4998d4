package linktest

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/agent/link"
)

// patience is how long anything may take before a test gives it up for lost. It is no measure of speed.
const patience = 30 * time.Second

// A Device runs a Conn and keeps what it says.
type Device struct {
	// Patience is how long anything may take; a test in a synctest bubble raises it, as time passes there by itself.
	Patience time.Duration

	conn link.Conn
	stop context.CancelFunc
	over chan struct{} // closed when Run has returned

	mu     sync.Mutex
	events []link.Event
	err    error
	change chan struct{} // closed at the next event
}

// Start runs conn until Stop, or the end of the test.
func Start(t testing.TB, conn link.Conn) *Device {
	ctx, stop := context.WithCancel(context.Background())
	d := &Device{Patience: patience, conn: conn, stop: stop, over: make(chan struct{}), change: make(chan struct{})}
	go func() {
		defer close(d.over)
		err := conn.Run(ctx, d.on)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.err = err
	}()
	t.Cleanup(func() { d.Stop(t) })
	return d
}

func (d *Device) on(e link.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	close(d.change)
	d.change = make(chan struct{})
}

// Stop ends Run and waits until it has returned.
func (d *Device) Stop(t testing.TB) {
	t.Helper()
	d.stop()
	select {
	case <-d.over:
	case <-time.After(d.Patience):
		t.Fatal("Run does not return after its context has ended")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		t.Errorf("Run returned %v", d.err)
	}
}

// Mark returns how many events there were so far, for Wait.
func (d *Device) Mark() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.events)
}

// Events returns everything so far.
func (d *Device) Events() []link.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

// Wait returns the first event from mark on that is wanted.
func (d *Device) Wait(t testing.TB, what string, mark int, wanted func(link.Event) bool) link.Event {
	t.Helper()
	deadline := time.After(d.Patience)
	for {
		d.mu.Lock()
		change := d.change
		for _, e := range d.events[mark:] {
			if wanted(e) {
				d.mu.Unlock()
				return e
			}
		}
		mark = len(d.events)
		d.mu.Unlock()
		select {
		case <-change:
		case <-deadline:
			t.Fatalf("no %s within %s", what, d.Patience)
		}
	}
}

// Up waits for the first Up from mark on.
func (d *Device) Up(t testing.TB, mark int) link.Up {
	t.Helper()
	return *d.Wait(t, "Up", mark, func(e link.Event) bool { return e.Up != nil }).Up
}

// Down waits for the first Down from mark on.
func (d *Device) Down(t testing.TB, mark int) link.Down {
	t.Helper()
	return *d.Wait(t, "Down", mark, func(e link.Event) bool { return e.Down != nil }).Down
}

// Message waits for the first message with payload from mark on.
func (d *Device) Message(t testing.TB, mark int, payload string) link.Message {
	t.Helper()
	return *d.Wait(t, "message "+payload, mark, func(e link.Event) bool {
		return e.Message != nil && string(e.Message.Payload) == payload
	}).Message
}

// Publish hands m over and waits for its end.
func (d *Device) Publish(t testing.TB, m link.Message) error {
	t.Helper()
	done := make(chan error, 2)
	d.conn.Publish(m, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-time.After(d.Patience):
		t.Fatalf("publication on %s has no end", m.Topic)
		return nil
	}
}

// Eventually waits until ok, asking again whenever next is closed, and at least twenty times a second.
func Eventually(t testing.TB, what string, next func() <-chan struct{}, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		var change <-chan struct{}
		if next != nil {
			change = next()
		}
		if ok() {
			return
		}
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case <-change:
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
		again.Stop()
	}
}

// Use is what a process holds.
type Use struct{ Goroutines, Descriptors int }

// InUse counts. Descriptors is 0 where there is no /proc.
func InUse() Use {
	fds, _ := os.ReadDir("/proc/self/fd")
	return Use{runtime.NumGoroutine(), len(fds)}
}

// Settled counts what is in use once that has stopped changing: brokers close in their own time.
func Settled(t testing.TB) Use {
	t.Helper()
	use, same := InUse(), 0
	Eventually(t, "a steady number of goroutines", nil, func() bool {
		now := InUse()
		if now == use {
			same++
		} else {
			use, same = now, 0
		}
		return same >= 5
	})
	return use
}

// NoMoreThan waits until no more is in use than before.
func NoMoreThan(t testing.TB, before Use) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		now := InUse()
		if now.Goroutines <= before.Goroutines && now.Descriptors <= before.Descriptors {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("in use: %+v, before: %+v\n%s", now, before, stacks)
		}
		runtime.Gosched()
	}
}
