// Package sim is a driver: a board of memory and files. Its /proc and /sys are rendered as files, which the production
// readers read.
package sim

import (
	"fmt"
	"math"
	"os"
	"time"
)

// Proc is the vital signs of a simulated machine, and renders them as the kernel does: as files below proc and sys of
// a directory, for the production readers to read.
//
// The exported fields are what the machine is doing; they may be set between two calls. Step moves the counters by
// what was done in the meantime. A Proc belongs to one goroutine at a time, but the readers of its files may be
// others, and so may callers of Statfs and Adjtimex, which read files too: every file is replaced as a whole.
type Proc struct {
	Cores  int     // at least 1
	CPU    float64 // busy share of every core, steal included, 0 to 1
	IOWait float64 // share in which the rest waits for a disk
	Steal  float64 // share of the whole that the hypervisor takes, at most CPU

	MemoryBytes, SwapBytes uint64  // sizes, whole KiB
	MemoryUsed, SwapUsed   float64 // shares of them, 0 to 1

	CPUStall, MemoryStall, IOStall [2]float64 // pressure: share of time in which some and all tasks wait
	NoPressure                     bool       // a kernel without PSI

	Processes, Threads, Blocked int
	ForksPerSecond              float64
	OpenFiles, MaxFiles         uint64

	Mounts []Mount
	Drives []*Drive
	NICs   []*NIC
	Zones  []Sensor // thermal zones; Label is the type
	Chips  []Sensor // hwmon sensors; consecutive ones of one Chip share a directory

	Unsynchronised bool          // the wall clock is nobody's care
	ClockOffset    time.Duration // what the kernel is still to correct

	dir     string
	boots   int
	uptime  time.Duration
	core    [columns]float64 // jiffies of one core; all are alike
	load    [3]float64
	stalled [3][2]float64 // microseconds
	forks   float64
	shown   map[string]string // what each file holds, to leave alone what has not changed
}

// A Mount is a file system with something in it.
type Mount struct {
	Point, Device, Type   string
	TotalBytes, FreeBytes uint64 // rounded down to blocks of 4096
	Inodes, FreeInodes    uint64
	ReadOnly              bool
}

// A Drive is a disk, and what is done to it.
type Drive struct {
	Name         string
	Partitions   []string
	ReadBytes    float64 // a second, as the rest
	WriteBytes   float64
	Reads        float64
	Writes       float64
	Busy         float64 // share of time with a request under way
	AwaitSeconds float64 // mean time of a request

	count [11]float64 // columns of /proc/diskstats
}

// A NIC is a network interface, and what goes through it.
type NIC struct {
	Name      string
	Down      bool // not up, or no link
	SpeedMbit int  // 0: the driver does not know
	Rx, Tx    Traffic
	Bits      int // width of the counters: 32 on some drivers, 0 is 64

	rx, tx Traffic // the counters
}

// Traffic is bytes, packets, errors and drops, a second or in all.
type Traffic struct{ Bytes, Packets, Errors, Drops float64 }

// Reset sets the counters to 0, as when the driver is loaded anew.
func (n *NIC) Reset() { n.rx, n.tx = Traffic{}, Traffic{} }

// A Sensor is a thermometer. One that sleeps has an empty file; a real one would answer EINVAL, which no file can.
type Sensor struct {
	Chip, Label string
	Celsius     float64
	Asleep      bool
}

// Columns of a line of /proc/stat.
const (
	user = iota
	nice
	system
	idle
	iowait
	irq
	softirq
	steal
	guest
	guestNice
	columns
)

const jiffies = 100 // a second; what user space is told, whatever the kernel counts in

// NewProc returns the vital signs of a small four-core board that has nothing much to do, and has rendered them below
// dir, which it makes.
func NewProc(dir string) (*Proc, error) {
	p := &Proc{
		dir: dir, shown: map[string]string{},
		Cores: 4, CPU: 0.05, IOWait: 0.01,
		MemoryBytes: 1 << 30, MemoryUsed: 0.25, SwapBytes: 128 << 20,
		Processes: 92, Threads: 140, ForksPerSecond: 0.5, OpenFiles: 800, MaxFiles: 93_000,
		Mounts: []Mount{
			{Point: "/", Device: "/dev/mmcblk0p2", Type: "ext4", TotalBytes: 8 << 30, FreeBytes: 5 << 30, Inodes: 524_288, FreeInodes: 460_000},
			{Point: "/boot", Device: "/dev/mmcblk0p1", Type: "vfat", TotalBytes: 256 << 20, FreeBytes: 200 << 20},
		},
		Drives: []*Drive{
			{Name: "mmcblk0", Partitions: []string{"mmcblk0p1", "mmcblk0p2"}, WriteBytes: 4096, Writes: 1, Busy: 0.01, AwaitSeconds: 0.004},
			{Name: "zram0"},
		},
		NICs: []*NIC{
			{Name: "lo"},
			{Name: "eth0", SpeedMbit: 100, Rx: Traffic{Bytes: 2000, Packets: 10}, Tx: Traffic{Bytes: 1000, Packets: 8}},
			{Name: "wlan0", Down: true},
		},
		Zones: []Sensor{{Label: "cpu-thermal", Celsius: 48.5}},
		Chips: []Sensor{{Chip: "lm75", Celsius: 31}},
	}
	return p, p.Reboot()
}

// Dir returns the directory below which proc and sys lie.
func (p *Proc) Dir() string { return p.dir }

// Uptime returns the time since the last reboot.
func (p *Proc) Uptime() time.Duration { return p.uptime }

// BootID returns the id of the present boot.
func (p *Proc) BootID() string { return fmt.Sprintf("5eab0a7d-0000-4000-8000-%012x", p.boots) }

// Reboot starts over: another boot id, every counter at 0.
func (p *Proc) Reboot() error {
	p.boots++
	p.uptime, p.forks = 0, float64(p.Processes)
	p.core, p.load, p.stalled = [columns]float64{}, [3]float64{}, [3][2]float64{}
	for _, d := range p.Drives {
		d.count = [11]float64{}
	}
	for _, n := range p.NICs {
		n.Reset()
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("render vital signs: %w", err)
	}
	return p.Render()
}

// Step lets d pass, during which the machine does what the fields say, and renders the outcome.
func (p *Proc) Step(d time.Duration) error {
	s := d.Seconds()
	p.uptime += d
	p.forks += p.ForksPerSecond * s
	busy := clamp(p.CPU)
	stolen := min(clamp(p.Steal), busy)
	waits := min(clamp(p.IOWait), 1-busy)
	p.core[user] += (busy - stolen) * 0.75 * s * jiffies
	p.core[system] += (busy - stolen) * 0.25 * s * jiffies
	p.core[steal] += stolen * s * jiffies
	p.core[iowait] += waits * s * jiffies
	p.core[idle] += (1 - busy - waits) * s * jiffies
	for i, tau := range [3]float64{60, 300, 900} {
		want := busy*float64(p.Cores) + float64(p.Blocked)
		p.load[i] += (want - p.load[i]) * (1 - math.Exp(-s/tau))
	}
	for i, stall := range [3][2]float64{p.CPUStall, p.MemoryStall, p.IOStall} {
		p.stalled[i][0] += clamp(stall[0]) * s * 1e6
		p.stalled[i][1] += clamp(stall[1]) * s * 1e6
	}
	for _, d := range p.Drives {
		d.step(s)
	}
	for _, n := range p.NICs {
		n.rx.add(n.Rx, s)
		n.tx.add(n.Tx, s)
	}
	return p.Render()
}

func (d *Drive) step(s float64) {
	d.count[0] += d.Reads * s
	d.count[2] += d.ReadBytes * s / 512
	d.count[3] += d.Reads * d.AwaitSeconds * s * 1e3
	d.count[4] += d.Writes * s
	d.count[6] += d.WriteBytes * s / 512
	d.count[7] += d.Writes * d.AwaitSeconds * s * 1e3
	d.count[9] += clamp(d.Busy) * s * 1e3
	d.count[10] = d.count[3] + d.count[7]
}

func (t *Traffic) add(rate Traffic, s float64) {
	t.Bytes += rate.Bytes * s
	t.Packets += rate.Packets * s
	t.Errors += rate.Errors * s
	t.Drops += rate.Drops * s
}

func clamp(share float64) float64 { return max(0, min(1, share)) }

// whole renders a counter: the nearest integer, modulo its width.
func whole(v float64, bits int) uint64 {
	n := uint64(max(0, math.Round(v)))
	if bits > 0 && bits < 64 {
		n &= 1<<bits - 1
	}
	return n
}
