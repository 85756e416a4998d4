package fetch

import (
	"errors"
	"net"
	"os"
	"time"

	"holdfast/board"
)

// A pace tells whether bytes come fast enough. Only time that was spent waiting for them counts.
type pace struct {
	stall time.Duration
	rate  int64

	spent time.Duration
	got   int64
}

// keeps counts n bytes that took d and reports false when a span of stall has brought too few.
func (p *pace) keeps(n int, d time.Duration) bool {
	p.spent += d
	p.got += int64(n)
	if p.spent < p.stall {
		return true
	}
	good := float64(p.got) >= float64(p.rate)*p.stall.Seconds()
	p.spent, p.got = 0, 0
	return good
}

// A paced connection ends when its peer is silent or slow. It sees what a reader of bodies does not: a record of TLS or
// the head of a chunk that comes a byte at a time.
type paced struct {
	net.Conn
	clock board.Clock
	pace  pace
	asked bool // something was written since the last read: the peer may think before it answers
	late  bool // nothing more is read: a parser takes the end of a wait for the end of a line, and would wait for the next
}

func (c *paced) Read(p []byte) (int, error) {
	if c.late {
		return 0, ErrSlow
	}
	if err := c.SetReadDeadline(time.Now().Add(c.pace.stall)); err != nil {
		return 0, err
	}
	began := c.clock.Now()
	n, err := c.Conn.Read(p)
	switch keeps := c.pace.keeps(n, c.clock.Now().Sub(began)); {
	case err == nil && c.asked:
		c.asked, c.pace.spent, c.pace.got = false, 0, 0
	case err == nil && !keeps:
		n, err = 0, ErrSlow
	}
	c.late = c.late || errors.Is(err, ErrSlow) || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

func (c *paced) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.pace.stall)); err != nil {
		return 0, err
	}
	c.asked = true
	n, err := c.Conn.Write(p)
	c.late = c.late || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}
