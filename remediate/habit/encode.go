package habit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
)

// ErrBook is what all errors of Decode are.
var ErrBook = errors.New("book of habits")

// A book is a head, a record for each measure and a CRC-32 (IEEE 802.3) of both. The head has the magic with its version, a hash of the
// names (FNV-1a, 64 bits), their number, and the minutes of the day. All is little-endian.
const (
	magic       = "HABITS1\n"
	headBytes   = 8 + 8 + 2 + 2
	hourBytes   = 4 + 4 + 2
	recordBytes = hours*hourBytes + 10*4 + 2
	sumBytes    = 4
)

func hash(names []string) uint64 {
	h := fnv.New64a()
	for _, n := range names {
		h.Write([]byte(n))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// Encode returns what the book has learned, 282 bytes for each measure. What was just before is no part of it.
func (b *Book) Encode() []byte {
	le := binary.LittleEndian
	out := make([]byte, 0, headBytes+len(b.measures)*recordBytes+sumBytes)
	out = le.AppendUint64(append(out, magic...), hash(b.names))
	out = le.AppendUint16(le.AppendUint16(out, uint16(len(b.names))), uint16(b.day))
	for i := range b.measures {
		m := &b.measures[i]
		for _, s := range m.season {
			out = le.AppendUint32(out, math.Float32bits(s.mean))
			out = le.AppendUint32(out, math.Float32bits(s.stray))
			out = le.AppendUint16(out, s.seen)
		}
		for _, f := range m.kept() {
			out = le.AppendUint32(out, math.Float32bits(*f))
		}
		out = le.AppendUint16(out, m.learned)
	}
	return le.AppendUint32(out, crc32.ChecksumIEEE(out))
}

// kept are the numbers that last, none of which is less than zero. The first four are in the measure's unit, the others are scores.
func (m *measure) kept() [10]*float32 {
	return [10]*float32{&m.stray, &m.change, &m.size, &m.large, &m.away.peak, &m.away.today, &m.lone.peak, &m.lone.today,
		&m.restless.peak, &m.restless.today}
}

// Decode takes over what Encode returned for a book of the same names. Where it has an error, the book is as before.
func (b *Book) Decode(text []byte) error {
	le := binary.LittleEndian
	switch want := headBytes + len(b.names)*recordBytes + sumBytes; {
	case len(text) < headBytes+sumBytes || string(text[:len(magic)]) != magic:
		return fmt.Errorf("%w: does not begin with %q", ErrBook, magic)
	case le.Uint64(text[8:]) != hash(b.names) || int(le.Uint16(text[16:])) != len(b.names):
		return fmt.Errorf("%w: is of other measures", ErrBook)
	case len(text) != want:
		return fmt.Errorf("%w: %d bytes: wants %d", ErrBook, len(text), want)
	case crc32.ChecksumIEEE(text[:len(text)-sumBytes]) != le.Uint32(text[len(text)-sumBytes:]):
		return fmt.Errorf("%w: its CRC-32 does not match: damaged", ErrBook)
	case le.Uint16(text[18:]) >= dayFull:
		return fmt.Errorf("%w: minute %d of a day", ErrBook, le.Uint16(text[18:]))
	}
	measures := make([]measure, len(b.names))
	for i := range measures {
		if err := measures[i].decode(text[headBytes+i*recordBytes:]); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBook, b.names[i], err)
		}
	}
	b.measures, b.day, b.dated = measures, int(le.Uint16(text[18:])), false
	b.rest()
	return nil
}

func (m *measure) decode(text []byte) error {
	le := binary.LittleEndian
	float := func(low float32) (f float32, err error) {
		f = math.Float32frombits(le.Uint32(text))
		if text = text[4:]; !(f >= low && f <= math.MaxFloat32) {
			err = fmt.Errorf("has %g: wants %g to %g", f, low, float32(math.MaxFloat32))
		}
		return f, err
	}
	var err error
	for h := range m.season {
		s := &m.season[h]
		if s.mean, err = float(-math.MaxFloat32); err != nil {
			return err
		}
		if s.stray, err = float(0); err != nil {
			return err
		}
		if s.seen, text = le.Uint16(text), text[2:]; s.seen > hourFull {
			return fmt.Errorf("has %d minutes of an hour: wants at most %d", s.seen, hourFull)
		}
	}
	for _, f := range m.kept() {
		if *f, err = float(0); err != nil {
			return err
		}
	}
	if m.learned = le.Uint16(text); int(m.learned) > weekFull {
		return fmt.Errorf("has learned for %d minutes: wants at most %d", m.learned, weekFull)
	}
	return nil
}
