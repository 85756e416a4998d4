// Package clean is a driver: it deletes old files that the configuration lists, and never anything else.
//
// Nothing is trusted of the trees it goes through: no link is followed, no file system is left, nothing but plain files is
// deleted, and what is looked at is bounded.
package clean

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/board/strict"
)

// An Entry is what may be cleaned under one name.
type Entry struct {
	// Paths are absolute patterns of files (path.Match), such as /var/log/app/*.log.*; "**" stands for any directories, also
	// none. At least the first component is no pattern.
	Paths     []string      `json:"paths"`
	OlderThan time.Duration `json:"older_than"` // since they were last written
	KeepBytes int64         `json:"keep_bytes"` // the newest files are kept, as many as fit; 0 keeps none
}

// A Report is what came of it.
type Report struct {
	Files int64 `json:"files"` // that were deleted, or would be
	Bytes int64 `json:"bytes"` // that the disk has back; a file with another name gives none back
	Kept  int64 `json:"kept"`  // files that match and are too new
	InUse int64 `json:"in_use,omitempty"`
	Dry   bool  `json:"dry,omitempty"`  // nothing was deleted
	More  bool  `json:"more,omitempty"` // not all was looked at: do it again
	// Trouble is the first thing that could not be looked at or deleted; the rest was.
	Trouble string `json:"trouble,omitempty"`
}

// A Run has a process with the power for it clean an entry, and returns what that printed: the report as JSON.
type Run func(ctx context.Context, name string, dry bool) ([]byte, error)

// Verb returns clean for the listed entries and no others.
func Verb(entries map[string]Entry, run Run) (actuators.Verb, error) {
	names := slices.Sorted(maps.Keys(entries))
	for _, name := range names {
		if err := entries[name].Valid(); err != nil {
			return actuators.Verb{}, fmt.Errorf("clean %s: %w", name, err)
		}
	}
	if len(names) == 0 {
		names = []string{""} // an empty list of choices would mean any text
	}
	return actuators.Verb{
		Name: "clean",
		Help: "delete old files",
		Params: []actuators.Param{
			{Name: "name", Kind: actuators.Text, Required: true, Choices: names, Help: "which entry of the configuration"},
			{Name: "dry", Kind: actuators.Truth, Help: "only say how much it would be"},
		},
		Class: actuators.Repair,
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			name := args.Text("name")
			if _, ok := entries[name]; !ok {
				return nil, fmt.Errorf("clean %q: %w", name, actuators.ErrDenied)
			}
			said, err := run(ctx, name, args.Truth("dry"))
			if err != nil {
				return nil, fmt.Errorf("clean %s: %w", name, err)
			}
			return result(name, said)
		},
	}, nil
}

func result(name string, said []byte) (actuators.Result, error) {
	var r Report
	if err := strict.Unmarshal(said, &r, strict.Limits{Bytes: 4 << 10, Depth: 2, Members: 16}); err != nil {
		return nil, fmt.Errorf("clean %s: its report: %w", name, err)
	}
	result := actuators.Result{"name": name, "files": r.Files, "bytes": r.Bytes, "kept": r.Kept, "in_use": r.InUse, "dry": r.Dry, "more": r.More}
	if r.Trouble != "" {
		result["trouble"] = r.Trouble
	}
	if r.Trouble != "" && r.Files == 0 {
		return result, fmt.Errorf("clean %s: %s", name, r.Trouble)
	}
	return result, nil
}

// Valid reports what is wrong with an entry.
func (e Entry) Valid() error {
	if len(e.Paths) == 0 || len(e.Paths) > 16 {
		return errors.New("paths: wants 1 to 16")
	}
	if e.OlderThan < 0 || e.KeepBytes < 0 {
		return errors.New("a negative bound")
	}
	for _, p := range e.Paths {
		if err := valid(p); err != nil {
			return fmt.Errorf("paths: %q: %w", p, err)
		}
	}
	return nil
}

func valid(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return err
	}
	parts := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	base, rest := split(parts)
	switch {
	case !strings.HasPrefix(pattern, "/") || path.Clean(pattern) != pattern || slices.Contains(parts, ".."):
		return errors.New("no clean absolute path")
	case len(base) == 0:
		return errors.New("begins with a pattern")
	case len(rest) > depthMost:
		return fmt.Errorf("more than %d levels below the first pattern", depthMost)
	case rest[len(rest)-1] == "**":
		return errors.New("wants the name of files after **, such as **/*.tmp")
	}
	for _, top := range []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "sbin", "sys", "usr"} {
		if base[0] == top && (len(base) == 1 || top == "dev" || top == "proc" || top == "sys") {
			return fmt.Errorf("/%s is nothing to clean", top)
		}
	}
	return nil
}

// split returns the components before the first pattern, which are the directory where it begins, and the others. The last
// component is always one of the others.
func split(parts []string) (base, rest []string) {
	i := slices.IndexFunc(parts, func(p string) bool { return strings.ContainsAny(p, `*?[\`) })
	if i < 0 {
		i = len(parts) - 1
	}
	return parts[:i], parts[i:]
}

// Bases returns the directories below which the entry deletes.
func (e Entry) Bases() []string {
	var all []string
	for _, p := range e.Paths {
		base, _ := split(strings.Split(strings.TrimPrefix(p, "/"), "/"))
		all = append(all, "/"+strings.Join(base, "/"))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
