package sensors

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"holdfast/collectors/doubt"
)

// A quantity is a kind of channel of the hwmon class (Documentation/hwmon/sysfs-interface.rst).
type quantity struct {
	prefix, field string
	factor        float64
	limits        doubt.Limits
}

var quantities = []quantity{
	{"temp", "temperature_celsius", 1e-3, degrees},                  // millidegrees
	{"in", "voltage_volts", 1e-3, doubt.Limits{}},                   // mV
	{"curr", "current_amperes", 1e-3, doubt.Limits{}},               // mA
	{"power", "power_watts", 1e-6, doubt.Limits{}},                  // µW
	{"energy", "energy_joules", 1e-6, doubt.Limits{}},               // µJ
	{"humidity", "humidity_percent", 1e-3, doubt.Limits{High: 100}}, // thousandths of a percent
	{"fan", "fan_rpm", 1, doubt.Limits{High: 1e6}},
}

// chips lists what chips of the hwmon class measure beside temperatures.
func chips(r *reader, sys string) []channel { return hwmon(r, sys, false) }

// hwmon lists the temperatures of the hwmon class, or all but them.
func hwmon(r *reader, sys string, temperatures bool) []channel {
	var list []channel
	class := sys + "/class/hwmon/"
	for _, chip := range entries(class) {
		dir := class + chip
		if stem, n := numbered(chip); stem != "hwmon" || n < 0 || double(dir) {
			continue
		}
		name := cmp.Or(r.label(dir+"/name"), chip)
		for _, c := range inputs(dir) {
			if (c.field == "temperature_celsius") != temperatures {
				continue
			}
			c.name, c.at = name, chip
			c.suffix = "/" + cmp.Or(r.label(dir+c.suffix+"_label"), c.suffix[1:])
			list = append(list, c)
		}
	}
	return list
}

// double reports whether the chip is one that the kernel shows a second time: thermal zones and power supplies are chips, too.
func double(dir string) bool {
	target, err := os.Readlink(dir + "/device")
	if err == nil && strings.HasPrefix(filepath.Base(target), "thermal_zone") {
		return true
	}
	target, err = os.Readlink(dir + "/device/subsystem")
	return err == nil && filepath.Base(target) == "power_supply"
}

// inputs returns the channels of a chip, each with its number's name as suffix: /in0. Those that have alarms and no number, as
// Raspberry Pi's rpi_volt, have no field; their temperature says so all the same.
func inputs(dir string) []channel {
	var list []channel
	at := map[string]int{} // of in0 in the list
	for _, f := range entries(dir) {
		input, rest, ok := strings.Cut(f, "_")
		prefix, n := numbered(input)
		if !ok || n < 0 {
			continue
		}
		for _, q := range quantities {
			if q.prefix != prefix {
				continue
			}
			if _, known := at[input]; !known {
				at[input] = len(list)
				list = append(list, channel{suffix: "/" + input, path: dir + "/" + input, factor: q.factor, limits: q.limits})
			}
			c, path := &list[at[input]], dir+"/"+f
			switch {
			case rest == "input", rest == "average" && c.field == "": // some chips of power have only the mean
				c.field, c.path, c.read = q.field, path, plain
			case rest == "fault":
				c.broken = path
			case rest == "crit" && q.prefix == "temp":
				c.critical = path
			case rest == "alarm", strings.HasSuffix(rest, "_alarm"):
				c.alarms = append(c.alarms, path)
			}
		}
	}
	kept := list[:0]
	for _, c := range list {
		if c.field != "" || len(c.alarms) > 0 && !strings.HasPrefix(c.suffix, "/temp") {
			kept = append(kept, c)
		}
	}
	return kept
}

func cutSuffix(name, suffix string) (stem string, ok bool) {
	stem, ok = strings.CutSuffix(name, suffix)
	return stem, ok && strings.HasPrefix(name, "trip_point_")
}
