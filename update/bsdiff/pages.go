package bsdiff

import (
	"fmt"
	"io"
)

// Pages of old that are kept: short tuples come back to the same places, and a call to the system for each would cost
// more than the copying.
const (
	pageBytes = 16 << 10
	pageCount = 32
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
		c.buf = make([]byte, pageBytes*pageCount)
	}
	c.r, c.err = r, nil
	for i := range c.at {
		c.at[i] = -1 // old may have been written to since the last segment
	}
}

func (c *pages) read(p []byte, at int64) {
	if len(p) >= pageBytes {
		c.direct(p, at)
		return
	}
	for len(p) > 0 {
		page := at / pageBytes
		i := page % pageCount
		buf := c.buf[i*pageBytes : (i+1)*pageBytes]
		if c.at[i] != page {
			n, err := c.r.ReadAt(buf, page*pageBytes)
			if err != nil && err != io.EOF {
				c.at[i] = -1
				c.direct(p, at) // the part that is wanted may well be readable
				return
			}
			c.at[i], c.have[i] = page, n
		}
		from := int(at - page*pageBytes)
		n := copy(p, buf[min(from, c.have[i]):c.have[i]])
		if n == 0 {
			c.direct(p, at)
			return
		}
		p, at = p[n:], at+int64(n)
	}
}

func (c *pages) direct(p []byte, at int64) {
	if err := readFullAt(c.r, p, at); err != nil {
		clear(p)
		if c.err == nil {
			c.err = fmt.Errorf("read old image at %d: %w", at, err)
		}
	}
}
