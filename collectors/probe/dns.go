package probe

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Types of records (RFC 1035 and 3596).
const (
	typeA    = 1
	typeNS   = 2
	typeAAAA = 28
)

// Answers that count: there is such a name, or there is none (RFC 1035, 4.1.1).
const (
	codeOK     = 0
	codeNoName = 3
)

// Question appends a query for a name to b, with recursion desired: RFC 1035, 4.1. ok is false when the name is none: labels
// of 1 to 63 bytes, 253 in all. "." is the root.
func Question(b []byte, id uint16, name string, kind uint16) (q []byte, ok bool) {
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	if name = strings.TrimSuffix(name, "."); len(name) > 253 {
		return b, false
	}
	for label, more := "", name != ""; more; {
		label, name, more = strings.Cut(name, ".")
		if len(label) == 0 || len(label) > 63 {
			return b, false
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint16(b, 1), true // class IN
}

// Answer reads a message as the answer to a query. ours is false when it is none: of another id, a query itself, or with
// another question. address is the first of the type that was asked for, of whatever name it is, since a name may stand for
// another; not valid when there is none.
func Answer(b, query []byte) (code int, address netip.Addr, ours bool) {
	const head = 12
	if len(query) < head || len(b) < len(query) || b[0] != query[0] || b[1] != query[1] || b[2]&0xf8 != 0x80 || b[4] != 0 || b[5] != 1 {
		return 0, address, false
	}
	for i := head; i < len(query); i++ {
		if lower(b[i]) != lower(query[i]) { // a length is at most 63, and so never a letter
			return 0, address, false
		}
	}
	code = int(b[3] & 0xf)
	kind := binary.BigEndian.Uint16(query[len(query)-4:])
	rest := b[len(query):]
	for range min(binary.BigEndian.Uint16(b[6:]), 32) {
		if rest = skipName(rest); len(rest) < 10 {
			break
		}
		found, class, size := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:]), int(binary.BigEndian.Uint16(rest[8:]))
		if rest = rest[10:]; size > len(rest) {
			break
		}
		if a, ok := netip.AddrFromSlice(rest[:size]); ok && found == kind && class == 1 && (kind == typeA && size == 4 || kind == typeAAAA && size == 16) {
			return code, a, true
		}
		rest = rest[size:]
	}
	return code, address, true
}

// skipName cuts b after a name: labels up to an empty one, or to two bytes that say where it goes on.
func skipName(b []byte) []byte {
	for len(b) > 0 {
		n := int(b[0])
		switch {
		case n == 0:
			return b[1:]
		case n >= 0xc0 && len(b) >= 2:
			return b[2:]
		case n > 63 || n >= len(b):
			return nil
		}
		b = b[1+n:]
	}
	return nil
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
