package linux_test

import (
	"reflect"
	"testing"

	"holdfast/board"
	"holdfast/board/linux"
)

const watch = "sys/class/watchdog/"

func TestAMachineSaysWhatItIs(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/device-tree/compatible":            "raspberrypi,4-model-b\x00brcm,bcm2711\x00",
		"proc/device-tree/system/linux,revision": "\x00\xc0\x31\x14",
		"proc/self/mountinfo":                    "22 1 0:2 / / rw - rootfs rootfs rw\n27 1 179:2 / / ro,relatime shared:1 - ext4 /dev/mmcblk0p2 ro\n",
		watch + "watchdog0/identity":             "Broadcom BCM2835 Watchdog timer\n",
		watch + "watchdog0/state":                "active\n",
		watch + "watchdog0/timeout":              "15\n",
		watch + "watchdog0/nowayout":             "0\n",
		watch + "watchdog0/bootstatus":           "0\n",
		watch + "watchdog10/identity":            "Software Watchdog\n",
		watch + "watchdog9/state":                "inactive\n",
	} {
		write(t, root, name, text)
	}
	got := linux.Facts(root)
	want := board.Facts{Compatible: []string{"raspberrypi,4-model-b", "brcm,bcm2711"}, Revision: "c03114", Root: "read-only", Watchdogs: []board.WatchdogFacts{
		{Name: "watchdog0", Identity: "Broadcom BCM2835 Watchdog timer", Active: true, TimeoutSeconds: 15},
		{Name: "watchdog9"}, {Name: "watchdog10", Identity: "Software Watchdog"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("facts\n%+v, want\n%+v", got, want)
	}
	if got := linux.Facts(t.TempDir()); !reflect.DeepEqual(got, board.Facts{}) {
		t.Errorf("a bare root: %+v", got)
	}
}

func TestTheTreeIsFoundWhereProcHasNone(t *testing.T) {
	root := t.TempDir()
	write(t, root, "sys/firmware/devicetree/base/compatible", "radxa,rock-5b\x00rockchip,rk3588\x00")
	if got := linux.Compatible(root); !reflect.DeepEqual(got, []string{"radxa,rock-5b", "rockchip,rk3588"}) {
		t.Errorf("compatible %q", got)
	}
}

func TestTheRevisionIsInOlderKernelsProcessors(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\n\nHardware\t: BCM2835\nRevision\t: a020d3\n": "a020d3",
		"Revision\t: 0000\n":     "",
		"Revision\t: 0007\n":     "7",
		"CPU revision\t: 4\n":    "",
		"Revision\t: <script>\n": "",
	} {
		root := t.TempDir()
		write(t, root, "proc/cpuinfo", text)
		if got := linux.Facts(root).Revision; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTheReasonOfAResetIsOneThatIsTold(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             board.Reset
		words            string
	}{
		{"nothing", "x", "", "", ""},
		{"a watchdog", watch + "watchdog0/bootstatus", "32\n", board.ResetWatchdog, "watchdog0 (): bootstatus 0x20"},
		{"the second watchdog, and more bits", watch + "watchdog1/bootstatus", "0x21\n", board.ResetWatchdog, "watchdog1 (): bootstatus 0x21"},
		{"a watchdog that says nothing", watch + "watchdog0/bootstatus", "0\n", "", ""},
		{"a watchdog that says something else", watch + "watchdog0/bootstatus", "1\n", "", ""},
		{"AT91", "sys/devices/platform/ahb/ahb:apb/f8048000.rstc/power_on_reason", "software reset\n", board.ResetRequest, "power_on_reason: software reset"},
		{"AT91's watchdog", "sys/devices/platform/f8048000.rstc/power_on_reason", "watchdog timeout\n", board.ResetWatchdog, "power_on_reason: watchdog timeout"},
		{"a button", "sys/devices/platform/f8048000.rstc/power_on_reason", "reset button action\n", "", "power_on_reason: reset button action"},
		{"a Raspberry Pi's supply", "proc/device-tree/chosen/bootloader/pm_rsts", "\x00\x00\x10\x00", board.ResetPower, "pm_rsts: 0x1000"},
		{"a Raspberry Pi's restart or watchdog", "proc/device-tree/chosen/bootloader/pm_rsts", "\x00\x00\x00\x20", "", "pm_rsts: 0x20"},
		{"half a number", "proc/device-tree/chosen/bootloader/pm_rsts", "\x10\x00", "", ""},
	} {
		root := t.TempDir()
		write(t, root, tt.file, tt.text)
		if got, words := linux.Reset(root); got != tt.want || words != tt.words {
			t.Errorf("%s: %q, %q, want %q, %q", tt.name, got, words, tt.want, tt.words)
		}
	}
}

func TestPowerIsToldAsFarAsItIsKnown(t *testing.T) {
	yes, no := true, false
	none := board.PowerFacts{ChargePercent: -1}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  board.PowerFacts
	}{
		{"nothing", nil, none},
		{"mains", map[string]string{"power_supply/ac/type": "Mains", "power_supply/ac/online": "1"}, board.PowerFacts{Source: "external", ChargePercent: -1}},
		{"battery", map[string]string{"power_supply/ac/type": "USB", "power_supply/ac/online": "0", "power_supply/b/type": "Battery", "power_supply/b/capacity": "41"},
			board.PowerFacts{Source: "battery", ChargePercent: 41}},
		{"a battery, and nobody says of what else", map[string]string{"power_supply/b/type": "Battery", "power_supply/b/capacity": "41"}, board.PowerFacts{ChargePercent: 41}},
		{"a mouse", map[string]string{"power_supply/b/type": "Battery", "power_supply/b/scope": "Device", "power_supply/b/capacity": "41"}, none},
		{"nonsense", map[string]string{"power_supply/b/type": "Battery", "power_supply/b/capacity": "400"}, none},
		{"undervoltage", map[string]string{"hwmon/hwmon1/name": "rpi_volt", "hwmon/hwmon1/in0_lcrit_alarm": "1", "hwmon/hwmon0/name": "cpu_thermal"},
			board.PowerFacts{ChargePercent: -1, Undervoltage: &yes}},
		{"enough", map[string]string{"hwmon/hwmon1/name": "rpi_volt", "hwmon/hwmon1/in0_lcrit_alarm": "0"}, board.PowerFacts{ChargePercent: -1, Undervoltage: &no}},
	} {
		root := t.TempDir()
		for name, text := range tt.files {
			write(t, root, "sys/class/"+name, text+"\n")
		}
		if got := linux.Power(root); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
