package bsdiff

import (
	"encoding/binary"
	"io"
)

// The packed form of tuples, inside zstd. A segment is a row of groups; a group is
//
//	controls, runs, literals   three varints: how many bytes of each follow, at most groupBytes together
//	the controls               a tuple: varint diff, varint extra, zigzag varint step
//	the runs                   of each tuple's diff bytes: zeros, literals, zeros, ... as varints until it is full
//	the literals               the diff bytes that are not zero (and short runs of zeros among them)
//	the extra bytes            of all tuples of the group
//
// Each kind of byte beside its like compresses 2 % better than tuple by tuple, and the zeros, which are nearly all of
// the diff bytes, cost the device nothing.
type packed struct {
	r                  io.Reader
	buf                []byte // of groupBytes
	ctrl, runs, lits   []byte // what is left of each
	zeros, plain, left int64  // of the present tuple's diff bytes: to be skipped, to be added, in all
	extras             int64  // of the group, so that the next is not read before they are
}

func newPacked(r io.Reader, buf []byte) *packed { return &packed{r: r, buf: buf} }

func (t *packed) next() (control, error) {
	if t.left != 0 || t.extras != 0 && len(t.ctrl) == 0 {
		return control{}, damaged("a tuple is not used up")
	}
	if len(t.ctrl) == 0 {
		if err := t.group(); err != nil {
			return control{}, err
		}
	}
	var c control
	var err error
	if c.diff, err = take(&t.ctrl); err != nil {
		return c, err
	}
	if c.extra, err = take(&t.ctrl); err != nil {
		return c, err
	}
	zigzag, size := binary.Uvarint(t.ctrl)
	if size <= 0 {
		return c, damaged("a step without end")
	}
	t.ctrl = t.ctrl[size:]
	c.seek = int64(zigzag>>1) ^ -int64(zigzag&1)
	t.left = c.diff
	t.extras += c.extra
	return c, nil
}

// take reads a number from the front of b.
func take(b *[]byte) (int64, error) {
	if p := *b; len(p) > 0 && p[0] < 0x80 { // most of them
		*b = p[1:]
		return int64(p[0]), nil
	}
	n, size := binary.Uvarint(*b)
	if size <= 0 || n > uint64(maxImage) {
		return 0, damaged("a number without end")
	}
	*b = (*b)[size:]
	return int64(n), nil
}

func (t *packed) group() error {
	if len(t.runs) != 0 || len(t.lits) != 0 {
		return damaged("a group is not used up")
	}
	var n [3]int
	sum := 0
	for i := range n {
		v, err := readUvarint(t.r)
		if err != nil {
			return err
		}
		if v > groupBytes {
			return damaged("a group of %d bytes", v)
		}
		n[i] = int(v)
		sum += n[i]
	}
	if n[0] == 0 || sum > groupBytes {
		return damaged("a group of %d bytes", sum)
	}
	if _, err := io.ReadFull(t.r, t.buf[:sum]); err != nil {
		return unexpected(err)
	}
	t.ctrl, t.runs, t.lits = t.buf[:n[0]:n[0]], t.buf[n[0]:n[0]+n[1]], t.buf[n[0]+n[1]:sum]
	return nil
}

func readUvarint(r io.Reader) (uint64, error) {
	var v uint64
	var b [1]byte
	for shift := 0; shift < 28; shift += 7 {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, unexpected(err)
		}
		if v |= uint64(b[0]&0x7f) << shift; b[0] < 0x80 {
			return v, nil
		}
	}
	return 0, damaged("a number without end")
}

func (t *packed) diff(p []byte) (plain bool, err error) {
	if int64(len(p)) > t.left {
		return false, damaged("more diff bytes than the tuple has")
	}
	t.left -= int64(len(p))
	plain = true
	for len(p) > 0 {
		if t.zeros == 0 && t.plain == 0 {
			if err := t.run(int64(len(p)) + t.left); err != nil {
				return false, err
			}
		}
		if plain && t.zeros >= int64(len(p)) {
			t.zeros -= int64(len(p))
			break
		}
		plain = false
		n := int(min(t.zeros, int64(len(p))))
		clear(p[:n])
		p, t.zeros = p[n:], t.zeros-int64(n)
		n = int(min(t.plain, int64(len(p))))
		copy(p, t.lits[:n])
		t.lits, p, t.plain = t.lits[n:], p[n:], t.plain-int64(n)
		p = t.pairs(p)
	}
	if t.left == 0 && (t.zeros != 0 || t.plain != 0) {
		return false, damaged("a run goes beyond its tuple")
	}
	return plain, nil
}

// pairs carries out such runs as are short and wholly in p, which most are, and returns what is left of p.
func (t *packed) pairs(p []byte) []byte {
	if t.zeros != 0 || t.plain != 0 {
		return p
	}
	runs, lits := t.runs, t.lits
	for len(runs) >= 2 && runs[0] < 0x80 && runs[1] < 0x80 && runs[1] > 0 {
		zeros, plain := int(runs[0]), int(runs[1])
		if zeros+plain > len(p) || plain > len(lits) {
			break
		}
		clear(p[:zeros])
		p = p[zeros:]
		copy(p, lits[:plain])
		runs, lits, p = runs[2:], lits[plain:], p[plain:]
	}
	t.runs, t.lits = runs, lits
	return p
}

// run reads the next pair of runs, of which the second is missing where the first fills the tuple.
func (t *packed) run(room int64) (err error) {
	if t.zeros, err = take(&t.runs); err != nil {
		return err
	}
	if t.zeros > room {
		return damaged("a run goes beyond its tuple")
	}
	if t.zeros == room {
		return nil
	}
	if t.plain, err = take(&t.runs); err != nil {
		return err
	}
	if t.plain < 1 || t.plain > room-t.zeros || t.plain > int64(len(t.lits)) {
		return damaged("a run of %d literals", t.plain)
	}
	return nil
}

func (t *packed) extra(p []byte) error {
	if int64(len(p)) > t.extras {
		return damaged("more extra bytes than the tuple has")
	}
	t.extras -= int64(len(p))
	_, err := io.ReadFull(t.r, p)
	return unexpected(err)
}

func (t *packed) end() error {
	if t.left != 0 || t.extras != 0 || len(t.ctrl) != 0 || len(t.runs) != 0 || len(t.lits) != 0 {
		return damaged("its last group is not used up")
	}
	return ended(t.r)
}

// zeroGap is the shortest run of zeros that ends a run of literals.
const zeroGap = 3

// A packer writes the packed form.
type packer struct {
	out                      []byte // finished groups
	ctrl, runs, lits, extras []byte // of the present one
}

// tuple adds one. Its diff bytes are cut where a group is full.
func (p *packer) tuple(diff, extra []byte, seek int64) {
	for {
		n := p.diff(diff)
		if n < len(diff) {
			p.control(n, 0, 0)
			p.flush()
			diff = diff[n:]
			continue
		}
		p.control(len(diff), len(extra), seek)
		p.extras = append(p.extras, extra...)
		if p.full() {
			p.flush()
		}
		return
	}
}

func (p *packer) control(diff, extra int, seek int64) {
	p.ctrl = binary.AppendUvarint(p.ctrl, uint64(diff))
	p.ctrl = binary.AppendUvarint(p.ctrl, uint64(extra))
	p.ctrl = binary.AppendVarint(p.ctrl, seek)
}

// full leaves room for one more run of literals and for the controls after it.
func (p *packer) full() bool {
	return len(p.ctrl)+len(p.runs)+len(p.lits) >= groupBytes-(4<<10)
}

// diff packs diff bytes as far as the group has room, and returns how many.
func (p *packer) diff(d []byte) int {
	const literals = 2 << 10 // the longest run, so that full can promise room for it
	i := 0
	for i < len(d) {
		if p.full() {
			return i
		}
		zeros := i
		for i < len(d) && d[i] == 0 {
			i++
		}
		p.runs = binary.AppendUvarint(p.runs, uint64(i-zeros))
		if i == len(d) {
			break
		}
		from := i
		for i < len(d) && i-from < literals {
			if d[i] != 0 {
				i++
				continue
			}
			gap := i
			for gap < len(d) && d[gap] == 0 && gap-i < zeroGap {
				gap++
			}
			if gap == len(d) || gap-i == zeroGap {
				break
			}
			i = min(gap, from+literals)
		}
		p.runs = binary.AppendUvarint(p.runs, uint64(i-from))
		p.lits = append(p.lits, d[from:i]...)
	}
	return i
}

func (p *packer) flush() {
	if len(p.ctrl) == 0 {
		return
	}
	for _, b := range [][]byte{p.ctrl, p.runs, p.lits} {
		p.out = binary.AppendUvarint(p.out, uint64(len(b)))
	}
	p.out = append(append(append(append(p.out, p.ctrl...), p.runs...), p.lits...), p.extras...)
	p.ctrl, p.runs, p.lits, p.extras = p.ctrl[:0], p.runs[:0], p.lits[:0], p.extras[:0]
}
