package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// helloTimeout is from accept to CONNECT, TLS handshake included.
const helloTimeout = 10 * time.Second

func listen(srv *mqtt.Server, o Options) (Addrs, error) {
	var a Addrs
	for _, l := range []struct {
		id, address string
		tls         *tls.Config
		bound       *string
	}{{"plain", o.Listen, nil, &a.Plain}, {"tls", o.ListenTLS, o.TLS, &a.TLS}} {
		if l.address == "" {
			continue
		}
		nl, err := net.Listen("tcp", l.address)
		if err != nil {
			return Addrs{}, fmt.Errorf("hub: %w", err)
		}
		own := &listener{id: l.id, net: nl, tls: l.tls, log: o.Log, max: o.Limits.Clients, write: o.Limits.Write, conns: map[*conn]bool{}}
		if err := srv.AddListener(own); err != nil {
			nl.Close()
			return Addrs{}, fmt.Errorf("hub: %w", err)
		}
		*l.bound = nl.Addr().String()
	}
	return a, nil
}

func closeListeners(srv *mqtt.Server) {
	for _, id := range []string{"plain", "tls"} {
		srv.Listeners.Close(id, func(string) {})
	}
}

// listener is mochi's listener with what its own lacks: time limits before CONNECT and on writes, the peer's
// certificate, and an end that waits for its connections.
type listener struct {
	id  string
	net net.Listener
	tls *tls.Config
	log *slog.Logger
	max int

	write time.Duration
	mu    sync.Mutex // conns is touched by every connection's goroutine
	conns map[*conn]bool
	ended bool
	wg    sync.WaitGroup
}

func (l *listener) Init(*slog.Logger) error { return nil }
func (l *listener) ID() string              { return l.id }
func (l *listener) Address() string         { return l.net.Addr().String() }
func (l *listener) Protocol() string        { return l.id }

func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		nc, err := l.net.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, most likely: the connection stays in the backlog until one is free.
			l.log.Error("accept", "listener", l.id, "why", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		c := &conn{Conn: nc, write: l.write, ready: make(chan struct{}), gone: make(chan struct{})}
		if !l.add(c) {
			nc.Close()
			continue
		}
		go func() {
			defer l.remove(c)
			l.serve(c, establish)
		}()
	}
}

func (l *listener) serve(c *conn, establish listeners.EstablishFn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(helloTimeout))
	if l.tls != nil {
		t := tls.Server(c.Conn, l.tls)
		ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			l.log.Warn("refused", "remote", c.RemoteAddr().String(), "why", err)
			return
		}
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			p := peerOf(certs[0].Subject)
			c.cert = &p
		}
		c.Conn = t
	}
	err := establish(l.id, c) // returns when the connection has ended, and its will is out
	if err != nil && c.peer == (peer{}) && !c.refused {
		l.log.Warn("refused", "remote", c.RemoteAddr().String(), "why", err)
	}
}

func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.conns) >= l.max {
		return false
	}
	l.conns[c] = true
	l.wg.Add(1)
	return true
}

func (l *listener) remove(c *conn) {
	close(c.gone)
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.wg.Done()
}

// Close ends the connections itself: mochi would send a DISCONNECT, which MQTT 3.1.1 does not allow a server.
func (l *listener) Close(listeners.CloseFn) {
	l.net.Close()
	l.mu.Lock()
	l.ended = true
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// conn is a client's connection, and whose it is.
type conn struct {
	net.Conn
	write   time.Duration // a write may take
	cert    *peer         // who the certificate says it is, nil without one
	peer    peer          // who it was let in as; set in the connection's own goroutine
	refused bool          // and the log has said why
	ready   chan struct{} // closed when the queue has been sent and the session goes on
	gone    chan struct{} // closed after mochi has let go of the connection

	alias, original uint16 // the packet id mochi sees instead of the client's, of the packet being read; 0 for none

	replaced atomic.Bool // by a newer connection

	mu     sync.Mutex // counts is touched by whoever publishes
	counts map[string]int
}

// Write fails, and closes the connection, when the client takes nothing for too long.
func (c *conn) Write(b []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.write))
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Conn.Close()
	}
	return n, err
}

// afterQueue waits until what was queued for the client has been sent, so that nothing new overtakes it; but not for
// long, because a publisher waits here.
func (c *conn) afterQueue() {
	select {
	case <-c.ready:
		return
	default:
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-c.ready:
	case <-c.gone:
	case <-t.C:
	}
}

// count counts what happened to the client, and says whether this is one to log: the 1st, 2nd, 4th, 8th, ... of its
// sort. Beyond 32 sorts all are one.
func (c *conn) count(what string) (n int, tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	if _, known := c.counts[what]; !known && len(c.counts) >= 32 {
		what = ""
	}
	c.counts[what]++
	n = c.counts[what]
	return n, n&(n-1) == 0
}
