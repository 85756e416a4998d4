package loaders

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// headBytes is what stands before the variables in each of two copies: a CRC-32 (IEEE) of all bytes after the flag, little
// endian, then the flag (struct environment_s of include/env_internal.h in U-Boot's sources).
const headBytes = 5

// maxBytes bounds a copy: U-Boot's environments have 8 to 256 KiB.
const maxBytes = 1 << 20

// Encode returns one of two redundant copies, of a fixed size.
func Encode(v Vars, flag byte, size int) ([]byte, error) {
	if size <= headBytes+2 || size > maxBytes {
		return nil, fmt.Errorf("environment of %d bytes", size)
	}
	b := make([]byte, headBytes, size)
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v[name], "\x00") {
			return nil, fmt.Errorf("variable %.80q cannot be stored", name)
		}
		if v[name] == "" {
			continue // as setenv does with an empty value
		}
		b = append(b, name+"="+v[name]+"\x00"...)
		if len(b) >= size {
			return nil, fmt.Errorf("environment does not fit %d bytes", size)
		}
	}
	b = b[:size]
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[headBytes:]))
	b[4] = flag
	return b, nil
}

// Decode reads one of two redundant copies.
func Decode(b []byte) (v Vars, flag byte, err error) {
	if len(b) <= headBytes || len(b) > maxBytes {
		return nil, 0, fmt.Errorf("environment of %d bytes", len(b))
	}
	if binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[headBytes:]) {
		return nil, 0, errors.New("environment: CRC does not match")
	}
	v, flag = Vars{}, b[4]
	for rest := b[headBytes:]; len(rest) > 0 && rest[0] != 0; {
		entry, after, ok := bytes.Cut(rest, []byte{0})
		name, value, isVar := strings.Cut(string(entry), "=")
		if !ok || !isVar || name == "" {
			return nil, 0, fmt.Errorf("environment: %.80q is no variable", entry)
		}
		v[name], rest = value, after
	}
	return v, flag, nil
}

// Newer returns which of two valid copies is in force by their flags, which count up and go round (env_check_redund of
// env/common.c in U-Boot's sources).
func Newer(flag0, flag1 byte) int {
	switch {
	case flag0 == 255 && flag1 == 0:
		return 1
	case flag0 == 0 && flag1 == 255:
		return 0
	case flag1 > flag0:
		return 1
	}
	return 0
}
