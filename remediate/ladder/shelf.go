package ladder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"holdfast/board/strict"
)

const maxFiles = 64

// A Shelf is the playbooks in force, by fault.
type Shelf map[string]*Playbook

// Load reads *.toml of directories. Of two files of one name the later directory's counts, also when it is wrong: what an
// administrator has written over is not done. A directory that is nil or not there has none. sound says what is wrong with
// who may write a file or directory, and may be nil.
//
// What is wrong is in the error, with its place. The text of its name in last, which was right before, stays in force, and
// without one nothing is; last is brought up to date. Two playbooks for one fault are an error, and neither is in force.
func Load(sound func(fs.FileInfo) error, last Last, dirs ...fs.FS) (Shelf, error) {
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
	maps.DeleteFunc(last, func(name, _ string) bool { return files[name] == nil })
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p, err := last.open(sound, files[name], name)
		if err != nil {
			errs = append(errs, err)
		}
		switch {
		case p == nil:
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

// Last are the texts that were right when they were last read, by the names of their files. Nil remembers none.
type Last map[string]string

// LastBytes bounds what ParseLast takes.
const LastBytes = 512 << 10

// ParseLast reads what Encode returned.
func ParseLast(text []byte) (Last, error) {
	l := Last{}
	err := strict.Unmarshal(text, &l, strict.Limits{Bytes: LastBytes, Depth: 1, Members: maxFiles})
	return l, err
}

// Encode returns the texts as JSON, the same for the same texts; those behind that are beyond the bound are left out.
func (l Last) Encode() []byte {
	names := slices.Sorted(maps.Keys(l))
	for {
		kept := Last{}
		for _, name := range names {
			kept[name] = l[name]
		}
		text, err := json.Marshal(kept)
		if err == nil && len(text) <= LastBytes || len(names) == 0 {
			return text
		}
		names = names[:len(names)-1]
	}
}

// open reads a playbook. Where it is not right the one before is returned with the error, if there was one.
func (l Last) open(sound func(fs.FileInfo) error, dir fs.FS, name string) (*Playbook, error) {
	text, err := read(sound, dir, name)
	var p *Playbook
	if err == nil {
		p, err = Parse(name, text)
	}
	if err == nil {
		if l != nil {
			l[name] = string(text)
		}
		return p, nil
	}
	before, known := l[name]
	if !known {
		return nil, err
	}
	if p, bad := Parse(name, []byte(before)); bad == nil {
		return p, fmt.Errorf("%w; the one before stays in force", err)
	}
	return nil, err
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

func read(sound func(fs.FileInfo) error, dir fs.FS, name string) ([]byte, error) {
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
	return text, nil
}
