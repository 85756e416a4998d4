package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/host"
)

func TestSourcesSayWhatTheFakeRootHolds(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	sources := map[string]collectors.Source{}
	for _, s := range host.All(host.Options{Root: root, Now: clock.now, PerCore: true, Mounts: []string{"/", "/boot", "/srv/usb stick", "/data"},
		Statfs: statfs, Adjtimex: func(tx *unix.Timex) (int, error) { tx.Offset, tx.Maxerror = 250, 4_000_000; return unix.TIME_OK, nil }}) {
		sources[s.Name()] = s
	}
	rounds := [2]map[string][]collectors.Sample{{}, {}}
	for i := range rounds {
		for name, s := range sources {
			rounds[i][name] = take(t, s)
		}
		lay(t, root, after)
		clock.pass(10 * time.Second)
	}
	for _, tt := range []struct{ source, first, second string }{
		{"cpu", "", `
			cpu cpu0: busy_ratio=0.45 user_ratio=0.3 system_ratio=0.1 iowait_ratio=0.05 steal_ratio=0.05
			cpu cpu1: busy_ratio=0.89899 user_ratio=0.707071 system_ratio=0.181818 iowait_ratio=0 steal_ratio=0.010101
			cpu: busy_ratio=0.673367 user_ratio=0.502513 system_ratio=0.140704 iowait_ratio=0.0251256 steal_ratio=0.0301508 count=3
			`},
		{"load", `
			load: load1=0.42 load5=1.07 load15=12.3 runnable_count=2
			`, "same"},
		{"memory", `
			memory: total_bytes=5.12e+08 available_bytes=2.048e+08 used_ratio=0.6 swap_total_bytes=1.024e+08 swap_used_bytes=2.56e+07 pressure_some_ratio=0.0075 pressure_full_ratio=0.005
			`, "same"},
		{"pressure", `
			pressure cpu: some_ratio=0.125 full_ratio=0
			pressure io: some_ratio=0.02 full_ratio=0.0125
			`, "same"},
		{"disk", `
			disk /: total_bytes=4.096e+06 free_bytes=1.4336e+06 used_ratio=0.631579 inodes_total=200 inodes_used_ratio=0.25 read_only=false mounted=true
			disk /boot: total_bytes=512000 free_bytes=128000 used_ratio=0.75 read_only=false mounted=true
			disk /srv/usb stick: total_bytes=3.51844e+13 free_bytes=1.75922e+13 used_ratio=0.5 inodes_total=10 inodes_used_ratio=0.1 read_only=true mounted=true
			disk /data: mounted=false
			`, "same"},
		{"disk_io", "", `
			disk_io mmcblk0: read_bytes_per_second=10240 write_bytes_per_second=409600 reads_per_second=2 writes_per_second=8 busy_ratio=0.25 await_seconds=0.01
			disk_io sda: read_bytes_per_second=51200 write_bytes_per_second=0 reads_per_second=1 writes_per_second=0 busy_ratio=0.01 await_seconds=0.05
			disk_io dm-0: read_bytes_per_second=0 write_bytes_per_second=0 reads_per_second=0 writes_per_second=0 busy_ratio=0 await_seconds=0
			`},
		{"network", `
			network eth0: carrier=true speed_bits_per_second=1e+09
			network wlan0: carrier=true
			network can0: carrier=false
			`, `
			network eth0: rx_bytes_per_second=1000 tx_bytes_per_second=500 rx_packets_per_second=10 tx_packets_per_second=5 rx_errors_per_second=0.2 tx_errors_per_second=0.1 rx_drops_per_second=1 tx_drops_per_second=0.1 carrier=true speed_bits_per_second=1e+09
			network wlan0: carrier=true
			network can0: rx_bytes_per_second=8 tx_bytes_per_second=0 rx_packets_per_second=1 tx_packets_per_second=0 rx_errors_per_second=0 tx_errors_per_second=0 rx_drops_per_second=0 tx_drops_per_second=0 carrier=false
			`},
		{"processes", `
			processes: total_count=4 running_count=2 blocked_count=1 threads_count=181
			`, `
			processes: total_count=4 running_count=3 blocked_count=0 threads_count=181 forks_per_second=2.5
			`},
		{"files", `
			files: open_count=1500 open_ratio=0.025
			`, "same"},
		{"uptime", `
			uptime: uptime_seconds=86400.2 boot_id=0f1e2d3c-4b5a-4968-8778-695a4b3c2d1e
			`, `
			uptime: uptime_seconds=86400.2
			`},
		{"clock", `
			clock: synchronised=true offset_seconds=0.00025 max_error_seconds=4
			`, "same"},
	} {
		if tt.second == "same" {
			tt.second = tt.first
		}
		expect(t, tt.source+", first round", rounds[0][tt.source], tt.first)
		expect(t, tt.source+", second round", rounds[1][tt.source], tt.second)
		delete(sources, tt.source)
	}
	delete(sources, "self") // the only one that reads this process and not the root
	for name := range sources {
		t.Errorf("%s: no expectation", name)
	}
}

func TestAllKeepsItsOrder(t *testing.T) {
	var names []string
	for _, s := range host.All(host.Options{}) {
		names = append(names, s.Name())
	}
	const want = "cpu load memory pressure disk disk_io network processes files uptime clock self"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("All: %s, want %s", got, want)
	}
}

func TestEmptyRootIsNoData(t *testing.T) {
	for _, s := range host.All(host.Options{Root: t.TempDir(), Statfs: statfs}) {
		samples, err := try(s)
		switch s.Name() {
		case "self", "clock", "disk": // these ask the kernel by calls
			if err != nil || len(samples) != 1 {
				t.Errorf("%s: %v, %v", s.Name(), samples, err)
			}
		default:
			if !errors.Is(err, collectors.ErrNoData) || len(samples) != 0 {
				t.Errorf("%s: %v, %v; want ErrNoData", s.Name(), samples, err)
			}
		}
	}
}

// What is not as the kernel writes it is named, cut short and quoted; nothing is made up from it.
func TestGarbageIsAFault(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, tt := range []struct {
		source collectors.Source
		file   string
		texts  []string
	}{
		{&host.CPU{}, "proc/stat", []string{"", "cpu 1 2\n", "intr 5\n"}},
		{&host.Load{}, "proc/loadavg", []string{"", "0.1 0.2\n", "0.1 0.2 0.3 4 5\n", "a b c 1/2\n", "-1 0 0 1/2 3\n", "1e3 0 0 1/2 3\n", "0.1 0.2 0.3 18446744073709551616/2 3\n", long}},
		{&host.Memory{}, "proc/meminfo", []string{"", "MemFree: 12 kB\n", "MemTotal: x kB\n", "MemTotal: 0 kB\n"}},
		{&host.Memory{}, "proc/pressure/memory", []string{"", "some avg10=x\n", "some avg60=1.00\n", "full avg10=1.00\n", "some avg10=-1.00\n"}},
		{&host.Pressure{}, "proc/pressure/io", []string{"", "some\n", "some avg10=0.1234567890123\n", long}},
		{&host.DiskIO{}, "proc/diskstats", []string{"8 0 sda 1 2\n", "8 0 sda 1 2 3 4 5 6 7 8 9 x 11\n", "8 0 sda 1 2 3 4 5 6 7 8 9 -1 11\n", long}},
		{&host.Network{}, "proc/net/dev", []string{"", "Inter-|\n", "a\nb\neth0: 1 2\n", "a\nb\neth0: 1 2 3 4 5 6 7 8 9 10 11 x 13 14 15 16\n"}},
		{&host.Network{}, "sys/class/net/eth0/speed", []string{"", "fast\n"}},
		{&host.Processes{}, "proc/stat", []string{"", "processes 1\n", "processes x\nprocs_running 1\nprocs_blocked 0\n", long}},
		{&host.Files{}, "proc/sys/fs/file-nr", []string{"", "1 2\n", "1 2 3\n", "a b c\n"}},
		{&host.Uptime{}, "proc/uptime", []string{"", "soon\n", "NaN 1\n", "1e9 2\n"}},
		{&host.Disk{Statfs: statfs}, "proc/self/mountinfo", []string{long}},
	} {
		for _, text := range tt.texts {
			root := rootOf(t)
			write(t, root, tt.file, text)
			s := at(tt.source, root)
			samples, err := try(s)
			if err == nil || errors.Is(err, collectors.ErrNoData) {
				t.Errorf("%s with %s %.40q: %v and %s; want a fault", s.Name(), tt.file, text, err, show(samples))
			} else if len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %s %.40q: %d bytes of message: %.400s", s.Name(), tt.file, text, len(err.Error()), err)
			}
		}
	}
}

// at returns a fresh source of the same kind that reads root.
func at(s collectors.Source, root string) collectors.Source {
	for _, fresh := range host.All(host.Options{Root: root, Statfs: statfs}) {
		if fresh.Name() == s.Name() {
			return fresh
		}
	}
	return nil
}
