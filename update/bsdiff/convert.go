package bsdiff

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
)

// pieceBytes is how much of a tuple is held while it is carried from one form to another.
const pieceBytes = 64 << 10

// Convert writes the tuples of a patch of any kind as another kind, without either image. Hashes go from a zstd container
// to another; a container made from a kind that has none is marked as Unhashed.
func Convert(ctx context.Context, patch Reader, to Kind, out io.WriterAt) error {
	from, err := Identify(patch)
	if err != nil {
		return err
	}
	if from == KindZstd {
		m, err := ReadContainer(patch, patch.Bytes)
		if err != nil {
			return err
		}
		w, err := newConversion(to, m, out)
		if err != nil {
			return err
		}
		for i, s := range m.Segments {
			if err := carry(ctx, m, s, patch, w.tuple); err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
		}
		return w.close()
	}
	size, t, err := foreign(ctx, patch)
	if err != nil {
		return err
	}
	m := &Manifest{BlockBytes: BlockBytes, New: Image{Bytes: size}, Unhashed: true}
	w, err := newConversion(to, m, out)
	if err != nil {
		return err
	}
	if err := each(t, size, pieceBytes, w.tuple); err != nil {
		return (&wire{}).blame(err)
	}
	return w.close()
}

// carry reads one segment's tuples.
func carry(ctx context.Context, m *Manifest, s Segment, patch Reader, do func(diff, extra []byte, seek int64) error) error {
	var p pipeline
	r := &wire{ctx: ctx, r: io.NewSectionReader(patch, s.Offset, s.Length), left: s.Length}
	t, err := p.open(m.Codec, r)
	if err != nil {
		return err
	}
	defer p.zstd.Close()
	if err := each(t, s.Bytes, pieceBytes, do); err != nil {
		return r.blame(err)
	}
	if r.left > 0 || r.crc != s.CRC32C {
		return damaged("its checksum is wrong")
	}
	return nil
}

// A conversion takes tuples of any length and writes a patch.
type conversion interface {
	tuple(diff, extra []byte, seek int64) error
	close() error
}

func newConversion(to Kind, m *Manifest, out io.WriterAt) (conversion, error) {
	if to == KindBsdiff40 {
		return newSplit(m.New.Bytes, out)
	}
	s := &segmenter{out: out, source: m, span: m.SpanBytes(), left: m.New.Bytes}
	if s.span == 0 || s.span < minSpan && m.New.Bytes > s.span {
		s.span = SpanBytes
	}
	n := int((m.New.Bytes + s.span - 1) / s.span)
	if n > maxSegments {
		return nil, fmt.Errorf("%w: %d segments", ErrFormat, n)
	}
	switch to {
	case KindZstd:
		s.made = Manifest{Codec: Zstd}
		s.end = tableEnd(n)
	case KindBzip2:
		s.made = Manifest{Codec: Bzip2}
		s.end = endsleyHeader
	default:
		return nil, fmt.Errorf("there is no kind of patch called %q", to)
	}
	s.squeeze = newSqueezer(s.made.Codec)
	return s, nil
}

// A segmenter cuts tuples where segments end, each segment from old position 0 and back to it.
type segmenter struct {
	out     io.WriterAt
	source  *Manifest
	made    Manifest
	squeeze squeezer
	span    int64
	left    int64 // of new
	end     int64 // of the patch
	at      int64 // bytes of the present segment
	pos     int64 // in old, as the tuples have it
	here    int64 // in old, as the segment has it
	reach   int64 // the end of what is read of old
	held    bool  // a tuple, until it is known where the next one goes
	diff    []byte
	extra   []byte
}

func (s *segmenter) tuple(diff, extra []byte, seek int64) error {
	for len(diff)+len(extra) > 0 {
		room := int(min(s.span-s.at, s.left))
		d := diff[:min(len(diff), room)]
		e := extra[:0]
		if len(d) == len(diff) {
			e = extra[:min(len(extra), room-len(d))]
		}
		diff, extra = diff[len(d):], extra[len(e):]
		s.hold(d, e)
		if n := int64(len(d) + len(e)); true {
			s.at += n
			s.left -= n
		}
		if s.at == s.span || s.left == 0 {
			if err := s.finish(); err != nil {
				return err
			}
		}
	}
	s.pos += seek
	return nil
}

// hold passes on the tuple that was held, now that its step is known, and holds another.
func (s *segmenter) hold(diff, extra []byte) {
	to := s.here
	if len(diff) > 0 {
		to = s.pos
	}
	if s.held || to != s.here {
		s.squeeze.tuple(s.diff, s.extra, to-s.here)
	}
	s.held = true
	s.diff, s.extra = append(s.diff[:0], diff...), append(s.extra[:0], extra...)
	s.pos += int64(len(diff))
	s.here = to + int64(len(diff))
	if len(diff) > 0 {
		s.reach = max(s.reach, s.pos)
	}
}

func (s *segmenter) finish() error {
	s.squeeze.tuple(s.diff, s.extra, -s.here)
	stream, err := s.squeeze.finish()
	if err != nil {
		return err
	}
	if _, err := s.out.WriteAt(stream, s.end); err != nil {
		return fmt.Errorf("write patch at %d: %w", s.end, err)
	}
	seg := Segment{At: int64(len(s.made.Segments)) * s.span, Bytes: s.at, Offset: s.end, Length: int64(len(stream)),
		CRC32C: crc32.Checksum(stream, castagnoli)}
	if !s.source.Unhashed {
		seg.SHA256 = s.source.Segments[len(s.made.Segments)].SHA256
	}
	s.made.Segments = append(s.made.Segments, seg)
	s.end += seg.Length
	s.at, s.here, s.held = 0, 0, false
	s.diff, s.extra = s.diff[:0], s.extra[:0]
	return nil
}

func (s *segmenter) close() error {
	m := &s.made
	m.BlockBytes, m.Old, m.New, m.Unhashed = s.source.BlockBytes, s.source.Old, s.source.New, s.source.Unhashed
	if m.Unhashed {
		m.Old.Bytes = s.reach // no patch says how long old is; this is how far it is read
	}
	if err := m.check(); err != nil {
		return err
	}
	head := m.header()
	if m.Codec == Bzip2 {
		head = appendEndsley(nil, m.New.Bytes)
	}
	if _, err := s.out.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write patch: %w", err)
	}
	return nil
}

// A split writes BSDIFF40: the three kinds of bytes apart, compressed in memory because the first two lengths stand at
// the beginning.
type split struct {
	size  int64
	out   io.WriterAt
	parts [3]bytes.Buffer
	w     [3]io.WriteCloser
}

func newSplit(newBytes int64, out io.WriterAt) (*split, error) {
	s := &split{size: newBytes, out: out}
	for i := range s.w {
		w, err := bzip2Writer(&s.parts[i], 9)
		if err != nil {
			return nil, fmt.Errorf("bzip2: %w", err)
		}
		s.w[i] = w
	}
	return s, nil
}

func (s *split) tuple(diff, extra []byte, seek int64) error {
	for i, b := range [][]byte{appendControl(nil, int64(len(diff)), int64(len(extra)), seek), diff, extra} {
		if _, err := s.w[i].Write(b); err != nil {
			return fmt.Errorf("bzip2: %w", err)
		}
	}
	return nil
}

func (s *split) close() error {
	for _, w := range s.w {
		if err := w.Close(); err != nil {
			return fmt.Errorf("bzip2: %w", err)
		}
	}
	head := appendControl([]byte(bsdiff40Magic), int64(s.parts[0].Len()), int64(s.parts[1].Len()), s.size)
	at := int64(0)
	for _, b := range [][]byte{head, s.parts[0].Bytes(), s.parts[1].Bytes(), s.parts[2].Bytes()} {
		if _, err := s.out.WriteAt(b, at); err != nil {
			return fmt.Errorf("write patch at %d: %w", at, err)
		}
		at += int64(len(b))
	}
	return nil
}
