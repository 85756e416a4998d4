package host_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/host"
)

// fuzz puts what the fuzzer makes up into one file of the fake root and takes two rounds, the second with the file as
// it was. Whatever the source says is in range and in the table; what it does not understand is an error, not a panic.
func fuzz(f *testing.F, source, name string, seeds ...string) {
	root, clock := memory(f), newTicker()
	lay(f, root, before)
	good, err := os.ReadFile(filepath.Join(before, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	if text, err := os.ReadFile(filepath.Join(after, name)); err == nil {
		f.Add(text)
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	mounts := []string{"/", "/boot", "/srv/usb stick", "/data"}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range host.All(host.Options{Root: root, Now: clock.now, PerCore: true, Mounts: mounts, Statfs: statfs}) {
			if s.Name() != source {
				continue
			}
			for _, content := range [][]byte{text, good, text} {
				write(t, root, name, string(content))
				_ = s.Collect(t.Context(), func(sample collectors.Sample) { check(t, []collectors.Sample{sample}) })
				clock.pass(time.Second)
			}
		}
	})
}

func FuzzStat(f *testing.F)    { fuzz(f, "processes", "proc/stat", "processes 18446744073709551615\n") }
func FuzzCPU(f *testing.F)     { fuzz(f, "cpu", "proc/stat", "cpu0 NaN Inf 1e300 -1 0 0 0 0\n") }
func FuzzLoadavg(f *testing.F) { fuzz(f, "load", "proc/loadavg", "0.00 0.00 0.00 0/0 0") }
func FuzzMeminfo(f *testing.F) {
	fuzz(f, "memory", "proc/meminfo", "MemTotal: 18446744073709551615 kB\nMemFree: 1 kB\n", "MemTotal: 1 kB\nSwapFree: 9 kB\n")
}
func FuzzStall(f *testing.F) {
	fuzz(f, "pressure", "proc/pressure/io", "some avg10=100.01\nfull avg10=1.\n")
}
func FuzzMountinfo(f *testing.F) {
	fuzz(f, "disk", "proc/self/mountinfo", "1 0 0:0 / /\\777\\0 rw - a b c\n")
}
func FuzzDiskstats(f *testing.F) { fuzz(f, "disk_io", "proc/diskstats") }
func FuzzNetDev(f *testing.F)    { fuzz(f, "network", "proc/net/dev", "", "\n", "a\nb\n:") }
func FuzzSpeed(f *testing.F)     { fuzz(f, "network", "sys/class/net/eth0/speed", "4294967295", "-1") }
func FuzzBootID(f *testing.F) {
	fuzz(f, "uptime", "proc/sys/kernel/random/boot_id", "a\x00b\xff\n")
}
func FuzzFileNr(f *testing.F) { fuzz(f, "files", "proc/sys/fs/file-nr", "1\t0\t9223372036854775807\n") }
func FuzzUptime(f *testing.F) { fuzz(f, "uptime", "proc/uptime", "99999999999999999999.9 0") }
