package bsdiff

import (
	"crypto/sha256"
	"hash/crc32"
	"io"

	"bytes"

	"github.com/klauspost/compress/zstd"
)

// SortSuffixes lets the tests see the order itself: a wrong one only costs size, so no patch would show it.
func SortSuffixes(text []byte, sa []int32) { sortSuffixes(text, sa) }

// Decompress returns the packed tuples of a stream.
func Decompress(stream []byte) ([]byte, error) {
	d, err := zstd.NewReader(bytes.NewReader(stream), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return io.ReadAll(d)
}

// Seal makes a patch of one segment from packed tuples that may be anything, with a table that fits them. The hash of
// the output is one that nothing has, so that whatever is accepted is a fault.
func Seal(raw []byte, span, oldBytes int64) (*Manifest, []byte, error) {
	stream := fuzzFrame(raw)
	m := &Manifest{Codec: Zstd, BlockBytes: BlockBytes, Old: Image{oldBytes, sha256.Sum256([]byte("old"))}, New: Image{span, sha256.Sum256([]byte("new"))},
		Segments: []Segment{{Bytes: span, Offset: tableEnd(1), Length: int64(len(stream)), CRC32C: crc32.Checksum(stream, castagnoli), SHA256: [32]byte{1}}}}
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	return m, append(m.header(), stream...), nil
}

// fuzzFrame is a frame of raw blocks: a fuzzer has no time to compress.
func fuzzFrame(raw []byte) []byte {
	raw = raw[:min(len(raw), 1<<20)]
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 80} // no size, window of 1 MiB
	for first := true; first || len(raw) > 0; first = false {
		n := min(len(raw), 128<<10)
		head := uint32(n) << 3
		if n == len(raw) {
			head |= 1
		}
		b = append(b, byte(head), byte(head>>8), byte(head>>16))
		b, raw = append(b, raw[:n]...), raw[n:]
	}
	return b
}
