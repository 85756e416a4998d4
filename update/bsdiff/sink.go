package bsdiff

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync/atomic"
)

const (
	sinkBytes   = 64 << 10 // of a buffer; the greatest block a manifest may ask for
	sinkBuffers = 4        // one that is filled, one that is written, two for the difference in pace
)

// A sink gathers a segment's output, sums it, and writes those blocks that need it. Between begin and end a goroutine
// sums and writes while the next bytes are made: on two cores that is a third of the time.
type sink struct {
	a     *Applier
	at    int64 // where the next buffer goes
	block int
	blank bool // zeros are there already
	hash  hash.Hash
	have  []byte // what New holds already

	buf    []byte // that is filled
	n      int
	free   chan []byte // of sinkBuffers, so that giving one back never waits
	full   chan []byte // of as many, likewise
	failed atomic.Bool
	ended  chan error
}

func (s *sink) begin(a *Applier, at int64, block int, blank bool) {
	if s.hash == nil {
		s.hash = sha256.New()
		s.free = make(chan []byte, sinkBuffers)
		for range sinkBuffers {
			s.free <- make([]byte, sinkBytes)
		}
	}
	if a.Present != nil && s.have == nil {
		s.have = make([]byte, sinkBytes)
	}
	s.a, s.at, s.block, s.blank = a, at, block, blank
	s.hash.Reset()
	s.failed.Store(false)
	s.full, s.ended = make(chan []byte, sinkBuffers), make(chan error, 1)
	s.buf, s.n = <-s.free, 0
	go func() {
		var first error
		for p := range s.full {
			if first == nil {
				if first = s.put(p); first != nil {
					s.failed.Store(true)
				}
			}
			s.free <- p[:sinkBytes]
		}
		s.ended <- first
	}()
}

// end waits until all is written, and returns the sum. What was not filled to the end is dropped when keep is false.
func (s *sink) end(keep bool) (sum [32]byte, err error) {
	if keep && s.n > 0 {
		s.full <- s.buf[:s.n]
	} else {
		s.free <- s.buf
	}
	close(s.full)
	err = <-s.ended
	s.hash.Sum(sum[:0])
	return sum, err
}

// room returns the next at most n bytes of output, to be filled before the next call. Nil means that writing failed.
func (s *sink) room(n int64) []byte {
	if s.n == len(s.buf) {
		if s.failed.Load() {
			return nil
		}
		s.full <- s.buf
		s.buf, s.n = <-s.free, 0
	}
	p := s.buf[s.n:min(int64(len(s.buf)), int64(s.n)+n)]
	s.n += len(p)
	return p
}

// put sums a buffer and writes its blocks in as few calls as the ones between them that are right allow.
func (s *sink) put(p []byte) error {
	s.hash.Write(p)
	have := s.present(p)
	from := 0 // of the blocks that wait to be written together
	for i := 0; i < len(p); i += s.block {
		end := min(i+s.block, len(p))
		if right := s.blank && isZero(p[i:end]) || end <= len(have) && bytes.Equal(p[i:end], have[i:end]); !right {
			continue
		}
		if err := s.write(p, from, i); err != nil {
			return err
		}
		from = end
		s.a.Stats.Skipped += int64(end - i)
	}
	if err := s.write(p, from, len(p)); err != nil {
		return err
	}
	s.at += int64(len(p))
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

func (s *sink) write(p []byte, from, to int) error {
	if from >= to {
		return nil
	}
	n, err := s.a.New.WriteAt(p[from:to], s.at+int64(from))
	s.a.Stats.Written += int64(n)
	if err != nil {
		return &writeError{fmt.Errorf("write new image at %d: %w", s.at+int64(from), err)}
	}
	return nil
}

// A writeError is New's own, and not the patch's.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
