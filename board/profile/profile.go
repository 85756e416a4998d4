// Package profile is a leaf: it says what is known of a board before anybody looks at it, one small TOML file a board.
//
// The boards that are shipped are embedded; files of the user's replace them by name. A profile is only a proposal: it
// switches nothing on.
package profile

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"holdfast/board/strict"
)

//go:embed *.toml
var shipped embed.FS

// Bounds of what is read. The largest file that is shipped has 3 KiB.
const (
	fileBytes = 32 << 10
	maxFiles  = 256
	maxLines  = 512
)

// A Profile is one board.
type Profile struct {
	Name       string   `toml:"-"`          // the file's name without .toml
	Title      string   `toml:"title"`      // as people call it
	Compatible []string `toml:"compatible"` // of the device tree's root; any one of them makes it this board
	// Verified says that the lines and the layout were tried on the board itself. What is not verified drives no output
	// unless the configuration accepts it.
	Verified   bool              `toml:"verified"`
	Bootloader string            `toml:"bootloader"` // as update.bootloader has it; empty: none is proposed
	Watchdog   string            `toml:"watchdog"`   // the identity of its driver, as in /sys/class/watchdog/*/identity
	Parts      map[string]Part   `toml:"parts"`      // of the card as docs/boards.md lays it out
	Lines      map[string]string `toml:"lines"`      // by name: the kernel's name of the line, or chip label:offset
}

// A Part is where a part of the system is in each slot, as in update.parts.
type Part struct {
	A string `toml:"a"`
	B string `toml:"b"`
}

// Line returns where the line of that name is: the kernel's name of it, or the label of its chip, a colon and the offset.
// A chip's label may have colons, an offset has none.
func (p *Profile) Line(name string) (spec string, ok bool) {
	if p == nil {
		return "", false
	}
	spec, ok = p.Lines[name]
	return spec, ok
}

// An Error is one thing wrong with a profile, with its place.
type Error struct {
	File         string
	Line, Column int // from 1; 0 where the place is not known
	Problem      string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
}

var (
	namePattern       = strict.Pattern(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	compatiblePattern = strict.Pattern(`^[A-Za-z0-9,._+-]{1,100}$`)
	loaderPattern     = strict.Pattern(`^[a-z][a-z-]{0,31}$`)
	partPattern       = strict.Pattern(`^[a-z0-9][a-z0-9_.-]{0,31}$`)
	placePattern      = strict.Pattern(`^(/|(PART)?(UUID|LABEL)=.)[ -~]{0,200}$`)
	linePattern       = strict.Pattern(`^[A-Za-z0-9_.-]{1,64}$`)
	specPattern       = strict.Pattern(`^[!-~][ -~]{0,99}$`)
)

// Parse reads one profile. Errors name the file, the line and the column, and are of type *Error; several are joined.
func Parse(file, name string, text []byte) (*Profile, error) {
	if len(text) > fileBytes {
		return nil, &Error{File: file, Problem: fmt.Sprintf("longer than %d bytes", fileBytes)}
	}
	if !namePattern(name) {
		return nil, &Error{File: file, Problem: "a profile's file is named by 1 to 64 of a-z, 0-9, '-' and '_', and .toml"}
	}
	p := Profile{Name: name}
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, located(file, err)
	}
	return &p, p.check(file)
}

// located turns go-toml's errors into ours.
func located(file string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for i := range unknown.Errors {
			line, column := unknown.Errors[i].Position()
			errs = append(errs, &Error{file, line, column, fmt.Sprintf("no such key %q", strings.Join(unknown.Errors[i].Key(), "."))})
		}
		return errors.Join(errs...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		return &Error{file, line, column, strings.TrimPrefix(wrong.Error(), "toml: ")}
	}
	return &Error{File: file, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
}

// check finds values that are of the right type and still wrong.
func (p *Profile) check(file string) error {
	var errs []error
	bad := func(ok bool, problem string, args ...any) {
		if !ok {
			errs = append(errs, &Error{File: file, Problem: fmt.Sprintf(problem, args...)})
		}
	}
	bad(p.Title != "" && len(p.Title) <= 100, "title: 1 to 100 bytes are wanted")
	bad(len(p.Compatible) > 0 && len(p.Compatible) <= 16, "compatible: 1 to 16 are wanted")
	for _, c := range p.Compatible {
		bad(compatiblePattern(c), "compatible: %q is none", c)
	}
	bad(p.Bootloader == "" || loaderPattern(p.Bootloader), "bootloader: %q is no name", p.Bootloader)
	bad(len(p.Watchdog) <= 100, "watchdog: longer than 100 bytes")
	bad(len(p.Parts) <= 16, "parts: more than 16")
	for _, name := range slices.Sorted(maps.Keys(p.Parts)) {
		part := p.Parts[name]
		bad(partPattern(name), "parts.%s: a name is 1 to 32 of a-z, 0-9, '-', '_' and '.'", name)
		bad(part.A != part.B && placePattern(part.A) && placePattern(part.B),
			"parts.%s: wants two different places, a and b: paths, or PARTLABEL=, PARTUUID=, LABEL= or UUID= and a name", name)
	}
	bad(len(p.Lines) <= maxLines, "lines: more than %d", maxLines)
	for _, name := range slices.Sorted(maps.Keys(p.Lines)) {
		bad(linePattern(name), "lines.%s: a name is 1 to 64 letters, digits, '-', '_' or '.'", name)
		bad(specPattern(p.Lines[name]), "lines.%s: %q is neither a line's name nor a chip's label, a colon and an offset", name, p.Lines[name])
	}
	return errors.Join(errs...)
}

// Load returns the boards that are shipped, replaced and completed by those in a directory of the user's, by name. A nil
// directory and one that is not there have none.
func Load(user fs.FS) (map[string]*Profile, error) {
	all, err := read(shipped, "")
	if err != nil || user == nil {
		return all, err
	}
	theirs, err := read(user, "boards.d/")
	if err != nil {
		return nil, err
	}
	maps.Copy(all, theirs)
	return all, nil
}

func read(dir fs.FS, prefix string) (map[string]*Profile, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("board profiles: %w", err)
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("board profiles: more than %d files", maxFiles)
	}
	all := map[string]*Profile{}
	var errs []error
	for _, entry := range files {
		name := entry.Name()
		if !strings.HasSuffix(name, ".toml") {
			continue
		}
		text, err := readFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("board profile: %w", err)
		}
		p, err := Parse(prefix+name, strings.TrimSuffix(name, ".toml"), text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[p.Name] = p
	}
	return all, errors.Join(errs...)
}

func readFile(dir fs.FS, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileBytes+1))
}

// Match returns the board whose profile names the most particular of the device tree's compatible strings, which come
// most particular first. nil when none does; an error when two do.
func Match(all map[string]*Profile, compatible []string) (*Profile, error) {
	for _, c := range compatible[:min(len(compatible), 16)] {
		var found []string
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if slices.Contains(all[name].Compatible, c) {
				found = append(found, name)
			}
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("board: %s and %s are both for %s: name one, as in board = %q", found[0], found[1], c, found[0])
		}
		if len(found) == 1 {
			return all[found[0]], nil
		}
	}
	return nil, nil
}

// Select returns the board that is named, or with no name the one that matches; nil when there is none that does.
func Select(all map[string]*Profile, name string, compatible []string) (*Profile, error) {
	if name == "" {
		return Match(all, compatible)
	}
	if p := all[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("board %q: there is no such profile; there are %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
}

// Outputs says why a line of this board's must not be driven: the profile was not verified on the board, and the
// configuration does not accept that. A line that is not the profile's is not its business.
func (p *Profile) Outputs(acceptUnverified bool) error {
	if p == nil || p.Verified || acceptUnverified {
		return nil
	}
	return fmt.Errorf("board %s: its lines were not verified on the board itself: a wrong one may drive what must not be driven", p.Name)
}
