package linux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrClaimed is what Claim returns of a directory that another process works in.
var ErrClaimed = errors.New("another agent works there")

// Claim takes the directory for this process until the result is closed or the process ends, however it ends: two
// spools in one directory would destroy each other. It writes nothing, so a read-only or full disk can be claimed too; a
// file system that knows no locks is claimed by anybody (flock(2)).
func Claim(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("claim directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("claim directory %s: %w", dir, ErrClaimed)
	}
	return f, nil
}
