package bsdiff

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// An Applier makes a new image from an old one, segment by segment. It is used by one goroutine;
// while a segment is made another writes to New, and has ended when the call returns. Its memory is some 3 MiB with
// zstd, whatever the images' sizes; it is allocated once.
//
// The state to keep across a power cut is the number of the next segment: each is made by itself, and making one twice
// does no harm.
type Applier struct {
	Manifest *Manifest
	Old      io.ReaderAt
	New      io.WriterAt

	// Present reads what New holds already; blocks that are right are not written again. Nil when it cannot be read.
	Present io.ReaderAt
	// Blank says that New reads as zeros where nothing was written: a file just made, a slot just discarded. Zeros are not
	// written then, except where an attempt may have left something else: in a segment that is not made right after the
	// one before it.
	Blank bool

	Stats Stats

	old    pages
	sink   sink
	source *bufio.Reader
	zstd   *zstd.Decoder
	group  []byte
	next   int // the segment that nothing can have touched yet; 0 for none
}

// Stats count bytes since the Applier was made.
type Stats struct {
	Patch    int64 // read from the patch
	Full     int64 // read from the full image, to repair
	Repaired int   // segments taken from the full image
	Written  int64 // given to New
	Skipped  int64 // zero, or right already
}

// Segment makes segment n from its range of the patch, of which patch is the beginning; it reads no further than the
// range's end. When it returns nil the span is written and its SHA-256 is right. An error that is ErrOutput asks for
// Repair; patch is then at the end of the range, and the segments after it can go on. An error that is ErrStream asks
// for the range to be fetched again.
func (a *Applier) Segment(ctx context.Context, n int, patch io.Reader) error {
	if n < 0 || n >= len(a.Manifest.Segments) {
		return fmt.Errorf("segment %d of %d", n, len(a.Manifest.Segments))
	}
	if err := a.span(ctx, a.Manifest, a.Old, n, patch, &a.Stats.Patch); err != nil {
		return fmt.Errorf("segment %d: %w", n, err)
	}
	a.next = n + 1
	return nil
}

// Repair makes segment n from its range of the full image that the manifest full describes.
func (a *Applier) Repair(ctx context.Context, full *Manifest, n int, image io.Reader) error {
	if n < 0 || n >= len(a.Manifest.Segments) || n >= len(full.Segments) {
		return fmt.Errorf("segment %d of %d", n, len(a.Manifest.Segments))
	}
	want, have := a.Manifest.Segments[n], full.Segments[n]
	if full.Old.Bytes != 0 || want.At != have.At || want.Bytes != have.Bytes || want.SHA256 != have.SHA256 {
		return fmt.Errorf("segment %d: %w: the full image is one of something else", n, ErrFormat)
	}
	if err := a.span(ctx, full, nothing{}, n, image, &a.Stats.Full); err != nil {
		return fmt.Errorf("segment %d from the full image: %w", n, err)
	}
	a.Stats.Repaired++
	a.next = n + 1
	return nil
}

// nothing is the old image of a full image.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// span makes one segment. It checks the manifest again: one that was put together instead of parsed has bounds too.
func (a *Applier) span(ctx context.Context, m *Manifest, old io.ReaderAt, n int, patch io.Reader, count *int64) error {
	if err := m.check(); err != nil {
		return err
	}
	s := m.Segments[n]
	wire := &wire{ctx: ctx, r: patch, left: s.Length, count: count}
	t, err := a.open(m.Codec, wire)
	if err != nil {
		return err
	}
	a.old.begin(old)
	a.sink.begin(a, s.At, int(m.BlockBytes), a.Blank && n > 0 && n == a.next)
	a.next = 0
	w := &walk{left: s.Bytes, oldBytes: m.Old.Bytes}
	err = a.follow(t, w)
	sum, failed := a.sink.end(err == nil)
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return wire.blame(err)
	case w.pos != 0:
		return damaged("it ends at old position %d", w.pos)
	case wire.left > 0:
		return damaged("its stream ends %d bytes early", wire.left)
	case wire.crc != s.CRC32C:
		return damaged("its checksum is wrong")
	case a.old.err != nil && (m.Unhashed || sum != s.SHA256):
		return fmt.Errorf("%w: %w", ErrOutput, a.old.err)
	case sum != s.SHA256 && !m.Unhashed:
		// the stream is as it was made: whatever is wrong came from old
		return fmt.Errorf("%w: its SHA-256 is %x", ErrOutput, sum)
	}
	return nil
}

// open puts the decoder for a codec over a segment's bytes.
func (a *Applier) open(c Codec, r io.Reader) (tuples, error) {
	if a.source == nil {
		a.source = bufio.NewReaderSize(nil, 16<<10)
	}
	a.source.Reset(r)
	if c == Bzip2 {
		// A decoder cannot be used again after the end of its stream, so each segment costs a new one: the generator keeps
		// its blocks small.
		b := bufio.NewReaderSize(bzip2.NewReader(a.source), 512)
		return newInterleaved(b, b, b), nil
	}
	if a.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(windowBytesMax), zstd.WithDecoderMaxMemory(maxSpan))
		if err != nil {
			return nil, fmt.Errorf("zstd decoder: %w", err)
		}
		a.zstd, a.group = d, make([]byte, groupBytes)
	}
	if err := a.zstd.Reset(a.source); err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return newPacked(a.zstd, a.group), nil
}

// errSink stands in follow for the sink's own error, which end returns.
var errSink = errors.New("the new image cannot be written")

// follow carries out tuples until the span is full.
func (a *Applier) follow(t tuples, w *walk) error {
	for w.left > 0 {
		c, err := t.next()
		if err != nil {
			return err
		}
		if err := w.step(c); err != nil {
			return err
		}
		for from, left := w.pos, c.diff; left > 0; {
			p := a.sink.room(left)
			if p == nil {
				return errSink
			}
			a.old.read(p, from)
			if err := t.add(p); err != nil {
				return err
			}
			from, left = from+int64(len(p)), left-int64(len(p))
		}
		for left := c.extra; left > 0; {
			p := a.sink.room(left)
			if p == nil {
				return errSink
			}
			if err := t.extra(p); err != nil {
				return err
			}
			left -= int64(len(p))
		}
		if err := w.done(c); err != nil {
			return err
		}
	}
	return t.end()
}

// A wire is the range of one segment: bounded, counted, summed, at the pace the context asks for.
type wire struct {
	ctx   context.Context
	r     io.Reader
	left  int64
	crc   uint32
	count *int64
	err   error // of the reader itself
}

func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), w.left)]
	if w.err = pace(w.ctx, len(p)); w.err != nil {
		return 0, w.err
	}
	n, err := w.r.Read(p)
	w.left -= int64(n)
	*w.count += int64(n)
	w.crc = crc32.Update(w.crc, castagnoli, p[:n])
	if err == io.EOF && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if w.err = err; err == io.EOF {
		w.err = nil
	}
	return n, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blame says whose fault an error is: the reader's are its own, all others are the patch's.
func (w *wire) blame(err error) error {
	switch {
	case w.err != nil:
		return fmt.Errorf("read patch: %w", w.err)
	case errors.Is(err, ErrStream):
		return err
	}
	return fmt.Errorf("%w: %w", ErrStream, err)
}

type paceKey struct{}

// WithPace returns a context under which an Applier calls wait before it reads n more bytes of a patch, n at most 16 KiB.
// One wait may serve many patches; it returns when the bytes are due, or an error, such as ctx's, that ends the work.
func WithPace(ctx context.Context, wait func(ctx context.Context, n int) error) context.Context {
	return context.WithValue(ctx, paceKey{}, wait)
}

func pace(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if wait, ok := ctx.Value(paceKey{}).(func(context.Context, int) error); ok {
		return wait(ctx, n)
	}
	return nil
}
