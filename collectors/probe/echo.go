package probe

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	window      = 10              // echoes that the loss is of
	echoTime    = 2 * time.Second // an echo that is not back by then is lost
	mostLetters = 64              // that are read in one step, and of one question
	closedPort  = 33434           // where nobody listens, as traceroute has it
)

// An echo is one that was asked for.
type echo struct {
	seq  uint16
	sent time.Time
	fate Finding // Unknown: under way
}

// A gateway is asked for echoes over a socket for pings, which needs no power where net.ipv4.ping_group_range has the group
// (icmp(7)). Where it has not, a datagram to a port where nobody listens is sent, and comes back as a refusal. Of one that
// does not, and of a gateway that has never answered an echo, the table of neighbours says whether the gateway is there:
// machines send few refusals in a second, and many answer no echoes. The kernel keeps that table, because it has to know
// where to send what is sent.
type gateway struct {
	neighbour func(netip.Addr) Finding
	address   netip.Addr
	scope     uint32
	fd        int
	refused   bool // the kernel gives no socket for pings: a datagram is sent
	spoke     bool // it has answered since it is the gateway
	cookie    [8]byte
	seq       uint16
	echoes    [window]echo // a ring; those without a time were never asked for
	next      int
	seen      time.Time     // the last step
	last      time.Duration // mean of those of the last round that came back
	round     struct {
		sum  time.Duration
		back int
	}
}

// turn says who the gateway is now. What is known of another is forgotten.
func (g *gateway) turn(address netip.Addr, scope uint32) {
	if g.address == address && g.scope == scope {
		return
	}
	shut(&g.fd)
	*g = gateway{neighbour: g.neighbour, address: address, scope: scope, fd: -1}
	_, _ = rand.Read(g.cookie[:]) // it never fails
}

// ask sends n echoes.
func (g *gateway) ask(n int, now time.Time) {
	g.round.sum, g.round.back = 0, 0
	if g.fd < 0 {
		_ = g.open() // whatever is wrong, sending says it too
	}
	if g.refused {
		n = 1
	}
	for range n {
		g.seq++
		e := &g.echoes[g.next]
		*e = echo{seq: g.seq, sent: now}
		g.next = (g.next + 1) % window
		if err := g.send(g.seq); err != nil {
			e.fate = Bad
		}
	}
}

func (g *gateway) send(seq uint16) error {
	if g.refused {
		_, err := unix.Write(g.fd, g.cookie[:])
		return err
	}
	// Type, code, checksum and identifier, which are the kernel's, sequence number (RFC 792, RFC 4443).
	b := [16]byte{8}
	if !g.address.Is4() {
		b[0] = 128
	}
	binary.BigEndian.PutUint16(b[6:], seq)
	copy(b[8:], g.cookie[:])
	return unix.Sendto(g.fd, b[:], 0, sockaddr(netip.AddrPortFrom(g.address, 0), g.scope))
}

func (g *gateway) open() (err error) {
	protocol := unix.IPPROTO_ICMP
	if !g.address.Is4() {
		protocol = unix.IPPROTO_ICMPV6
	}
	g.refused = false
	if g.fd, err = open(family(g.address), unix.SOCK_DGRAM, protocol); err == nil {
		stamp(g.fd)
		return nil
	}
	if g.fd, err = open(family(g.address), unix.SOCK_DGRAM, 0); err != nil {
		return err
	}
	g.refused = true
	return unix.Connect(g.fd, sockaddr(netip.AddrPortFrom(g.address, closedPort), g.scope))
}

// step implements flight.
func (g *gateway) step(now time.Time) (again time.Time) {
	exact := now.Sub(g.seen) <= 2*nap // else what has come may have come long ago
	g.seen = now
	var buf [64]byte
	for range mostLetters {
		if g.fd < 0 {
			break
		}
		l, err := receive(g.fd, buf[:])
		switch {
		case err == unix.EAGAIN:
		case g.refused && (err == unix.ECONNREFUSED || err == nil):
			g.newest(now, exact) // the kernel does not say of which
			continue
		case err != nil:
			continue // told of a send that came to nothing: it will be late
		default:
			g.letter(buf[:l.n], l, now)
			continue
		}
		break
	}
	for i := range g.echoes {
		e := &g.echoes[i]
		if e.sent.IsZero() || e.fate != Unknown {
			continue
		}
		late := e.sent.Add(echoTime)
		if !now.Before(late) {
			if e.fate = g.missing(); e.fate == Unknown {
				e.sent = time.Time{}
			}
		} else if again.IsZero() || late.Before(again) {
			again = late
		}
	}
	return again
}

// missing says what becomes of an echo that did not come back.
func (g *gateway) missing() Finding {
	if g.spoke && !g.refused {
		return Bad
	}
	return g.neighbour(g.address)
}

// letter takes an echo.
func (g *gateway) letter(b []byte, l letter, now time.Time) {
	kind := byte(0)
	from := netip.Addr{}
	switch s := l.from.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrFrom4(s.Addr)
	case *unix.SockaddrInet6:
		from, kind = netip.AddrFrom16(s.Addr), 129
	}
	if from != g.address.WithZone("") || len(b) < 16 || b[0] != kind || [8]byte(b[8:16]) != g.cookie {
		return
	}
	seq := binary.BigEndian.Uint16(b[6:])
	for i := range g.echoes {
		if e := &g.echoes[i]; e.seq == seq && !e.sent.IsZero() && e.fate == Unknown {
			if d := took(e.sent, now, l.at); d < echoTime {
				g.back(e, d)
			}
		}
	}
}

// newest says that the newest echo under way came back.
func (g *gateway) newest(now time.Time, exact bool) {
	for i := range window {
		e := &g.echoes[(g.next+window-1-i)%window]
		switch {
		case e.sent.IsZero() || e.fate != Unknown:
		case exact:
			g.back(e, now.Sub(e.sent))
			return
		default:
			e.fate, g.spoke = Good, true
			return
		}
	}
}

// back says that an echo came back.
func (g *gateway) back(e *echo, after time.Duration) {
	e.fate, g.spoke = Good, true
	g.round.sum += after
	g.round.back++
	g.last = g.round.sum / time.Duration(g.round.back)
}

// sockets implements flight.
func (g *gateway) sockets(to []unix.PollFd) []unix.PollFd {
	if g.fd < 0 {
		return to
	}
	return append(to, unix.PollFd{Fd: int32(g.fd), Events: unix.POLLIN})
}

// loss returns the part of the echoes that did not come back, of those whose fate is known, and what that says: a gateway is
// gone when the last three are lost. settled is how many there are.
func (g *gateway) loss() (ratio float64, settled int, f Finding) {
	lost, inRow := 0, 0
	for i := range window {
		switch g.echoes[(g.next+i)%window].fate {
		case Good:
			settled, inRow = settled+1, 0
		case Bad:
			settled, lost, inRow = settled+1, lost+1, inRow+1
		}
	}
	switch {
	case settled == 0:
		return 0, 0, Unknown
	case inRow >= 3:
		f = Bad
	default:
		f = Good
	}
	return float64(lost) / float64(settled), settled, f
}
