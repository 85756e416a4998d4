package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"holdfast/actuators"
)

// list returns the names of the scripts in dir, none when dir is not there. Something that is not a script (a README,
// a backup, a declaration) is left out; a directory that others could change is an error.
func list(dir string, owner int) ([]string, error) {
	if err := sound(dir, owner); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !plain(e.Name()) || strings.HasSuffix(e.Name(), ".toml") || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		if names = append(names, e.Name()); len(names) > scriptsMost {
			return nil, fmt.Errorf("%s: more than %d scripts", dir, scriptsMost)
		}
	}
	return names, nil
}

// find returns the path of the named script after a look at everything on the way to it.
func find(dir, name string, owner int) (string, error) {
	if !plain(name) {
		return "", fmt.Errorf("%w: wants 1 to 64 of [A-Za-z0-9._-], no dot first", actuators.ErrDenied)
	}
	if err := sound(dir, owner); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: not a plain file", path)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s: not executable", path)
	}
	return path, guarded(path, info, owner)
}

// sound reports what would let others change which files lie in dir: on the way to it, every directory belongs to root
// or to owner and is writable by nobody else, except one with the sticky bit (/tmp), and none is a symbolic link.
func sound(dir string, owner int) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s: not an absolute path", dir)
	}
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s: not a directory, or reached through a link", at)
		}
		if sticky := info.Mode()&fs.ModeSticky != 0 && at != filepath.Clean(dir); !sticky {
			if err := guarded(at, info, owner); err != nil {
				return err
			}
		}
		if at == "/" {
			return nil
		}
	}
}

// guarded reports whether somebody other than root and owner may write to the file.
func guarded(path string, info fs.FileInfo, owner int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("%s: its owner is not known", path)
	case stat.Uid != 0 && int(stat.Uid) != owner:
		return fmt.Errorf("%s: belongs to user %d", path, stat.Uid)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("%s: writable by others (mode %v)", path, info.Mode().Perm())
	}
	return nil
}

func plain(name string) bool {
	if name == "" || len(name) > 64 || name[0] == '.' {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}) < 0
}
