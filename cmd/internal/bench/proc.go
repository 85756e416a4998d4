package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// usage is what a tree of processes has used and holds.
type usage struct {
	cpuSeconds     float64
	rss, pss, peak int64 // bytes
	processes      int
}

// treeOf adds up a process and its descendants. The time of children that have ended and were waited for counts too.
func treeOf(pid int) (usage, error) {
	var u usage
	if err := u.add(pid); err != nil {
		return u, err
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(f)
			if c, err := treeOf(child); err == nil { // one that has just gone is nobody's
				u.cpuSeconds += c.cpuSeconds
				u.rss, u.pss, u.peak = u.rss+c.rss, u.pss+c.pss, u.peak+c.peak
				u.processes += c.processes
			}
		}
	}
	return u, nil
}

func (u *usage) add(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	i := bytes.LastIndexByte(stat, ')') // the name may hold anything
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 15 {
		return fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	for _, f := range fields[11:15] { // utime stime cutime cstime, fields 14 to 17 of proc_pid_stat(5)
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return err
		}
		u.cpuSeconds += float64(ticks) / ticksPerSecond
	}
	status, err := keyed(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	rollup, err := keyed(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return err
	}
	if status["VmRSS"] == 0 {
		return errors.New("a process without memory")
	}
	u.processes++
	u.rss, u.peak, u.pss = status["VmRSS"], status["VmHWM"], rollup["Pss"]
	return nil
}

// keyed reads "Key: number [kB]" lines.
func keyed(path string) (map[string]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]int64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, rest, _ := strings.Cut(lines.Text(), ":")
		words := strings.Fields(rest)
		if len(words) == 0 {
			continue
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err == nil && len(words) > 1 && words[1] == "kB" {
			n <<= 10
		}
		if err == nil {
			out[key] = n
		}
	}
	return out, nil
}

// sectorsWritten is the seventh field of a block device's stat, in units of 512 bytes whatever its own are.
func sectorsWritten(device string) (int64, error) {
	b, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 7 {
		return 0, fmt.Errorf("%s: stat %q", device, b)
	}
	return strconv.ParseInt(fields[6], 10, 64)
}

// load is the load average: what else the machine was doing.
func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

// jiffies are what all processors together have done since they started.
type jiffies struct{ all, busy, stolen float64 }

func processors() (j jiffies) {
	b, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(first)[1:min(9, len(strings.Fields(first)))] { // user nice system idle iowait irq softirq steal
		v, _ := strconv.ParseFloat(f, 64)
		j.all += v
		switch i {
		case 3, 4:
		case 7:
			j.stolen = v
		default:
			j.busy += v
		}
	}
	return j
}

// since says how busy the machine was.
func (j jiffies) since(before jiffies) string {
	all := max(j.all-before.all, 1)
	return fmt.Sprintf("processors %.0f %% busy and %.1f %% stolen by the host meanwhile, load %s", 100*(j.busy-before.busy)/all,
		100*(j.stolen-before.stolen)/all, load())
}

// machine says in one line where this ran.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	info, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown processor"
	for l := range strings.Lines(string(info)) {
		if name, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(v)
		}
	}
	return fmt.Sprintf("%s/%s, Linux %s, %d × %s", runtime.GOOS, runtime.GOARCH, strings.TrimSpace(string(kernel)), runtime.NumCPU(), model)
}
