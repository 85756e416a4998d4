package sensors_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
	"holdfast/collectors/sensors"
)

const wire = "sys/bus/w1/devices/28-0316a2795cff"

func slave(raw, crc, milli string) string {
	return raw + " : crc=00 " + crc + "\n" + raw + " t=" + milli + "\n"
}

const some, zeros = "72 01 4b 46 7f ff 0e 10 57", "00 00 00 00 00 00 00 00 00"

func TestWhatAThermometerOnTheWireSaysIsNotAlwaysBelieved(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	s := source(t, "w1", root, clock)
	for _, tt := range []struct{ name, file, want string }{
		{"power-on value from the start", slave(some, "YES", "85000"), "fault=power_on"},
		{"good", slave(some, "YES", "79000"), "temperature_celsius=79"},
		{"power-on value out of the blue", slave(some, "YES", "85000"), "fault=power_on"},
		{"on its way there", slave(some, "YES", "84500"), "temperature_celsius=84.5"},
		{"there", slave(some, "YES", "85000"), "temperature_celsius=85"},
		{"damaged", slave(some, "NO", "31000"), "fault=crc"},
		{"too cold for the chip", slave(some, "YES", "-55063"), "fault=out_of_range"},
		{"too hot for the chip", slave(some, "YES", "127937"), "fault=out_of_range"},
		{"shorted", slave(zeros, "YES", "0"), "fault=gone"},
		{"freezing", slave(some, "YES", "0"), "temperature_celsius=0"},
	} {
		write(t, root, wire+"/w1_slave", tt.file)
		expect(t, tt.name, of(take(t, s), "28-0316a2795cff"), "w1 28-0316a2795cff: "+tt.want+"\n")
	}
	remove(t, root, wire)
	expect(t, "taken off the bus", take(t, s), `
		w1 28-0316a2795cff: fault=gone
		w1 28-0316a2795d00: temperature_celsius=-0.5
		`)
	clock.pass(time.Hour)
	if text := show(of(take(t, s), "28-0316a2795cff")); text != "w1 28-0316a2795cff: fault=gone\n" {
		t.Errorf("an hour later: %q", text)
	}
	write(t, root, wire+"/w1_slave", slave(some, "YES", "20500"))
	clock.pass(time.Minute)
	if text := show(of(take(t, s), "28-0316a2795cff")); text != "w1 28-0316a2795cff: temperature_celsius=20.5\n" {
		t.Errorf("back a minute ago: %q", text)
	}
}

func TestRulesNameWhatIsStuckOrNotBelieved(t *testing.T) {
	root, low, high := rootOf(t), 11.0, 13.0
	s := source(t, "hwmon", root, newTicker(),
		doubt.Rule{Instance: "ina3221/*", Field: "voltage_volts", Low: &low, High: &high},
		doubt.Rule{Source: "hwmon", Instance: "sht4x/*", StuckAfter: 3})
	for i, want := range []string{"humidity_percent=45.3", "humidity_percent=45.3", "fault=stuck", "fault=stuck"} {
		samples := take(t, s)
		expect(t, "humidity", of(samples, "sht4x/humidity1"), "hwmon sht4x/humidity1: "+want+"\n")
		expect(t, "voltage", of(samples, "ina3221/VIN"), "hwmon ina3221/VIN: voltage_volts=12.032\n")
		if i == 3 && strings.Count(show(samples), "fault=") != 2 { // and the broken fan
			t.Errorf("others are in doubt:\n%s", show(samples))
		}
	}
	write(t, root, "sys/class/hwmon/hwmon4/in1_input", "10900\n")
	write(t, root, "sys/class/hwmon/hwmon7/humidity1_input", "45400\n")
	samples := take(t, s)
	expect(t, "voltage", of(samples, "ina3221/VIN"), "hwmon ina3221/VIN: fault=out_of_range\n")
	expect(t, "humidity", of(samples, "sht4x/humidity1"), "hwmon sht4x/humidity1: humidity_percent=45.4\n")
}

func TestNothingIsStuckUnlessSomebodySaysSo(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	for _, s := range sensors.All(sensors.Options{Root: root, Now: clock.now}) {
		for range 2000 {
			clock.pass(10 * time.Second)
			if text := show(take(t, s)); strings.Contains(text, "stuck") {
				t.Fatal(text)
			}
		}
	}
}

// A sensor that is plugged in again has another number, and is the same; one that takes the number of another is not.
func TestASensorThatComesBackKeepsItsName(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	s := source(t, "temperature", root, clock)
	take(t, s)
	remove(t, root, "sys/class/hwmon/hwmon1")
	write(t, root, "sys/class/hwmon/hwmon1/name", "lm75\n")
	write(t, root, "sys/class/hwmon/hwmon1/temp1_input", "19000\n")
	clock.pass(10 * time.Minute)
	text := show(take(t, s))
	for _, want := range []string{"nvme/Composite: fault=gone\n", "nvme/temp2: fault=gone\n", "nvme:hwmon2/Composite: temperature_celsius=37\n",
		"lm75:hwmon1/temp1: temperature_celsius=19\n"} { // beside an lm75 that sleeps
		if !strings.Contains(text, want) {
			t.Errorf("another chip has its number: no %q in\n%s", want, text)
		}
	}
	write(t, root, "sys/class/hwmon/hwmon31/name", "nvme\n")
	write(t, root, "sys/class/hwmon/hwmon31/temp1_label", "Composite\n")
	write(t, root, "sys/class/hwmon/hwmon31/temp1_input", "25000\n")
	clock.pass(59 * time.Second)
	if text := show(take(t, s)); !strings.Contains(text, "nvme/Composite: fault=gone\n") {
		t.Errorf("before it is looked for:\n%s", text)
	}
	clock.pass(time.Second)
	if text := show(take(t, s)); !strings.Contains(text, "nvme/Composite: temperature_celsius=25\n") || !strings.Contains(text, "nvme/temp2: fault=gone\n") {
		t.Errorf("after it came back:\n%s", text)
	}
}

func TestNewSensorsAreFoundWithinTenMinutes(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	s := source(t, "temperature", root, clock)
	take(t, s)
	write(t, root, "sys/class/thermal/thermal_zone1/temp", "20000\n")
	clock.pass(9 * time.Minute)
	if n := len(take(t, s)); n != 7 {
		t.Errorf("%d sensors after nine minutes", n)
	}
	clock.pass(time.Minute)
	if n := len(take(t, s)); n != 8 {
		t.Errorf("%d sensors after ten minutes", n)
	}
}

// What only a kernel can answer: EINVAL is a sensor that sleeps, EIO one that is gone if it was there, and a failure if not.
func TestWordsOfTheKernel(t *testing.T) {
	const sleeper, deaf = "/sys/class/net/lo/speed", "/proc/self/mem"
	for path, want := range map[string]string{sleeper: "invalid argument", deaf: "input/output error"} {
		if _, err := os.ReadFile(path); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Skipf("%s does not answer %q here: %v", path, want, err)
		}
	}
	become := func(root, target string) {
		path := filepath.Join(root, "sys/class/thermal/thermal_zone0/temp")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	root := rootOf(t)
	become(root, deaf)
	s := source(t, "temperature", root, newTicker())
	if samples, err := try(s); err == nil || len(samples) != 6 || len(of(samples, "cpu-thermal")) != 0 {
		t.Errorf("one that never answered: %v and\n%s", err, show(samples))
	}
	become(root, sleeper)
	if samples := take(t, s); len(samples) != 6 {
		t.Errorf("one that sleeps:\n%s", show(samples))
	}
	root = rootOf(t)
	s = source(t, "temperature", root, newTicker())
	take(t, s)
	become(root, deaf)
	expect(t, "one that answered once", of(take(t, s), "cpu-thermal"), "temperature cpu-thermal: fault=gone\n")
	become(root, sleeper)
	if samples := of(take(t, s), "cpu-thermal"); len(samples) != 0 {
		t.Errorf("asleep: %s", show(samples))
	}
	clock := newTicker()
	s = source(t, "temperature", root, clock)
	take(t, s)
	remove(t, root, "sys/class/hwmon/hwmon1")
	write(t, root, "sys/class/hwmon/hwmon31/name", "nvme\n")
	if err := os.Symlink(deaf, filepath.Join(root, "sys/class/hwmon/hwmon31/temp2_input")); err != nil {
		t.Fatal(err)
	}
	clock.pass(10 * time.Minute)
	expect(t, "one that came back under another number, and does not answer", of(take(t, s), "nvme/temp2"), "temperature nvme/temp2: fault=gone\n")
}

func TestThingsThatGoAreMissed(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	for _, tt := range []struct{ source, dir, want string }{
		{"flash", "sys/block/mmcblk1", "flash mmcblk1: fault=gone\n"},
		{"power_supply", "sys/class/power_supply/usb", "power_supply usb: fault=gone\n"},
		{"cooling", "sys/class/thermal/cooling_device1", "cooling pwm-fan: fault=gone\n"},
	} {
		s := source(t, tt.source, root, clock)
		count := len(take(t, s))
		remove(t, root, tt.dir)
		for _, d := range []time.Duration{0, time.Minute, time.Hour} {
			clock.pass(d)
			if samples := take(t, s); !strings.Contains(show(samples), tt.want) || len(samples) != count {
				t.Errorf("%s, %v later:\n%s", tt.source, d, show(samples))
			}
		}
	}
	high := 4.0
	write(t, root, "sys/class/power_supply/BAT0/voltage_now", "4200000\n")
	s := source(t, "power_supply", root, clock, doubt.Rule{Instance: "BAT0", Field: "voltage_volts", High: &high})
	if text := show(of(take(t, s), "BAT0")); !strings.Contains(text, "charge_ratio=0.87 fault_field=voltage_volts current_amperes=-0.25") || !strings.HasSuffix(text, "fault=out_of_range\n") {
		t.Error(text)
	}
}

// A driver that is loaded again gives its fan another number, and another's fan the number that is free.
func TestAThingThatComesBackKeepsItsName(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	s := source(t, "cooling", root, clock)
	before := show(take(t, s))
	const one, other = "sys/class/thermal/cooling_device1", "sys/class/thermal/cooling_device30"
	remove(t, root, one)
	fan := func(dir, kind, state string) {
		write(t, root, dir+"/type", kind)
		write(t, root, dir+"/cur_state", state)
		write(t, root, dir+"/max_state", "4")
	}
	fan(one, "other-fan", "1")
	clock.pass(10 * time.Minute)
	samples := take(t, s)
	expect(t, "the number is another's", of(samples, "pwm-fan"), "cooling pwm-fan: fault=gone\n")
	expect(t, "the other", of(samples, "other-fan"), "cooling other-fan: state_ratio=0.25\n")
	fan(other, "pwm-fan", "2")
	clock.pass(time.Minute)
	samples = take(t, s)
	expect(t, "back", of(samples, "pwm-fan"), "cooling pwm-fan: state_ratio=0.5\n")
	if n := strings.Count(before, "\n") + 1; len(samples) != n {
		t.Errorf("%d things, want %d:\n%s", len(samples), n, show(samples))
	}
}

func TestWhatIsGoneLeavesRoomForWhatIsNew(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	for _, tt := range []struct{ source, dir, file, text string }{
		{"power_supply", "sys/class/power_supply/hid-%d-battery", "capacity", "50"},
		{"w1", "sys/bus/w1/devices/28-%012x", "w1_slave", slave(some, "YES", "20000")},
	} {
		s := source(t, tt.source, root, clock)
		count := len(take(t, s))
		for i := range 100 {
			dir := fmt.Sprintf(tt.dir, i)
			write(t, root, dir+"/"+tt.file, tt.text)
			clock.pass(10 * time.Minute)
			samples := take(t, s)
			if len(of(samples, filepath.Base(dir))) != 1 || len(samples) > 64 {
				t.Fatalf("%s: the %d. is not among %d", tt.source, i, len(samples))
			}
			remove(t, root, dir)
		}
		if got := len(take(t, s)); got <= count {
			t.Errorf("%s: %d samples of %d, and none of what is gone", tt.source, got, count)
		}
	}
}

// check holds what is true of every sample of every source, whatever it read.
func check(t testing.TB, samples []collectors.Sample) {
	t.Helper()
	table, instances := sensors.Measures(), map[string]bool{}
	for _, s := range samples {
		if key := s.Source + " " + s.Instance; instances[key] || len(s.Fields) == 0 {
			t.Errorf("%s: two samples in one round, or one without fields", key)
		} else {
			instances[key] = true
		}
		for i, f := range s.Fields {
			at := slices.IndexFunc(table, func(m collectors.Measure) bool { return m.Source == s.Source && m.Field == f.Name })
			if at < 0 || slices.ContainsFunc(s.Fields[:i], func(other collectors.Field) bool { return other.Name == f.Name }) {
				t.Errorf("%s.%s is in no table, or twice in a sample", s.Source, f.Name)
				continue
			}
			_, isText := f.Value.Text()
			_, isTruth := f.Value.Bool()
			v, _ := f.Value.Number()
			if unit := table[at].Unit; isText != (unit == "text") || isTruth != (unit == "truth") || unit == "ratio" && !(v >= 0 && v <= 1) ||
				math.IsNaN(v) || math.IsInf(v, 0) || unit == "°C" && v < -273.15 {
				t.Errorf("%s.%s: unit %s, value %v", s.Source, f.Name, unit, f.Value)
			}
		}
	}
}

func TestEveryMeasureIsMeasuredAndListedOnce(t *testing.T) {
	root, said := rootOf(t), map[string]bool{}
	high := 1.0
	for _, rules := range [][]doubt.Rule{nil, {{High: &high}}} {
		for _, s := range sensors.All(sensors.Options{Root: root, Now: newTicker().now, Rules: rules}) {
			samples := take(t, s)
			switch s.Name() {
			case "cooling", "flash":
				remove(t, root, map[string]string{"cooling": "sys/class/thermal/cooling_device1", "flash": "sys/block/mmcblk1"}[s.Name()])
				samples = append(samples, of(take(t, s), map[string]string{"cooling": "pwm-fan", "flash": "mmcblk1"}[s.Name()])...)
			}
			for _, sample := range samples {
				check(t, []collectors.Sample{sample})
				for _, f := range sample.Fields {
					said[sample.Source+"."+f.Name] = true
				}
			}
		}
	}
	listed := map[string]bool{}
	for _, m := range sensors.Measures() {
		key := m.Source + "." + m.Field
		if !said[key] || listed[key] || m.Help == "" || strings.ContainsAny(m.Help+m.Instance, "|\n") {
			t.Errorf("%s: no source says it, or it is listed twice, or its help is not one line", key)
		}
		listed[key] = true
	}
}
