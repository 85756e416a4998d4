package spool

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A segment is the index of one file: all the memory it takes.
type segment struct {
	class         Class
	number        uint32
	seed          uint32
	session       uint64
	records, done int
	first, last   uint64 // ordinals
	firstSeq      uint64
	lastSeq       uint64
	valid         int64 // bytes that may be trusted; what was synced
	size          int64 // bytes in the file
	resume        int64 // every record before this offset is done
	resumed       int   // and so many there are
	before        before
	rotten        bool // a part of it is lost, and no durable record tells of it yet
}

func (g *segment) name() string { return fmt.Sprintf("%s-%08x", g.class, g.number) }

// parseName reports false for files that are not ours.
func parseName(name string) (Class, uint32, bool) {
	for c := range classes {
		digits, ok := strings.CutPrefix(name, classes[c].name+"-")
		if !ok || len(digits) != 8 {
			continue
		}
		n, err := strconv.ParseUint(digits, 16, 32)
		g := segment{class: Class(c), number: uint32(n)}
		return g.class, g.number, err == nil && n != 0 && n < 1<<31 && g.name() == name
	}
	return 0, 0, false
}

// good reports whether the frame is as it was written.
func (s *Spool) good(seed uint32, fr frame, whole []byte) bool {
	return checksum(seed, whole) == fr.sum || s.o.mutant == trustEveryFrame
}

func blocks(n int64) int64 { return (n + blockBytes - 1) &^ (blockBytes - 1) }

// used is what the spool's files take on flash.
func (s *Spool) used() int64 {
	var sum int64
	for c := range s.queues {
		for _, g := range s.queues[c].segs {
			sum += blocks(g.size)
		}
	}
	for _, g := range s.doomed {
		sum += blocks(g.size)
	}
	for _, f := range s.trash {
		sum += blocks(f.size)
	}
	return sum
}

// scanBytes is how much of a file is read at once when it is checked, unless a frame is longer.
const scanBytes = 32 << 10

// scan goes through the frames of a file until its end, the limit or the first bad frame, and returns where that is. Only
// a read that did not succeed is an error. seed judges the first frame.
func (s *Spool) scan(f File, seed func(frame, []byte) (uint32, bool), limit int64, visit func(frame, int64)) (int64, error) {
	if s.buf == nil {
		s.buf = make([]byte, scanBytes)
	}
	var (
		buf       = s.buf[:cap(s.buf)]
		sum       uint32
		last      uint64 // ordinal
		off       int64  // of the next frame
		have, pos int    // bytes in buf, and the next frame in it
		end       bool
	)
	for {
		need, ok := frameBytes, true
		var fr frame
		if have-pos >= frameBytes {
			if fr, ok = parseFrame(buf[pos:]); !ok || off+int64(fr.size()) > limit {
				return off, nil
			}
			need = fr.size()
		}
		if have-pos < need {
			if end {
				return off, nil
			}
			rest := buf[pos:have]
			if need > len(buf) {
				buf = make([]byte, frameBytes+maxPayload)
			}
			have, pos = copy(buf, rest), 0
			n, err := f.ReadAt(buf[have:], off+int64(have))
			have += n
			switch {
			case errors.Is(err, io.EOF) || err == nil && n == 0:
				end = true
			case err != nil:
				return off, err
			}
			continue
		}
		whole := buf[pos : pos+need]
		if off == 0 {
			sum, ok = seed(fr, whole)
		} else {
			ok = s.good(sum, fr, whole)
		}
		if fr.kind == kindEvent || fr.kind == kindTelemetry {
			ok = ok && fr.ordinal > last
			last = fr.ordinal
		}
		if !ok {
			return off, nil
		}
		visit(fr, off)
		off += int64(need)
		pos += need
	}
}

// load reads a segment's file into its index. bound is how much of it was sure when the next segment was begun.
func (s *Spool) load(g *segment, bound int64, visit func(frame)) error {
	f, err := s.dir.Open(g.name())
	if err != nil {
		return err
	}
	defer f.Close()
	seed := func(fr frame, whole []byte) (uint32, bool) {
		h, ok := parseHeader(whole[frameBytes:])
		if fr.kind != kindHeader || !ok || h.class != g.class || h.number != g.number || !s.good(0, fr, whole) {
			return 0, false
		}
		g.seed, g.session, g.before = fr.sum, h.session, h.before
		return fr.sum, true
	}
	var last int64
	g.valid, err = s.scan(f, seed, bound, func(fr frame, off int64) {
		if fr.kind == g.class.kind() {
			g.count(fr.ordinal, fr.seq)
		}
		last = off + int64(fr.size())
		visit(fr)
	})
	if err != nil {
		return err
	}
	g.valid = last
	g.size, err = fileSize(f, g.valid)
	return err
}

func (g *segment) count(ordinal, seq uint64) {
	if g.records == 0 {
		g.first, g.firstSeq = ordinal, seq
	}
	g.records++
	g.last, g.lastSeq = ordinal, seq
}

// fileSize finds the end of a file that is at least so long, without reading it.
func fileSize(f File, least int64) (int64, error) {
	var b [1]byte
	there := func(off int64) (bool, error) {
		n, err := f.ReadAt(b[:], off)
		if n == 1 || errors.Is(err, io.EOF) || err == nil {
			return n == 1, nil
		}
		return false, err
	}
	low, step := least, int64(1) // there are at least low bytes
	for {
		ok, err := there(low + step - 1)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low += step
		if step < 1<<40 {
			step *= 2
		}
	}
	for step > 1 { // there are fewer than low+step
		half := step / 2
		ok, err := there(low + half - 1)
		if err != nil {
			return 0, err
		}
		if ok {
			low, step = low+half, step-half
		} else {
			step = half
		}
	}
	return low, nil
}

// A reader goes through the records of a queue's segments.
type reader struct {
	seg   *segment
	off   int64
	file  File
	buf   []byte
	at    int64 // where in the file buf begins
	fails int
	count int    // records of the segment before off
	last  uint64 // ordinal of the newest of them that was seen
	seq   uint64 // and its seq
}

// readAhead is how much of a segment is read at once when records are handed out.
const readAhead = 8 << 10

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
	*r = reader{}
}

// window returns n bytes at the offset; they are valid until the next call.
func (r *reader) window(off int64, n int) ([]byte, error) {
	if off >= r.at && off+int64(n) <= r.at+int64(len(r.buf)) {
		return r.buf[off-r.at:][:n], nil
	}
	if cap(r.buf) < max(n, readAhead) {
		r.buf = make([]byte, max(n, readAhead))
	}
	b := r.buf[:max(n, readAhead)]
	if left := r.seg.valid - off; left < int64(len(b)) {
		b = b[:max(left, int64(n), 0)]
	}
	got, err := r.file.ReadAt(b, off)
	r.at, r.buf = off, b[:got]
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return r.buf[:n], nil
}

// errRotten means that a frame that was good once is not any more.
var errRotten = errors.New("bytes on flash have changed")

// next reads the frame at the reader's offset.
func (r *reader) next(s *Spool) (frame, []byte, error) {
	b, err := r.window(r.off, frameBytes)
	if err != nil {
		return frame{}, nil, err
	}
	fr, ok := parseFrame(b)
	if !ok || r.off+int64(fr.size()) > r.seg.valid {
		return frame{}, nil, errRotten
	}
	if b, err = r.window(r.off, fr.size()); err != nil {
		return frame{}, nil, err
	}
	seed := r.seg.seed
	if r.off == 0 {
		seed = 0
	}
	if !s.good(seed, fr, b) {
		return frame{}, nil, errRotten
	}
	return fr, b[frameBytes:], nil
}
