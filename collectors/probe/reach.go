package probe

import (
	"bytes"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A Target is something that TCP can be spoken to.
type Target struct {
	Host string // a name or an address
	Port uint16
	Path string // of HTTP; empty: the connection is all
}

// A reach connects to the first of its targets, and to the next when that failed. It is bad when all have failed.
type reach struct {
	targets []Target
	at      int
	failed  int // in a row

	fd      int
	sent    bool // the request
	began   time.Time
	finding Finding
	took    time.Duration
	good    time.Time // the last one
}

// ask begins a connection.
func (r *reach) ask(address netip.Addr, scope uint32, now time.Time) {
	shut(&r.fd)
	r.began, r.sent = now, false
	var err error
	if r.fd, err = open(family(address), unix.SOCK_STREAM, 0); err == nil {
		if err = unix.Connect(r.fd, sockaddr(netip.AddrPortFrom(address, r.targets[r.at].Port), scope)); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		r.end(false, now)
	}
}

// end ends it.
func (r *reach) end(ok bool, now time.Time) {
	shut(&r.fd)
	if ok {
		r.finding, r.failed, r.good = Good, 0, now
		return
	}
	r.failed++
	r.at = (r.at + 1) % len(r.targets)
	if r.failed >= len(r.targets) {
		r.finding = Bad
	}
}

// step implements flight.
func (r *reach) step(now time.Time) time.Time {
	if r.fd < 0 {
		return time.Time{}
	}
	late := r.began.Add(patience)
	if !r.sent {
		state, rtt, err := connection(r.fd)
		broken, _ := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR) // 0 where it cannot be read
		switch {
		case err != nil || broken != 0:
			r.end(false, now)
			return time.Time{}
		case state == tcpSynSent && now.Before(late):
			return late
		case state != tcpEstablished && state != tcpCloseWait:
			r.end(false, now)
			return time.Time{}
		}
		r.took = now.Sub(r.began)
		if rtt > 0 && rtt < r.took {
			r.took = rtt // it was established before it was looked at
		}
		target := &r.targets[r.at]
		if target.Path == "" {
			r.end(true, now)
			return time.Time{}
		}
		request := "HEAD " + target.Path + " HTTP/1.1\r\nHost: " + target.Host + "\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n"
		if n, err := unix.Write(r.fd, []byte(request)); err != nil || n < len(request) {
			r.end(false, now)
			return time.Time{}
		}
		r.sent = true
	}
	var buf [64]byte
	n, _, err := unix.Recvfrom(r.fd, buf[:], unix.MSG_DONTWAIT)
	if err == unix.EAGAIN && now.Before(late) {
		return late
	}
	ok := err == nil && Status(buf[:max(n, 0)])
	if ok {
		r.took = min(now.Sub(r.began), patience) // it may have waited for the next round
	}
	r.end(ok, now)
	return time.Time{}
}

// States of a connection (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpCloseWait   = 8
)

// Status reports whether an answer begins with a status line of HTTP/1 that says 2xx or 3xx (RFC 9112, 4).
func Status(b []byte) bool {
	return len(b) >= 12 && bytes.HasPrefix(b, []byte("HTTP/1.")) && b[8] == ' ' && (b[9] == '2' || b[9] == '3') &&
		b[10]-'0' < 10 && b[11]-'0' < 10
}

// sockets implements flight.
func (r *reach) sockets(to []unix.PollFd) []unix.PollFd {
	if r.fd < 0 {
		return to
	}
	events := int16(unix.POLLOUT)
	if r.sent {
		events = unix.POLLIN
	}
	return append(to, unix.PollFd{Fd: int32(r.fd), Events: events})
}
