package sensors_test

import (
	"fmt"
	"testing"

	"holdfast/collectors"
	"holdfast/collectors/sensors"
)

// BenchmarkRound is a round of every source on a board with twenty chips of four inputs beside the sensors of testdata.
func BenchmarkRound(b *testing.B) {
	root, clock := rootOf(b), newTicker()
	for i := range 20 {
		dir := fmt.Sprintf("sys/class/hwmon/hwmon%d/", 100+i)
		write(b, root, dir+"name", fmt.Sprintf("chip%d\n", i))
		for _, input := range []string{"in1", "curr1", "power1", "temp1"} {
			write(b, root, dir+input+"_input", "12345\n")
		}
	}
	all := sensors.All(sensors.Options{Root: root, Now: clock.now})
	samples := 0
	round := func() {
		samples = 0
		for _, s := range all {
			if err := s.Collect(b.Context(), func(collectors.Sample) { samples++ }); err != nil {
				b.Fatal(err)
			}
		}
	}
	round()
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(samples), "samples/op")
}
