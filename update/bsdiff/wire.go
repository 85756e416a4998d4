package bsdiff

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A wire is the range of one segment: bounded, counted, summed, at the pace the context asks for.
type wire struct {
	ctx  context.Context
	r    io.Reader
	left int64
	read int64
	crc  uint32
	err  error // of the reader itself
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
	w.read += int64(n)
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
	case w.ctx != nil && w.ctx.Err() != nil:
		return fmt.Errorf("read patch: %w", context.Cause(w.ctx))
	case w.err != nil:
		return fmt.Errorf("read patch: %w", w.err)
	case errors.Is(err, ErrStream):
		return err
	}
	return fmt.Errorf("%w: %w", ErrStream, err)
}

type paceKey struct{}

// WithPace returns a context under which an Applier calls wait before it reads n more bytes of a patch, n at most 16 KiB.
// One wait may serve many patches, and it is called from the Applier's own goroutine; it returns when the bytes are due, or an error, such as ctx's, that ends the work.
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
