// Package hub is the operator's broker: mochi with an access list per device, sessions and retained messages that
// outlive a restart, and a log that says what was refused and why.
//
// It corrects what mochi 2.7.9 leaves open for our use: a publication is acknowledged only after it was queued (and,
// with a state directory, synced to disk) for every subscriber; queued messages come back in the order they were sent;
// the will of a connection is out before the session that replaces it goes on; wills obey the access list; a subscriber
// that stops reading is cut off instead of holding up its publishers; retained messages do not vanish after a day.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// Options say where the hub listens, whom it lets in, and what it keeps.
type Options struct {
	// Listen is the address of the plain listener, empty for none. Off loopback it needs Users.
	Listen string
	// ListenTLS is the address of the TLS listener, empty for none. It needs TLS.
	ListenTLS string
	// TLS serves ListenTLS; see ServerTLS. Clients with a certificate are known by it, the others need Users.
	TLS *tls.Config
	// Users are the names and passwords of who comes without a certificate. Without Users the plain listener takes
	// everybody as an operator, and only on loopback.
	Users Users
	// State is the directory that keeps sessions, queued and retained messages. Empty keeps them in memory.
	State  string
	Log    *slog.Logger // nil discards
	Limits Limits
}

// Limits bound what clients can make the hub hold. A zero field means its default.
type Limits struct {
	Clients     int // connections at once; 10000
	PacketBytes int // largest MQTT packet; 1 MiB
	// InFlight is how many messages are queued for one session, 1 to 65535; beyond it they are dropped and the log
	// says so. 4096. The same number may wait for a connected subscriber's socket: mochi drops what exceeds that even
	// when it was acknowledged, so the two must not differ.
	InFlight int
	// Write is how long a client may take to read what is sent to it before it is cut off; 10 s. Publishers wait as
	// long: mochi holds the client's lock while it writes.
	Write time.Duration
}

// Addrs are the addresses the hub listens on, with the ports the system chose. Empty where there is no such listener.
type Addrs struct {
	Plain string
	TLS   string
}

func (l Limits) orDefaults() Limits {
	if l.Clients <= 0 {
		l.Clients = 10000
	}
	if l.PacketBytes <= 0 {
		l.PacketBytes = 1 << 20
	}
	if l.InFlight <= 0 || l.InFlight > 65535 {
		l.InFlight = 4096
	}
	if l.Write <= 0 {
		l.Write = 10 * time.Second
	}
	return l
}

// sessionSeconds is how long the session of a client that stays away is kept: a week.
const sessionSeconds = 7 * 24 * 3600

// ErrOptions means that the options contradict one another; nothing was started.
var ErrOptions = errors.New("hub options")

func (o *Options) check() error {
	switch {
	case o.Listen == "" && o.ListenTLS == "":
		return fmt.Errorf("%w: no address to listen on", ErrOptions)
	case o.ListenTLS != "" && o.TLS == nil:
		return fmt.Errorf("%w: the TLS listener needs a certificate and key", ErrOptions)
	case o.ListenTLS != "" && o.TLS.ClientCAs == nil && o.Users == nil:
		return fmt.Errorf("%w: the TLS listener needs a client CA or a password file", ErrOptions)
	case o.Listen != "" && o.Users == nil && !loopback(o.Listen):
		return fmt.Errorf("%w: %s is not loopback, and the plain listener has no password file", ErrOptions, o.Listen)
	}
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Run serves until ctx ends, then closes every connection, so that wills are sent and stored, and returns nil. ready
// is called once, after the listeners accept; it may be nil.
func Run(ctx context.Context, o Options, ready func(Addrs)) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.orDefaults()
	srv := mqtt.New(mochiOptions(o))
	st, err := openStore(o)
	if err != nil {
		return err
	}
	if st != nil {
		defer st.close()
		if err := srv.AddHook(st, nil); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	g := newGate(srv, st, o)
	if err := srv.AddHook(g, nil); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	addrs, err := listen(srv, o)
	if err != nil {
		closeListeners(srv)
		return err
	}
	if err := srv.Serve(); err != nil {
		closeListeners(srv)
		return fmt.Errorf("hub: read state: %w", err)
	}
	if ready != nil {
		ready(addrs)
	}
	<-ctx.Done()
	return srv.Close()
}

func mochiOptions(o Options) *mqtt.Options {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = int64(o.Limits.Clients)
	caps.MaximumClientWritesPending = int32(o.Limits.InFlight)
	caps.MaximumInflight = uint16(o.Limits.InFlight)
	caps.MaximumPacketSize = uint32(o.Limits.PacketBytes)
	caps.MaximumSessionExpiryInterval = sessionSeconds
	// Anything above 0 makes mochi delete retained messages of that age: the desired state would be gone.
	caps.MaximumMessageExpiryInterval = 0
	caps.MinimumProtocolVersion = 4
	return &mqtt.Options{
		Capabilities:           caps,
		Logger:                 slog.New(&filter{next: o.Log.Handler()}),
		SysTopicResendInterval: 30,
	}
}

// filter lets through what mochi says that the gate cannot see itself.
type filter struct {
	next slog.Handler
}

const quotaReached = "client store quota reached"

func (f *filter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (f *filter) WithAttrs(a []slog.Attr) slog.Handler         { return &filter{next: f.next.WithAttrs(a)} }
func (f *filter) WithGroup(n string) slog.Handler              { return &filter{next: f.next.WithGroup(n)} }
func (f *filter) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case r.Message == quotaReached:
		r.Message = "queue is full: a message for an absent or slow client is dropped"
	case r.Level < slog.LevelError:
		return nil
	}
	return f.next.Handle(ctx, r)
}

func openStore(o Options) (*store, error) {
	if o.State == "" {
		return nil, nil
	}
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return nil, fmt.Errorf("hub: state directory: %w", err)
	}
	return newStore(filepath.Join(o.State, "hub.db"), o.Log)
}
