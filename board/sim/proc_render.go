package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Render writes the files anew without letting time pass: what was set shows, counters stay.
func (p *Proc) Render() error {
	files := map[string]string{}
	p.renderProc(files)
	p.renderPressure(files)
	p.renderDrives(files)
	p.renderNetwork(files)
	p.renderSensors(files)
	p.renderBackstage(files)
	for i := range p.Processes {
		files[fmt.Sprintf("proc/%d/comm", i+1)] = "simulated\n"
	}
	for name, text := range files {
		if old, is := p.shown[name]; is && old == text {
			continue
		}
		if err := p.put(name, text); err != nil {
			return fmt.Errorf("render vital signs: %w", err)
		}
	}
	for name := range p.shown {
		if _, is := files[name]; !is {
			if err := p.take(name); err != nil {
				return fmt.Errorf("render vital signs: %w", err)
			}
		}
	}
	return nil
}

// put replaces a file as a whole, so that a reader never sees half of it. Power cuts are none of its concern.
func (p *Proc) put(name, text string) error {
	full := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(full+"~", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(full+"~", full); err != nil {
		return err
	}
	p.shown[name] = text
	return nil
}

// take removes a file, and its directory when it was the last one in it.
func (p *Proc) take(name string) error {
	full := filepath.Join(p.dir, name)
	if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Remove(filepath.Dir(full)) // it is no fault that others are in it
	delete(p.shown, name)
	return nil
}

func (p *Proc) renderProc(files map[string]string) {
	var stat, all strings.Builder
	for i, v := range p.core {
		fmt.Fprintf(&all, " %d", whole(v, 0)*uint64(max(1, p.Cores)))
		if i == columns-1 {
			fmt.Fprintf(&stat, "cpu %s\n", all.String())
		}
	}
	for c := range max(1, p.Cores) {
		fmt.Fprintf(&stat, "cpu%d", c)
		for _, v := range p.core {
			fmt.Fprintf(&stat, " %d", whole(v, 0))
		}
		stat.WriteByte('\n')
	}
	running := 1 + int(whole(clamp(p.CPU)*float64(p.Cores), 0))
	fmt.Fprintf(&stat, "intr 0 0 0\nctxt 0\nbtime 1700000000\nprocesses %d\nprocs_running %d\nprocs_blocked %d\nsoftirq 0 0\n",
		whole(p.forks, 0), running, p.Blocked)
	files["proc/stat"] = stat.String()
	files["proc/loadavg"] = fmt.Sprintf("%.2f %.2f %.2f %d/%d %d\n", p.load[0], p.load[1], p.load[2], running, p.Threads, p.Processes)
	files["proc/uptime"] = fmt.Sprintf("%.2f %.2f\n", p.uptime.Seconds(), p.core[idle]/jiffies*float64(p.Cores))
	files["proc/sys/kernel/random/boot_id"] = p.BootID() + "\n"
	files["proc/sys/fs/file-nr"] = fmt.Sprintf("%d\t0\t%d\n", p.OpenFiles, p.MaxFiles)

	total, swap := p.MemoryBytes>>10, p.SwapBytes>>10
	available := total - whole(clamp(p.MemoryUsed)*float64(total), 0)
	free := available / 2 // the other half is cache
	files["proc/meminfo"] = fmt.Sprintf("MemTotal: %14d kB\nMemFree: %15d kB\nMemAvailable: %10d kB\nBuffers: %15d kB\nCached: %16d kB\n"+
		"SwapCached: %12d kB\nSwapTotal: %13d kB\nSwapFree: %14d kB\nDirty: %17d kB\nShmem: %17d kB\nSlab: %18d kB\n",
		total, free, available, 0, available-free, 0, swap, swap-whole(clamp(p.SwapUsed)*float64(swap), 0), 0, 0, 0)
	files["proc/vmstat"] = fmt.Sprintf("nr_free_pages %d\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\noom_kill 0\n", free/4)
}

func (p *Proc) renderPressure(files map[string]string) {
	if p.NoPressure {
		return
	}
	for i, what := range [3]string{"cpu", "memory", "io"} {
		stall := [3][2]float64{p.CPUStall, p.MemoryStall, p.IOStall}[i]
		text := ""
		for j, kind := range [2]string{"some", "full"} {
			percent := 100 * clamp(stall[j])
			text += fmt.Sprintf("%s avg10=%.2f avg60=%.2f avg300=%.2f total=%d\n", kind, percent, percent, percent, whole(p.stalled[i][j], 0))
		}
		files["proc/pressure/"+what] = text
	}
}

func (p *Proc) renderDrives(files map[string]string) {
	var stats strings.Builder
	minor := 0
	row := func(name string, count [11]float64) {
		fmt.Fprintf(&stats, " 179 %7d %s", minor, name)
		for i, v := range count {
			bits := 0
			if i == 3 || i == 7 || i == 9 || i == 10 { // milliseconds are 32 bits wide on every kernel
				bits = 32
			}
			fmt.Fprintf(&stats, " %d", whole(v, bits))
		}
		stats.WriteString(" 0 0 0 0 0 0\n")
		minor++
	}
	for _, d := range p.Drives {
		row(d.Name, d.count)
		files["sys/class/block/"+d.Name+"/ro"] = "0\n"
		files["sys/block/"+d.Name+"/ro"] = "0\n"
		for i, part := range d.Partitions {
			row(part, d.count)
			files["sys/class/block/"+part+"/partition"] = strconv.Itoa(i+1) + "\n"
		}
	}
	files["proc/diskstats"] = stats.String()
}

func (p *Proc) renderNetwork(files map[string]string) {
	var dev strings.Builder
	dev.WriteString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, n := range p.NICs {
		c := func(v float64) uint64 { return whole(v, n.Bits) }
		fmt.Fprintf(&dev, "%6s: %d %d %d %d 0 0 0 0 %d %d %d %d 0 0 0 0\n", n.Name, c(n.rx.Bytes), c(n.rx.Packets), c(n.rx.Errors),
			c(n.rx.Drops), c(n.tx.Bytes), c(n.tx.Packets), c(n.tx.Errors), c(n.tx.Drops))
		dir := "sys/class/net/" + n.Name
		carrier, state, speed := "1", "up", "-1"
		if n.Down {
			carrier, state = "0", "down"
		} else if n.SpeedMbit > 0 {
			speed = strconv.Itoa(n.SpeedMbit)
		}
		files[dir+"/carrier"] = carrier + "\n"
		files[dir+"/operstate"] = state + "\n"
		files[dir+"/speed"] = speed + "\n"
		for dirName, t := range map[string]Traffic{"rx": n.rx, "tx": n.tx} {
			for what, v := range map[string]float64{"bytes": t.Bytes, "packets": t.Packets, "errors": t.Errors, "dropped": t.Drops} {
				files[dir+"/statistics/"+dirName+"_"+what] = strconv.FormatUint(c(v), 10) + "\n"
			}
		}
	}
	files["proc/net/dev"] = dev.String()
}

func (p *Proc) renderSensors(files map[string]string) {
	reading := func(s Sensor) string {
		if s.Asleep {
			return ""
		}
		return fmt.Sprintf("%.0f\n", s.Celsius*1e3)
	}
	for i, z := range p.Zones {
		dir := fmt.Sprintf("sys/class/thermal/thermal_zone%d", i)
		files[dir+"/type"] = z.Label + "\n"
		files[dir+"/temp"] = reading(z)
	}
	chip, input := -1, 0
	for i, s := range p.Chips {
		if i == 0 || s.Chip != p.Chips[i-1].Chip {
			chip, input = chip+1, 0
		}
		input++
		dir := fmt.Sprintf("sys/class/hwmon/hwmon%d", chip)
		files[dir+"/name"] = s.Chip + "\n"
		files[fmt.Sprintf("%s/temp%d_input", dir, input)] = reading(s)
		if s.Label != "" {
			files[fmt.Sprintf("%s/temp%d_label", dir, input)] = s.Label + "\n"
		}
	}
}
