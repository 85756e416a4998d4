package repo

import (
	"os"

	"golang.org/x/sys/windows"
)

// alone takes a file's lock. The system gives it back when the file is closed, or the program ends.
func alone(f *os.File) error {
	const how = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, new(windows.Overlapped))
}
