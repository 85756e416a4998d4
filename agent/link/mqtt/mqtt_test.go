package mqtt_test

import (
	"context"
	"net"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/link/mqtt"
)

// clock is the machine's, as sockets have no other.
type clock struct{ untrusted bool }

func (clock) Now() time.Time { return time.Now() }

func (clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

func (c clock) Trusted() bool { return !c.untrusted }

// brisk are options for tests: everything is tried again soon.
func brisk(brokers ...string) mqtt.Options {
	return mqtt.Options{
		Brokers: brokers, Clock: clock{},
		Backoff:      mqtt.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
		WriteTimeout: 500 * time.Millisecond, ConnectTimeout: 10 * time.Second, FilePeriod: 20 * time.Millisecond,
		Dial: narrow,
	}
}

// narrow dials with a small send buffer: a stall is to fill it.
func narrow(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

func open(t *testing.T, s link.Session, o mqtt.Options) link.Conn {
	t.Helper()
	c, err := mqtt.New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// harness puts a proxy before a server.
func harness(t *testing.T, s *linktest.Server, o mqtt.Options) linktest.Harness {
	p := linktest.NewProxy(t, s.Addr)
	o.Brokers = []string{s.URL(p.Addr)}
	return linktest.Harness{
		Open:    func(session link.Session) link.Conn { return open(t, session, o) },
		Say:     func(m link.Message) { s.Say(t, m) },
		Heard:   s.Heard,
		Next:    s.Next,
		Cut:     p.Cut,
		Offline: p.Refuse,
		Stall:   p.Stall,
		User:    "dev", Password: "secret",
	}
}

var users = map[string]string{"dev": "secret"}

func TestConnOnMochi(t *testing.T) {
	linktest.TestConn(t, func(t *testing.T) linktest.Harness {
		h := harness(t, linktest.Mochi(t, linktest.Config{Users: users, Denied: "secret/#"}), brisk())
		h.Denied = "secret/#"
		return h
	})
}

func TestConnOnMosquitto(t *testing.T) {
	linktest.TestConn(t, func(t *testing.T) linktest.Harness {
		return harness(t, linktest.Mosquitto(t, linktest.Config{Users: users}), brisk())
	})
}

func TestConnOnMosquittoWithMutualTLS(t *testing.T) {
	linktest.TestConn(t, func(t *testing.T) linktest.Harness {
		pki := linktest.NewPKI(t)
		o := brisk()
		o.CAFile = pki.CAFile
		o.CertFile, o.KeyFile = pki.Issue(t, "dev", time.Hour)
		return harness(t, linktest.Mosquitto(t, linktest.Config{Users: users, PKI: pki, ClientCert: true}), o)
	})
}
