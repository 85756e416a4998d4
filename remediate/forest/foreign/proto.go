package foreign

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A fields is what is left of a message in the wire format of protocol buffers. It knows the four wire types that are in use.
type fields []byte

// A field is one of them.
type field struct {
	number int
	kind   int
	value  uint64 // of a varint, or of a fixed number
	bytes  []byte // of what has a length
}

// The wire types.
const (
	kindVarint = 0
	kind64     = 1
	kindBytes  = 2
	kind32     = 5
)

// next takes the first field off.
func (f *fields) next() (field, error) {
	key, err := f.varint()
	if err != nil {
		return field{}, err
	}
	at := field{number: int(key >> 3 & math.MaxInt32), kind: int(key & 7)}
	if at.number == 0 {
		return at, fmt.Errorf("%w: a field with the number 0", ErrForest)
	}
	size := uint64(0)
	switch at.kind {
	case kindVarint:
		at.value, err = f.varint()
		return at, err
	case kind64:
		size = 8
	case kind32:
		size = 4
	case kindBytes:
		if size, err = f.varint(); err != nil {
			return at, err
		}
	default:
		return at, fmt.Errorf("%w: field %d: wire type %d", ErrForest, at.number, at.kind)
	}
	if size > uint64(len(*f)) {
		return at, fmt.Errorf("%w: field %d: %d bytes of the %d that are left", ErrForest, at.number, size, len(*f))
	}
	at.bytes = (*f)[:size]
	*f = (*f)[size:]
	switch at.kind {
	case kind64:
		at.value = binary.LittleEndian.Uint64(at.bytes)
	case kind32:
		at.value = uint64(binary.LittleEndian.Uint32(at.bytes))
	}
	return at, nil
}

func (f *fields) varint() (uint64, error) {
	v, n := binary.Uvarint(*f)
	if n <= 0 {
		return 0, fmt.Errorf("%w: a number that ends too early, or has more than 64 bits", ErrForest)
	}
	*f = (*f)[n:]
	return v, nil
}

// ints appends a repeated int64, which comes one by one or packed.
func (at field) ints(list []int) ([]int, error) {
	if at.kind == kindVarint {
		return append(list, int(int64(at.value))), nil
	}
	if at.kind != kindBytes {
		return nil, fmt.Errorf("%w: field %d: wire type %d", ErrForest, at.number, at.kind)
	}
	for rest := fields(at.bytes); len(rest) > 0; {
		v, err := rest.varint()
		if err != nil {
			return nil, err
		}
		list = append(list, int(int64(v)))
	}
	return list, nil
}

// floats appends a repeated float.
func (at field) floats(list []float64) ([]float64, error) {
	if (at.kind != kind32 && at.kind != kindBytes) || len(at.bytes)%4 != 0 {
		return nil, fmt.Errorf("%w: field %d: wire type %d, %d bytes", ErrForest, at.number, at.kind, len(at.bytes))
	}
	for b := at.bytes; len(b) > 0; b = b[4:] {
		list = append(list, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	}
	return list, nil
}
