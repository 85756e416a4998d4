package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
)

const patience = 20 * time.Second

// start runs a hub at the address; stop may be called early.
func start(t *testing.T, addr, state string) (plain string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan hub.Addrs, 1), make(chan error, 1)
	go func() {
		ended <- hub.Run(ctx, hub.Options{Listen: addr, State: state}, func(a hub.Addrs) { ready <- a })
	}()
	select {
	case a := <-ready:
		stop = sync.OnceFunc(func() { cancel(); <-ended })
		t.Cleanup(stop)
		return a.Plain, stop
	case err := <-ended:
		cancel()
		t.Fatal(err)
		return "", nil
	}
}

func TestBrokerAddressesAreReadStrictly(t *testing.T) {
	for _, o := range []client.Options{{Broker: ""}, {Broker: "http://h"}, {Broker: "mqtt://"}, {Broker: "mqtt://h/path"}, {Broker: "h", CA: "x"},
		{Broker: "mqtts://h", CA: "/nonexistent"}, {Broker: "mqtts://h", Cert: "x"}, {Broker: "mqtts://h", Key: "x"}, {Broker: "mqtt://h:x"}} {
		if _, err := client.Dial(t.Context(), o); !errors.Is(err, client.ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestSilentBrokerIsTimedOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = client.Dial(t.Context(), client.Options{Broker: l.Addr().String(), Timeout: 50 * time.Millisecond})
	if !errors.Is(err, client.ErrTimeout) && !strings.Contains(fmt.Sprint(err), "timeout") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = client.Dial(ctx, client.Options{Broker: l.Addr().String()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRetainedReturnsExactlyWhatWasKept(t *testing.T) {
	addr, _ := start(t, "127.0.0.1:0", "")
	c, err := client.Dial(t.Context(), client.Options{Broker: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if kept, err := c.Retained(t.Context(), "none/#"); err != nil || len(kept) != 0 {
		t.Errorf("nothing: %v, %v", kept, err)
	}
	for i := range 600 { // more than the queue holds
		if err := c.Publish(t.Context(), fmt.Sprintf("many/%d", i), []byte("x"), true); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := c.Retained(t.Context(), "many/#"); err != nil || len(kept) != 600 {
		t.Errorf("%d kept, %v", len(kept), err)
	}
}

// The broker is restarted under it: what is published while it is away comes, and what was not acknowledged again.
func TestFollowComesBackAndMissesNothing(t *testing.T) {
	state := t.TempDir()
	addr, stop := start(t, "127.0.0.1:0", state)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, ended := make(chan client.Event, 100), make(chan error, 1)
	go func() {
		o := client.Options{Broker: addr, ID: "follower", HoldAck: true, Timeout: patience}
		ended <- client.Follow(ctx, o, []string{"t/#"}, func(e client.Event) { events <- e })
	}()
	next := func() client.Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatal("nothing happens")
			return client.Event{}
		}
	}
	say := func(text string) {
		t.Helper()
		c, err := client.Dial(t.Context(), client.Options{Broker: addr, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Publish(t.Context(), "t/x", []byte(text), false); err != nil {
			t.Fatal(err)
		}
	}
	if e := next(); e.Up == nil || e.Up.Resumed {
		t.Fatalf("first %+v", e)
	}
	say("one")
	if e := next(); e.Message == nil || string(e.Message.Payload) != "one" {
		t.Fatalf("%+v", e)
	} // and it is not acknowledged
	stop()
	if e := next(); e.Down == nil || e.Down.Retry > time.Second {
		t.Fatalf("%+v", e)
	}
	_, stop = start(t, addr, state)
	say("two")
	var got []string
	for len(got) < 2 {
		if e := next(); e.Message != nil {
			got = append(got, string(e.Message.Payload))
			e.Message.Ack()
		}
	}
	if strings.Join(got, " ") != "one two" {
		t.Errorf("got %v", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stop()
}

func TestFollowGivesUpOnlyWhereTryingAgainIsOfNoUse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := client.Follow(ctx, client.Options{Broker: "ftp://x"}, nil, func(client.Event) {}); !errors.Is(err, client.ErrOptions) {
		t.Errorf("options: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	downs := 0
	err = client.Follow(ctx, client.Options{Broker: l.Addr().String()}, []string{"#"}, func(e client.Event) {
		if downs++; e.Down == nil || downs == 3 {
			cancel()
		}
	})
	if err != nil || downs != 3 {
		t.Errorf("%d attempts, %v", downs, err)
	}
}
