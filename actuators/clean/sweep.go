package clean

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep deletes what an entry lists, and says how much that was; with dry it only says so. It has the power of its process.
func Sweep(e Entry, now time.Time, dry bool) (Report, error) {
	if err := e.Valid(); err != nil {
		return Report{}, err
	}
	s := search{known: map[[2]uint64]int{}, seen: map[place]bool{}}
	for _, p := range e.Paths {
		s.pattern(p)
	}
	old := s.old(e, now)
	r := Report{Dry: dry, More: s.more, Kept: int64(len(s.files) - len(old))}
	by := make([][]file, len(s.folders))
	for _, f := range old {
		by[f.folder] = append(by[f.folder], f)
	}
	for i, at := range s.folders {
		if len(by[i]) > 0 {
			s.empty(at, by[i], &r)
		}
	}
	if s.trouble != nil {
		r.Trouble = strings.ToValidUTF8(fmt.Sprintf("%.500s", s.trouble), "\uFFFD")
	}
	return r, nil
}

// old returns the files that are neither among the newest that fit nor too young. Where age counts, what was written in the
// future is young.
func (s *search) old(e Entry, now time.Time) []file {
	sort.Slice(s.files, func(i, j int) bool { return s.files[i].written.After(s.files[j].written) })
	var old []file
	left := e.KeepBytes
	for _, f := range s.files {
		if left -= f.bytes; left >= 0 && e.KeepBytes > 0 {
			continue
		}
		left = min(left, -1) // what is older than one that did not fit is not newer for being small
		if e.OlderThan == 0 || now.Sub(f.written) >= e.OlderThan {
			old = append(old, f)
		}
	}
	return old
}

// empty deletes files of one directory, which must still be the one that was looked at.
func (s *search) empty(at folder, files []file, r *Report) {
	way := "/" + strings.Join(at.parts, "/")
	fd, err := open(at.parts)
	if err != nil {
		s.hurt(way, err)
		return
	}
	defer unix.Close(fd)
	var here unix.Stat_t
	if err := unix.Fstat(fd, &here); err != nil || identity(here) != at.id {
		s.hurt(way, errors.New("was replaced meanwhile"))
		return
	}
	for _, f := range files {
		var is unix.Stat_t
		if err := unix.Fstatat(fd, f.name, &is, unix.AT_SYMLINK_NOFOLLOW); err != nil || is.Ino != f.inode || is.Dev != here.Dev ||
			is.Mode&unix.S_IFMT != unix.S_IFREG || !time.Unix(is.Mtim.Unix()).Equal(f.written) || mounted(fd, f.name) {
			continue // gone, or another, or written to since
		}
		if written(fd, f.name) {
			r.InUse++
			continue
		}
		if !r.Dry {
			if err := unix.Unlinkat(fd, f.name, 0); err != nil {
				s.hurt(way+"/"+f.name, err)
				continue
			}
		}
		r.Files++
		r.Bytes += f.bytes
	}
}

// written reports whether somebody has the file open for writing, as far as the kernel tells: a lease for reading cannot be
// had then (fcntl(2)). Deleted, such a file gives nothing back before it is closed, and what is written to it is lost.
func written(fd int, name string) bool {
	file, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(file)
	_, err = unix.FcntlInt(uintptr(file), unix.F_SETLEASE, unix.F_RDLCK)
	return errors.Is(err, unix.EAGAIN)
}
