//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// groupPrefix begins the names of the devices' control groups. What a run that was killed left of them is removed at the next start.
const groupPrefix = "holdfast-faults-"

// A group is the device's control group: one directory in each hierarchy of version 1, or one in all.
type group struct {
	name string
	dir  map[string]string // by controller; "" is where pressure is, in version 2 or its part of a hybrid
	v2   bool
}

// A limit is what the device has of this machine.
type limit struct {
	memoryBytes int64
	cores       float64
	tasks       int
	diskOps     int // of reads, and of writes, a second, on the disk that its images are on
}

func newGroup(id string) (*group, error) {
	g := &group{name: groupPrefix + id, dir: map[string]string{}}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		switch f[2] {
		case "cgroup":
			for name := range strings.SplitSeq(f[3], ",") {
				g.dir[name] = filepath.Join(f[1], g.name)
			}
		case "cgroup2":
			g.dir[""] = filepath.Join(f[1], g.name)
		}
	}
	if g.v2 = g.dir["memory"] == ""; g.v2 {
		for _, name := range []string{"memory", "cpu", "cpuacct", "pids", "blkio"} {
			g.dir[name] = g.dir[""]
		}
	}
	for _, name := range []string{"", "memory", "cpu", "cpuacct", "pids"} {
		if g.dir[name] == "" {
			return nil, fmt.Errorf("this machine has no control groups of %q", name)
		}
	}
	return g, g.remove()
}

// make makes the group with its limits. Who boots the device joins it.
func (g *group) make(l limit) error {
	for _, dir := range g.dir {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return g.limit(l)
}

func (g *group) limit(l limit) error {
	if g.v2 {
		return errors.Join(g.put("memory", "memory.max", fmt.Sprint(l.memoryBytes)), g.put("cpu", "cpu.max", fmt.Sprintf("%d 100000", int(l.cores*1e5))),
			g.put("pids", "pids.max", fmt.Sprint(l.tasks)), g.put("cpu", "cpu.weight", "800"))
	}
	// The device gets its share also of a machine that has much else to do.
	return errors.Join(g.put("memory", "memory.limit_in_bytes", fmt.Sprint(l.memoryBytes)), g.put("cpu", "cpu.cfs_quota_us", fmt.Sprint(int(l.cores*1e5))),
		g.put("pids", "pids.max", fmt.Sprint(l.tasks)), g.put("cpu", "cpu.shares", "8192"))
}

// throttle bounds the operations on a block device, which has numbers.
func (g *group) throttle(device string, ops int) error {
	if g.v2 {
		return g.put("blkio", "io.max", fmt.Sprintf("%s riops=%d wiops=%d", device, ops, ops))
	}
	text := fmt.Sprintf("%s %d", device, ops)
	return errors.Join(g.put("blkio", "blkio.throttle.read_iops_device", text), g.put("blkio", "blkio.throttle.write_iops_device", text))
}

func (g *group) put(controller, file, text string) error {
	return os.WriteFile(filepath.Join(g.dir[controller], file), []byte(text), 0o644)
}

// kill ends every process in the group, and waits for them to be gone.
func (g *group) kill() {
	for range 100 {
		left := 0
		for _, dir := range g.dir {
			_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.Name() != "cgroup.procs" {
					return nil
				}
				b, _ := os.ReadFile(path)
				for pid := range strings.FieldsSeq(string(b)) {
					if n, err := strconv.Atoi(pid); err == nil && n > 1 && n != os.Getpid() {
						_ = syscall.Kill(n, syscall.SIGKILL)
						left++
					}
				}
				return nil
			})
		}
		if left == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// remove removes the group where there is one: its processes are ended.
func (g *group) remove() error {
	g.kill()
	var left error
	for range 30 { // the kernel needs a moment to let the last ones go
		left = nil
		for _, dir := range g.dir {
			var dirs []string
			_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for i := len(dirs) - 1; i >= 0; i-- {
				if err := syscall.Rmdir(dirs[i]); err != nil {
					left = fmt.Errorf("remove %s: %w", dirs[i], err)
				}
			}
		}
		if left == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return left
}

// A usage is what the group has used so far.
type usage struct {
	user, system   time.Duration
	waitedForDisks time.Duration // some task did
	memory         int64
	cache, file    int64 // of it: all pages of files; those that can be given back
}

func (g *group) usage() (u usage, err error) {
	if g.v2 {
		stat, err := g.table("cpuacct", "cpu.stat")
		if err != nil {
			return u, err
		}
		u.user, u.system = time.Duration(stat["user_usec"])*1000, time.Duration(stat["system_usec"])*1000
		u.memory, err = g.number("memory", "memory.current")
		if err != nil {
			return u, err
		}
		if stat, err = g.table("memory", "memory.stat"); err != nil {
			return u, err
		}
		u.cache, u.file = stat["file"], stat["inactive_file"]+stat["active_file"]+stat["slab_reclaimable"]
	} else {
		n, err := g.number("cpuacct", "cpuacct.usage_user")
		u.user = time.Duration(n)
		if err == nil {
			n, err = g.number("cpuacct", "cpuacct.usage_sys")
			u.system = time.Duration(n)
		}
		if err == nil {
			u.memory, err = g.number("memory", "memory.usage_in_bytes")
		}
		if err != nil {
			return u, err
		}
		stat, err := g.table("memory", "memory.stat")
		if err != nil {
			return u, err
		}
		u.cache, u.file = stat["total_cache"], stat["total_inactive_file"]+stat["total_active_file"]
	}
	u.waitedForDisks = g.stalled("io.pressure")
	return u, nil
}

// stalled is how long some task has waited (Documentation/accounting/psi.rst); 0 on kernels that do not count it.
func (g *group) stalled(file string) time.Duration {
	b, _ := os.ReadFile(filepath.Join(g.dir[""], file))
	first, _, _ := bytes.Cut(b, []byte("\n"))
	_, total, _ := bytes.Cut(first, []byte("total="))
	n, _ := strconv.ParseInt(string(total), 10, 64)
	return time.Duration(n) * time.Microsecond
}

func (g *group) number(controller, file string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(g.dir[controller], file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// table reads lines of a name and a number.
func (g *group) table(controller, file string) (map[string]int64, error) {
	b, err := os.ReadFile(filepath.Join(g.dir[controller], file))
	if err != nil {
		return nil, err
	}
	t := map[string]int64{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		t[name], _ = strconv.ParseInt(value, 10, 64)
	}
	return t, nil
}
