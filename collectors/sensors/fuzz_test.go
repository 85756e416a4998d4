package sensors_test

import (
	"testing"
	"time"

	"holdfast/collectors"
)

// fuzz puts what the fuzzer makes up into one file of the board and takes rounds before, with and after it. Whatever the source
// says is in the table; what it does not understand is an error, not a panic.
func fuzz(f *testing.F, name, file, good string, seeds ...string) {
	root, clock := rootOf(f), newTicker()
	f.Add([]byte(good))
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := source(t, name, root, clock)
		for _, content := range [][]byte{text, []byte(good), text} {
			write(t, root, file, string(content))
			var samples []collectors.Sample
			_ = s.Collect(t.Context(), func(s collectors.Sample) { samples = append(samples, s) })
			check(t, samples)
			clock.pass(time.Hour)
		}
	})
}

func FuzzNumber(f *testing.F) {
	fuzz(f, "temperature", "sys/class/thermal/thermal_zone0/temp", "51234\n", "-9223372036854775808", "1e999", "-", "1e-400", ".")
}
func FuzzLabel(f *testing.F) {
	fuzz(f, "hwmon", "sys/class/hwmon/hwmon4/in1_label", "VIN\n", "a\x00b\xff\n", "curr1", "/")
}
func FuzzScale(f *testing.F) {
	fuzz(f, "iio", "sys/bus/iio/devices/iio:device1/in_voltage0_scale", "0.125000000\n", "1e308", "-0")
}
func FuzzWire(f *testing.F) {
	fuzz(f, "w1", wire+"/w1_slave", slave(some, "YES", "23125"), slave(zeros, "YES", "0"), slave(some, "NO", "1"), slave(some, "YES", "85000"))
}
func FuzzLifeTime(f *testing.F) {
	fuzz(f, "flash", "sys/block/mmcblk0/device/life_time", "0x02 0x01\n", "0x0b 0x0c", "0x", " ", "0xffffffff 0x-1")
}
func FuzzCapacity(f *testing.F) {
	fuzz(f, "power_supply", "sys/class/power_supply/BAT0/capacity", "87\n", "101", "-1")
}
