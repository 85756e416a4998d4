package bsdiff

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"holdfast/board/strict"
)

// A Manifest says everything about a patch but its bytes. Signed by others, it is what makes a patch trustworthy.
type Manifest struct {
	Codec      Codec
	BlockBytes int64
	Old, New   Image
	Segments   []Segment

	// Unhashed is set for a container that was converted from a format without hashes: nothing vouches for what it makes.
	// No manifest file is ever so.
	Unhashed bool
}

// An Image is what an image must be, whole.
type Image struct {
	Bytes  int64
	SHA256 [32]byte
}

// A Segment is a span of the new image and the range of the patch that makes it.
type Segment struct {
	At, Bytes      int64 // in the new image
	Offset, Length int64 // in the patch file
	CRC32C         uint32
	SHA256         [32]byte // of the span
}

// The text form: digests and checksums are strings so that one that is absent is not a number that is zero.
type manifestText struct {
	Format     int           `json:"format"`
	Codec      string        `json:"codec"`
	BlockBytes int64         `json:"block_bytes"`
	Old        imageText     `json:"old"`
	New        imageText     `json:"new"`
	Segments   []segmentText `json:"segments"`
}

type imageText struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type segmentText struct {
	Range  [2]int64 `json:"range"`
	Span   [2]int64 `json:"span"`
	CRC32C string   `json:"crc32c"`
	SHA256 string   `json:"sha256"`
}

// manifestLimits allow the largest number of segments there may be, each with every member named.
func manifestLimits() strict.Limits {
	return strict.Limits{Bytes: 4 << 20, Depth: 4, Members: 16 + 9*maxSegments}
}

// Encode returns the manifest as its file: one JSON object.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Unhashed {
		return nil, fmt.Errorf("%w: a patch without hashes has no manifest", ErrFormat)
	}
	text := manifestText{Format: 1, Codec: m.Codec.String(), BlockBytes: m.BlockBytes,
		Old: m.Old.text(), New: m.New.text(), Segments: make([]segmentText, len(m.Segments))}
	for i, s := range m.Segments {
		text.Segments[i] = segmentText{Range: [2]int64{s.Offset, s.Length}, Span: [2]int64{s.At, s.Bytes},
			CRC32C: fmt.Sprintf("%08x", s.CRC32C), SHA256: hex.EncodeToString(s.SHA256[:])}
	}
	out, err := json.MarshalIndent(text, "", " ")
	return append(out, '\n'), err
}

// ParseManifest reads a manifest file. Whatever is missing, doubled, unknown, out of place or out of bounds is an error
// that is ErrFormat.
func ParseManifest(file []byte) (*Manifest, error) {
	var text manifestText
	if err := strict.Unmarshal(file, &text, manifestLimits()); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrFormat, err)
	}
	if text.Format != 1 {
		return nil, fmt.Errorf("%w: manifest of format %d", ErrFormat, text.Format)
	}
	codec, err := ParseCodec(text.Codec)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Codec: codec, BlockBytes: text.BlockBytes, Segments: make([]Segment, len(text.Segments))}
	if m.Old, err = text.Old.image(); err != nil {
		return nil, err
	}
	if m.New, err = text.New.image(); err != nil {
		return nil, err
	}
	for i, s := range text.Segments {
		crc, err := strconv.ParseUint(s.CRC32C, 16, 32)
		if err != nil || len(s.CRC32C) != 8 {
			return nil, fmt.Errorf("%w: segment %d has no checksum", ErrFormat, i)
		}
		sum, err := digest(s.SHA256)
		if err != nil {
			return nil, err
		}
		m.Segments[i] = Segment{At: s.Span[0], Bytes: s.Span[1], Offset: s.Range[0], Length: s.Range[1],
			CRC32C: uint32(crc), SHA256: sum}
	}
	return m, m.check()
}

func (i Image) text() imageText { return imageText{i.Bytes, hex.EncodeToString(i.SHA256[:])} }

func (t imageText) image() (Image, error) {
	sum, err := digest(t.SHA256)
	return Image{Bytes: t.Bytes, SHA256: sum}, err
}

func digest(s string) (sum [32]byte, err error) {
	if n, err := hex.Decode(sum[:min(32, len(s)/2)], []byte(s[:min(64, len(s))])); err != nil || n != 32 || len(s) != 64 {
		return sum, fmt.Errorf("%w: %.70q is no SHA-256", ErrFormat, s)
	}
	return sum, nil
}

// SpanBytes is the length of every segment but the last.
func (m *Manifest) SpanBytes() int64 {
	if len(m.Segments) == 0 {
		return 0
	}
	return m.Segments[0].Bytes
}

// PatchBytes is where the last segment's stream ends.
func (m *Manifest) PatchBytes() int64 {
	if len(m.Segments) == 0 {
		return 0
	}
	last := m.Segments[len(m.Segments)-1]
	return last.Offset + last.Length
}

// check holds whatever made the manifest, file or container, to the same bounds.
func (m *Manifest) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
	if m.Codec != Zstd && m.Codec != Bzip2 {
		return bad("unknown %s", m.Codec)
	}
	if m.BlockBytes < 512 || m.BlockBytes > 64<<10 || m.BlockBytes&(m.BlockBytes-1) != 0 {
		return bad("blocks of %d bytes", m.BlockBytes)
	}
	empty := sha256.Sum256(nil)
	for name, i := range map[string]Image{"old": m.Old, "new": m.New} {
		if i.Bytes < 0 || i.Bytes > maxImage {
			return bad("%s image of %d bytes", name, i.Bytes)
		}
		if (i.Bytes == 0) != (i.SHA256 == empty) && !m.Unhashed {
			return bad("the hash of the %s image does not go with its size", name)
		}
	}
	if (m.New.Bytes == 0) != (len(m.Segments) == 0) || len(m.Segments) > maxSegments {
		return bad("%d segments", len(m.Segments))
	}
	if len(m.Segments) == 0 {
		return nil
	}
	span, at, offset := m.Segments[0].Bytes, int64(0), m.Segments[0].Offset
	if len(m.Segments) > 1 && (span < minSpan || span > maxSpan || span%m.BlockBytes != 0) || span > maxSpan {
		return bad("segments of %d bytes", span)
	}
	if offset < 0 {
		return bad("a range before the patch")
	}
	for i, s := range m.Segments {
		if s.At != at || s.Bytes != min(span, m.New.Bytes-at) {
			return bad("segment %d makes %d bytes at %d", i, s.Bytes, s.At)
		}
		if s.Offset != offset || s.Length < 1 || s.Length > streamBound(s.Bytes) {
			return bad("segment %d has %d bytes of the patch at %d", i, s.Length, s.Offset)
		}
		if s.SHA256 == ([32]byte{}) != m.Unhashed {
			return bad("segment %d has no hash", i)
		}
		at += s.Bytes
		offset += s.Length
	}
	if at != m.New.Bytes {
		return bad("segments end at %d of %d", at, m.New.Bytes)
	}
	return nil
}

// CheckOld reads the old image and says, with an error that is ErrOld, when it is not the one the patch was made from.
// A caller with a full image at hand may go on: damaged segments will be found one by one.
func (m *Manifest) CheckOld(ctx context.Context, old io.ReaderAt, size int64) error {
	if size < m.Old.Bytes {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrOld, size, m.Old.Bytes)
	}
	sum := sha256.New()
	buf := make([]byte, 64<<10)
	for at := int64(0); at < m.Old.Bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), m.Old.Bytes-at)]
		if err := readFullAt(old, p, at); err != nil {
			return fmt.Errorf("read old image at %d: %w", at, err)
		}
		sum.Write(p)
		at += int64(len(p))
	}
	if [32]byte(sum.Sum(nil)) != m.Old.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is not %x", ErrOld, m.Old.SHA256)
	}
	return nil
}
