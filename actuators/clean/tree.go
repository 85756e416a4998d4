package clean

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one run, whatever lies there.
const (
	entriesMost = 200_000 // looked at
	filesMost   = 20_000  // remembered
	depthMost   = 8       // levels below the first pattern
)

// A file is one that matches.
type file struct {
	place
	inode   uint64
	bytes   int64 // that the disk has back when this name goes
	written time.Time
}

// A place is a name in a directory.
type place struct {
	folder int // of search.folders
	name   string
}

// A folder is a directory in which files match, by the way to it.
type folder struct {
	parts []string // from the root
	id    [2]uint64
}

// A search finds the files of an entry.
type search struct {
	folders []folder
	known   map[[2]uint64]int // folders, by device and inode
	files   []file
	seen    map[place]bool // patterns overlap
	looked  int
	more    bool
	trouble error
}

func (s *search) hurt(what string, err error) {
	if s.trouble == nil {
		s.trouble = fmt.Errorf("%q: %w", what, err)
	}
}

// pattern looks for the files of one pattern.
func (s *search) pattern(pattern string) {
	base, rest := split(strings.Split(strings.TrimPrefix(pattern, "/"), "/"))
	fd, err := open(base)
	if errors.Is(err, unix.ENOENT) {
		return // nothing to clean there
	}
	if err != nil {
		s.hurt("/"+strings.Join(base, "/"), err)
		return
	}
	defer unix.Close(fd)
	var at unix.Stat_t
	if err := unix.Fstat(fd, &at); err != nil {
		s.hurt("/"+strings.Join(base, "/"), err)
		return
	}
	s.walk(fd, at, base, rest, depthMost)
}

// open opens a directory by its components, and follows no link on the way: neither O_NOFOLLOW of the last component nor
// openat2(2), which came with Linux 5.6, would do on all boards.
func open(parts []string) (int, error) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for _, part := range parts {
		if err != nil {
			return -1, err
		}
		var next int
		next, err = below(fd, part)
		unix.Close(fd)
		fd = next
	}
	return fd, err
}

func below(fd int, name string) (int, error) {
	return unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// walk looks through the directory at fd, which is at parts, for what the components of rest match; levels is how many
// directories deeper it may go.
func (s *search) walk(fd int, at unix.Stat_t, parts, rest []string, levels int) {
	want, deep := rest[0], rest[0] == "**"
	if deep {
		s.walk(fd, at, parts, rest[1:], levels) // no directory at all
	}
	list, err := duplicate(fd)
	if err != nil {
		s.hurt("/"+strings.Join(parts, "/"), err)
		return
	}
	defer list.Close()
	dir := -1
	for {
		names, err := list.Readdirnames(512)
		for _, name := range names {
			if s.looked++; s.looked > entriesMost {
				s.more = true
				return
			}
			if ok, _ := path.Match(want, name); !ok && !deep {
				continue
			}
			if len(rest) == 1 {
				s.consider(fd, at, parts, name, &dir)
			} else if levels > 0 {
				s.descend(fd, at, parts, name, rest, levels)
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			s.hurt("/"+strings.Join(parts, "/"), err)
			return
		}
	}
}

// duplicate returns the directory at fd to be listed from its beginning.
func duplicate(fd int) (*os.File, error) {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again), "directory"), nil
}

// descend goes into a directory, if it is one and of the same file system.
func (s *search) descend(fd int, at unix.Stat_t, parts []string, name string, rest []string, levels int) {
	child, err := below(fd, name)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOENT):
		return // a file, a link, or gone
	case err != nil:
		s.hurt("/"+strings.Join(parts, "/")+"/"+name, err)
		return
	}
	defer unix.Close(child)
	var here unix.Stat_t
	if err := unix.Fstat(child, &here); err != nil || here.Dev != at.Dev || mounted(child, "") {
		return
	}
	if rest[0] != "**" {
		rest = rest[1:]
	}
	s.walk(child, here, append(parts[:len(parts):len(parts)], name), rest, levels-1)
}

// mounted reports whether something is mounted there, also of the same file system. Before Linux 5.8 that is not told.
func mounted(fd int, name string) bool {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var x unix.Statx_t
	err := unix.Statx(fd, name, flags, unix.STATX_TYPE, &x)
	return err == nil && x.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// consider remembers a name in the directory at fd, if a plain file has it.
func (s *search) consider(fd int, at unix.Stat_t, parts []string, name string, dir *int) {
	var f unix.Stat_t
	if err := unix.Fstatat(fd, name, &f, unix.AT_SYMLINK_NOFOLLOW); err != nil || f.Mode&unix.S_IFMT != unix.S_IFREG || f.Dev != at.Dev {
		return
	}
	if len(s.files) >= filesMost {
		s.more = true
		return
	}
	if *dir < 0 {
		*dir = s.folder(parts, at)
	}
	where := place{*dir, name}
	if s.seen[where] {
		return
	}
	s.seen[where] = true
	one := file{place: where, inode: f.Ino, written: time.Unix(f.Mtim.Unix())}
	if f.Nlink == 1 {
		one.bytes = f.Blocks * 512
	}
	s.files = append(s.files, one)
}

// folder returns the number of a directory.
func (s *search) folder(parts []string, at unix.Stat_t) int {
	id := identity(at)
	n, ok := s.known[id]
	if !ok {
		n = len(s.folders)
		s.known[id] = n
		s.folders = append(s.folders, folder{parts: parts, id: id})
	}
	return n
}

func identity(at unix.Stat_t) [2]uint64 { return [2]uint64{uint64(at.Dev), at.Ino} }
