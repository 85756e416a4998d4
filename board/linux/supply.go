package linux

import (
	"fmt"
	"path/filepath"
	"strconv"

	"holdfast/board"
)

// Supply says why the power supply does not allow something that must not be cut short: the board runs from a battery
// with less than so many percent of charge. A board without a battery, and one whose mains or USB supply is on, is fine.
// What the kernel knows is in sys/class/power_supply below root (Documentation/ABI/testing/sysfs-class-power).
func Supply(root string, percent int) error {
	p := Power(root)
	if p.Source != "external" && p.ChargePercent >= 0 && p.ChargePercent < percent {
		return fmt.Errorf("the battery has %d %% of its charge, %d are wanted", p.ChargePercent, percent)
	}
	return nil
}

// Power reads how the board is fed: what the kernel knows of supplies, and what a Raspberry Pi's firmware says of its
// own. All of it is as of now. The file get_throttled is left alone, which the vendor's kernels had from 4.14 to 6.12: from
// 4.19 on the first to read it gets a warning with a backtrace into the kernel's log, and a panic where panic_on_warn is set;
// what it says of the time since the start is of the last two seconds.
func Power(root string) board.PowerFacts {
	dir := filepath.Join(root, "sys/class/power_supply")
	f := board.PowerFacts{ChargePercent: -1}
	external, off := false, false
	for _, name := range list(dir, 32) {
		read := func(attribute string) string { return word(filepath.Join(dir, name, attribute)) }
		switch kind := read("type"); {
		case kind == "Battery" && read("scope") != "Device": // a mouse has a battery, too
			if n, err := strconv.Atoi(read("capacity")); err == nil && n >= 0 && n <= 100 && (f.ChargePercent < 0 || n < f.ChargePercent) {
				f.ChargePercent = n
			}
		case kind != "" && kind != "Battery":
			external = external || read("online") == "1"
			off = off || read("online") == "0"
		}
	}
	switch {
	case external:
		f.Source = "external"
	case f.ChargePercent >= 0 && off:
		f.Source = "battery"
	}
	for _, hwmon := range list(filepath.Join(root, "sys/class/hwmon"), 64) { // Documentation/hwmon/raspberrypi-hwmon.rst
		at := filepath.Join(root, "sys/class/hwmon", hwmon)
		if word(filepath.Join(at, "name")) == "rpi_volt" {
			f.Undervoltage = told(word(filepath.Join(at, "in0_lcrit_alarm")), "1")
		}
	}
	return f
}

// told is a truth that may be unknown.
func told(text, yes string) *bool {
	if text == "" {
		return nil
	}
	is := text == yes
	return &is
}
