package bsdiff

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

const sinkBytes = 64 << 10 // the greatest block a manifest may ask for

// A sink gathers a segment's output, sums it, and writes those blocks that need it.
type sink struct {
	a     *Applier
	at    int64 // where buf goes
	block int
	blank bool // zeros are there already
	buf   []byte
	n     int
	have  []byte
	hash  hash.Hash
}

func (s *sink) begin(a *Applier, at int64, block int, blank bool) {
	if s.buf == nil {
		s.buf, s.hash = make([]byte, sinkBytes), sha256.New()
	}
	if a.Present != nil && s.have == nil {
		s.have = make([]byte, sinkBytes)
	}
	s.a, s.at, s.block, s.blank, s.n = a, at, block, blank, 0
	s.hash.Reset()
}

// room returns the next at most n bytes of output, to be filled before the next call.
func (s *sink) room(n int64) ([]byte, error) {
	if s.n == len(s.buf) {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	p := s.buf[s.n:min(int64(len(s.buf)), int64(s.n)+n)]
	s.n += len(p)
	return p, nil
}

func (s *sink) sum() (sum [32]byte) {
	s.hash.Sum(sum[:0])
	return sum
}

// flush sums what has gathered, and writes its blocks in as few calls as the ones between them that are right allow.
func (s *sink) flush() error {
	p := s.buf[:s.n]
	s.hash.Write(p)
	have := s.present(p)
	from := 0 // of the blocks that wait to be written together
	for i := 0; i < len(p); i += s.block {
		end := min(i+s.block, len(p))
		if right := s.blank && isZero(p[i:end]) || end <= len(have) && bytes.Equal(p[i:end], have[i:end]); !right {
			continue
		}
		if err := s.write(from, i); err != nil {
			return err
		}
		from = end
		s.a.Stats.Skipped += int64(end - i)
	}
	if err := s.write(from, len(p)); err != nil {
		return err
	}
	s.at += int64(len(p))
	s.n = 0
	return nil
}

// present returns what New holds already, as far as that can be read.
func (s *sink) present(p []byte) []byte {
	if s.a.Present == nil {
		return nil
	}
	n, _ := s.a.Present.ReadAt(s.have[:len(p)], s.at) // what cannot be read is written
	return s.have[:n]
}

type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

func (s *sink) write(from, to int) error {
	if from >= to {
		return nil
	}
	n, err := s.a.New.WriteAt(s.buf[from:to], s.at+int64(from))
	s.a.Stats.Written += int64(n)
	if err != nil {
		return &writeError{fmt.Errorf("write new image at %d: %w", s.at+int64(from), err)}
	}
	return nil
}

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
