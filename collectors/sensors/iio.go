package sensors

import (
	"cmp"
	"slices"
	"strings"

	"holdfast/collectors/doubt"
)

// The types of channels of the IIO class (Documentation/ABI/testing/sysfs-bus-iio), in whose units a value is after offset and
// scale.
var types = []quantity{
	{"temp", "temperature_celsius", 1e-3, degrees},                          // millidegrees
	{"pressure", "pressure_pascals", 1e3, doubt.Limits{High: 1e9}},          // kPa
	{"humidityrelative", "humidity_percent", 1e-3, doubt.Limits{High: 100}}, // thousandths of a percent
	{"voltage", "voltage_volts", 1e-3, doubt.Limits{}},                      // mV
	{"current", "current_amperes", 1e-3, doubt.Limits{}},                    // mA
	{"power", "power_watts", 1e-3, doubt.Limits{}},                          // mW
	{"illuminance", "illuminance_lux", 1, doubt.Limits{High: 1e6}},          // lx; full sun is 1e5
}

// converters lists the channels of the IIO class. A channel is named by device/label or device/voltage0.
func converters(r *reader, sys string) []channel {
	var list []channel
	class := sys + "/bus/iio/devices/"
	for _, device := range entries(class) {
		if !strings.HasPrefix(device, "iio:device") {
			continue
		}
		dir := class + device + "/"
		name := cmp.Or(r.label(dir+"name"), device)
		files := entries(dir)
		for _, f := range files {
			middle, ok := strings.CutPrefix(f, "in_")
			stem, raw := strings.CutSuffix(middle, "_raw")
			if !raw {
				stem, ok = strings.CutSuffix(middle, "_input")
			}
			if !ok || raw && slices.Contains(files, "in_"+stem+"_input") {
				continue
			}
			kind := stem[:len(stem)-len(strings.TrimLeft(stem, "abcdefghijklmnopqrstuvwxyz"))]
			i := slices.IndexFunc(types, func(q quantity) bool { return q.prefix == kind })
			if i < 0 || strings.HasSuffix(stem, "_mean") {
				continue
			}
			c := channel{name: name, at: device, suffix: "/" + cmp.Or(r.label(dir+"in_"+stem+"_label"), stem), field: types[i].field,
				path: dir + f, read: plain, factor: types[i].factor, limits: types[i].limits}
			if raw {
				c.read = scaled
				c.scale, c.offset = shared(dir, files, stem, kind, "_scale"), shared(dir, files, stem, kind, "_offset")
			}
			list = append(list, c)
		}
	}
	return list
}

// shared finds the channel's own file, or the one of all channels of its type.
func shared(dir string, files []string, stem, kind, suffix string) string {
	names := []string{"in_" + stem + suffix, "in_" + kind + suffix}
	if strings.Contains(stem, "-") {
		names = slices.Insert(names, 1, "in_"+kind+"-"+kind+suffix) // differential: in_voltage0-voltage1
	}
	for _, name := range names {
		if slices.Contains(files, name) {
			return dir + name
		}
	}
	return ""
}

// scaled reads (raw + offset) * scale. Both are read each time: whoever sets another range of the chip changes them.
func scaled(r *reader, c *channel) (float64, doubt.Fault, error) {
	v, err := r.number(c.path)
	if err == nil && c.offset != "" {
		var offset float64
		offset, err = r.number(c.offset)
		v += offset
	}
	if err == nil && c.scale != "" {
		var scale float64
		scale, err = r.number(c.scale)
		v *= scale
	}
	return v * c.factor, doubt.None, err
}
