package linux

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Unmap takes the pages of the running program out of this process until they are used again. The kernel maps sixteen at
// a time, and every package has something to do at the start: soon the whole program is resident, of which little is ever
// used again. What is not mapped the kernel may drop first when memory is short; what is used comes back from the page
// cache at its next use, mostly without input. See madvise(2), MADV_DONTNEED, and proc_pid_smaps(5).
func Unmap() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var from, to uintptr
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		var may string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &may); n == 3 {
			if from, to = 0, 0; may[1] == '-' && strings.HasSuffix(line, " "+program+"\n") {
				from, to = start, end
			}
			continue
		}
		// pages that were written to, as the linker does to some before they are made read-only, would come back without it
		if from == 0 || strings.Join(strings.Fields(line), " ") != "Anonymous: 0 kB" {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
		from = 0
	}
	return nil
}
