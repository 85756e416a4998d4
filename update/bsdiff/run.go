package bsdiff

import (
	"context"
	"errors"
	"fmt"
	"io"
)

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
	for n := from; n < len(a.Manifest.Segments); n++ {
		err := a.Segment(ctx, n, r)
		if errors.Is(err, ErrOutput) && full != nil {
			err = a.fetch(ctx, n, full)
		}
		if err != nil {
			return err
		}
		if done != nil {
			if err := done(n + 1); err != nil {
				return err
			}
		}
	}
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
