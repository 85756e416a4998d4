package delta

import (
	"os"

	"golang.org/x/sys/unix"
)

// begin asks the kernel to begin writing what f has so far, and does not wait: the disk works while the next segment is
// made. The sync at the end is the one that counts, so an error here is of no interest.
func begin(f *os.File) { _ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) }
