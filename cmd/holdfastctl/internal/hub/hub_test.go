package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
	"holdfast/cmd/holdfastctl/internal/pki"
)

const patience = 20 * time.Second

// log is what a hub said, readable while it runs.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
	new chan struct{}
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.new <- struct{}{}:
	default:
	}
	return l.buf.Write(b)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until the log has a line with all the words.
func (l *log) await(t *testing.T, words ...string) {
	t.Helper()
	late := time.After(patience)
	for {
		for line := range strings.Lines(l.text()) {
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return
			}
		}
		select {
		case <-l.new:
		case <-late:
			t.Fatalf("the log has no line with %q:\n%s", words, l.text())
		}
	}
}

type running struct {
	hub.Addrs
	log  *log
	stop func()
}

// start runs a hub until the test ends, or until stop is called.
func start(t *testing.T, o hub.Options) *running {
	t.Helper()
	r := &running{log: &log{new: make(chan struct{}, 1)}}
	o.Log = slog.New(slog.NewTextHandler(r.log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan hub.Addrs, 1), make(chan error, 1)
	go func() { ended <- hub.Run(ctx, o, func(a hub.Addrs) { ready <- a }) }()
	select {
	case r.Addrs = <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// certificates are a CA with a server, an operator and two devices.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	if _, err := pki.Init(dir, "test CA", "", now, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, r := range []pki.Request{{Role: pki.Server, Names: []string{"localhost", "127.0.0.1"}}, {Role: pki.Operator, Names: []string{"ann"}},
		{Role: pki.Device, Names: []string{"d1"}}, {Role: pki.Device, Names: []string{"d2"}}} {
		r.Valid = time.Hour
		if _, err := pki.Issue(dir, "", r, now); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mutual(t *testing.T, dir string) hub.Options {
	t.Helper()
	server := filepath.Join(dir, "servers", "localhost")
	c, err := hub.ServerTLS(server+".crt", server+".key", filepath.Join(dir, "ca.crt"), false)
	if err != nil {
		t.Fatal(err)
	}
	return hub.Options{ListenTLS: "127.0.0.1:0", TLS: c}
}

func as(dir, who, addr string) client.Options {
	base := filepath.Join(dir, who)
	return client.Options{Broker: "mqtts://" + addr, CA: filepath.Join(dir, "ca.crt"), Cert: base + ".crt", Key: base + ".key", Timeout: patience}
}

func dial(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func publish(t *testing.T, c *client.Client, topic, payload string, retain bool) {
	t.Helper()
	if err := c.Publish(t.Context(), topic, []byte(payload), retain); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, c *client.Client, filters ...string) {
	t.Helper()
	if err := c.Subscribe(t.Context(), filters...); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, c *client.Client) string {
	t.Helper()
	select {
	case m := <-c.Messages():
		return m.Topic + " " + string(m.Payload)
	case <-c.Lost():
		t.Fatal(c.Why())
	case <-time.After(patience):
		t.Fatal("no message")
	}
	return ""
}

func TestDeviceHasItsOwnTopicsAndNoOthers(t *testing.T) {
	dir := certificates(t)
	h := start(t, mutual(t, dir))
	operator := dial(t, as(dir, "operators/ann", h.TLS))
	subscribe(t, operator, "#")
	device := dial(t, as(dir, "devices/d1", h.TLS))

	for _, filter := range []string{"#", "holdfast/#", "holdfast/d1/#", "holdfast/+/command", "holdfast/d2/command", "holdfast/d2/shadow/desired",
		"holdfast/d1/telemetry", "holdfast/d1", "$share/g/holdfast/d1/command", "$share/g/holdfast/d2/command", "$SYS/#", "holdfast/d1/shadow/+"} {
		if err := device.Subscribe(t.Context(), filter); !errors.Is(err, client.ErrDenied) {
			t.Errorf("subscribe to %s: %v", filter, err)
		}
	}
	h.log.await(t, "denied", "device d1", "read", "holdfast/d2/command")
	subscribe(t, device, "holdfast/d1/shadow/desired", "holdfast/d1/command", "holdfast/d1/job")

	for _, topic := range []string{"holdfast/d1/shadow/desired", "holdfast/d1/command", "holdfast/d1/job", "holdfast/d2/telemetry", "holdfast/d2/command",
		"holdfast/d1/other", "holdfast/d1/status/x", "holdfast/d11/status", "other", "holdfast//status"} {
		publish(t, device, topic, `"must not arrive"`, true) // acknowledged, and dropped
	}
	h.log.await(t, "denied", "device d1", "publish to", "holdfast/d1/shadow/desired")
	for _, topic := range []string{"status", "telemetry", "event", "shadow/reported", "command/result", "job/status"} {
		publish(t, device, "holdfast/d1/"+topic, "1", false)
		if got := next(t, operator); got != "holdfast/d1/"+topic+" 1" {
			t.Errorf("got %s", got)
		}
	}
	publish(t, operator, "holdfast/d2/command", "for the other", false)
	publish(t, operator, "holdfast/d1/command", "for this one", false)
	if got := next(t, device); got != "holdfast/d1/command for this one" {
		t.Errorf("the device got %s", got)
	}
	// Nothing of what was denied is kept, either.
	late := dial(t, as(dir, "operators/ann", h.TLS))
	kept, err := late.Retained(t.Context(), "holdfast/#")
	if err != nil || len(kept) > 0 {
		t.Errorf("kept: %v, %v", kept, err)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	dir, other := certificates(t), certificates(t)
	h := start(t, mutual(t, dir))
	ctx := t.Context()

	o := as(other, "devices/d1", h.TLS) // signed by another CA
	o.CA = filepath.Join(dir, "ca.crt")
	if c, err := client.Dial(ctx, o); err == nil {
		c.Close()
		t.Error("a stranger's certificate was let in")
	}
	h.log.await(t, "refused", "certificate signed by unknown authority")
	o = as(dir, "devices/d1", h.TLS)
	o.Cert, o.Key = "", ""
	if c, err := client.Dial(ctx, o); err == nil {
		c.Close()
		t.Error("nobody was let in")
	}
	o = as(dir, "devices/d1", h.TLS)
	o.ID = "d2"
	if c, err := client.Dial(ctx, o); !errors.Is(err, client.ErrDenied) {
		c.Close()
		t.Errorf("d1 as d2: %v", err)
	}
	h.log.await(t, "refused", "device d1", "client=d2")
}

func TestDeviceCannotTakeAnothersSession(t *testing.T) {
	dir := certificates(t)
	h := start(t, mutual(t, dir))
	victim := as(dir, "devices/d2", h.TLS)
	victim.ID = "d2"
	c := dial(t, victim)
	subscribe(t, c, "holdfast/d2/command")
	c.Close()
	operator := dial(t, as(dir, "operators/ann", h.TLS))
	publish(t, operator, "holdfast/d2/command", "secret", false)

	// With a clean session the rule for client ids does not apply: the session's owner does.
	raw := rawTLS(t, dir, "d1", h.TLS)
	raw.connect("d2", true, nil)
	if code := raw.connack(); code == 0 {
		t.Error("d1 took the session of d2")
	}
	h.log.await(t, "refused", "device d1", "client id belongs to device d2")
	c = dial(t, victim)
	if got := next(t, c); got != "holdfast/d2/command secret" || !c.Resumed() {
		t.Errorf("got %s", got)
	}
}

func TestWillObeysTheAccessList(t *testing.T) {
	dir := certificates(t)
	h := start(t, mutual(t, dir))
	raw := rawTLS(t, dir, "d1", h.TLS)
	raw.connect("d1", true, &will{"holdfast/d2/command", `{"name":"reboot"}`})
	if code := raw.connack(); code == 0 {
		t.Error("a will for another device was accepted")
	}
	h.log.await(t, "refused", "may not leave a will on holdfast/d2/command")
}

func TestRestartKeepsWhatWasRetainedAndQueuedInOrder(t *testing.T) {
	dir := t.TempDir()
	h := start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	o := client.Options{Broker: h.Plain, ID: "d1", Timeout: patience}
	c := dial(t, o)
	subscribe(t, c, "holdfast/d1/command")
	c.Close()
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	publish(t, operator, "holdfast/d1/shadow/desired", `{"version":1}`, true)
	publish(t, operator, "holdfast/d1/job", `x`, true)
	publish(t, operator, "holdfast/d1/job", ``, true)
	const n = 200 // all within the same second or two: mochi alone would shuffle them
	for i := range n {
		publish(t, operator, "holdfast/d1/command", fmt.Sprint(i), false)
	}
	operator.Close()
	h.stop()

	h = start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	operator = dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	kept, err := operator.Retained(t.Context(), "holdfast/#")
	if err != nil || len(kept) != 1 || string(kept[0].Payload) != `{"version":1}` || !kept[0].Retained {
		t.Errorf("kept %v, %v", kept, err)
	}
	o.Broker = h.Plain
	c = dial(t, o)
	if !c.Resumed() {
		t.Error("the session is gone")
	}
	publish(t, operator, "holdfast/d1/command", "last", false)
	for i := range n {
		if got := next(t, c); got != fmt.Sprintf("holdfast/d1/command %d", i) {
			t.Fatalf("message %d: %s", i, got)
		}
	}
	if got := next(t, c); got != "holdfast/d1/command last" {
		t.Errorf("got %s", got)
	}
	c.Close()
	h.stop()
	// What was acknowledged does not come again.
	h = start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	o.Broker = h.Plain
	c = dial(t, o)
	operator = dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	publish(t, operator, "holdfast/d1/command", "new", false)
	got := next(t, c)
	if got == "holdfast/d1/command last" { // its acknowledgement may have been cut off by the client's own end
		got = next(t, c)
	}
	if got != "holdfast/d1/command new" {
		t.Errorf("got %s", got)
	}
}

// A copy of the file at the instant of the acknowledgement is what a kill -9, or a power cut, would leave.
func TestWhatIsAcknowledgedIsOnDisk(t *testing.T) {
	dir, after := t.TempDir(), t.TempDir()
	h := start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	c := dial(t, client.Options{Broker: h.Plain, ID: "d1", Timeout: patience})
	subscribe(t, c, "holdfast/d1/command")
	c.Close()
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	for i := range 20 {
		publish(t, operator, "holdfast/d1/command", fmt.Sprint(i), false)
		b, err := os.ReadFile(filepath.Join(dir, "hub.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(after, "hub.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		copied := start(t, hub.Options{Listen: "127.0.0.1:0", State: after})
		c := dial(t, client.Options{Broker: copied.Plain, ID: "d1", Timeout: patience})
		for j := range i + 1 {
			if got := next(t, c); got != fmt.Sprintf("holdfast/d1/command %d", j) {
				t.Fatalf("after %d: %s", i, got)
			}
		}
		c.Close()
		copied.stop()
	}
}

func TestOneStateDirectoryServesOneHub(t *testing.T) {
	dir := t.TempDir()
	start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	err := hub.Run(t.Context(), hub.Options{Listen: "127.0.0.1:0", State: dir}, nil)
	if err == nil || !strings.Contains(err.Error(), "in use by another hub") {
		t.Errorf("the second: %v", err)
	}
}

func TestOptionsThatWouldLetEverybodyInAreRefused(t *testing.T) {
	dir := certificates(t)
	good := mutual(t, dir)
	anybody := good.TLS.Clone()
	anybody.ClientCAs = nil
	for _, o := range []hub.Options{{}, {Listen: ":1883"}, {Listen: "0.0.0.0:1883"}, {Listen: "example.com:1883"}, {Listen: "nonsense"},
		{ListenTLS: ":8883"}, {ListenTLS: ":8883", TLS: anybody}} {
		if err := hub.Run(t.Context(), o, nil); !errors.Is(err, hub.ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
