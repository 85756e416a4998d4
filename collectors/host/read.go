package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Limits of what is read from one file. /proc/stat names every interrupt of the machine, mountinfo every mount.
const (
	smallBytes = 4 << 10
	largeBytes = 256 << 10
)

// A reader reads kernel files whole into a buffer it keeps. os.File costs half as much again: it asks for the file's
// kind and whether it can be polled, and leaves a finalizer behind.
type reader struct{ buf []byte }

// read returns the file's content, valid until the next read. A file that is not there, and one whose part of the
// kernel is switched off, is collectors.ErrNoData. A file longer than limitBytes is an error.
func (r *reader) read(path string, limitBytes int) ([]byte, error) {
	// A pipe in the place of a kernel file must not stop the agent, hence O_NONBLOCK.
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return nil, absent("open", path, err)
	}
	defer unix.Close(fd)
	if r.buf == nil {
		r.buf = make([]byte, 1<<10)
	}
	for n := 0; ; {
		m, err := retry(func() (int, error) { return unix.Read(fd, r.buf[n:]) })
		if err != nil {
			return nil, absent("read", path, err)
		}
		if n += m; m == 0 {
			return r.buf[:n], nil
		}
		if n > limitBytes {
			return nil, fmt.Errorf("read %s: more than %d bytes", path, limitBytes)
		}
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
}

// names calls each for every entry of a directory but "." and "..". A name is valid during the call. Only what the file
// system says without a further look counts as a directory.
func (r *reader) names(dir string, each func(name []byte, isDir bool)) error {
	fd, err := retry(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0) })
	if err != nil {
		return absent("open", dir, err)
	}
	defer unix.Close(fd)
	if len(r.buf) < 4<<10 {
		r.buf = make([]byte, 4<<10)
	}
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, r.buf) })
		if err != nil {
			return absent("read", dir, err)
		}
		if n == 0 {
			return nil
		}
		entries(r.buf[:n], each)
	}
}

// entries walks struct linux_dirent64 (getdents(2)): inode and offset of 8 bytes, length of the record of 2, type of 1,
// name up to a zero byte.
func entries(b []byte, each func(name []byte, isDir bool)) {
	const head = 19
	for len(b) > head {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= head || size > len(b) {
			return
		}
		name, _, _ := bytes.Cut(b[head:size], []byte{0})
		if string(name) != "." && string(name) != ".." {
			each(name, b[18] == unix.DT_DIR)
		}
		b = b[size:]
	}
}

func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}

// absent turns what a kernel without the part says into ErrNoData.
func absent(deed, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), err == unix.ENOTDIR, err == unix.EOPNOTSUPP, err == unix.ENODEV:
		return fmt.Errorf("%w: %s", collectors.ErrNoData, path)
	}
	return fmt.Errorf("%s %s: %w", deed, path, err)
}

// odd is the error for a file that does not read as its format demands. What it says is shown short and quoted.
func odd(path string, said []byte) error {
	if len(said) > 40 {
		said = said[:40]
	}
	return fmt.Errorf("%s: not as expected: %q", path, said)
}

// label reads a name of at most 64 printable characters, or nothing.
func label(path string) string {
	var r reader
	b, err := r.read(path, smallBytes)
	if err != nil {
		return ""
	}
	first, _ := line(b)
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(first))
	return strings.TrimSpace(s[:min(len(s), 64)])
}

// line cuts b after its first line.
func line(b []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(b, []byte{'\n'})
	return first, rest
}

// word cuts b after its first word. The word is empty at the end.
func word(b []byte) (first, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\t' && b[j] != '\n' {
		j++
	}
	return b[i:j], b[j:]
}

// whole reads a decimal number of digits only, below 1<<64.
func whole(w []byte) (n uint64, ok bool) {
	if len(w) == 0 || len(w) > 20 {
		return 0, false
	}
	for _, c := range w {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// signed reads a decimal number that may carry a minus sign.
func signed(w []byte) (n int64, ok bool) {
	digits, minus := bytes.CutPrefix(w, []byte{'-'})
	u, ok := whole(digits)
	if !ok || u >= 1<<63 {
		return 0, false
	}
	if minus {
		return -int64(u), true
	}
	return int64(u), true
}

// decimal reads a number such as 0.37 or 12, without exponent or sign, with at most nine digits after the point.
func decimal(w []byte) (v float64, ok bool) {
	before, after, point := bytes.Cut(w, []byte{'.'})
	n, ok := whole(before)
	if !ok || !point {
		return float64(n), ok
	}
	part, ok := whole(after)
	if !ok || len(after) > 9 {
		return 0, false
	}
	scale := 1.0
	for range after {
		scale *= 10
	}
	return float64(n) + float64(part)/scale, true
}

// wholes reads len(into) numbers from the front of b.
func wholes(b []byte, into []uint64) bool {
	for i := range into {
		var w []byte
		w, b = word(b)
		n, ok := whole(w)
		if !ok {
			return false
		}
		into[i] = n
	}
	return true
}
