package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"holdfast/board"
)

// Supply says why the power supply does not allow something that must not be cut short: the board runs from a battery
// with less than so many percent of charge. A board without a battery, and one whose mains or USB supply is on, is fine.
// What the kernel knows is in sys/class/power_supply below root (Documentation/ABI/testing/sysfs-class-power).
func Supply(root string, percent int) error {
	dir := filepath.Join(root, "sys/class/power_supply")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the kernel knows of no supplies
	}
	read := func(name, attribute string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name, attribute))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(raw))
	}
	lowest := -1
	for _, e := range entries[:min(len(entries), 32)] {
		switch kind := read(e.Name(), "type"); {
		case kind == "Battery" && read(e.Name(), "scope") != "Device": // a mouse has a battery, too
			if n, err := strconv.Atoi(read(e.Name(), "capacity")); err == nil && (lowest < 0 || n < lowest) {
				lowest = n
			}
		case kind != "Battery" && read(e.Name(), "online") == "1":
			return nil
		}
	}
	if lowest >= 0 && lowest < percent {
		return fmt.Errorf("the battery has %d %% of its charge, %d are wanted", lowest, percent)
	}
	return nil
}

// Power reads how the board is fed: what the kernel knows of supplies, and what a Raspberry Pi's firmware says of its
// own. All of it is as of now.
func Power(root string) board.PowerFacts {
	dir := filepath.Join(root, "sys/class/power_supply")
	f := board.PowerFacts{ChargePercent: -1}
	external, off := false, false
	for _, name := range list(dir, 32) {
		read := func(attribute string) string { return word(filepath.Join(dir, name, attribute)) }
		switch kind := read("type"); {
		case kind == "Battery" && read("scope") != "Device":
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
	// The vendor's kernel alone: bits 0 to 3 are as of now, 16 to 19 since the start (documentation of vcgencmd
	// get_throttled): undervoltage, frequency capped, throttled, soft limit of temperature.
	if n, err := strconv.ParseUint(word(filepath.Join(root, "sys/devices/platform/soc/soc:firmware/get_throttled")), 16, 32); err == nil {
		f.Throttled = uint32(n)
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
