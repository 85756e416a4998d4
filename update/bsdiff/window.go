package bsdiff

import (
	"context"
	"fmt"
	"io"
	"sort"
)

// Bounds of the generator's memory. A byte in a window costs five bytes, and up to two while it is sorted.
const (
	windowBytes = 144 << 20 // of old, sorted at one time
	shardBytes  = 72 << 20  // sorted as one text; two are sorted in parallel
	gapBytes    = 64 << 10  // a gap that is filled, if the run before it is as long, rather than left between two runs
	nearBlocks  = 16        // taken around a vote when not everything fits
)

// A run is a stretch of old within a window's text.
type run struct {
	text int
	old  int64
	n    int
}

// A view of old through a window: runs of its most useful blocks, sorted, and the image itself for what lies outside.
type oldWindow struct {
	image  io.ReaderAt
	size   int64
	text   []byte
	runs   []run
	shards []*window
}

// A plan says which segments share which blocks of old.
type plan struct {
	from, to int // segments
	blocks   bitset
}

// plans divides the segments of new into groups whose blocks of old fit a window. What is in old and not whole in new is
// where the remaining bytes of new come from; votes add what is used twice.
func (s *survey) plans() []plan {
	all := newBitset(len(s.old))
	for i, print := range s.old {
		if print != 0 && !s.used.has(i) {
			s.around(all, i, 1)
		}
	}
	for _, votes := range s.votes {
		for _, i := range votes {
			s.around(all, int(i), 1)
		}
	}
	if s.bytes(all) <= windowBytes {
		return []plan{{from: 0, to: len(s.votes), blocks: all}}
	}
	var plans []plan
	perSegment := 0
	if len(s.segments) > 0 {
		perSegment = int((s.newSize/int64(s.block))/int64(len(s.segments))) + 1
	}
	for from := 0; from < len(s.votes); {
		p := plan{from: from, to: from, blocks: newBitset(len(s.old))}
		for ; p.to < len(s.votes); p.to++ {
			more := make(bitset, len(p.blocks))
			copy(more, p.blocks)
			s.ask(more, p.to, perSegment)
			if p.to > from && s.bytes(more) > windowBytes {
				break
			}
			p.blocks = more
		}
		s.trim(p.blocks)
		plans, from = append(plans, p), p.to
	}
	return plans
}

// ask adds what one segment wants: what it votes for, and what lies at its own place.
func (s *survey) ask(b bitset, segment, perSegment int) {
	for _, i := range s.votes[segment] {
		s.around(b, int(i), nearBlocks)
	}
	if len(s.votes[segment]) == 0 {
		return // nothing of it is left, or nothing is known of it
	}
	for i := segment * perSegment; i < min((segment+1)*perSegment, len(s.old)); i++ {
		if s.old[i] != 0 && !s.used.has(i) {
			b.set(i)
		}
	}
}

// trim drops the end of a choice that one segment alone makes too large.
func (s *survey) trim(b bitset) {
	left := windowBytes / s.block
	for i := range s.old {
		if b.has(i) {
			if left--; left < 0 {
				b[i>>6] &^= 1 << (uint(i) & 63)
			}
		}
	}
}

func (s *survey) around(b bitset, i, near int) { b.setRange(max(0, i-near), min(i+near+1, len(s.old))) }

func (s *survey) bytes(b bitset) int64 {
	n := int64(0)
	for i := range s.old {
		if b.has(i) {
			n++
		}
	}
	return n * int64(s.block)
}

// open reads a plan's blocks and sorts them. each runs its function over all indexes, in parallel.
func (s *survey) open(ctx context.Context, p plan, image io.ReaderAt, each func(n int, do func(int) error) error) (*oldWindow, error) {
	w := &oldWindow{image: image, size: s.oldSize}
	blocks, end := int64(s.block), int64(0)
	for i := range s.old {
		if !p.blocks.has(i) {
			continue
		}
		at := int64(i) * blocks
		n := int(min(blocks, s.oldSize-at))
		if last := len(w.runs) - 1; last >= 0 && at-end <= min(gapBytes, int64(w.runs[last].n)) {
			w.runs[last].n += int(at-end) + n
		} else {
			w.runs = append(w.runs, run{old: at, n: n})
		}
		end = at + int64(n)
	}
	total := 0
	for i := range w.runs {
		w.runs[i].text = total
		total += w.runs[i].n
	}
	w.text = make([]byte, total)
	for _, r := range w.runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := readFullAt(image, w.text[r.text:r.text+r.n], r.old); err != nil {
			return nil, fmt.Errorf("read old image at %d: %w", r.old, err)
		}
	}
	w.shards = make([]*window, (total+shardBytes-1)/shardBytes)
	err := each(len(w.shards), func(i int) error {
		w.shards[i] = newWindow(w.text[i*shardBytes : min((i+1)*shardBytes, total)])
		return ctx.Err()
	})
	return w, err
}

// A lens is one worker's use of a window.
type lens struct {
	*oldWindow
	buf []byte
	err error
}

func (l *lens) view(at int64, n int) []byte {
	if at < 0 || at >= l.size {
		return nil
	}
	n = int(min(int64(n), l.size-at))
	if i := sort.Search(len(l.runs), func(i int) bool { return l.runs[i].old > at }) - 1; i >= 0 {
		if r := l.runs[i]; at < r.old+int64(r.n) {
			from := r.text + int(at-r.old)
			return l.text[from:min(from+n, r.text+r.n)]
		}
	}
	n = min(n, 64<<10)
	if cap(l.buf) < n {
		l.buf = make([]byte, 64<<10)
	}
	if err := readFullAt(l.image, l.buf[:n], at); err != nil {
		l.err = fmt.Errorf("read old image at %d: %w", at, err)
		return nil
	}
	return l.buf[:n]
}

func (l *lens) longest(want []byte, near int64) (int64, int) {
	best, length := 0, 0
	place := l.place(near)
	for i, s := range l.shards {
		if at, n := s.longest(want, place-i*shardBytes); n > length {
			best, length = i*shardBytes+at, n
		}
	}
	if length == 0 {
		return 0, 0
	}
	i := sort.Search(len(l.runs), func(i int) bool { return l.runs[i].text > best }) - 1
	r := l.runs[i]
	return r.old + int64(best-r.text), min(length, r.text+r.n-best)
}

// place returns where in the text old's byte at is, or would be.
func (l *lens) place(at int64) int {
	i := sort.Search(len(l.runs), func(i int) bool { return l.runs[i].old > at }) - 1
	if i < 0 {
		return 0
	}
	r := l.runs[i]
	return r.text + int(min(at-r.old, int64(r.n)))
}
