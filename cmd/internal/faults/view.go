//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A view is what the device sees of itself. In a container /proc/stat, /proc/meminfo and some others are the whole machine's; over
// them lie files in which this process writes, twenty times a second and in the kernel's form, what the device's control group
// and its processes used. The agent's collectors read them as they read any kernel's.
type view struct {
	g      *group
	proc   string // the device's own /proc, as seen from here
	dir    string // where the files are, as seen from here
	cores  float64
	memory int64
	disks  [][2]string // loop device here, and its name on the device

	start   time.Time
	last    usage
	at      time.Time
	ticks   [4]float64 // user, system, idle, iowait, in hundredths of a second
	load    [3]float64
	forks   uint64
	lastPID uint64
	mostPID uint64
	tasks   tasks
	counted time.Time

	mu        sync.Mutex
	sensor    sensor
	throttled int // of 5
}

// tasks are counted four times a second.
type tasks struct{ processes, threads, running, blocked, files int }

// The files, and what each lies over.
var viewed = map[string]string{"stat": "/proc/stat", "meminfo": "/proc/meminfo", "loadavg": "/proc/loadavg", "diskstats": "/proc/diskstats",
	"file-nr": "/proc/sys/fs/file-nr"}

func (v *view) run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(v.dir, "thermal/thermal_zone0"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(v.dir, "thermal/cooling_device0"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"thermal_zone0/type": "soc-thermal\n", "cooling_device0/type": "thermal-cpufreq-0\n", "cooling_device0/max_state": "5\n"} {
		if err := os.WriteFile(filepath.Join(v.dir, "thermal", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	b, _ := os.ReadFile("/proc/sys/kernel/pid_max")
	v.mostPID, _ = strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	v.start = time.Now()
	v.at = v.start
	if err := v.write(); err != nil {
		return err
	}
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if v.write() != nil { // the device is gone, or going
					continue
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

func (v *view) write() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	u, err := v.g.usage()
	if err != nil {
		return err
	}
	if now.Sub(v.counted) >= 250*time.Millisecond {
		v.count(now)
	}
	v.spend(now, u)
	t := v.tasks
	line := fmt.Sprintf("%10d 0 %10d %10d %10d 0 0 0 0 0", int64(v.ticks[0]), int64(v.ticks[1]), int64(v.ticks[2]), int64(v.ticks[3]))
	stat := fmt.Sprintf("cpu  %s\ncpu0 %s\nctxt 0\nbtime %d\nprocesses %10d\nprocs_running %5d\nprocs_blocked %5d\n",
		line, line, v.start.Unix(), v.forks, t.running, t.blocked)
	available := min(v.memory, v.memory-u.memory+u.file)
	meminfo := ""
	for _, m := range []struct {
		name  string
		bytes int64
	}{{"MemTotal", v.memory}, {"MemFree", v.memory - u.memory}, {"MemAvailable", available}, {"Buffers", 0}, {"Cached", u.cache}, {"SwapTotal", 0}, {"SwapFree", 0}} {
		meminfo += fmt.Sprintf("%-13s %10d kB\n", m.name+":", max(m.bytes, 0)/1024)
	}
	loadavg := fmt.Sprintf("%6.2f %6.2f %6.2f %d/%d %d\n", v.load[0], v.load[1], v.load[2], t.running, t.threads, 1+v.forks%v.mostPID)
	for name, text := range map[string]string{"stat": stat, "meminfo": meminfo, "loadavg": loadavg, "diskstats": v.traffic(),
		"file-nr": fmt.Sprintf("%8d\t0\t65536\n", t.files), "thermal/thermal_zone0/temp": fmt.Sprintf("%6d\n", v.sensor.read(now, v.busy(), v.throttled)),
		"thermal/cooling_device0/cur_state": fmt.Sprintf("%d\n", v.throttled)} {
		if err := rewrite(filepath.Join(v.dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes in one piece and in place: what lies over another file is known by its inode.
func rewrite(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// spend gives the time since the last call to what it went to. One core is shown, which has as much time as the device may use.
func (v *view) spend(now time.Time, u usage) {
	all := now.Sub(v.at).Seconds() * 100
	var d [2]float64
	for i, t := range []time.Duration{u.user - v.last.user, u.system - v.last.system} {
		d[i] = t.Seconds() / v.cores * 100
	}
	waited := (u.waitedForDisks - v.last.waitedForDisks).Seconds() * 100
	if v.last.user == 0 {
		d, waited = [2]float64{}, 0
	}
	idle := max(0, all-d[0]-d[1])
	waited = min(waited, idle)
	for i, t := range []float64{d[0], d[1], idle - waited, waited} {
		v.ticks[i] += t
	}
	v.last, v.at = u, now
}

// hot has the processor throttle by so many fifths, so that less of it is to be had; 0 ends it.
func (v *view) hot(fifths int, cores float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.throttled, v.cores = fifths, cores
}

// stick has the sensor say the same from now on, or work again.
func (v *view) stick(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sensor.stuckAt = 0
	if on {
		v.sensor.stuckAt = int(1000 * v.sensor.celsius)
	}
}

// busy is the part of all time so far that was not idle; the temperature follows its changes.
func (v *view) busy() float64 { return v.ticks[0] + v.ticks[1] }

// count looks at the device's processes.
func (v *view) count(now time.Time) {
	var t tasks
	names, _ := os.ReadDir(v.proc)
	for _, e := range names {
		if e.Name()[0] < '1' || e.Name()[0] > '9' {
			continue
		}
		dir := v.proc + "/" + e.Name()
		threads, err := os.ReadDir(dir + "/task")
		if err != nil {
			continue
		}
		t.processes++
		t.threads += len(threads)
		for _, thread := range threads {
			b, _ := os.ReadFile(dir + "/task/" + thread.Name() + "/stat") // the state is behind the name (proc_pid_stat(5))
			if at := bytes.LastIndexByte(b, ')') + 2; at > 1 && at < len(b) {
				switch b[at] {
				case 'R':
					t.running++
				case 'D':
					t.blocked++
				}
			}
		}
		if st, err := os.Stat(dir + "/fd"); err == nil {
			if n := int(st.Size()); n > 0 { // since Linux 6.2
				t.files += n
			} else if fds, err := os.ReadDir(dir + "/fd"); err == nil {
				t.files += len(fds)
			}
		}
	}
	// The last process's number, of this process's own namespace: the device's are all below it, and little else is.
	b, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); len(f) == 5 {
		last, _ := strconv.ParseUint(f[4], 10, 64)
		if v.lastPID > 0 {
			step := last - v.lastPID
			if last < v.lastPID { // it began again at 300
				step = last + v.mostPID - v.lastPID
			}
			v.forks += step
		}
		v.lastPID = last
	}
	if seconds := now.Sub(v.counted).Seconds(); seconds < 10 {
		for i, minutes := range []float64{1, 5, 15} {
			e := math.Exp(-seconds / 60 / minutes)
			v.load[i] = v.load[i]*e + float64(t.running+t.blocked)*(1-e)
		}
	}
	v.tasks, v.counted = t, now
}

// traffic is the device's disks of all disks that there are.
func (v *view) traffic() string {
	all, _ := os.ReadFile("/proc/diskstats")
	out := ""
	for line := range strings.Lines(string(all)) {
		f := strings.Fields(line)
		for _, d := range v.disks {
			if len(f) > 3 && f[2] == d[0] {
				out += fmt.Sprintf("%4s %7s %s", f[0], f[1], d[1])
				for _, n := range f[3:] {
					out += fmt.Sprintf(" %12s", n)
				}
				out += "\n"
			}
		}
	}
	return out
}

// A sensor is the processor's, of a small body in a warm room: it follows what the processor does within half a minute, and
// has the noise of any sensor.
type sensor struct {
	rnd     *rand.Rand
	celsius float64
	at      time.Time
	work    float64
	noise   float64 // degrees
	stuckAt int     // millidegrees; 0: it works
}

func (s *sensor) read(now time.Time, work float64, throttled int) int {
	seconds := now.Sub(s.at).Seconds()
	if s.at.IsZero() {
		s.celsius, seconds = 42, 1
	}
	busy := (work - s.work) / 100 / max(seconds, 1e-3)
	s.at, s.work = now, work
	aim := 40 + 25*min(busy, 1) + 9*float64(throttled) // what throttles is too hot
	s.celsius += (aim - s.celsius) * min(1, seconds/12)
	if s.stuckAt != 0 {
		return s.stuckAt
	}
	return int(1000 * (s.celsius + s.noise*s.rnd.NormFloat64()))
}
