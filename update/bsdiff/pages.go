package bsdiff

import (
	"fmt"
	"io"
)

// Pages of old that are kept: short tuples come back to the same places, and a call to the system for each would cost
// more than the copying.
const (
	pageBytes = 4 << 10
	pageCount = 128
	pageAhead = 8 // read together where the page before is kept: most of old is taken in order, with leaps between
)

// pages reads old through a small direct-mapped store. What cannot be read is zeros, and the first error is kept: the
// segment's hash then decides.
type pages struct {
	r    io.ReaderAt
	buf  []byte
	at   [pageCount]int64 // of each page, in pages; -1 for none
	have [pageCount]int   // bytes
	err  error
}

func (c *pages) begin(r io.ReaderAt) {
	if c.buf == nil {
		c.buf = make([]byte, pageBytes*(pageCount+pageAhead)) // the last for what is not kept
	}
	c.r, c.err = r, nil
	for i := range c.at {
		c.at[i] = -1 // old may have been written to since the last segment
	}
}

// add adds old from at on to p, each byte by itself. With plain it puts old in place of what p holds.
func (c *pages) add(p []byte, at int64, plain bool) {
	for len(p) > 0 {
		if len(p) >= pageAhead*pageBytes {
			part := p
			if !plain {
				part = p[:pageAhead*pageBytes]
			}
			c.direct(part, at, plain)
			p, at = p[len(part):], at+int64(len(part))
			continue
		}
		page := at / pageBytes
		i := int(page % pageCount)
		from := int(at - page*pageBytes)
		if c.at[i] != page && !c.load(page, i) || from >= c.have[i] {
			c.direct(p, at, plain) // the part that is wanted may well be readable
			return
		}
		have := c.buf[i*pageBytes+from : i*pageBytes+c.have[i]]
		n := min(len(p), len(have))
		if plain {
			copy(p, have)
		} else {
			addBytes(p[:n], have[:n])
		}
		p, at = p[n:], at+int64(n)
	}
}

// load brings a page to its place i, and with it those that follow where old is being taken in order.
func (c *pages) load(page int64, i int) bool {
	count := 1
	if before := (i + pageCount - 1) % pageCount; page > 0 && c.at[before] == page-1 {
		count = min(pageAhead, pageCount-i)
	}
	buf := c.buf[i*pageBytes:][:count*pageBytes]
	n, err := c.r.ReadAt(buf, page*pageBytes)
	if err != nil && err != io.EOF {
		for j := range count {
			c.at[i+j] = -1
		}
		return false
	}
	for j := range count {
		c.at[i+j], c.have[i+j] = page+int64(j), max(0, min(pageBytes, n-j*pageBytes))
	}
	return true
}

// direct takes what is not worth keeping; at most pageAhead pages when it is to be added.
func (c *pages) direct(p []byte, at int64, plain bool) {
	to := p
	if !plain {
		to = c.buf[len(c.buf)-len(p):]
	}
	if err := readFullAt(c.r, to, at); err != nil {
		clear(p)
		if c.err == nil {
			c.err = fmt.Errorf("read old image at %d: %w", at, err)
		}
		return
	}
	if !plain {
		addBytes(p, to)
	}
}
