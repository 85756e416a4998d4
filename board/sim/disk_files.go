package sim

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"holdfast/board"
)

// temporary is what names of unfinished documents begin with.
const temporary = ".new-"

// Files is a board.Files in one directory of a Disk.
type Files struct {
	// Careless leaves barriers out of WriteFile, for tests that want to see whether anybody notices.
	Careless struct{ Data, Names bool }

	disk *Disk
	dir  *directory
}

// Files opens the directory as a store of documents and removes what writes that were cut short left behind.
func (d *Disk) Files(dir string) *Files {
	d.mu.Lock()
	f := &Files{disk: d, dir: d.directory(dir)}
	var stale []string
	for name := range f.dir.live {
		if strings.HasPrefix(name, temporary) {
			stale = append(stale, name)
		}
	}
	d.mu.Unlock()
	slices.Sort(stale)
	for _, name := range stale {
		_ = d.remove(f.dir, name) // no harm where it stays
	}
	return f
}

// ReadFile implements board.Files.
func (f *Files) ReadFile(name string, limitBytes int64) ([]byte, error) {
	if err := board.CheckName(name); err != nil {
		return nil, err
	}
	ino, err := f.disk.lookup(f.dir, name)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if ino == nil {
		return nil, fmt.Errorf("read file: %w", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist})
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.begin("read", name, reads); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if size := int64(len(ino.live)); size > limitBytes {
		return nil, fmt.Errorf("read file %s: %d bytes, at most %d are read", name, size, limitBytes)
	}
	return append([]byte{}, ino.live...), nil
}

// WriteFile implements board.Files by the same steps as a real board.
func (f *Files) WriteFile(name string, data []byte) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	f.disk.temps++
	temp := fmt.Sprint(temporary, f.disk.temps)
	f.disk.mu.Unlock()
	ino, err := f.disk.create(f.dir, temp)
	if err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	_, err = f.disk.write(ino, temp, data)
	if err == nil && !f.Careless.Data {
		err = f.disk.sync(ino, temp)
	}
	if err == nil {
		err = f.disk.rename(f.dir, temp, name)
	}
	if err != nil {
		_ = f.disk.remove(f.dir, temp) // the next start tries again
		return fmt.Errorf("write file %s: %w", name, err)
	}
	if f.Careless.Names {
		return nil
	}
	if err := f.disk.syncDir(f.dir, "."); err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	return nil
}

// Remove implements board.Files.
func (f *Files) Remove(name string) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	ino, err := f.disk.lookup(f.dir, name)
	if err == nil && ino != nil {
		err = f.disk.remove(f.dir, name)
	}
	if err == nil {
		err = f.disk.syncDir(f.dir, ".")
	}
	if err != nil {
		return fmt.Errorf("remove file: %w", err)
	}
	return nil
}

// Dir is a board.Dir over a directory of a Disk.
type Dir struct {
	disk *Disk
	dir  *directory
}

// Dir opens the directory as one of append-only files.
func (d *Disk) Dir(dir string) *Dir {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Dir{disk: d, dir: d.directory(dir)}
}

// Open implements board.Dir.
func (d *Dir) Open(name string) (board.File, error) {
	if err := board.CheckName(name); err != nil {
		return nil, err
	}
	ino, err := d.disk.lookup(d.dir, name)
	if err == nil && ino == nil {
		ino, err = d.disk.create(d.dir, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &file{disk: d.disk, ino: ino, name: name}, nil
}

// List implements board.Dir.
func (d *Dir) List() ([]string, error) {
	names, err := d.disk.list(d.dir)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return board.CheckName(n) != nil }), nil
}

// Remove implements board.Dir.
func (d *Dir) Remove(name string) error {
	if err := board.CheckName(name); err != nil {
		return err
	}
	if err := d.disk.remove(d.dir, name); err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	return nil
}

// Sync implements board.Dir.
func (d *Dir) Sync() error { return d.disk.syncDir(d.dir, ".") }

type file struct {
	disk   *Disk
	ino    *inode
	name   string
	closed bool
}

func (f *file) check() error {
	if f.closed {
		return &fs.PathError{Op: "use", Path: f.name, Err: fs.ErrClosed}
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	return f.disk.readAt(f.ino, f.name, p, off)
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	return f.disk.write(f.ino, f.name, p)
}

func (f *file) Sync() error {
	if err := f.check(); err != nil {
		return err
	}
	return f.disk.sync(f.ino, f.name)
}

func (f *file) Close() error {
	if err := f.check(); err != nil {
		return err
	}
	f.closed = true
	return nil
}
