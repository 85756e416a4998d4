package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A bringer reads files of a repository as somebody asks for ranges of them. It keeps one open for each, at the place
// where the last range ended: ranges that follow one another cost one request.
type bringer struct {
	repository Repository
	files      map[string]*remote
}

// small reads a file of at most so many bytes; one more is read, so that whoever set the bound sees that it is broken.
func (b *bringer) small(ctx context.Context, name string, most int64) (text, error) {
	body, err := b.repository.Open(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, most+1))
}

// A text is a small file as a stream.
type text []byte

func (t text) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(t)) {
		return 0, io.EOF
	}
	n := copy(p, t[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *bringer) file(ctx context.Context, name string, bytes int64) *remote {
	if b.files == nil {
		b.files = map[string]*remote{}
	}
	r := b.files[name]
	if r == nil {
		r = &remote{repository: b.repository, name: name}
		b.files[name] = r
	}
	r.ctx, r.bytes = ctx, bytes
	return r
}

// fault returns what went wrong with the files since it was asked last.
func (b *bringer) fault() (err error) {
	for _, r := range b.files {
		err = errors.Join(err, r.err)
		r.err = nil
	}
	return err
}

// leave closes the repository's connections, too, where it keeps any.
func (b *bringer) leave() {
	b.close()
	if c, ok := b.repository.(io.Closer); ok {
		c.Close()
	}
}

func (b *bringer) close() {
	for _, r := range b.files {
		r.close()
	}
}

// A remote is a file of a repository, read where it is asked for.
type remote struct {
	repository Repository
	name       string
	bytes      int64
	ctx        context.Context
	body       io.ReadCloser
	at         int64 // where body stands
	err        error
}

// ReadAt implements io.ReaderAt. Reading on costs nothing, reading elsewhere a request.
func (r *remote) ReadAt(p []byte, at int64) (int, error) {
	if r.body == nil || at != r.at {
		r.close()
		body, err := r.repository.Open(r.ctx, r.name, at)
		if err != nil {
			r.err = fmt.Errorf("fetch %s at %d: %w", r.name, at, err)
			return 0, r.err
		}
		r.body, r.at = body, at
	}
	n, err := io.ReadFull(r.body, p[:max(0, min(int64(len(p)), r.bytes-at))])
	r.at += int64(n)
	if err != nil {
		r.close()
		r.err = fmt.Errorf("fetch %s at %d of %d: %w", r.name, r.at, r.bytes, err)
		return n, r.err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *remote) close() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}
