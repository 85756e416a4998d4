package linux

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"holdfast/board"
)

// Files is a board.Files in one directory of the file system. Everything in it is readable by its owner alone. It may be
// used from several goroutines; of two that write the same document at once, one comes last.
type Files struct{ dir string }

// temporary is what names of unfinished documents begin with; CheckName keeps documents out of it.
const temporary = ".new-"

// NewFiles opens the directory, makes it (mode 0700) where it is missing, and removes what writes that were cut short
// left behind. A read-only directory is no error: reading works.
//
// What is being written at that moment by another process is removed, too: where several write, one after the other, each
// calls SharedFiles.
func NewFiles(dir string) (*Files, error) {
	f, err := SharedFiles(dir)
	if err != nil {
		return nil, err
	}
	return f, sweep(dir)
}

// SharedFiles opens the directory, makes it where it is missing, and removes nothing.
func SharedFiles(dir string) (*Files, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return &Files{dir: dir}, nil
}

// sweep removes what writes that were cut short left behind.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) && e.Type().IsRegular() {
			os.Remove(filepath.Join(dir, e.Name())) // no harm where it stays; the next start tries again
		}
	}
	return nil
}

// ReadFile implements board.Files. Anything but a regular file is refused: a link, or a FIFO that would block.
func (f *Files) ReadFile(name string, limitBytes int64) ([]byte, error) {
	if err := board.CheckName(name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read file %s: not a regular file", name)
	case info.Size() > limitBytes:
		return nil, fmt.Errorf("read file %s: %d bytes, at most %d are read", name, info.Size(), limitBytes)
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(file, data)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return data[:n], nil
}

// WriteFile implements board.Files. When it fails, the document is the one before.
func (f *Files) WriteFile(name string, data []byte) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	file, err := os.CreateTemp(f.dir, temporary) // mode 0600
	if err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(f.dir, name))
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("write file %s: %w", name, err)
	}
	return syncDir(f.dir)
}

// Remove implements board.Files.
func (f *Files) Remove(name string) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		// An earlier removal may have been cut before its directory was synced: absence is promised only after that.
		return syncDir(f.dir)
	}
	if err != nil {
		return fmt.Errorf("remove file: %w", err)
	}
	return syncDir(f.dir)
}

// Dir is a board.Dir over a directory of the file system. Everything in it is readable by its owner alone.
type Dir struct{ dir string }

// NewDir opens the directory and makes it (mode 0700) where it is missing.
func NewDir(dir string) (*Dir, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return &Dir{dir: dir}, nil
}

// Open implements board.Dir.
func (d *Dir) Open(name string) (board.File, error) {
	if err := board.CheckName(name); err != nil {
		return nil, err
	}
	const flags = os.O_RDWR | os.O_CREATE | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	file, err := os.OpenFile(filepath.Join(d.dir, name), flags, 0o600)
	if errors.Is(err, syscall.EROFS) { // what is there can still be read
		file, err = os.OpenFile(filepath.Join(d.dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "create", Path: filepath.Join(d.dir, name), Err: syscall.EROFS}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, fmt.Errorf("open log %s: not a regular file", name)
	}
	return file, nil
}

// List implements board.Dir. What is not a regular file, or has a name that CheckName refuses, is not listed.
func (d *Dir) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && board.CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove implements board.Dir.
func (d *Dir) Remove(name string) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	return nil
}

// Sync implements board.Dir.
func (d *Dir) Sync() error { return syncDir(d.dir) }

// makeDir makes the directory and makes its name durable: what is synced inside it would be lost with it.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
