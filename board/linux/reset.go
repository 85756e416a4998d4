package linux

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"holdfast/board"
)

// Reset returns why the machine started and the words of what told so; both empty where nothing tells. Nothing is
// inferred: a reason is returned only where hardware or firmware gives one that has a single meaning.
//
// A watchdog's bootstatus says that it fired; many drivers cannot say that, and 0 says nothing. power_on_reason is that
// of the AT91 family (Linux, include/linux/power/power_on_reason.h). pm_rsts is the reset register of a Raspberry Pi as
// its bootloader saw it: the supply was gone where its power-on bit is set; an orderly restart and the watchdog both come
// about by the watchdog there (drivers/watchdog/bcm2835_wdt.c), so the other bits tell neither from the other.
func Reset(root string) (reason board.Reset, words string) {
	for _, w := range Watchdogs(root) {
		if w.Reset() {
			return board.ResetWatchdog, fmt.Sprintf("%s (%s): bootstatus %#x", w.Name, w.Identity, w.Status)
		}
	}
	for _, pattern := range []string{"sys/devices/platform/*/power_on_reason", "sys/devices/platform/*/*/power_on_reason", "sys/devices/platform/*/*/*/power_on_reason"} {
		files, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is right
		for _, name := range files[:min(len(files), 4)] {
			if text := word(name); text != "" {
				return powerOn[text], "power_on_reason: " + text
			}
		}
	}
	for _, name := range []string{"pm_rsts", "rsts"} { // as its documentation calls it, and as firmware does
		if rsts, ok := cell(root, "chosen/bootloader/"+name); ok {
			const hadPOR, hadWRF = 0x1000, 0x20 // PM_RSTS_HADPOR_SET, PM_RSTS_HADWRF_SET: a restart of any kind
			if rsts&(hadPOR|hadWRF) == hadPOR {
				reason = board.ResetPower
			}
			return reason, fmt.Sprintf("%s: %#x", name, rsts)
		}
	}
	return "", ""
}

// powerOn is what of the kernel's words has a meaning here. "reset button action", "RTC wakeup" and failures of clocks
// have none, and are passed on as words.
var powerOn = map[string]board.Reset{
	"regular power-up": board.ResetPower, "brown-out reset": board.ResetPower,
	"watchdog timeout": board.ResetWatchdog, "software reset": board.ResetRequest,
}

// cell reads a property of the device tree that is one 32-bit number, big-endian.
func cell(root, property string) (uint32, bool) {
	for _, tree := range deviceTrees {
		if text, err := readSmall(filepath.Join(root, tree, property), 64); err == nil && len(text) == 4 {
			return binary.BigEndian.Uint32([]byte(text)), true
		}
	}
	return 0, false
}
