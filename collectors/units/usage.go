package units

import (
	"bytes"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// usages are what a control group says of what its unit uses. Version 2 has all controllers in one tree, and version 1 a
// tree for each (Linux, admin-guide/cgroup-v2.rst and cgroup-v1). Everybody may read them. To ask systemd, which
// reads the same files, would be three calls over the bus more for each unit.
var usages = [...]struct {
	field      string
	file       string  // of version 2
	key        string  // before the number, on its first line; empty: the file is the number
	unit       float64 // of the number
	tree       string  // of version 1
	fileBefore string
	unitBefore float64
}{
	{"memory_bytes", "memory.current", "", 1, "memory", "memory.usage_in_bytes", 1},
	{"tasks_count", "pids.current", "", 1, "pids", "pids.current", 1},
	{"cpu_seconds", "cpu.stat", "usage_usec ", 1e-6, "cpuacct", "cpuacct.usage", 1e-9},
}

// usage appends what a unit uses. What its control group does not tell, because the controller is off or the unit does not
// run, is left out.
func (u *Units) usage(group string, out *collectors.Sample) {
	if len(group) < 2 || group[0] != '/' || path.Clean(group) != group { // the root group is the whole machine
		return
	}
	root := u.Groups
	if root == "" {
		root = "/sys/fs/cgroup"
	}
	for i := range usages {
		f := &usages[i]
		n, ok := u.number(root+group+"/"+f.file, f.key)
		unit := f.unit
		if !ok {
			n, ok = u.number(root+"/"+f.tree+group+"/"+f.fileBefore, "")
			unit = f.unitBefore
		}
		if ok {
			out.Num(f.field, float64(n)*unit)
		}
	}
}

// number reads the number behind a key at the beginning of a file.
func (u *Units) number(file, key string) (uint64, bool) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, u.buf[:])
	if err != nil {
		return 0, false
	}
	line, _, _ := bytes.Cut(u.buf[:n], []byte{'\n'})
	digits, found := bytes.CutPrefix(line, []byte(key))
	v, err := strconv.ParseUint(string(digits), 10, 64)
	return v, found && err == nil && v < 1<<63 // systemd has 2^64-1 for what it does not know
}
