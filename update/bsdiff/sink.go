package bsdiff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
)

// A sink sums a segment's output and writes those blocks that need it.
type sink struct {
	a     *Applier
	at    int64 // where the next batch goes
	block int
	blank bool // zeros are there already
	hash  hash.Hash
	zeros int64  // bytes so far that are not summed yet: nothing but zeros came; less than 0 when something else did
	have  []byte // what New holds already

	zerosOf  int64 // a number of zeros of which the sum is known
	zerosSum [32]byte
}

func (s *sink) begin(a *Applier, at int64, block int, blank bool) {
	if s.hash == nil {
		s.hash = sha256.New()
	}
	if a.Present != nil && s.have == nil {
		s.have = make([]byte, batchBytes)
	}
	s.a, s.at, s.block, s.blank, s.zeros = a, at, block, blank, 0
	s.hash.Reset()
}

// drain takes the batches of one segment.
func (s *sink) drain(ctx context.Context, p *pipeline, out <-chan *batch) (ending, error) {
	for b := range out {
		err, last := s.put(b.buf), b.last
		p.release(b)
		if err != nil {
			return ending{}, err
		}
		if last != nil {
			return *last, nil
		}
	}
	return ending{}, context.Cause(ctx) // nothing else closes it early
}

// put sums a batch and writes its blocks in as few calls as the ones between them that are right allow.
func (s *sink) put(p []byte) error {
	s.add(p)
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

// add sums. A segment of nothing but zeros, of which an image with free space has many, is not summed again.
func (s *sink) add(p []byte) {
	if s.zeros >= 0 && isZero(p) {
		s.zeros += int64(len(p))
		return
	}
	s.flush()
	s.hash.Write(p)
}

// flush sums the zeros that were put off.
func (s *sink) flush() {
	for s.zeros > 0 {
		n := min(s.zeros, int64(len(zeroes)))
		s.hash.Write(zeroes[:n])
		s.zeros -= n
	}
	s.zeros = -1
}

var zeroes [4096]byte

func (s *sink) sum() (sum [32]byte) {
	of := s.zeros
	if of > 0 && of == s.zerosOf {
		return s.zerosSum
	}
	s.flush()
	s.hash.Sum(sum[:0])
	if of > 0 {
		s.zerosOf, s.zerosSum = of, sum
	}
	return sum
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
		return fmt.Errorf("%w at %d: %w", ErrWrite, s.at+int64(from), err)
	}
	return nil
}
