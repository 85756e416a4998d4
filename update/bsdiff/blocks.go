package bsdiff

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math/bits"
)

// A survey is what one pass over each image leaves in memory: for every block what it is, and where else it is.
type survey struct {
	block    int
	oldSize  int64
	newSize  int64
	oldSum   [32]byte
	newSum   [32]byte
	old      []uint64         // a fingerprint for each block of old, 0 for zeros
	first    map[uint64]int32 // the first block of old with a fingerprint
	used     bitset           // blocks of old that new holds whole
	marks    *marks
	pieces   [][]anchor // for each segment, the whole blocks found in old and the runs of zeros
	votes    [][]int32  // for each segment, blocks of old that its remaining bytes point at
	segments [][32]byte // SHA-256 of each segment
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, n/64+1) }
func (b bitset) set(i int)      { b[i>>6] |= 1 << (uint(i) & 63) }
func (b bitset) has(i int) bool { return b[i>>6]>>(uint(i)&63)&1 != 0 }
func (b bitset) setRange(i, to int) {
	for ; i < to; i++ {
		b.set(i)
	}
}

// fingerprint mixes a block into 64 bits, never 0. Two blocks that share one are told apart later, when the difference
// of their bytes is taken: a collision costs size, not truth.
func fingerprint(p []byte) uint64 {
	const a, b = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	x, y := uint64(a), uint64(len(p))*b
	for ; len(p) >= 16; p = p[16:] {
		x = bits.RotateLeft64((x^binary.LittleEndian.Uint64(p))*a, 29)
		y = bits.RotateLeft64((y^binary.LittleEndian.Uint64(p[8:]))*b, 31)
	}
	for _, c := range p {
		x = bits.RotateLeft64((x^uint64(c))*a, 29)
	}
	h := (x ^ bits.RotateLeft64(y, 17)) * a
	return max(1, h^h>>32)
}

func isZero(p []byte) bool {
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
	}
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// chunks reads an image in order, piece by piece, and calls do with each. The last may be shorter.
func chunks(ctx context.Context, name string, r io.ReaderAt, size int64, piece int, do func(at int64, p []byte)) error {
	buf := make([]byte, piece)
	for at := int64(0); at < size; at += int64(piece) {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(piece), size-at)]
		if err := readFullAt(r, p, at); err != nil {
			return fmt.Errorf("read %s image at %d: %w", name, at, err)
		}
		do(at, p)
	}
	return nil
}

func readFullAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *survey) readOld(ctx context.Context, r io.ReaderAt, step func(int64)) error {
	s.old = make([]uint64, (s.oldSize+int64(s.block)-1)/int64(s.block))
	s.first = map[uint64]int32{}
	s.used = newBitset(len(s.old))
	s.marks = newMarks(s.oldSize)
	whole := sha256.New()
	var roll gear
	err := chunks(ctx, "old", r, s.oldSize, 1<<20, func(at int64, p []byte) {
		whole.Write(p)
		defer step(int64(len(p)))
		for len(p) > 0 {
			block := p[:min(s.block, len(p))]
			p = p[len(block):]
			i := int(at / int64(s.block))
			at += int64(len(block))
			if isZero(block) {
				roll = 0
				continue
			}
			s.old[i] = fingerprint(block)
			if _, known := s.first[s.old[i]]; !known && len(block) == s.block {
				s.first[s.old[i]] = int32(i)
			}
			roll = s.marks.add(roll, block, int32(i))
		}
	})
	whole.Sum(s.oldSum[:0])
	return err
}

// readNew finds what each segment of new is made of. It needs readOld before it.
func (s *survey) readNew(ctx context.Context, r io.ReaderAt, span int, step func(int64)) error {
	whole := sha256.New()
	return sumInto(&s.newSum, whole, chunks(ctx, "new", r, s.newSize, span, func(at int64, p []byte) {
		whole.Write(p)
		s.segments = append(s.segments, sha256.Sum256(p))
		pieces, votes := s.sort(p, at)
		s.pieces, s.votes = append(s.pieces, pieces), append(s.votes, votes)
		step(int64(len(p)))
	}))
}

func sumInto(sum *[32]byte, h hash.Hash, err error) error {
	h.Sum(sum[:0])
	return err
}

// sort tells the zero and the moved blocks of a segment from the rest, and lets the rest vote for blocks of old.
func (s *survey) sort(p []byte, at int64) (pieces []anchor, votes []int32) {
	next := int64(at / int64(s.block)) // the block of old that would go on with the present run
	var roll gear
	for from := 0; from < len(p); from += s.block {
		block := p[from:min(from+s.block, len(p))]
		if isZero(block) {
			pieces = extend(pieces, anchor{at: from, n: len(block), old: -1})
			next++
			roll = 0
			continue
		}
		print := fingerprint(block)
		i, same := int64(-1), (at+int64(from))/int64(s.block)
		switch first, known := s.first[print]; {
		case next < int64(len(s.old)) && s.old[next] == print:
			i = next
		case same < int64(len(s.old)) && s.old[same] == print:
			i = same
		case known:
			i = int64(first)
		}
		if i < 0 || len(block) < s.block {
			votes, roll = s.marks.votes(votes, roll, block)
			next++
			continue
		}
		s.used.set(int(i))
		pieces = extend(pieces, anchor{at: from, n: len(block), old: i * int64(s.block)})
		next = i + 1
		roll = 0
	}
	return pieces, votes
}

// extend adds a piece, or lengthens the last when the new one continues it.
func extend(pieces []anchor, a anchor) []anchor {
	if n := len(pieces); n > 0 {
		last := &pieces[n-1]
		if last.at+last.n == a.at && (last.old < 0 && a.old < 0 || last.old >= 0 && a.old == last.old+int64(last.n)) {
			last.n += a.n
			return pieces
		}
	}
	return append(pieces, a)
}
