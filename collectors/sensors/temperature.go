package sensors

import (
	"cmp"

	"holdfast/collectors/doubt"
)

// millidegrees of any sensor: nothing is colder than 0 K, and no thermocouple goes further.
var degrees = doubt.Limits{Low: -273.15, High: 2500}

// temperatures lists the sensors of the thermal and the hwmon class. A thermal zone is named by its type, a hwmon sensor by
// chip/label or chip/temp1.
func temperatures(r *reader, sys string) []channel {
	var list []channel
	class := sys + "/class/thermal/"
	for _, zone := range entries(class) {
		if stem, n := numbered(zone); stem != "thermal_zone" || n < 0 {
			continue
		}
		dir := class + zone
		c := channel{name: cmp.Or(r.label(dir+"/type"), zone), at: zone, field: "temperature_celsius", path: dir + "/temp", read: plain,
			factor: 1e-3, limits: degrees}
		for _, f := range entries(dir) { // Documentation/driver-api/thermal/sysfs-api.rst
			if stem, ok := cutSuffix(f, "_type"); ok && r.label(dir+"/"+f) == "critical" {
				c.critical = dir + "/" + stem + "_temp"
				break
			}
		}
		list = append(list, c)
	}
	return append(list, hwmon(r, sys, true)...)
}
