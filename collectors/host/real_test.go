package host_test

import (
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/host"
)

// The machine the test runs on: what it has is measured and in range, what it lacks is ErrNoData.
func TestThisMachine(t *testing.T) {
	sources := host.All(host.Options{PerCore: true})
	said := map[string]bool{}
	for round := range 3 {
		for _, s := range sources {
			samples, err := try(s)
			check(t, samples)
			switch {
			case noData(err):
				t.Logf("round %d, %s: %v", round, s.Name(), err)
				said[s.Name()] = true
			case err != nil:
				t.Errorf("%s: %v", s.Name(), err)
			case len(samples) > 0:
				said[s.Name()] = true
			}
		}
		burn(t) // the cpu source wants a tick of 10 ms to have passed
	}
	for _, s := range sources {
		if !said[s.Name()] {
			t.Errorf("%s said nothing in three rounds", s.Name())
		}
	}
}

// burn takes 30 ms of processor time.
func burn(t testing.TB) {
	for start := spent(t); spent(t)-start < 30e6; {
		runtime.Gosched()
	}
}

func number(t *testing.T, samples []collectors.Sample, instance, field string) float64 {
	t.Helper()
	for i := range samples {
		if samples[i].Instance != instance {
			continue
		}
		if v, ok := samples[i].Field(field); ok {
			n, _ := v.Number()
			return n
		}
	}
	t.Fatalf("no %s of %q in\n%s", field, instance, show(samples))
	return 0
}

// near fails when two readings of a thing that moves differ by more than part of the whole.
func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if math.Abs(got-want) > part*math.Max(math.Abs(got), math.Abs(want)) {
		t.Errorf("%s: %v, another reading says %v", what, got, want)
	}
}

func TestDiskAgreesWithDf(t *testing.T) {
	df := func(columns string) []float64 {
		out, err := exec.Command("df", "-B1", "--output="+columns, "/").Output()
		if err != nil {
			t.Skipf("df --output is not to be had: %v", err)
		}
		_, row, _ := strings.Cut(string(out), "\n")
		var values []float64
		for _, w := range strings.Fields(row) {
			v, err := strconv.ParseFloat(strings.TrimSuffix(w, "%"), 64)
			if err != nil {
				t.Skipf("df says %q", row)
			}
			values = append(values, v)
		}
		return values
	}
	bytes, inodes := df("size,avail,pcent"), df("itotal,ipcent")
	samples := take(t, &host.Disk{})
	near(t, "total", number(t, samples, "/", "total_bytes"), bytes[0], 0)
	near(t, "free", number(t, samples, "/", "free_bytes"), bytes[1], 0.02)
	// df rounds up to whole percents.
	if got := 100 * number(t, samples, "/", "used_ratio"); got > bytes[2]+0.5 || got < bytes[2]-1.5 {
		t.Errorf("used: %v %%, df says %v", got, bytes[2])
	}
	near(t, "inodes", number(t, samples, "/", "inodes_total"), inodes[0], 0)
	if got := 100 * number(t, samples, "/", "inodes_used_ratio"); got > inodes[1]+0.5 || got < inodes[1]-1.5 {
		t.Errorf("inodes used: %v %%, df says %v", got, inodes[1])
	}
}

func TestMemoryAgreesWithMeminfo(t *testing.T) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	kib := map[string]float64{}
	for l := range strings.Lines(string(text)) {
		if w := strings.Fields(l); len(w) > 1 {
			kib[w[0]], _ = strconv.ParseFloat(w[1], 64)
		}
	}
	samples := take(t, &host.Memory{})
	near(t, "total", number(t, samples, "", "total_bytes"), kib["MemTotal:"]*1024, 0)
	near(t, "available", number(t, samples, "", "available_bytes"), kib["MemAvailable:"]*1024, 0.2)
	near(t, "swap", number(t, samples, "", "swap_total_bytes"), kib["SwapTotal:"]*1024, 0)
}

func TestProcessesAgreeWithTheDirectory(t *testing.T) {
	count := func() (n float64) {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if _, err := strconv.Atoi(e.Name()); err == nil {
				n++
			}
		}
		return n
	}
	p := &host.Processes{}
	for round := range 3 { // the first counts, the next ones ask for the number of links
		// Others come and go: one of several tries must fall between two equal counts.
		agreed, tries := false, 0
		var got, want float64
		for ; tries < 50 && !agreed; tries++ {
			first := count()
			got = number(t, take(t, p), "", "total_count")
			want = count()
			agreed = first == want && math.Abs(got-want) <= 1 // one may be on its way out, a link but no entry
		}
		if !agreed {
			t.Errorf("round %d: %v processes, the directory has %v", round, got, want)
		}
	}
}

func TestSelfAgreesWithProc(t *testing.T) {
	samples := take(t, &host.Self{})
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if got := number(t, samples, "", "descriptors_count"); math.Abs(got-float64(len(fds)-1)) > 2 {
		t.Errorf("%v descriptors, the directory has %d and itself", got, len(fds)-1)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "rss", number(t, samples, "", "rss_bytes"), kib*1024, 0.1)
	before := number(t, samples, "", "cpu_seconds")
	burn(t)
	if after := number(t, take(t, &host.Self{}), "", "cpu_seconds"); after < before+0.03 || after > before+60 {
		t.Errorf("cpu_seconds: %v, then %v after 0.03 s of work", before, after)
	}
	if got := number(t, samples, "", "goroutines_count"); got < 1 || got > 1000 {
		t.Errorf("%v goroutines", got)
	}
}

func TestUptimeTellsTheBootOnce(t *testing.T) {
	u := &host.Uptime{}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	first, second := take(t, u), take(t, u)
	if v, _ := first[0].Field("boot_id"); v != collectors.Text(strings.TrimSpace(string(id))) {
		t.Errorf("boot_id %v, the kernel says %s", v, id)
	}
	if _, again := second[0].Field("boot_id"); again {
		t.Error("boot_id told twice")
	}
	near(t, "uptime", number(t, second, "", "uptime_seconds"), number(t, first, "", "uptime_seconds"), 0.05)
}

func BenchmarkRound(b *testing.B) {
	sources := host.All(host.Options{})
	b.ReportAllocs()
	start := spent(b)
	for b.Loop() {
		for _, s := range sources {
			if _, err := try(s); err != nil && !noData(err) {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric((spent(b)-start)/float64(b.N), "cpu-ns/op")
}

// spent returns the processor time of the process, in nanoseconds.
func spent(t testing.TB) float64 {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return float64(use.Utime.Nano() + use.Stime.Nano())
}

func BenchmarkSource(b *testing.B) {
	for _, s := range host.All(host.Options{}) {
		b.Run(s.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := try(s); err != nil && !noData(err) {
					b.Fatal(err)
				}
			}
		})
	}
}
