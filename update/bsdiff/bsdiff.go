// Package bsdiff is a leaf: it makes and applies patches between two images, in the manner of bsdiff.
//
// A patch says how each span of the new image (a segment, 4 MiB by default) is made from pieces of the old one: bytes to
// add to old bytes, bytes that are new, and where in the old image to go on. Every segment begins and ends at old
// position 0, is compressed by itself and has a checksum of its own, so that an interrupted application resumes with a
// segment number, and a segment that comes out wrong, because the old image was written to or has decayed, can be taken
// from a full image, which is the same container over an empty old image.
//
// The applier reads the patch forward once, holds a fixed number of bytes whatever the size of the images, and believes
// nothing it reads: see Applier. The generator is Create; it runs on the operator's machine. The container, and what a
// second implementation needs, is in docs/patch-format.md.
//
// Where it comes from: Colin Percival, "Naive differences of executable code" (2003) and "Matching with mismatches and
// assorted applications" (doctoral thesis, Oxford 2006) for the tuples and the scan; his BSDIFF40 files and Matthew
// Endsley's ENDSLEY/BSDIFF43 stream, which github.com/icedream/go-bsdiff writes with a big-endian size, for what is
// exchanged with others.
package bsdiff

import (
	"errors"
	"fmt"
)

// What a caller branches on. All are wrapped with the segment and the reason.
var (
	// ErrOutput means that a segment was decoded as its maker meant it and came out wrong: the old image is not what it
	// was. The bytes are already in the new image, and the same segment of the full image replaces them.
	ErrOutput = errors.New("the old image does not make it")
	// ErrStream means that the bytes of the patch are not those that were made, or break a bound.
	ErrStream = errors.New("the patch is damaged")
	// ErrWrite means that the new image cannot be written.
	ErrWrite = errors.New("write new image")
	// ErrOld means that the old image is another one.
	ErrOld = errors.New("the old image is not the one this patch was made from")
	// ErrFormat means that a header or manifest cannot be accepted.
	ErrFormat = errors.New("not an acceptable patch")
)

// A Codec names how the streams of a patch are laid out and compressed. Numbers are those of the container's header;
// manifests carry the name. A codec to come may open compressed files inside the images first: readers refuse what they
// do not know.
type Codec uint8

const (
	// Zstd lays each kind of byte out by itself and compresses with zstd in windows of at most 1 MiB.
	Zstd Codec = 1
	// Bzip2 is a stream that icedream/go-bsdiff applies.
	Bzip2 Codec = 2
)

func (c Codec) String() string {
	switch c {
	case Zstd:
		return "zstd"
	case Bzip2:
		return "bzip2"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// ParseCodec is the inverse of String.
func ParseCodec(name string) (Codec, error) {
	for _, c := range []Codec{Zstd, Bzip2} {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown codec %q", ErrFormat, name)
}

// Bounds. Nothing that a patch says is believed beyond them.
const (
	BlockBytes = 4096    // the unit of zeros, moves and skipped writes
	SpanBytes  = 4 << 20 // of new in a segment, unless the maker chose otherwise

	windowBytesMax = 1 << 20   // zstd's window
	groupBytes     = 256 << 10 // control, runs and literals that are held at one time
	emptyTuples    = 4096      // in a row; bsdiff itself writes short runs of them
	minSpan        = 64 << 10
	maxSpan        = 64 << 20
	maxSegments    = 8192
	maxImage       = int64(1) << 38
)

// streamBound is the most bytes a segment's stream may have.
func streamBound(span int64) int64 { return 2*span + 64<<10 }
