package warden_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators"
	"holdfast/agent/warden"
)

func TestAKeptConnectionIsUsedAgainUntilItIsOldOrGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deeds := 0
		var mu sync.Mutex
		var ends []net.Conn
		server := serveNow(t, verb("ping", func(context.Context, args) (result, error) {
			if deeds++; deeds == 3 {
				return nil, actuators.ErrLocked
			}
			return result{"n": deeds}, nil
		}))
		var dials atomic.Int32
		once := warden.Client{Reach: -1, Dial: func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			conn, err := server.Load().dial(ctx)
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, conn)
			return conn, err
		}}
		c := once.Keeping()
		ask := func(want int32, is error) {
			t.Helper()
			if _, err := c.Do(t.Context(), "ping", nil, ""); !errors.Is(err, is) || dials.Load() != want {
				t.Errorf("%v after %d connections; want %v after %d", err, dials.Load(), is, want)
			}
		}
		ask(1, nil)
		ask(1, nil)
		ask(1, actuators.ErrLocked) // an answer like any other
		ask(1, nil)
		time.Sleep(9 * time.Second)
		ask(1, nil)
		time.Sleep(11 * time.Second)
		ask(2, nil)
		ends[1].Close() // as the server's end does
		ask(3, nil)
		server.Load().stop()
		ask(4, warden.ErrUnreachable)
		server.Store(serveNow(t, verb("ping", func(context.Context, args) (result, error) { return nil, nil })).Load())
		ask(5, nil)
		var many sync.WaitGroup // several at a time have connections of their own
		for range 5 {
			many.Go(func() {
				if _, err := c.Do(t.Context(), "ping", nil, ""); err != nil {
					t.Error(err)
				}
			})
		}
		many.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := once.Close(); err != nil {
			t.Error(err)
		}
		server.Load().stop() // and nothing is left of it, or the bubble would not end
	})
}

type served struct {
	dial warden.Dial
	stop func()
}

// serveNow runs a server over a pipe until it is stopped.
func serveNow(t *testing.T, verbs ...actuators.Verb) *atomic.Pointer[served] {
	ln, dial := warden.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = warden.NewServer(warden.ServerOptions{Set: set(t, verbs...)}).Serve(ctx, ln) })
	p := new(atomic.Pointer[served])
	p.Store(&served{dial, func() { stop(); wg.Wait() }})
	return p
}
