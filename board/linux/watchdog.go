package linux

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Watchdog is one watchdog device (Documentation/ABI/testing/sysfs-class-watchdog). The kernel has most of it only with
// CONFIG_WATCHDOG_SYSFS.
type Watchdog struct {
	Name     string // of the device below /dev, such as watchdog0
	Identity string // of its driver, such as "imx2+ watchdog"
	Told     bool   // the kernel says whether somebody does: without CONFIG_WATCHDOG_SYSFS it does not
	Active   bool   // somebody holds it open: on a board with systemd that is systemd, see RuntimeWatchdogSec=
	Timeout  int    // seconds; 0 where the kernel does not say
	NoWayOut bool   // once it was opened, nothing stops it
	Status   uint64 // WDIOF_ bits of linux/watchdog.h as they were when the machine started
}

// cardReset is WDIOF_CARDRESET: the watchdog was why the machine started.
const cardReset = 0x20

// Reset reports whether this watchdog was why the machine started. Many drivers cannot tell, and then never say so.
func (w Watchdog) Reset() bool { return w.Status&cardReset != 0 }

// Soft reports whether it is the kernel's own timer (softdog), which does not fire when the kernel hangs.
func (w Watchdog) Soft() bool { return w.Identity == "Software Watchdog" }

const maxWatchdogs = 16

// Watchdogs returns the watchdog devices below root, by name.
func Watchdogs(root string) []Watchdog {
	var all []Watchdog
	for _, name := range list(filepath.Join(root, "sys/class/watchdog"), maxWatchdogs) {
		read := func(attribute string) string { return word(filepath.Join(root, "sys/class/watchdog", name, attribute)) }
		state := read("state")
		w := Watchdog{Name: name, Identity: read("identity"), Told: state != "", Active: state == "active", NoWayOut: read("nowayout") == "1"}
		w.Timeout, _ = strconv.Atoi(read("timeout"))
		w.Status, _ = strconv.ParseUint(read("bootstatus"), 0, 32)
		all = append(all, w)
	}
	return all
}

// list returns the names in a directory, sorted, at most so many; none where it cannot be read.
func list(dir string, most int) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(most)
	slices.SortFunc(names, func(a, b string) int { // watchdog9 before watchdog10
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names
}
