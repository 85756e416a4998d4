// Package probe is a driver: it asks how far the way to the cloud goes, and so tells a lost link from a dead gateway, from
// names that are not answered, and from what lies beyond.
//
// A question is a few datagrams or a connection, over sockets that never wait. A round waits for answers for a part of its
// period; what comes later is read in the next round, with the time the kernel took it at. Nothing runs between rounds.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Options are what a probe is made of. The zero value asks the gateway, and for the root of all names.
type Options struct {
	Root    string           // below which proc, sys and etc are; empty is "/"
	Gateway netip.Addr       // instead of the default route's; not valid: that
	Name    string           // that servers are asked for; empty: the first broker's host, or the root where that is an address
	Brokers []Target         // tried in turn
	HTTP    []Target         // tried in turn
	Metered *bool            // the link costs by the byte; nil: when its interface is a modem's
	Linked  func() bool      // the agent's own connection to the broker is up; nil: not known
	Now     func() time.Time // nil is time.Now
	Port    uint16           // of servers of names; 0: 53
}

const (
	mostWait = 2 * time.Second // for answers, in one round
	nap      = 50 * time.Millisecond
	young    = time.Second // a question under way for longer makes its last answer doubtful
)

// mostBytes bounds what is read of a file; of a longer one the rest is not seen. The default route comes first in
// /proc/net/route.
const mostBytes = 64 << 10

// A name is one, and what answers said of it.
type name struct {
	text  string
	known netip.Addr
	lacks int // answers without an address in a row
}

// Probe is the source "probe". It belongs to one caller at a time.
type Probe struct {
	root   string
	o      Options
	names  []name // that are asked for in turn: what tells whether servers answer, and whose addresses are wanted
	turn   int
	buf    []byte
	before time.Time     // the last round
	period time.Duration // as it was then

	route   Route // the last there was
	scope   uint32
	way     Way
	modem   bool
	near    bool      // something is wrong on this side of the gateway, or with it
	fell    time.Time // since when
	urgent  int       // rounds in a row
	gateway gateway
	dns     asking
	broker  reach
	http    reach
	due     struct{ gateway, dns, broker, http pause }
	polls   []unix.PollFd
}

// New makes a probe.
func New(o Options) *Probe {
	p := &Probe{o: o, root: strings.TrimSuffix(o.Root, "/"), dns: asking{port: o.Port}}
	if p.o.Now == nil {
		p.o.Now = time.Now
	}
	if p.dns.port == 0 {
		p.dns.port = 53
	}
	p.gateway = gateway{fd: -1, neighbour: p.neighbour}
	p.dns.fds = [mostServers]int{-1, -1, -1}
	p.broker, p.http = reach{targets: o.Brokers, fd: -1}, reach{targets: o.HTTP, fd: -1}
	p.want(o.Name)
	for _, all := range [...][]Target{o.Brokers, o.HTTP} {
		for i := range all {
			if _, err := netip.ParseAddr(all[i].Host); err != nil {
				p.want(all[i].Host)
			}
		}
	}
	if len(p.names) == 0 {
		p.want(".")
	}
	return p
}

// neighbour says whether the kernel has a neighbour, of IPv4 alone.
func (p *Probe) neighbour(a netip.Addr) Finding {
	b, err := p.read("/proc/net/arp")
	if err != nil {
		return Unknown
	}
	return ParseNeighbour(b, a)
}

// want adds a name to those that are asked for.
func (p *Probe) want(text string) {
	if text != "" && p.find(text) == nil {
		p.names = append(p.names, name{text: text})
	}
}

func (p *Probe) find(text string) *name {
	for i := range p.names {
		if p.names[i].text == text {
			return &p.names[i]
		}
	}
	return nil
}

// Name is "probe".
func (*Probe) Name() string { return "probe" }

// Collect emits one sample.
func (p *Probe) Collect(ctx context.Context, emit collectors.Emit) error {
	now := p.o.Now()
	period, wait := 10*time.Second, nap // of the first round, when the period is not known
	if !p.before.IsZero() {
		period = max(now.Sub(p.before), 10*time.Millisecond)
		wait = min(period/3, p.period/3, mostWait)
	}
	p.before, p.period = now, period
	if err := p.look(); err != nil {
		return err
	}
	flights := [...]flight{&p.gateway, &p.dns, &p.broker, &p.http}
	for _, f := range flights { // what came since the last round
		f.step(now)
	}
	p.learn()
	p.begin(now, period)
	end := now.Add(wait)
	for {
		now = p.o.Now()
		again, busy := end, false
		for _, f := range flights {
			if t := f.step(now); !t.IsZero() {
				busy = true
				again = earlier(again, t)
			}
		}
		if !busy || !now.Before(end) || ctx.Err() != nil {
			break
		}
		p.sleep(flights[:], again.Sub(now))
	}
	p.learn()
	p.judge(now)
	emit(p.sample())
	return nil
}

// Close gives up what is under way. It must not be called while Collect runs; Collect may be called again afterwards.
func (p *Probe) Close() {
	shut(&p.gateway.fd)
	p.dns.close()
	shut(&p.broker.fd)
	shut(&p.http.fd)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// sleep waits until something comes, for a bounded time.
func (p *Probe) sleep(flights []flight, d time.Duration) {
	p.polls = p.polls[:0]
	for _, f := range flights {
		p.polls = f.sockets(p.polls)
	}
	ms := int(min(d, nap)/time.Millisecond) + 1
	_, _ = unix.Poll(p.polls, ms) // whatever woke it, the sockets are looked at
}

// look reads what the machine says of its way out.
func (p *Probe) look() error {
	r, ok := Route{}, false
	b, err := p.read("/proc/net/route")
	if err == nil {
		r, ok = ParseRoutes4(b)
	}
	if !ok {
		b, also := p.read("/proc/net/ipv6_route")
		if also == nil {
			r, ok = ParseRoutes6(b)
		}
		if err != nil && also != nil {
			return fmt.Errorf("%w: %s/proc/net/route", collectors.ErrNoData, p.root)
		}
	}
	if ok && r.Interface != p.route.Interface {
		p.scope, p.modem = p.index(r.Interface), p.isModem(r.Interface)
	}
	if ok {
		p.route = r
	}
	if p.o.Gateway.IsValid() {
		p.route.Gateway = p.o.Gateway
	}
	p.way.Route = ok
	p.way.Carrier = p.carrier(p.route.Interface)
	p.gateway.turn(p.route.Gateway, p.scope)
	if b, err := p.read("/etc/resolv.conf"); err == nil {
		p.servers(ParseResolv(b))
	}
	return nil
}

// servers takes what resolv.conf says.
func (p *Probe) servers(list []netip.Addr, domain string) {
	if !slices.Equal(list, p.dns.servers) {
		p.dns.close()
		p.dns.servers, p.dns.first = list, 0
		if len(list) == 0 {
			p.dns.finding = Unknown
		}
	}
	p.dns.scope, p.dns.domain = p.scope, domain
}

// carrier says whether an interface has a link. The kernel answers EINVAL for one that is down.
func (p *Probe) carrier(name string) Finding {
	if name == "" {
		return Unknown
	}
	b, err := p.read("/sys/class/net/" + name + "/carrier")
	switch {
	case errors.Is(err, unix.ENOENT) && unix.Access(p.root+"/sys/class/net", unix.F_OK) != nil:
		return Unknown
	case err != nil || !bytes.HasPrefix(b, []byte("1")):
		return Bad // an interface that is gone, such as an unplugged modem, has none
	}
	return Good
}

func (p *Probe) index(name string) uint32 {
	b, err := p.read("/sys/class/net/" + name + "/ifindex")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32) // 0 where it is none
	return uint32(n)
}

// isModem reports whether an interface is a modem's: the kernel calls it wwan, or it is one of PPP.
func (p *Probe) isModem(name string) bool {
	b, err := p.read("/sys/class/net/" + name + "/uevent")
	return strings.HasPrefix(name, "ppp") || err == nil && bytes.Contains(b, []byte("DEVTYPE=wwan\n"))
}

// kind is the type of address that is asked for: that of the default route, and the other where there was none.
func (p *Probe) kind(n *name) uint16 {
	switch {
	case n.text == ".":
		return typeNS
	case p.route.Gateway.Is6() == (n.lacks%2 == 0):
		return typeAAAA
	}
	return typeA
}

// connect begins a connection to a target whose address is known, if there is one. None that servers have none for is reached.
func (p *Probe) connect(r *reach, now time.Time) bool {
	none := 0
	for range r.targets {
		host := r.targets[r.at].Host
		a, err := netip.ParseAddr(host)
		if err != nil {
			if b, err := p.read("/etc/hosts"); err == nil {
				a = ParseHosts(b, host)
			}
		}
		n := p.find(host)
		if n != nil && !a.IsValid() {
			a = n.known
		}
		if a.IsValid() {
			r.ask(a.Unmap(), p.scope, now)
			return true
		}
		if n != nil && n.lacks > 1 {
			none++
		}
		r.at = (r.at + 1) % len(r.targets)
	}
	if none == len(r.targets) {
		r.finding = Bad
	}
	return false
}

// learn keeps what an answer says. An address outlives the servers: a broker that is reached while names are not answered is
// how the two are told apart.
func (p *Probe) learn() {
	if !p.dns.fresh {
		return
	}
	p.dns.fresh = false
	n := &p.names[p.turn]
	if n.lacks++; p.dns.address.IsValid() {
		n.known, n.lacks = p.dns.address, 0
	}
}

// judge sums up what is known.
func (p *Probe) judge(now time.Time) {
	doubt := func(f Finding, open bool, began time.Time) Finding {
		if f == Good && open && now.Sub(began) > young {
			return Unknown
		}
		return f
	}
	ratio := 0.0
	if ratio, _, p.way.Gateway = p.gateway.loss(); ratio == 1 && p.broker.good.After(p.fell) && p.near {
		p.gateway.spoke = false // it has ceased to answer, and still does its work
	}
	p.way.DNS = doubt(p.dns.finding, p.dns.open, p.dns.began)
	p.way.Broker = doubt(p.broker.finding, p.broker.fd >= 0, p.broker.began)
	p.way.HTTP = doubt(p.http.finding, p.http.fd >= 0, p.http.began)
}

// troubled reports whether something is wrong, as of what is known.
func (p *Probe) troubled() bool {
	v := p.way.Verdict()
	return v != "ok" && v != "unknown"
}

func (p *Probe) sample() collectors.Sample {
	s := collectors.Sample{Source: "probe", Fields: make([]collectors.Field, 0, 10)}
	s.Str("verdict", p.way.Verdict())
	field(&s, "carrier", p.way.Carrier, "", 0)
	if ratio, settled, _ := p.gateway.loss(); settled > 0 {
		s.Num("gateway_loss_ratio", ratio)
	}
	field(&s, "", Unknown, "gateway_seconds", p.gateway.last)
	field(&s, "dns_ok", p.dns.finding, "dns_seconds", p.dns.took)
	field(&s, "broker_ok", p.broker.finding, "broker_seconds", p.broker.took)
	field(&s, "http_ok", p.http.finding, "http_seconds", p.http.took)
	return s
}

// field appends what was found, and what it took, where that is known.
func field(s *collectors.Sample, truth string, f Finding, span string, d time.Duration) {
	if f != Unknown {
		s.Fields = append(s.Fields, collectors.Field{Name: truth, Value: collectors.Bool(f == Good)})
	}
	if d > 0 {
		s.Num(span, d.Seconds())
	}
}

// read returns the beginning of a file below the root, valid until the next read.
func (p *Probe) read(path string) ([]byte, error) {
	fd, err := unix.Open(p.root+path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if p.buf == nil {
		p.buf = make([]byte, 4<<10)
	}
	for n := 0; ; {
		m, err := unix.Read(fd, p.buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		}
		if n += m; m == 0 || n == mostBytes {
			return p.buf[:n], nil
		}
		if n == len(p.buf) {
			p.buf = append(p.buf, make([]byte, n)...)
		}
	}
}
