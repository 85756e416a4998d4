package bsdiff

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// The container: a header, a table with one entry a segment, the SHA-256 of both, then the streams without a gap.
const (
	containerMagic  = "HFDELTA1"
	containerHeader = 112
	containerEntry  = 40
	flagUnhashed    = 1
)

func tableEnd(segments int) int64 { return containerHeader + int64(segments)*containerEntry + 32 }

// header encodes what stands before the streams.
func (m *Manifest) header() []byte {
	le := binary.LittleEndian
	b := make([]byte, containerHeader, tableEnd(len(m.Segments)))
	copy(b, containerMagic)
	b[8] = byte(m.Codec)
	if m.Unhashed {
		b[9] = flagUnhashed
	}
	le.PutUint32(b[12:], uint32(m.BlockBytes))
	le.PutUint64(b[16:], uint64(m.Old.Bytes))
	le.PutUint64(b[24:], uint64(m.New.Bytes))
	le.PutUint64(b[32:], uint64(m.SpanBytes()))
	le.PutUint32(b[40:], uint32(len(m.Segments)))
	copy(b[48:], m.Old.SHA256[:])
	copy(b[80:], m.New.SHA256[:])
	for _, s := range m.Segments {
		b = le.AppendUint32(b, uint32(s.Length))
		b = le.AppendUint32(b, s.CRC32C)
		b = append(b, s.SHA256[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// ReadContainer reads the header and table of a patch in the zstd container, of which size bytes are there: fewer or
// more than the table says is an error, as is every other thing that is not as it was made. A negative size leaves the
// end unchecked, for a caller who reads from the network.
func ReadContainer(r io.ReaderAt, size int64) (*Manifest, error) {
	var head [containerHeader]byte
	if err := readFullAt(r, head[:], 0); err != nil {
		return nil, fmt.Errorf("%w: read header: %w", ErrFormat, err)
	}
	le := binary.LittleEndian
	if !bytes.HasPrefix(head[:], []byte(containerMagic)) {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrFormat, containerMagic)
	}
	if Codec(head[8]) != Zstd || head[9]&^flagUnhashed != 0 || le.Uint16(head[10:]) != 0 || le.Uint32(head[44:]) != 0 {
		return nil, fmt.Errorf("%w: it needs a newer reader (%s, flags %x)", ErrFormat, Codec(head[8]), head[9])
	}
	n := le.Uint32(head[40:])
	if n > maxSegments {
		return nil, fmt.Errorf("%w: %d segments", ErrFormat, n)
	}
	m := &Manifest{Codec: Codec(head[8]), BlockBytes: int64(le.Uint32(head[12:])), Unhashed: head[9]&flagUnhashed != 0}
	m.Old.Bytes, m.New.Bytes = int64(le.Uint64(head[16:])), int64(le.Uint64(head[24:]))
	copy(m.Old.SHA256[:], head[48:])
	copy(m.New.SHA256[:], head[80:])
	table := make([]byte, tableEnd(int(n))-containerHeader)
	if err := readFullAt(r, table, containerHeader); err != nil {
		return nil, fmt.Errorf("%w: read table: %w", ErrFormat, err)
	}
	sum := sha256.New()
	sum.Write(head[:])
	sum.Write(table[:len(table)-32])
	if !bytes.Equal(sum.Sum(nil), table[len(table)-32:]) {
		return nil, fmt.Errorf("%w: its table is damaged", ErrFormat)
	}
	span := int64(le.Uint64(head[32:]))
	if span < 0 || span > maxSpan || n > 0 && span == 0 {
		return nil, fmt.Errorf("%w: segments of %d bytes", ErrFormat, span)
	}
	m.Segments = make([]Segment, n)
	for i, at, offset := 0, int64(0), tableEnd(int(n)); i < int(n); i++ {
		e := table[i*containerEntry:]
		s := Segment{At: at, Bytes: min(span, m.New.Bytes-at), Offset: offset, Length: int64(le.Uint32(e)), CRC32C: le.Uint32(e[4:])}
		copy(s.SHA256[:], e[8:])
		m.Segments[i] = s
		at, offset = at+span, offset+s.Length
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if end := max(m.PatchBytes(), tableEnd(int(n))); size >= 0 && end != size {
		return nil, fmt.Errorf("%w: it has %d bytes, its table says %d", ErrFormat, size, end)
	}
	return m, nil
}
