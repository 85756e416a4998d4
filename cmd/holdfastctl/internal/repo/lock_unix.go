//go:build unix

package repo

import (
	"os"

	"golang.org/x/sys/unix"
)

// alone takes a file's lock. The system gives it back when the file is closed, or the program ends.
func alone(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
