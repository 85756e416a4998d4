package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"holdfast/actuators/confined"
)

// declarationBytes bounds NAME.toml.
const declarationBytes = 8 << 10

// A declaration is what NAME.toml says of the script NAME: what it takes, what bounds it, and what it may do beyond that.
// The zero value is that of a script without one: no arguments.
type declaration struct {
	Help         string     `toml:"help"`
	Timeout      duration   `toml:"timeout"`      // 1s to 30m; 0: that of the configuration
	Memory       size       `toml:"memory"`       // 1MiB to 64GiB; 64 MiB
	Tasks        int        `toml:"tasks"`        // 1 to 4096; 32
	CPU          int        `toml:"cpu"`          // percent of one processor, 1 to 6400; 50
	File         size       `toml:"file"`         // longest file it writes, 4KiB to 1TiB; 64 MiB
	Output       size       `toml:"output"`       // of which the tail is kept, 1KiB to 32KiB; 32 KiB
	Network      bool       `toml:"network"`      // it has the network
	Devices      bool       `toml:"devices"`      // it sees the machine's devices
	User         string     `toml:"user"`         // empty: root
	Write        []string   `toml:"write"`        // where it may write; elsewhere it reads
	Capabilities []string   `toml:"capabilities"` // CAP_KILL
	Args         []argument `toml:"arg"`
}

// An argument is one of argv.
type argument struct {
	Name     string   `toml:"name"`
	Kind     string   `toml:"kind"` // text number truth
	Help     string   `toml:"help"`
	Optional bool     `toml:"optional"` // so are those after it
	Choices  []string `toml:"choices"`  // text: one of these
	Pattern  string   `toml:"pattern"`  // text: all of it matches (RE2)
	Bytes    int      `toml:"bytes"`    // text: at most; 256
	Min      *float64 `toml:"min"`      // number
	Max      *float64 `toml:"max"`
	Whole    bool     `toml:"whole"` // number: no fraction

	fits func(string) bool // of Pattern
}

// declared reads the declaration at path, which only root and owner may have written. There may be none.
func declared(path string, owner int) (declaration, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return parse(nil)
	}
	if err != nil {
		return declaration{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a plain file", path)
	}
	if err == nil {
		err = guarded(path, info, owner)
	}
	if err != nil {
		return declaration{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, declarationBytes+1))
	if err != nil {
		return declaration{}, err
	}
	d, err := parse(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return d, err
}

// parse reads the text of a declaration. Errors have line and column where the text is no declaration at all.
func parse(text []byte) (declaration, error) {
	if len(text) > declarationBytes {
		return declaration{}, fmt.Errorf("longer than %d bytes", declarationBytes)
	}
	d := declaration{Memory: 64 << 20, Tasks: 32, CPU: 50, File: 64 << 20, Output: 32 << 10}
	in := toml.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	err := in.Decode(&d)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown) && len(unknown.Errors) > 0:
		line, column := unknown.Errors[0].Position()
		err = fmt.Errorf("line %d, column %d: no such key %q", line, column, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		err = fmt.Errorf("line %d, column %d: %s", line, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err == nil:
		err = d.valid()
	}
	if err != nil {
		return declaration{}, err
	}
	return d, nil
}

// valid reports a value that is of the right type and still wrong.
func (d *declaration) valid() error {
	timeout := int64(time.Duration(d.Timeout) / time.Second)
	if d.Timeout == 0 { // that of the configuration
		timeout = 1
	}
	for _, v := range []struct {
		key           string
		value, lo, hi int64
	}{
		{"timeout, in seconds", timeout, 1, 1800}, {"memory", int64(d.Memory), 1 << 20, 64 << 30},
		{"tasks", int64(d.Tasks), 1, 4096}, {"cpu", int64(d.CPU), 1, 6400}, {"file", int64(d.File), 4 << 10, 1 << 40},
		{"output", int64(d.Output), 1 << 10, 32 << 10}, {"arg: their number", int64(len(d.Args)), 0, argumentMost},
		{"write: their number", int64(len(d.Write)), 0, 16},
	} {
		if v.value < v.lo || v.value > v.hi {
			return fmt.Errorf("%s: not between %d and %d", v.key, v.lo, v.hi)
		}
	}
	if d.User != "" && !plain(d.User) {
		return fmt.Errorf("user: %q is no name of one", d.User)
	}
	for _, path := range d.Write {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return fmt.Errorf("write: %q is no clean absolute path below /", path)
		}
	}
	for _, name := range d.Capabilities {
		if !slices.Contains(capabilities, name) {
			return fmt.Errorf("capabilities: no such %q", name)
		}
	}
	for i := range d.Args {
		if err := d.Args[i].valid(); err != nil {
			return fmt.Errorf("arg %d: %w", i+1, err)
		}
		if i > 0 && d.Args[i-1].Optional && !d.Args[i].Optional {
			return fmt.Errorf("arg %d: one that is not optional after one that is", i+1)
		}
	}
	return nil
}

func (a *argument) valid() error {
	text, number := a.Kind == "text", a.Kind == "number"
	switch {
	case !plain(a.Name):
		return errors.New("name: wants 1 to 64 of [A-Za-z0-9._-], no dot first")
	case !text && !number && a.Kind != "truth":
		return fmt.Errorf("kind: %q is none of text number truth", a.Kind)
	case !text && (len(a.Choices) > 0 || a.Pattern != "" || a.Bytes != 0), !number && (a.Min != nil || a.Max != nil || a.Whole):
		return fmt.Errorf("a key that is not for kind %s", a.Kind)
	case a.Bytes < 0 || a.Bytes > 4096:
		return errors.New("bytes: not between 1 and 4096")
	case a.Min != nil && (math.IsNaN(*a.Min) || math.IsInf(*a.Min, 0)), a.Max != nil && (math.IsNaN(*a.Max) || math.IsInf(*a.Max, 0)),
		a.Min != nil && a.Max != nil && *a.Min > *a.Max:
		return errors.New("min and max: not two numbers in order")
	case a.Pattern != "":
		if _, err := regexp.Compile(a.Pattern); err != nil { // by itself: it may not end the brackets around it
			return fmt.Errorf("pattern: %w", err)
		}
		whole, err := regexp.Compile(`^(?:` + a.Pattern + `)$`)
		if err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
		a.fits = whole.MatchString
	}
	return nil
}

// check reports what keeps args from being the declared ones. They are not changed on their way to the script.
func (d declaration) check(args []string) error {
	if len(args) > len(d.Args) {
		return fmt.Errorf("%d arguments, and %d are declared in its .toml", len(args), len(d.Args))
	}
	for i, a := range d.Args {
		if i >= len(args) {
			if !a.Optional {
				return fmt.Errorf("%s is missing", a.Name)
			}
			return nil
		}
		if err := a.check(args[i]); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}

func (a argument) check(s string) error {
	switch a.Kind {
	case "truth":
		if s != "true" && s != "false" {
			return errors.New("neither true nor false")
		}
		return nil
	case "number":
		f, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.Trim(s, "+-.0123456789eE") != "":
			return errors.New("not a number")
		case a.Whole && (f != math.Trunc(f) || strings.Trim(s, "-0123456789") != ""):
			return errors.New("not a whole number")
		case a.Min != nil && f < *a.Min || a.Max != nil && f > *a.Max:
			return errors.New("out of range")
		}
		return nil
	}
	most := a.Bytes
	if most == 0 {
		most = 256
	}
	switch {
	case len(s) > most:
		return fmt.Errorf("%d bytes, at most %d", len(s), most)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return errors.New("not UTF-8, or a zero byte")
	case len(a.Choices) > 0 && !slices.Contains(a.Choices, s):
		return errors.New("not among the choices")
	case a.fits != nil && !a.fits(s):
		return errors.New("not of the declared pattern")
	}
	return nil
}

// program is what of a run the declaration says.
func (d declaration) program(o Options) confined.Program {
	limit := time.Duration(d.Timeout)
	if limit == 0 {
		limit = o.Limit
	}
	p := confined.Program{User: d.User,
		Limits: confined.Limits{Time: limit, Grace: o.Grace, Memory: int64(d.Memory), Tasks: d.Tasks, CPU: d.CPU, File: int64(d.File), Output: int(d.Output)},
		Powers: confined.Powers{Network: d.Network, Devices: d.Devices, Write: d.Write}}
	for _, name := range d.Capabilities {
		p.Powers.Capabilities |= 1 << slices.Index(capabilities, name)
	}
	return p
}
