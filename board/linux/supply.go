package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
