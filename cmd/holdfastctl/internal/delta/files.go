package delta

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast/update/bsdiff"
)

// An image is a file or block device that is read.
type image struct {
	bsdiff.Reader
	file *os.File
}

func openImage(path string) (*image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size in its inode
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("size of %s: %w", path, err)
	}
	return &image{bsdiff.Reader{ReaderAt: f, Bytes: size}, f}, nil
}

func (i *image) Close() error { return i.file.Close() }

// An output is a file that appears under its name when it is whole. What is no regular file, such as a block device, is
// written in place.
type output struct {
	*os.File
	path  string
	place bool
}

func newOutput(path string) (*output, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		return &output{f, path, true}, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &output{f, path, false}, nil
}

// finish makes the file durable under its name.
func (o *output) finish() error {
	if err := o.Sync(); err != nil && !(o.place && !isDisk(o.File)) {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if o.place {
		return o.Close()
	}
	if err := o.Chmod(0o644); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := o.Close(); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := os.Rename(o.Name(), o.path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(o.path)); err == nil {
		_ = dir.Sync() // some file systems have no such thing
		dir.Close()
	}
	return nil
}

// isDisk tells a block device from /dev/null and its like, which cannot be synced.
func isDisk(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}

// drop removes what did not become whole. After finish it does nothing.
func (o *output) drop() {
	if o.Close() == nil && !o.place {
		os.Remove(o.Name())
	}
}
