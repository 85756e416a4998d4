package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment is a sequence of frames. All numbers are little-endian.
//
//	0  uint32  CRC-32C of everything after it, seeded with the segment's own (see below)
//	4  uint24  length of the payload
//	7  byte    kind, a letter
//	8  uint64  ordinal    (kindTail: events done up to this ordinal)
//	16 uint64  seq        (kindTail: telemetry done up to this ordinal)
//	24 payload
//
// The first frame is a kindHeader, whose checksum seeds those of all others: frames that another segment left in the
// same flash blocks are never taken for this one's. Each batch ends with a kindTail that fills the sector, so that no
// later write touches a sector that holds something durable: a torn one cannot harm what was promised.
const (
	frameBytes  = 24
	sectorBytes = 512
	// maxPayload bounds a length read from flash, whatever the options say: they may have been larger once.
	maxPayload = 1 << 16
	// maxOrdinal is more than any spool can count to, and half of what a frame may hold: see found.forged.
	maxOrdinal = 1 << 62

	kindHeader    = 'H'
	kindEvent     = 'E'
	kindTelemetry = 'T'
	kindTail      = 'C'
	kindNote      = 'N' // ordinal: number of a segment whose loss has been told of
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type frame struct {
	sum          uint32
	kind         byte
	length       int
	ordinal, seq uint64
}

// size is how many bytes the frame takes in the file.
func (f frame) size() int { return frameBytes + f.length }

// parseFrame reads the first frameBytes bytes of a frame. It reports false for what no spool has written.
func parseFrame(b []byte) (frame, bool) {
	word := binary.LittleEndian.Uint32(b[4:])
	f := frame{
		sum:     binary.LittleEndian.Uint32(b),
		kind:    byte(word >> 24),
		length:  int(word & 0xffffff),
		ordinal: binary.LittleEndian.Uint64(b[8:]),
		seq:     binary.LittleEndian.Uint64(b[16:]),
	}
	switch f.kind {
	case kindHeader, kindEvent, kindTelemetry, kindNote:
	case kindTail:
		if f.seq > 2*maxOrdinal {
			return f, false
		}
	default:
		return f, false
	}
	return f, f.length <= maxPayload && f.ordinal <= 2*maxOrdinal
}

// checksum is that of a whole frame, its own first four bytes left out.
func checksum(seed uint32, whole []byte) uint32 { return crc32.Update(seed, castagnoli, whole[4:]) }

func appendFrame(b []byte, seed uint32, kind byte, ordinal, seq uint64, payload []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload))|uint32(kind)<<24)
	b = binary.LittleEndian.AppendUint64(b, ordinal)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[start:], checksum(seed, b[start:]))
	return b
}

var zeros [sectorBytes + frameBytes]byte

// appendTail ends a batch that begins at a sector boundary.
func appendTail(b []byte, seed uint32, low [2]uint64) []byte {
	return appendFrame(b, seed, kindTail, low[Event], low[Telemetry], zeros[:tailBytes(len(b))-frameBytes])
}

// tailBytes is the size of the tail that ends a batch of n bytes.
func tailBytes(n int) int {
	pad := -(n + frameBytes) & (sectorBytes - 1)
	return frameBytes + pad
}

// A header is the payload of a segment's first frame. What it says of the segment before it in its class lets a later
// start tell bytes that were never promised from bytes that rotted.
type header struct {
	session uint64
	number  uint32
	class   Class
	before  before
}

// before is what was sure of a segment when the next one was begun.
type before struct {
	number  uint32 // 0: there was none
	records uint32
	bytes   uint64
	from    uint64 // seq of its first record
	seq     uint64 // of its last record
	ordinal uint64
	session uint64
}

const (
	magic       = "HFSPOOL1"
	headerBytes = len(magic) + 64
)

func (h header) append(b []byte) []byte {
	p := make([]byte, 0, headerBytes)
	p = append(p, magic...)
	p = binary.LittleEndian.AppendUint64(p, h.session)
	p = binary.LittleEndian.AppendUint32(p, h.number)
	p = append(p, h.class.kind(), 0, 0, 0)
	p = binary.LittleEndian.AppendUint32(p, h.before.number)
	p = binary.LittleEndian.AppendUint32(p, h.before.records)
	p = binary.LittleEndian.AppendUint64(p, h.before.bytes)
	p = binary.LittleEndian.AppendUint64(p, h.before.from)
	p = binary.LittleEndian.AppendUint64(p, h.before.seq)
	p = binary.LittleEndian.AppendUint64(p, h.before.ordinal)
	p = binary.LittleEndian.AppendUint64(p, h.before.session)
	return appendFrame(b, 0, kindHeader, 0, 0, p)
}

func parseHeader(p []byte) (header, bool) {
	if len(p) != headerBytes || string(p[:len(magic)]) != magic {
		return header{}, false
	}
	p = p[len(magic):]
	h := header{
		session: binary.LittleEndian.Uint64(p),
		number:  binary.LittleEndian.Uint32(p[8:]),
		before: before{
			number:  binary.LittleEndian.Uint32(p[16:]),
			records: binary.LittleEndian.Uint32(p[20:]),
			bytes:   binary.LittleEndian.Uint64(p[24:]),
			from:    binary.LittleEndian.Uint64(p[32:]),
			seq:     binary.LittleEndian.Uint64(p[40:]),
			ordinal: binary.LittleEndian.Uint64(p[48:]),
			session: binary.LittleEndian.Uint64(p[56:]),
		},
	}
	switch p[12] {
	case kindEvent:
		h.class = Event
	case kindTelemetry:
		h.class = Telemetry
	default:
		return header{}, false
	}
	return h, h.before.ordinal <= 2*maxOrdinal
}
