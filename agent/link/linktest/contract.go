package linktest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/agent/link"
)

// A Harness is one broker and a way to reach it, for the contract.
type Harness struct {
	// Open returns a Conn for the session, as a device process that was just started has it. Its back-off must be short.
	Open func(link.Session) link.Conn
	// Say publishes as the operator and returns when the broker has it.
	Say func(link.Message)
	// Heard returns what an independent subscriber to everything has received so far; Next a channel that is closed when
	// there is more.
	Heard func() []link.Message
	Next  func() <-chan struct{}
	// Cut breaks every connection of Conns without a goodbye.
	Cut func()
	// Offline makes the broker unreachable, and reachable again.
	Offline func(bool)
	// Credentials are those the broker wants.
	User, Password string
	// Denied is a filter whose subscription the broker refuses; "" where it cannot.
	Denied string
	// Stall stops all bytes without closing anything; nil where there are no sockets. The sockets' buffers must be small
	// against 512 KiB.
	Stall func(bool)
}

// contract is everything a Conn owes the agent.
var contract = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"carries messages both ways", carries},
	{"delivers retained messages as such", retained},
	{"leaves a will when cut and none when stopped", will},
	{"keeps the session while away", away},
	{"says ErrDown once for everything lost", lost},
	{"says ErrDown while the broker is away, and comes back", offline},
	{"says in words why it is refused", refusedWords},
	{"takes a refused subscription for a refused session", deniedSubscription},
	{"makes a new connection when kicked", kicked},
	{"bounds what it says and hears", bounded},
	{"finds a stalled connection", stalled},
	{"leaves nothing behind", leavesNothing},
}

// TestConn holds a Conn to the contract. open makes a fresh broker for each part of it.
func TestConn(t *testing.T, open func(t *testing.T) Harness) {
	for _, part := range contract {
		t.Run(strings.ReplaceAll(part.name, " ", "-"), func(t *testing.T) { part.test(t, open(t)) })
	}
}

const (
	device     = "dev"
	topicIn    = "holdfast/dev/command"
	topicOut   = "holdfast/dev/event"
	topicState = "holdfast/dev/shadow/desired"
	topicWill  = "holdfast/dev/status"
	limitBytes = 32 << 10
)

func (h Harness) session() link.Session {
	s := link.Session{
		ClientID: device, KeepAlive: 30 * time.Second,
		Will:    &link.Message{Topic: topicWill, Payload: []byte("gone"), QoS: 1},
		Filters: []string{topicIn, topicState},
		Limits:  link.Limits{PayloadBytes: limitBytes, InFlight: 16},
	}
	if h.User != "" {
		s.Credentials = func(time.Time) (string, string, error) { return h.User, h.Password, nil }
	}
	return s
}

func (h Harness) boot(t *testing.T) *Device {
	t.Helper()
	d := Start(t, h.Open(h.session()))
	d.Up(t, 0)
	return d
}

// heard counts what the subscriber got.
func (h Harness) heard(topic, payload string) (n int) {
	for _, m := range h.Heard() {
		if m.Topic == topic && string(m.Payload) == payload {
			n++
		}
	}
	return n
}

func (h Harness) expect(t *testing.T, topic, payload string) {
	t.Helper()
	Eventually(t, topic+" "+payload, h.Next, func() bool { return h.heard(topic, payload) > 0 })
}

func carries(t *testing.T, h Harness) {
	d := h.boot(t)
	h.Say(link.Message{Topic: topicIn, Payload: []byte("ping"), QoS: 1})
	if m := d.Message(t, 0, "ping"); m.Topic != topicIn || m.Retain {
		t.Errorf("got %+v", m)
	}
	for i, qos := range []byte{1, 0, 1} {
		payload := fmt.Sprint("pong-", i)
		if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte(payload), QoS: qos}); err != nil {
			t.Fatalf("publish: %v", err)
		}
		h.expect(t, topicOut, payload)
	}
	const many = 100 // brokers drop what a slow device does not read: the built-in one beyond 128
	for i := range many {
		h.Say(link.Message{Topic: topicIn, Payload: fmt.Append(nil, "n", i), QoS: 1})
	}
	d.Message(t, 0, fmt.Sprint("n", many-1))
	next := 0
	for _, e := range d.Events() {
		if e.Message != nil && string(e.Message.Payload) == fmt.Sprint("n", next) {
			next++
		}
	}
	if next != many {
		t.Errorf("%d of %d messages in order", next, many)
	}
}

func retained(t *testing.T, h Harness) {
	h.Say(link.Message{Topic: topicState, Payload: []byte("v1"), QoS: 1, Retain: true})
	d := h.boot(t)
	if m := d.Message(t, 0, "v1"); !m.Retain {
		t.Error("a message that was retained before the subscription is not marked")
	}
	h.Say(link.Message{Topic: topicState, Payload: []byte("v2"), QoS: 1, Retain: true})
	if m := d.Message(t, 0, "v2"); m.Retain {
		t.Error("a message that came after the subscription is marked as retained")
	}
	mark := d.Mark()
	h.Cut()
	d.Up(t, mark)
	// The cut may have swallowed an acknowledgement, so that v2 comes a second time as the fresh message it was.
	d.Wait(t, "retained v2 on the new connection", mark, func(e link.Event) bool {
		return e.Message != nil && e.Message.Retain && string(e.Message.Payload) == "v2"
	})
	if err := d.Publish(t, link.Message{Topic: "holdfast/dev/shadow/reported", Payload: []byte("r"), QoS: 1, Retain: true}); err != nil {
		t.Fatal(err)
	}
	d.Stop(t)
	s := h.session()
	s.ClientID, s.Filters, s.Will = "other", []string{"holdfast/dev/shadow/reported"}, nil
	if m := Start(t, h.Open(s)).Message(t, 0, "r"); !m.Retain {
		t.Error("the broker did not keep what was published to be kept")
	}
}

func will(t *testing.T, h Harness) {
	d := h.boot(t)
	mark := d.Mark()
	h.Cut()
	h.expect(t, topicWill, "gone")
	d.Up(t, mark)
	n := h.heard(topicWill, "gone")
	d.Stop(t)
	d = h.boot(t) // the broker is done with the old connection when it has taken the new one
	if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte("after"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	h.expect(t, topicOut, "after")
	if got := h.heard(topicWill, "gone"); got != n {
		t.Errorf("%d wills after an orderly end, %d before", got, n)
	}
}

func away(t *testing.T, h Harness) {
	d := h.boot(t)
	d.Stop(t)
	for i := range 3 {
		h.Say(link.Message{Topic: topicIn, Payload: fmt.Append(nil, "missed-", i), QoS: 1})
	}
	d = Start(t, h.Open(h.session()))
	if up := d.Up(t, 0); !up.Resumed {
		t.Error("the session was not resumed")
	}
	for i := range 3 {
		d.Message(t, 0, fmt.Sprint("missed-", i))
	}
}

func lost(t *testing.T, h Harness) {
	d := h.boot(t)
	const n = 300
	var mu sync.Mutex
	calls := make([]int, n)
	ends := make([]error, n)
	var open sync.WaitGroup
	open.Add(n)
	mark := d.Mark()
	for i := range n {
		if i == n/2 {
			go h.Cut()
		}
		d.conn.Publish(link.Message{Topic: topicOut, Payload: fmt.Append(nil, "lost-", i), QoS: 1}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if calls[i]++; calls[i] == 1 {
				ends[i] = err
				open.Done()
			}
		})
	}
	open.Wait()
	d.Up(t, mark)
	if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte("last"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	h.expect(t, topicOut, "last")
	d.Stop(t)
	mu.Lock()
	defer mu.Unlock()
	acknowledged := 0
	for i, err := range ends {
		switch {
		case calls[i] != 1:
			t.Errorf("publication %d ended %d times", i, calls[i])
		case err == nil:
			acknowledged++
			if h.heard(topicOut, fmt.Sprint("lost-", i)) == 0 {
				t.Errorf("publication %d was acknowledged and is lost", i)
			}
		case !errors.Is(err, link.ErrDown):
			t.Errorf("publication %d ended with %v, which is not ErrDown", i, err)
		}
	}
	t.Logf("%d of %d acknowledged", acknowledged, n)
}

func offline(t *testing.T, h Harness) {
	h.Offline(true)
	d := Start(t, h.Open(h.session()))
	if down := d.Down(t, 0); down.Err == nil || down.Retry < 0 {
		t.Errorf("down with %v, retry in %s", down.Err, down.Retry)
	}
	if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte("early"), QoS: 1}); !errors.Is(err, link.ErrDown) {
		t.Errorf("publish while down: %v", err)
	}
	h.Offline(false)
	d.Up(t, 0)
	for range 3 {
		mark := d.Mark()
		h.Cut()
		if down := d.Down(t, mark); down.Err == nil {
			t.Error("a loss without a reason")
		}
		d.Up(t, mark)
	}
	if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte("late"), QoS: 1}); err != nil {
		t.Errorf("publish after the return: %v", err)
	}
	h.expect(t, topicOut, "late")
	if h.heard(topicOut, "early") > 0 {
		t.Error("a publication that was refused arrived")
	}
}

func refusedWords(t *testing.T, h Harness) {
	s := h.session()
	s.Credentials = func(time.Time) (string, string, error) { return h.User, "wrong", nil }
	d := Start(t, h.Open(s))
	text := d.Down(t, 0).Err.Error()
	if !strings.Contains(text, "refused") || !strings.Contains(text, "not authorised") && !strings.Contains(text, "password") {
		t.Errorf("refused with %q", text)
	}
	s.Credentials = func(time.Time) (string, string, error) { return "", "", errors.New("token store is locked") }
	d = Start(t, h.Open(s))
	if text := d.Down(t, 0).Err.Error(); !strings.Contains(text, "token store is locked") {
		t.Errorf("without credentials: %q", text)
	}
	for _, e := range d.Events() {
		if e.Up != nil {
			t.Error("up with wrong credentials")
		}
	}
}

func deniedSubscription(t *testing.T, h Harness) {
	if h.Denied == "" {
		t.Log("this broker refuses no subscription; nothing to hold it to")
		return
	}
	s := h.session()
	s.Filters = append(s.Filters, h.Denied)
	d := Start(t, h.Open(s))
	if text := d.Down(t, 0).Err.Error(); !strings.Contains(text, "subscription to "+h.Denied) {
		t.Errorf("refused with %q", text)
	}
}

func kicked(t *testing.T, h Harness) {
	d := h.boot(t)
	for range 3 {
		mark := d.Mark()
		d.conn.Kick()
		d.Down(t, mark)
		d.Up(t, mark)
	}
	if n := h.heard(topicWill, "gone"); n > 0 {
		t.Errorf("%d wills for connections that were closed on purpose", n)
	}
}

func bounded(t *testing.T, h Harness) {
	d := h.boot(t)
	mark := d.Mark()
	for _, bad := range []link.Message{
		{Topic: topicOut, Payload: make([]byte, limitBytes+1), QoS: 1},
	} {
		if err := d.Publish(t, bad); err == nil || errors.Is(err, link.ErrDown) {
			t.Errorf("publication of %d bytes: %v, want an error that is not ErrDown", len(bad.Payload), err)
		}
	}
	full := strings.Repeat("f", limitBytes)
	if err := d.Publish(t, link.Message{Topic: topicOut, Payload: []byte(full), QoS: 1}); err != nil {
		t.Errorf("publication of %d bytes: %v", len(full), err)
	}
	h.expect(t, topicOut, full)
	for _, n := range []int{0, 1, limitBytes, limitBytes + 1, limitBytes + 2000, 4 << 20} {
		h.Say(link.Message{Topic: topicIn, Payload: make([]byte, n), QoS: 1})
		m := *d.Wait(t, fmt.Sprintf("message of %d bytes", n), mark, func(e link.Event) bool { return e.Message != nil }).Message
		if want := min(n, limitBytes+1); len(m.Payload) < want || len(m.Payload) > limitBytes+2048 {
			t.Errorf("a message of %d bytes came as %d", n, len(m.Payload))
		}
		mark = d.Mark()
	}
	h.Say(link.Message{Topic: topicIn, Payload: []byte("still there"), QoS: 1})
	d.Message(t, 0, "still there")
	for _, e := range d.Events() {
		if e.Down != nil {
			t.Errorf("connection lost: %v", e.Down.Err)
		}
	}
}

func stalled(t *testing.T, h Harness) {
	if h.Stall == nil {
		t.Log("no sockets here; nothing to stall")
		return
	}
	d := h.boot(t)
	mark := d.Mark()
	h.Stall(true)
	ended := make(chan error, 64)
	for range 16 {
		d.conn.Publish(link.Message{Topic: topicOut, Payload: make([]byte, limitBytes), QoS: 1}, func(err error) { ended <- err })
	}
	if err := d.Down(t, mark).Err; err == nil {
		t.Error("down without a reason")
	}
	for range 16 {
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, link.ErrDown) {
				t.Errorf("publication into a stalled connection: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("a publication into a stalled connection has no end")
		}
	}
	h.Stall(false)
	d.Up(t, mark)
}

func leavesNothing(t *testing.T, h Harness) {
	warm := h.boot(t) // whatever the broker keeps for a session it has seen
	warm.Stop(t)
	before := Settled(t)
	d := h.boot(t)
	for i := range 20 {
		mark := d.Mark()
		for range 4 {
			d.conn.Publish(link.Message{Topic: topicOut, Payload: []byte("x"), QoS: 1}, func(error) {})
		}
		if i%2 == 0 {
			h.Cut()
		} else {
			d.conn.Kick()
		}
		d.Up(t, mark)
	}
	d.Stop(t)
	NoMoreThan(t, before)
}
