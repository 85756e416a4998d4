package sensors

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A reader reads attributes of sysfs: at most a page each, handed over whole by one read (Documentation/filesystems/sysfs.rst).
type reader struct{ buf [4096]byte }

var (
	errGarbage = errors.New("not a number")
	errEmpty   = errors.New("empty")
)

// text returns an attribute without the spaces around it, valid until the next read. Errors are bare: most are a sensor that
// sleeps or is gone, and nobody reads their text.
func (r *reader) text(path string) ([]byte, error) {
	// A pipe in the place of a kernel file must not stop the agent, hence O_NONBLOCK.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	n, err := unix.Read(fd, r.buf[:])
	for err == unix.EINTR {
		n, err = unix.Read(fd, r.buf[:])
	}
	unix.Close(fd)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(r.buf[:n]), nil
}

// number returns an attribute that is a decimal number.
func (r *reader) number(path string) (float64, error) {
	b, err := r.text(path)
	if err != nil {
		return 0, err
	}
	return decimal(b)
}

// decimal reads a number such as -1500, 0.000488281 or 1.5e-05: what the kernel prints, and none of what else
// strconv.ParseFloat takes.
func decimal(b []byte) (float64, error) {
	if len(b) == 0 {
		return 0, errEmpty
	}
	if len(b) > 32 {
		return 0, errGarbage
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' {
			return 0, errGarbage
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, errGarbage
	}
	return v, nil
}

// says reports whether an attribute is "1".
func (r *reader) says(path string) bool {
	b, err := r.text(path)
	return err == nil && string(b) == "1"
}

// label returns a name of at most 64 printable characters, or nothing.
func (r *reader) label(path string) string {
	b, err := r.text(path)
	if err != nil {
		return ""
	}
	first, _, _ := bytes.Cut(b, []byte{'\n'})
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(first))
	return strings.TrimSpace(s[:min(len(s), labelBytes)])
}

// asleep reports whether the sensor merely has nothing to say now: powered down (EINVAL, EAGAIN), in use by another
// (EBUSY), its radio off (ENETDOWN), not measured yet (ENODATA), or an empty file.
func asleep(err error) bool {
	switch err {
	case unix.EINVAL, unix.EAGAIN, unix.EBUSY, unix.ENODATA, unix.ENETDOWN, unix.EOPNOTSUPP, errEmpty:
		return true
	}
	return false
}

// entries returns the names in dir, a bounded number of them, in the order of their numbers: hwmon2 before hwmon10.
func entries(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxEntries)
	slices.SortFunc(names, func(a, b string) int {
		m, x := numbered(a)
		n, y := numbered(b)
		return cmp.Or(strings.Compare(m, n), cmp.Compare(x, y), strings.Compare(a, b))
	})
	return names
}

// numbered cuts a name before the number at its end; -1 without one.
func numbered(name string) (stem string, number int) {
	stem = strings.TrimRight(name, "0123456789")
	if n, err := strconv.Atoi(name[len(stem):]); err == nil {
		return stem, n
	}
	return name, -1
}
