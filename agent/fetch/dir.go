package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"holdfast/agent"
)

// A Dir is a repository below a directory, such as where a USB stick is mounted. No link leads out of Path, and only
// regular files are opened. The directory is opened for each file: a stick may come and go.
type Dir struct {
	Path  string
	below string // of Path, where the files are
}

// Open implements agent.Repository.
func (d Dir) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := check(ctx, name, offset); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	defer root.Close()
	file, size, err := open(root, path.Join(d.below, name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(d.Path, d.below, name), err)
	}
	if offset > 0 {
		if _, err = file.Seek(offset, io.SeekStart); offset >= size && err == nil {
			err = fmt.Errorf("from byte %d of %d: %w", offset, size, ErrBeyond)
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path.Join(d.Path, d.below, name), err)
	}
	return &local{ctx, file, file}, nil
}

// open opens a regular file. What else there is is not opened even for a moment: a watchdog starts when it is.
func open(root *os.Root, name string) (*os.File, int64, error) {
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, 0, agent.ErrAbsent
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a FIFO by now
	if err != nil {
		return nil, 0, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// Inline is a repository of small files by name, such as a job brings along, in front of another for everything else.
// The files are not to be changed while it is in use.
type Inline struct {
	Files map[string][]byte
	Next  agent.Repository // nil: there is nothing else
}

// Open implements agent.Repository.
func (i Inline) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := check(ctx, name, offset); err != nil {
		return nil, err
	}
	data, here := i.Files[name]
	switch {
	case !here && i.Next == nil:
		return nil, fmt.Errorf("%s: %w", name, agent.ErrAbsent)
	case !here:
		return i.Next.Open(ctx, name, offset)
	case offset > 0 && offset >= int64(len(data)):
		return nil, fmt.Errorf("%s: from byte %d of %d: %w", name, offset, len(data), ErrBeyond)
	}
	return &local{ctx, bytes.NewReader(data[offset:]), io.NopCloser(nil)}, nil
}

// local is a file at hand whose reading ends with ctx.
type local struct {
	ctx context.Context
	io.Reader
	io.Closer
}

func (l *local) Read(p []byte) (int, error) {
	if err := context.Cause(l.ctx); err != nil {
		return 0, err
	}
	return l.Reader.Read(p)
}
