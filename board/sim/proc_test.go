package sim_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/board/sim"
	"holdfast/collectors"
	"holdfast/collectors/host"
	"holdfast/collectors/sensors"
)

// A machine is a simulated one and the production sources that read it.
type machine struct {
	*sim.Proc
	t       *testing.T
	sources []collectors.Source
	at      time.Time
	read    map[string]collectors.Sample // by source and instance
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	p, err := sim.NewProc(memory(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Proc: p, t: t, at: time.Unix(1_767_225_600, 0)}
	var mounts []string
	for _, mount := range p.Mounts {
		mounts = append(mounts, mount.Point)
	}
	now := func() time.Time { return m.at }
	m.sources = host.All(host.Options{Root: p.Dir(), Now: now, PerCore: true, Mounts: mounts, Statfs: p.Statfs, Adjtimex: p.Adjtimex})
	for _, s := range sensors.All(sensors.Options{Root: p.Dir(), Now: now}) {
		if s.Name() == "temperature" { // the machine has no other sensors
			m.sources = append(m.sources, s)
		}
	}
	m.round()
	return m
}

// memory returns an empty directory, of memory where there is one: nothing here is about disks.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "vital-signs-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// step lets d pass and reads everything.
func (m *machine) step(d time.Duration) {
	m.t.Helper()
	if err := m.Step(d); err != nil {
		m.t.Fatal(err)
	}
	m.at = m.at.Add(d)
	m.round()
}

func (m *machine) round() {
	m.t.Helper()
	m.read = map[string]collectors.Sample{}
	for _, s := range m.sources {
		err := s.Collect(context.Background(), func(s collectors.Sample) { m.read[strings.TrimSpace(s.Source+" "+s.Instance)] = s })
		if err != nil {
			m.t.Errorf("%s: %v", s.Name(), err)
		}
	}
}

// want compares a number or a truth (as 0 or 1) of "source instance.field".
func (m *machine) want(what string, want float64) {
	m.t.Helper()
	dot := strings.LastIndexByte(what, '.')
	s := m.read[what[:dot]]
	v, ok := s.Field(what[dot+1:])
	n, isNumber := v.Number()
	if !ok || !isNumber {
		m.t.Errorf("%s: not measured", what)
	} else if math.Abs(n-want) > 1e-9*math.Abs(want) {
		m.t.Errorf("%s = %v, want %v", what, n, want)
	}
}

func TestWhatIsSetIsWhatIsMeasured(t *testing.T) {
	m := newMachine(t)
	m.CPU, m.IOWait, m.Steal = 0.95, 0.02, 0.15
	m.MemoryBytes, m.MemoryUsed, m.SwapUsed = 1<<30, 0.75, 0.5
	m.MemoryStall, m.CPUStall, m.IOStall = [2]float64{0.25, 0.125}, [2]float64{0.5, 0}, [2]float64{0.04, 0.02}
	m.Blocked, m.Processes, m.Threads, m.ForksPerSecond = 3, 60, 77, 2.5
	m.OpenFiles, m.MaxFiles = 500, 1000
	m.Mounts[0].FreeBytes, m.Mounts[0].ReadOnly = 2<<30, true
	m.Drives[0].ReadBytes, m.Drives[0].Reads, m.Drives[0].Busy = 512_000, 40, 0.5
	m.NICs[1].Rx = sim.Traffic{Bytes: 125_000, Packets: 100, Errors: 2, Drops: 1}
	m.NICs[2].Down = false
	m.Zones[0].Celsius, m.Chips[0].Asleep = 91.25, true
	m.Chips = append(m.Chips, sim.Sensor{Chip: "nvme", Label: "Composite", Celsius: -7.5})
	m.Unsynchronised, m.ClockOffset = true, -1500*time.Microsecond
	m.step(10 * time.Minute) // when sensors are listed anew
	for what, want := range map[string]float64{
		"cpu.busy_ratio": 0.95, "cpu.user_ratio": 0.6, "cpu.system_ratio": 0.2, "cpu.iowait_ratio": 0.02, "cpu.steal_ratio": 0.15, "cpu.count": 4,
		"cpu cpu3.busy_ratio": 0.95,
		"memory.total_bytes":  1 << 30, "memory.used_ratio": 0.75, "memory.available_bytes": 1 << 28, "memory.swap_used_bytes": 64 << 20,
		"memory.pressure_some_ratio": 0.25, "memory.pressure_full_ratio": 0.125, "pressure cpu.some_ratio": 0.5, "pressure io.full_ratio": 0.02,
		"processes.total_count": 60, "processes.threads_count": 77, "processes.blocked_count": 3, "processes.forks_per_second": 2.5,
		"files.open_ratio": 0.5, "uptime.uptime_seconds": 600,
		"disk /.total_bytes": 8 << 30, "disk /.free_bytes": 2 << 30, "disk /.used_ratio": 0.75, "disk /.read_only": 1, "disk /.mounted": 1, "disk /boot.read_only": 0,
		"disk_io mmcblk0.read_bytes_per_second": 512_000, "disk_io mmcblk0.reads_per_second": 40, "disk_io mmcblk0.busy_ratio": 0.5,
		"disk_io mmcblk0.write_bytes_per_second": 4096, "disk_io mmcblk0.await_seconds": 0.004,
		"network eth0.rx_bytes_per_second": 125_000, "network eth0.rx_packets_per_second": 100, "network eth0.rx_errors_per_second": 2,
		"network eth0.rx_drops_per_second": 1, "network eth0.tx_bytes_per_second": 1000, "network eth0.carrier": 1, "network eth0.speed_bits_per_second": 1e8,
		"network wlan0.carrier": 1, "temperature cpu-thermal.temperature_celsius": 91.25, "temperature nvme/Composite.temperature_celsius": -7.5,
		"clock.synchronised": 0, "clock.offset_seconds": -0.0015, "clock.max_error_seconds": 16,
	} {
		m.want(what, want)
	}
	for _, absent := range []string{"network lo", "disk_io zram0", "disk_io mmcblk0p1", "temperature lm75/temp1"} {
		if s, is := m.read[absent]; is {
			t.Errorf("%s is measured: %v", absent, s.Fields)
		}
	}
}

// The counters of a 32-bit driver go round without a dent in the rate; a reset costs one round.
func TestCountersThatWrapAndReset(t *testing.T) {
	m := newMachine(t)
	m.NICs[1].Bits = 32
	m.NICs[1].Rx = sim.Traffic{Bytes: 100e6, Packets: 80e3}
	for range 20 { // 20 GB, four times round
		m.step(10 * time.Second)
		m.want("network eth0.rx_bytes_per_second", 100e6)
	}
	m.NICs[1].Reset()
	m.step(10 * time.Second)
	if s := m.read["network eth0"]; len(s.Fields) != 2 {
		t.Errorf("after a reset: %v, want carrier and speed only", s.Fields)
	}
	m.step(10 * time.Second)
	m.want("network eth0.rx_bytes_per_second", 100e6)
}

func TestLoadFollowsTheProcessors(t *testing.T) {
	m := newMachine(t)
	m.CPU, m.Blocked = 0.5, 1
	m.step(time.Hour)
	m.want("load.load1", 3)
	m.want("load.runnable_count", 3)
	m.CPU, m.Blocked = 0, 0
	m.step(time.Minute)
	m.want("load.load1", 1.10) // 3/e
	m.want("load.runnable_count", 1)
}

func TestRebootStartsOver(t *testing.T) {
	m := newMachine(t)
	m.step(time.Minute)
	id := m.BootID()
	if err := m.Reboot(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(m.Dir(), "proc/sys/kernel/random/boot_id"))
	if err != nil || string(text) != m.BootID()+"\n" || m.BootID() == id {
		t.Errorf("boot id %q after %s: %v", text, id, err)
	}
	m.round()
	m.want("uptime.uptime_seconds", 0)
}

// What is taken out of the machine goes out of its files.
func TestWhatGoesIsGone(t *testing.T) {
	m := newMachine(t)
	m.NICs, m.Zones, m.Chips, m.NoPressure, m.Processes = m.NICs[:2], nil, nil, true, 3
	if err := m.Render(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sys/class/net/wlan0/carrier", "sys/class/thermal/thermal_zone0/temp", "proc/pressure/io", "proc/4"} {
		if _, err := os.Stat(filepath.Join(m.Dir(), name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(m.Dir(), "proc/3/comm")); err != nil {
		t.Error(err)
	}
}

func TestStatfsKnowsWhereItIs(t *testing.T) {
	m := newMachine(t)
	for _, tt := range []struct {
		path   string
		blocks uint64
		err    error
	}{
		{m.Dir(), 8 << 30 / 4096, nil},
		{m.Dir() + "/etc", 8 << 30 / 4096, nil},
		{m.Dir() + "/boot", 256 << 20 / 4096, nil},
		{m.Dir() + "/boot/firmware", 256 << 20 / 4096, nil},
		{m.Dir() + "/bootstrap", 8 << 30 / 4096, nil},
		{"/", 0, unix.ENOENT},
		{m.Dir() + "/..", 0, unix.ENOENT},
	} {
		var st unix.Statfs_t
		if err := m.Statfs(tt.path, &st); err != tt.err || st.Blocks != tt.blocks {
			t.Errorf("%s: %d blocks, %v; want %d, %v", tt.path, st.Blocks, err, tt.blocks, tt.err)
		}
	}
	if _, err := m.Adjtimex(&unix.Timex{Modes: unix.ADJ_OFFSET}); err != unix.EPERM {
		t.Errorf("setting the clock: %v, want EPERM", err)
	}
}

// A reader beside the machine never sees half a file. Run with -race.
func TestReadersSeeWholeFiles(t *testing.T) {
	m := newMachine(t)
	done := make(chan error)
	go func() {
		defer close(done)
		for range 300 {
			text, err := os.ReadFile(filepath.Join(m.Dir(), "proc/stat"))
			if err != nil || !bytes.HasPrefix(text, []byte("cpu ")) || !bytes.HasSuffix(text, []byte("softirq 0 0\n")) {
				done <- fmt.Errorf("read %q, %w", text, err)
				return
			}
			var st unix.Statfs_t
			if err := m.Statfs(m.Dir(), &st); err != nil || st.Blocks == 0 {
				done <- fmt.Errorf("statfs: %d blocks, %w", st.Blocks, err)
				return
			}
		}
	}()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			m.Mounts[0].FreeBytes -= 4096
			if err := m.Step(time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
}
