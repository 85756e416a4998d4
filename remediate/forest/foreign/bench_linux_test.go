package foreign_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func BenchmarkVerdictOf40Trees(b *testing.B) {
	m := model(b, read(b, "json"))
	_, table := table(b, "golden-rows.csv", 32)
	rows := make([][]float32, len(table))
	for i := range rows {
		rows[i] = singles(table[i])
	}
	b.ReportAllocs()
	i := 0
	b.ReportMetric(processorTimeOf(b, func() {
		m.Judge(rows[i])
		if i++; i == len(rows) {
			i = 0
		}
	}), "cpu-ns/op")
}

// processorTimeOf runs f in a benchmark's loop, and returns the nanoseconds of the processor that one call takes: others on the
// machine matter little.
func processorTimeOf(b *testing.B, f func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() int64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return t.Nano()
	}
	var began int64
	for n := 0; b.Loop(); n++ {
		if n == 0 {
			began = now()
		}
		f()
	}
	return float64(now()-began) / float64(b.N)
}

func BenchmarkReasonsOf40Trees(b *testing.B) {
	m := model(b, read(b, "json"))
	_, table := table(b, "golden-rows.csv", 32)
	row := singles(table[0])
	b.ReportAllocs()
	b.ReportMetric(processorTimeOf(b, func() { m.Explain(row, 0) }), "cpu-ns/op")
}
