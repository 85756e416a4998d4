// Package mqtt is a driver: it is agent/link's Conn over MQTT 3.1.1, by way of the Eclipse Paho client.
//
// Paho is used for one connection at a time and then thrown away: it neither reconnects nor queues. What it reads is
// bounded before it sees it (wire.go), what it writes has a deadline, and everything that waits does so here.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"holdfast/agent/link"
	"holdfast/board"
)

// Options say which broker, whom to trust, and how patient to be. The zero value of everything but Brokers and Clock is
// usable.
type Options struct {
	// Brokers are URLs: mqtt:// or tcp:// (port 1883), mqtts:// or ssl:// (port 8883). Several are tried in turn.
	Brokers    []string
	CAFile     string // PEM; "" trusts the system's authorities
	CertFile   string // PEM chain of the device; "" for none
	KeyFile    string // PEM
	ServerName string // the name the broker's certificate must bear; "" is the URL's host
	// Earliest is a time that has passed for certain, such as that of the build: certificates are judged by it while
	// the clock says less and is not trusted.
	Earliest time.Time

	Clock          board.Clock
	Log            *slog.Logger // nil discards
	Backoff        Backoff
	MinSession     time.Duration // a session that lived shorter counts as a failed attempt; 0 is 60 s
	ConnectTimeout time.Duration // for name, TCP, TLS and CONNACK together; 0 is 30 s
	WriteTimeout   time.Duration // for one packet; 0 is 10 s
	AckTimeout     time.Duration // for the broker's acknowledgement of a publication; 0 is 60 s
	FilePeriod     time.Duration // how often certificates are looked at for changes; 0 is 60 s
	// Dial opens the transport below TLS; nil is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

const (
	filtersAPacket = 8        // AWS IoT's bound
	payloadBytes   = 64 << 10 // where the dialect does not say
	farewell       = time.Second
)

var (
	errKicked  = errors.New("connection closed to make a new one")
	errFiles   = errors.New("connection closed because certificate files changed")
	errStopped = errors.New("connection closed because the agent stops")
	errLost    = errors.New("connection lost")
	errAckLate = errors.New("broker does not acknowledge publications")
)

// Conn implements link.Conn.
type Conn struct {
	session link.Session
	o       Options
	brokers []endpoint
	files   *files
	kick    chan struct{} // 1: a second kick before the first was heard says nothing new

	mu  sync.Mutex // Publish comes from other goroutines than Run
	out *outbox    // nil while down
}

type endpoint struct {
	url  *url.URL
	tls  bool
	host string
	addr string // host:port
}

// New checks session and o. It starts nothing and opens nothing.
func New(session link.Session, o Options) (*Conn, error) {
	if o.Clock == nil {
		return nil, errors.New("mqtt: no clock")
	}
	o = withDefaults(o)
	if err := checkSession(session); err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	c := &Conn{session: session, o: o, files: &files{o: o}, kick: make(chan struct{}, 1)}
	for _, b := range o.Brokers {
		e, err := parseBroker(b)
		if err != nil {
			return nil, fmt.Errorf("mqtt: %w", err)
		}
		c.brokers = append(c.brokers, e)
	}
	if len(c.brokers) == 0 {
		return nil, errors.New("mqtt: no broker given")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("mqtt: certificate and key are only good together")
	}
	return c, nil
}

func withDefaults(o Options) Options {
	preset := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	preset(&o.MinSession, 60*time.Second)
	preset(&o.ConnectTimeout, 30*time.Second)
	preset(&o.WriteTimeout, 10*time.Second)
	preset(&o.AckTimeout, 60*time.Second)
	preset(&o.FilePeriod, 60*time.Second)
	preset(&o.Backoff.Min, time.Second)
	preset(&o.Backoff.Max, 5*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		// No TCP keep-alive: MQTT has its own, and every packet costs where traffic is paid for.
		d := &net.Dialer{KeepAlive: -1}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	return o
}

// Run implements link.Conn.
func (c *Conn) Run(ctx context.Context, on func(link.Event)) error {
	var wg sync.WaitGroup // the senders of past sessions: one may sit in the library for a WriteTimeout after the loss
	defer wg.Wait()
	failures, next := 0, 0
	for ctx.Err() == nil {
		b := c.brokers[next]
		lived, err := newSession(c, b, &wg).run(ctx, on)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case lived >= c.o.MinSession:
			failures = 0
		case errors.Is(err, errKicked), errors.Is(err, errFiles):
		default:
			failures++
			next = (next + 1) % len(c.brokers)
		}
		var wait time.Duration
		if failures%len(c.brokers) == 0 { // every broker had its turn
			wait = c.o.Backoff.wait(max(failures/len(c.brokers)-1, 0))
		}
		on(link.Event{Down: &link.Down{Err: fmt.Errorf("broker %s: %w", b.url, explain(err)), Retry: wait}})
		c.pause(ctx, wait)
	}
	return nil
}

// pause waits for d, for a kick, or for the end.
func (c *Conn) pause(ctx context.Context, d time.Duration) {
	fired, stop := c.o.Clock.Timer(d)
	defer stop()
	select {
	case <-fired:
	case <-c.kick:
	case <-ctx.Done():
	}
}

// Publish implements link.Conn. The payload must not change until done is called.
func (c *Conn) Publish(m link.Message, done func(error)) {
	if err := c.check(m); err != nil {
		done(err)
		return
	}
	if err := c.enqueue(m, done); err != nil {
		done(err)
	}
}

// enqueue gives m to the present session. It holds the lock for no longer than a send that does not block.
func (c *Conn) enqueue(m link.Message, done func(error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return link.ErrDown
	}
	select {
	case c.out.queue <- publication{m, done}:
		return nil
	default:
		return fmt.Errorf("%w: %d publications wait already", link.ErrDown, len(c.out.queue))
	}
}

// Kick implements link.Conn.
func (c *Conn) Kick() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (c *Conn) serve(out *outbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = out
}

func (c *Conn) payloadLimit() int {
	if n := c.session.Limits.PayloadBytes; n > 0 {
		return n
	}
	return payloadBytes
}
