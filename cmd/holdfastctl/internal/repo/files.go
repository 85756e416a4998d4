package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// put writes a file so that a reader, or a power cut, finds the old one or the new one. One that is so already is left alone.
func (r *Repo) put(name string, raw []byte) error {
	if had, err := os.ReadFile(r.at(name)); err == nil && bytes.Equal(had, raw) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(r.at(name)), 0o755); err != nil {
		return err
	}
	f, err := r.temp()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return r.adopt(f.Name(), name)
}

// temp opens a new file in staging/, which adopt gives its place.
func (r *Repo) temp() (*os.File, error) {
	dir := r.at(stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, ".new-*")
}

// adopt gives a file that was written its place: synced before, readable for a web server, its name synced after.
func (r *Repo) adopt(from, name string) error {
	f, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil && runtime.GOOS != "windows" { // which has no modes
		return fmt.Errorf("sync %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(r.at(name)), 0o755); err != nil {
		return err
	}
	if err := r.before("rename to " + name); err != nil {
		return err
	}
	if err := os.Rename(from, r.at(name)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.at(name)))
}

func (r *Repo) remove(name string) error {
	if err := r.before("remove " + name); err != nil {
		return err
	}
	if err := os.Remove(r.at(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (r *Repo) before(step string) error {
	if r.Before == nil {
		return nil
	}
	return r.Before(step)
}

// syncDir makes names that were changed in a directory last. Windows keeps them by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (r *Repo) has(name string) bool {
	_, err := os.Stat(r.at(name))
	return err == nil
}

// apart reports an error when the keys lie inside the repository, where a web server would serve them.
func (r *Repo) apart() error {
	real := func(p string) string {
		p, _ = filepath.Abs(p)
		for q, rest := p, ""; ; q, rest = filepath.Dir(q), filepath.Join(filepath.Base(q), rest) {
			if l, err := filepath.EvalSymlinks(q); err == nil {
				return filepath.Join(l, rest)
			}
			if q == filepath.Dir(q) {
				return p
			}
		}
	}
	in, err := filepath.Rel(real(r.Dir), real(r.Ring.Dir))
	if err == nil && in != ".." && !strings.HasPrefix(in, ".."+string(filepath.Separator)) {
		return fmt.Errorf("%w: the keys in %s would lie inside the repository, which is published", ErrUsage, r.Ring.Dir)
	}
	return nil
}

// lock keeps other programs from changing the repository until unlock is called or this one ends.
func (r *Repo) lock() (unlock func(), err error) {
	if err := os.MkdirAll(r.at(stagingDir), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(r.at(stagingDir, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := alone(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another program is changing it: %w", r.Dir, err)
	}
	return func() { f.Close() }, nil
}

// open takes the lock and reads the state.
func (r *Repo) open() (w *world, unlock func(), err error) {
	if !r.has(metadataDir) && !r.has(stagingDir) { // not to leave a lock in a directory that is something else
		return nil, nil, fmt.Errorf("%s: %w", r.Dir, ErrNone)
	}
	if unlock, err = r.lock(); err != nil {
		return nil, nil, err
	}
	if w, err = r.load(); err != nil {
		unlock()
		return nil, nil, err
	}
	return w, unlock, nil
}
