package probe

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	againAfter = time.Second     // a question is asked again
	patience   = 4 * time.Second // a question that is not answered by then is not
)

// An asking asks servers for a name, one after the other: an answer of any counts. Its sockets are connected, so that the
// kernel drops what comes from elsewhere, and of a random port each; the id is random too.
type asking struct {
	servers []netip.Addr
	scope   uint32
	domain  string // of names without a dot
	first   int    // the server that answered last

	open    bool
	query   []byte
	fds     [mostServers]int // -1: not asked, or done with
	sent    [mostServers]time.Time
	asked   [mostServers]bool
	began   time.Time
	next    time.Time
	tries   int
	letters int

	finding Finding
	took    time.Duration
	address netip.Addr // of the last answer
	good    time.Time  // the last answer
	fresh   bool       // nobody has looked at it yet
	port    uint16     // of servers
}

// ask begins a question for a name.
func (a *asking) ask(name string, kind uint16, now time.Time) {
	a.close()
	if a.domain != "" && name != "." && !strings.Contains(name, ".") {
		name += "." + a.domain
	}
	var id [2]byte
	_, _ = rand.Read(id[:]) // it never fails
	q, ok := Question(a.query[:0], binary.BigEndian.Uint16(id[:]), name, kind)
	if a.query = q; !ok || len(a.servers) == 0 {
		return
	}
	a.open, a.began, a.next, a.tries, a.letters, a.address = true, now, now, 0, 0, netip.Addr{}
	a.asked = [mostServers]bool{}
}

// close ends the question.
func (a *asking) close() {
	a.open = false
	for i := range a.fds {
		shut(&a.fds[i])
	}
}

// step implements flight.
func (a *asking) step(now time.Time) time.Time {
	if !a.open {
		return time.Time{}
	}
	for i := range a.fds {
		if a.fds[i] >= 0 && a.listen(i, now) {
			a.first = i
			a.close()
			return time.Time{}
		}
	}
	for a.open && !now.Before(a.next) && a.tries < mostServers {
		a.send(now)
	}
	late := a.began.Add(patience)
	if !now.Before(late) || a.tries >= mostServers && a.fds == [mostServers]int{-1, -1, -1} {
		a.finding = Bad
		a.close()
		return time.Time{}
	}
	if a.tries < mostServers && a.next.Before(late) {
		return a.next
	}
	return late
}

// send asks the next server; where there is one only, it is asked again.
func (a *asking) send(now time.Time) {
	i := (a.first + a.tries) % len(a.servers)
	a.tries++
	a.next = now.Add(againAfter)
	var err error
	if a.fds[i] < 0 {
		if a.asked[i] { // and has refused
			a.next = now
			return
		}
		a.asked[i] = true
		if a.fds[i], err = open(family(a.servers[i]), unix.SOCK_DGRAM, 0); err == nil {
			err = unix.Connect(a.fds[i], sockaddr(netip.AddrPortFrom(a.servers[i].WithZone(""), a.port), a.scope))
		}
		stamp(a.fds[i])
	}
	if err == nil {
		if a.sent[i].Before(a.began) {
			a.sent[i] = now
		}
		_, err = unix.Write(a.fds[i], a.query)
	}
	if err != nil {
		shut(&a.fds[i])
		a.next = now
	}
}

// listen takes what has come from a server, and says whether it was an answer. What is none is passed over, up to a bound:
// who floods is not heard any more.
func (a *asking) listen(i int, now time.Time) bool {
	var buf [512]byte // the longest message without extensions, RFC 1035, 4.2.1
	for {
		l, err := receive(a.fds[i], buf[:])
		if err == unix.EAGAIN {
			return false
		}
		if a.letters++; err != nil || a.letters > mostLetters { // nobody is there
			break
		}
		code, address, ours := Answer(buf[:l.n], a.query)
		if !ours {
			continue
		}
		if code != codeOK && code != codeNoName {
			break
		}
		a.finding, a.took, a.address, a.good, a.fresh = Good, took(a.sent[i], now, l.at), address, now, true
		return true
	}
	shut(&a.fds[i])
	a.next = now // the next server
	return false
}

// sockets implements flight.
func (a *asking) sockets(to []unix.PollFd) []unix.PollFd {
	for _, fd := range a.fds {
		if fd >= 0 {
			to = append(to, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	return to
}
