package ladder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

const maxFiles = 64

// A Shelf is the playbooks in force, by fault.
type Shelf map[string]*Playbook

// Load reads *.toml of directories. Of two files of one name the later directory's counts, also when it is wrong: what an
// administrator has written over is not done. A directory that is nil or not there has none. sound says what is wrong with
// who may write a file or directory, and may be nil.
//
// What is wrong is in the error, with its place, and is not in force; the rest is. Two playbooks for one fault are an
// error, and neither is.
func Load(sound func(fs.FileInfo) error, dirs ...fs.FS) (Shelf, error) {
	files := map[string]fs.FS{}
	var errs []error
	for _, dir := range dirs {
		if dir == nil {
			continue
		}
		names, err := list(sound, dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("playbooks: %w", err))
		}
		for _, name := range names {
			files[name] = dir
		}
	}
	if len(files) > maxFiles {
		return Shelf{}, fmt.Errorf("playbooks: more than %d files", maxFiles)
	}
	s := Shelf{}
	twice := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p, err := open(sound, files[name], name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case s[p.Fault] != nil:
			errs = append(errs, &Error{File: name, Line: 1, Column: 1, Problem: fmt.Sprintf("%s is for %s, too: neither is in force", s[p.Fault].File, p.Fault)})
			twice[p.Fault] = true
		default:
			s[p.Fault] = p
		}
	}
	for fault := range twice {
		delete(s, fault)
	}
	return s, errors.Join(errs...)
}

func list(sound func(fs.FileInfo) error, dir fs.FS) (names []string, err error) {
	info, err := fs.Stat(dir, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && sound != nil {
		err = sound(info)
	}
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("more than %d files", maxFiles)
	}
	return names, nil
}

func open(sound func(fs.FileInfo) error, dir fs.FS, name string) (*Playbook, error) {
	info, err := fs.Stat(dir, name) // before it is opened: a pipe would be waited for
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a plain file")
	}
	if err == nil && sound != nil {
		err = sound(info)
	}
	if err != nil {
		return nil, &Error{File: name, Problem: err.Error()}
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("playbook %s: %w", name, err)
	}
	return Parse(name, text)
}
