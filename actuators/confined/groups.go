package confined

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const groupsRoot = "/sys/fs/cgroup"

// groups are the directories of the control groups that a session's processes are in.
type groups []string

// newGroups makes control groups below this process's own, as far as it may, and names the limits that no group holds. In
// cgroup v2 that takes a process in the root group: elsewhere a group with processes has no controllers to hand down.
func newGroups(l Limits) (cage groups, loose []string) {
	period := 100_000 // µs
	quota := strconv.Itoa(l.CPU * period / 100)
	own := ownGroups()
	for _, limit := range []struct {
		name             string
		on               bool
		file, value      string // cgroup v2
		oldFile, oldText string // v1
	}{
		{"memory", l.Memory > 0, "memory.max", strconv.FormatInt(l.Memory, 10), "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10)},
		{"tasks", l.Tasks > 0, "pids.max", strconv.Itoa(l.Tasks), "pids.max", strconv.Itoa(l.Tasks)},
		{"cpu", l.CPU > 0, "cpu.max", quota + " " + strconv.Itoa(period), "cpu.cfs_quota_us", quota},
	} {
		if !limit.on {
			continue
		}
		controller, _, _ := strings.Cut(limit.file, ".")
		file, value := limit.oldFile, limit.oldText
		at, held := own[controller]
		if !held {
			if at, held = own[""]; held {
				file, value = limit.file, limit.value
				_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+controller), 0) // says so below
			}
		}
		if !held || !cage.limit(filepath.Join(at, "holdfast-"+strconv.Itoa(os.Getpid())), file, value) {
			loose = append(loose, limit.name)
		}
	}
	return cage, loose
}

// limit makes a group, unless it is there, and writes a limit of it.
func (g *groups) limit(dir, file, value string) bool {
	if err := os.Mkdir(dir, 0o755); err == nil {
		*g = append(*g, dir)
	} else if !os.IsExist(err) {
		return false
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0) // never made: a controller's file is there or not
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err == nil
}

// enter moves a process there.
func (g groups) enter(pid int) {
	for _, dir := range g {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}

// remove removes the groups. The kernel needs a moment to let the last process go.
func (g groups) remove(pause func(time.Duration)) {
	for _, dir := range g {
		for range 100 {
			if err := os.Remove(dir); err == nil || os.IsNotExist(err) {
				break
			}
			pause(5 * time.Millisecond)
		}
	}
}

// ownGroups returns where this process's groups are, by controller (cgroups(7)); "" is that of cgroup v2, alone.
func ownGroups() map[string]string {
	own := map[string]string{}
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for _, controller := range strings.Split(fields[1], ",") {
			if controller == "" {
				if _, err := os.Stat(filepath.Join(groupsRoot, "cgroup.controllers")); err == nil {
					own[""] = filepath.Join(groupsRoot, fields[2])
				}
				continue
			}
			for _, mount := range []string{controller, fields[1]} { // "cpu" is a link to "cpu,cpuacct", or neither
				at := filepath.Join(groupsRoot, mount, fields[2])
				if _, err := os.Stat(at); err == nil {
					own[controller] = at
					break
				}
			}
		}
	}
	return own
}
