package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// A body is what a server gives of a file. It has one owner.
type body struct {
	ctx    context.Context
	c      *client
	k      *conn // nil when closed
	answer *http.Response
	name   string
	pace   pace
	whole  bool // the answer was read to its end

	at  int64 // of the next byte in the file
	end int64 // where the answer ends; -1 is not known
	// total is where the file ends; -1 is not known. A server may give a shorter range than was asked for (RFC 9110,
	// 15.3.7): that is no end of the file.
	total int64
	err   error
}

// Read ends with io.EOF at the end of the file, and with io.ErrUnexpectedEOF where less comes than was announced.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.k == nil {
		return 0, fmt.Errorf("%s: %w", b.name, os.ErrClosed)
	}
	if err := context.Cause(b.ctx); err != nil { // what has come already would still be read
		b.err = fmt.Errorf("%s: at byte %d: %w", b.name, b.at, err)
		return 0, b.err
	}
	if b.end >= 0 {
		p = p[:min(int64(len(p)), b.end-b.at)]
	}
	if len(p) == 0 {
		b.err = b.finish()
		return 0, b.err
	}
	began := b.c.Clock.Now()
	n, err := b.answer.Body.Read(p)
	b.at += int64(n)
	keeps := b.pace.keeps(n, b.c.Clock.Now().Sub(began))
	switch {
	case err == io.EOF:
		b.whole, b.err = true, b.finish()
	case err != nil:
		b.err = fmt.Errorf("%s: at byte %d: %w", b.name, b.at, b.c.explain(b.ctx, b.k.why(err)))
	case !keeps:
		b.err = fmt.Errorf("%s: at byte %d: %w", b.name, b.at, b.c.explain(b.ctx, ErrSlow))
	}
	return n, b.err
}

// finish is the error at the end of the answer.
func (b *body) finish() error {
	if whole := max(b.end, b.total); b.at < whole {
		return fmt.Errorf("%s: ends at byte %d of %d: %w", b.name, b.at, whole, io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// skip drops what comes before offset.
func (b *body) skip(offset int64) error {
	_, err := io.CopyN(io.Discard, b, offset-b.at)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: from byte %d of %d: %w", b.name, offset, b.at, ErrBeyond)
	}
	return err
}

// Close drops what was not read; the connection then goes with it.
func (b *body) Close() error {
	if b.k == nil {
		return nil
	}
	if b.whole && !b.answer.Close {
		b.c.park(b.k)
	} else {
		b.k.shut()
	}
	b.k = nil
	return nil
}
