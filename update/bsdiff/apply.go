package bsdiff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
)

// An Applier makes a new image from an old one, segment by segment. It is used by one goroutine; while it works two
// others decode the patch and read Old ahead of it, and have ended when the call returns. Nothing of a segment is written
// before the one before it was found right. Its memory is some 5 MiB with zstd, whatever the images' sizes, and 3 MiB
// more from the first repair on; it is allocated once.
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
	// Ahead is how many batches of 128 KiB may be decoded before the first of them is written, 0 for 16. Few cost time where
	// there are two processors; a batch that is not there costs no memory.
	Ahead int

	Stats Stats

	ahead pipeline
	spare pipeline // for repairs: ahead is busy with what follows
	sink  sink
	next  int // the segment that nothing can have touched yet; 0 for none
}

// Stats count bytes since the Applier was made.
type Stats struct {
	Patch    int64 // read from the patch
	Full     int64 // read from the full image, to repair
	Repaired int   // segments taken from the full image
	Written  int64 // given to New
	Skipped  int64 // zero, or right already
}

// A Range opens length bytes of a patch from offset on: a request of a network, a section of a file. The reader may give
// more; that is not read.
type Range func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// RangeOf is the Range of a file.
func RangeOf(r io.ReaderAt) Range {
	return func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(r, offset, length)), nil
	}
}

// Full is where the full image is, for the segments that old does not make.
type Full struct {
	Manifest *Manifest
	Open     Range
}

// Run makes all segments from number from on, with one request for the patch, and one for each segment that comes out
// wrong when there is a full image. After each that is whole it calls done, unless nil, with the number of the next: the
// number to resume at, for the caller to keep. An error of done ends the run.
func (a *Applier) Run(ctx context.Context, from int, patch Range, full *Full, done func(next int) error) error {
	if from < 0 || from > len(a.Manifest.Segments) {
		return fmt.Errorf("segment %d of %d", from, len(a.Manifest.Segments))
	}
	if from == len(a.Manifest.Segments) {
		return nil
	}
	start := a.Manifest.Segments[from].Offset
	r, err := patch(ctx, start, a.Manifest.PatchBytes()-start)
	if err != nil {
		return fmt.Errorf("open patch at %d: %w", start, err)
	}
	defer r.Close()
	return a.work(ctx, from, len(a.Manifest.Segments), r, func(n int, err error) error {
		if errors.Is(err, ErrOutput) && full != nil {
			err = a.fetch(ctx, n, full)
		}
		if err == nil && done != nil {
			err = done(n + 1)
		}
		return err
	})
}

// Segment makes segment n from its range of the patch, of which patch is the beginning; it reads no further than the
// range's end. When it returns nil the span is written and its SHA-256 is right. An error that is ErrOutput asks for
// Repair; patch is then at the end of the range, and the segments after it can go on. An error that is ErrStream asks
// for the range to be fetched again.
func (a *Applier) Segment(ctx context.Context, n int, patch io.Reader) error {
	if n < 0 || n >= len(a.Manifest.Segments) {
		return fmt.Errorf("segment %d of %d", n, len(a.Manifest.Segments))
	}
	return a.work(ctx, n, n+1, patch, func(_ int, err error) error { return err })
}

// work makes segments from number from to to, and tells each how it went; what told returns other than nil ends it.
func (a *Applier) work(ctx context.Context, from, to int, patch io.Reader, told func(n int, err error) error) error {
	m := a.Manifest
	if err := m.check(); err != nil { // one that was put together instead of parsed has bounds too
		return err
	}
	a.ahead.enough(min(cmp.Or(max(a.Ahead, 0), batches), spares+len(m.Segments)*int((m.SpanBytes()-1)/batchBytes)))
	out, stop := a.ahead.start(ctx, a.Old, func(ctx context.Context) {
		for n := from; n < to && a.ahead.segment(ctx, m, n, patch); n++ {
		}
	})
	defer stop()
	for n := from; n < to; n++ {
		err := a.take(ctx, m, n, &a.ahead, out, &a.Stats.Patch)
		if err != nil {
			err = fmt.Errorf("segment %d: %w", n, err)
		}
		if err := told(n, err); err != nil {
			return err
		}
	}
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
	if err := full.check(); err != nil {
		return err
	}
	a.spare.enough(spares)
	out, stop := a.spare.start(ctx, nothing{}, func(ctx context.Context) { a.spare.segment(ctx, full, n, image) })
	defer stop()
	if err := a.take(ctx, full, n, &a.spare, out, &a.Stats.Full); err != nil {
		return fmt.Errorf("segment %d from the full image: %w", n, err)
	}
	a.Stats.Repaired++
	return nil
}

// fetch takes one segment from the full image.
func (a *Applier) fetch(ctx context.Context, n int, full *Full) error {
	if n >= len(full.Manifest.Segments) {
		return fmt.Errorf("segment %d: %w: the full image has no such segment", n, ErrFormat)
	}
	s := full.Manifest.Segments[n]
	r, err := full.Open(ctx, s.Offset, s.Length)
	if err != nil {
		return fmt.Errorf("open full image at %d: %w", s.Offset, err)
	}
	defer r.Close()
	return a.Repair(ctx, full.Manifest, n, r)
}

// nothing is the old image of a full image.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// take writes the batches of segment n and says whether it came out right.
func (a *Applier) take(ctx context.Context, m *Manifest, n int, p *pipeline, out <-chan *batch, count *int64) error {
	s := m.Segments[n]
	a.sink.begin(a, s.At, int(m.BlockBytes), a.Blank && n > 0 && n == a.next)
	a.next = 0
	end, err := a.sink.drain(ctx, p, out)
	if err != nil {
		return err
	}
	*count += end.read
	sum := a.sink.sum()
	switch {
	case end.err != nil:
		return end.err
	case end.old != nil && (m.Unhashed || sum != s.SHA256):
		return fmt.Errorf("%w: %w", ErrOutput, end.old)
	case sum != s.SHA256 && !m.Unhashed:
		// the stream is as it was made: whatever is wrong came from old
		return fmt.Errorf("%w: its SHA-256 is %x", ErrOutput, sum)
	}
	a.next = n + 1
	return nil
}
