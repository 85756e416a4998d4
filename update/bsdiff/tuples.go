package bsdiff

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A control is the head of a tuple as patches carry it: so many bytes added to old, so many new ones, then a step.
type control struct{ diff, extra, seek int64 }

// tuples reads what a patch says, in order: a control, then its diff bytes in any number of calls, then its extra bytes.
type tuples interface {
	next() (control, error)
	// diff fills p, or says that all of it would be zeros, and may leave it as it is then.
	diff(p []byte) (plain bool, err error)
	extra(p []byte) error // fills p
	end() error           // says what is left when nothing should be
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrStream}, args...)...)
}

// unexpected makes an end of the stream, which is good news to most readers, the error it is within a tuple.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A walk follows tuples from old position 0 and refuses what leaves the old image or the span. An empty tuple is no
// fault, an endless row of them is.
type walk struct {
	oldBytes int64
	left     int64 // of the span
	pos      int64 // in old
	empties  int
}

// step checks a control before any of it is carried out.
func (w *walk) step(c control) error {
	if c.diff < 0 || c.diff > w.left || c.extra < 0 || c.extra > w.left-c.diff {
		return damaged("a tuple of %d and %d bytes where %d are wanted", c.diff, c.extra, w.left)
	}
	if c.diff > 0 && (w.pos < 0 || w.pos > w.oldBytes-c.diff) {
		return damaged("%d bytes at %d of an old image of %d", c.diff, w.pos, w.oldBytes)
	}
	if c.seek < -2*maxImage || c.seek > 2*maxImage {
		return damaged("a step of %d", c.seek)
	}
	if w.empties++; c.diff > 0 || c.extra > 0 {
		w.empties = 0
	}
	if w.empties > emptyTuples {
		return damaged("more than %d empty tuples in a row", emptyTuples)
	}
	return nil
}

// done moves past a tuple.
func (w *walk) done(c control) error {
	w.left -= c.diff + c.extra
	w.pos += c.diff + c.seek
	if w.pos < -2*maxImage || w.pos > 2*maxImage {
		return damaged("a step to %d", w.pos)
	}
	return nil
}

// An interleaved reader takes each tuple whole from one stream, as ENDSLEY/BSDIFF43 has it: three numbers of eight bytes
// (magnitude, little-endian, with the sign in the highest bit), the diff bytes, the extra bytes. BSDIFF40 has the same
// three things in a stream each.
type interleaved struct {
	controls, diffs, extras io.Reader
}

func newInterleaved(controls, diffs, extras io.Reader) *interleaved {
	return &interleaved{controls, diffs, extras}
}

func (t *interleaved) next() (control, error) {
	var b [24]byte
	if _, err := io.ReadFull(t.controls, b[:]); err != nil {
		return control{}, unexpected(err)
	}
	return control{signed(b[:]), signed(b[8:]), signed(b[16:])}, nil
}

func signed(b []byte) int64 {
	u := binary.LittleEndian.Uint64(b)
	if n := int64(u &^ (1 << 63)); u>>63 == 0 {
		return n
	} else {
		return -n
	}
}

func appendSigned(b []byte, n int64) []byte {
	if n < 0 {
		return binary.LittleEndian.AppendUint64(b, uint64(-n)|1<<63)
	}
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

func (t *interleaved) diff(p []byte) (bool, error) {
	_, err := io.ReadFull(t.diffs, p)
	return err == nil && isZero(p), unexpected(err)
}

// addBytes adds b, which is as long, to p, each byte by itself: eight at a time, the highest bits kept out of the carry.
// Most of p is zeros.
func addBytes(p, b []byte) {
	const low = 0x7f7f7f7f7f7f7f7f
	b = b[:len(p)]
	for len(p) >= 32 && len(b) >= 32 {
		if le := binary.LittleEndian; le.Uint64(p)|le.Uint64(p[8:])|le.Uint64(p[16:])|le.Uint64(p[24:]) == 0 {
			copy(p[:32], b[:32])
		} else {
			for i := 0; i < 32; i += 8 {
				x, y := le.Uint64(p[i:]), le.Uint64(b[i:])
				le.PutUint64(p[i:], (x&low+y&low)^(x^y)&^low)
			}
		}
		p, b = p[32:], b[32:]
	}
	for i, c := range b {
		p[i] += c
	}
}

func (t *interleaved) extra(p []byte) error {
	_, err := io.ReadFull(t.extras, p)
	return unexpected(err)
}

func (t *interleaved) end() error {
	for _, r := range []io.Reader{t.controls, t.diffs, t.extras} {
		if err := ended(r); err != nil {
			return err
		}
	}
	return nil
}

// ended reads on to see whether a stream ends, which also makes it check its own sums.
func ended(r io.Reader) error {
	var b [1]byte
	switch n, err := io.ReadFull(r, b[:]); {
	case n > 0:
		return damaged("its stream goes on")
	case err != io.EOF:
		return err
	}
	return nil
}

// each carries tuples from one form to another: diff and extra bytes in pieces of at most piece bytes, each piece a
// tuple, until the new image is whole.
func each(t tuples, newBytes int64, piece int, do func(diff, extra []byte, seek int64) error) error {
	w := walk{left: newBytes, oldBytes: maxImage}
	diff, extra := make([]byte, piece), make([]byte, piece)
	for w.left > 0 {
		c, err := t.next()
		if err != nil {
			return err
		}
		if err := w.step(c); err != nil {
			return err
		}
		for d, e := c.diff, c.extra; ; {
			dn, en := min(d, int64(piece)), int64(0)
			if d -= dn; d == 0 {
				en = min(e, int64(piece))
				e -= en
			}
			switch plain, err := t.diff(diff[:dn]); {
			case err != nil:
				return err
			case plain:
				clear(diff[:dn])
			}
			if err := t.extra(extra[:en]); err != nil {
				return err
			}
			if d == 0 && e == 0 {
				if err := do(diff[:dn], extra[:en], c.seek); err != nil {
					return err
				}
				break
			}
			if err := do(diff[:dn], extra[:en], 0); err != nil {
				return err
			}
		}
		if err := w.done(c); err != nil {
			return err
		}
	}
	return t.end()
}
