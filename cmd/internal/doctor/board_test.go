package doctor_test

import (
	"path/filepath"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
)

func TestTheBoardIsNamedAndItsProfilesStateToo(t *testing.T) {
	t.Parallel()
	tree := "radxa,rock-5b\x00rockchip,rk3588\x00"
	mine := "title = \"Mine\"\ncompatible = [\"acme,pump\"]\nverified = true\n"
	for _, tt := range []struct {
		name, tree, profile string
		change              func(*config.Config)
		want                doctor.Outcome
		words               string
	}{
		{"no device tree", "", "", nil, doctor.Skipped, "no profile"},
		{"unverified", tree, "", nil, doctor.Warn, "accept_unverified_board"},
		{"accepted", tree, "", func(c *config.Config) { c.AcceptUnverified = true }, doctor.OK, "accepted"},
		{"the user's own", "acme,pump\x00", mine, nil, doctor.OK, "mine: Mine"},
		{"named", tree, mine, func(c *config.Config) { c.Board = "mine" }, doctor.OK, "mine: Mine"},
		{"no such", tree, "", func(c *config.Config) { c.Board = "rock-6" }, doctor.Fail, "rock-5b"},
		{"a wrong file", "", mine + "wired = 1\n", nil, doctor.Fail, "boards.d/mine.toml:4:1"},
	} {
		o := options(t, tt.change)
		if tt.tree != "" {
			write(t, filepath.Join(o.Config.Root, "proc/device-tree/compatible"), tt.tree)
		}
		if tt.profile != "" {
			write(t, filepath.Join(o.Config.Root, "etc/holdfast/boards.d/mine.toml"), tt.profile)
		}
		t.Log(tt.name)
		expect(t, find(t, doctor.Run(t.Context(), o), "board"), tt.want, tt.words)
	}
}

func TestTheSlotsAreSaidWhoeverNamesThem(t *testing.T) {
	t.Parallel()
	const rauc = "[system]\nbootloader=%s\n[slot.rootfs.0]\ndevice=/dev/null/a\nbootname=A\n[slot.rootfs.1]\ndevice=/dev/null/b\nbootname=B\n"
	uboot := func(c *config.Config) { c.Update.Bootloader = "uboot-rauc" }
	for _, tt := range []struct {
		name   string
		files  map[string]string
		change func(*config.Config)
		want   doctor.Outcome
		words  string
	}{
		{"nothing", nil, nil, doctor.Skipped, "not updated"},
		{"nothing, and wanted", nil, uboot, doctor.Fail, "nothing says where"},
		{"labels", map[string]string{"dev/disk/by-partlabel/root-a": "", "dev/disk/by-partlabel/root-b": ""}, uboot, doctor.OK, "PARTLABEL=root-a and PARTLABEL=root-b"},
		{"labels, and updates off", map[string]string{"dev/disk/by-partlabel/root-a": "", "dev/disk/by-partlabel/root-b": ""}, nil, doctor.OK, "update.bootloader is not set"},
		{"RAUC's, not there", map[string]string{"etc/rauc/system.conf": rauc}, uboot, doctor.Fail, "root of slot a"},
		{"RAUC's, ambiguous", map[string]string{"etc/rauc/system.conf": rauc, "dev/disk/by-partlabel/root-a": "", "dev/disk/by-partlabel/root-b": ""}, uboot, doctor.Fail, "ambiguous"},
		{"a wrong system.conf", map[string]string{"etc/rauc/system.conf": "x"}, nil, doctor.Warn, "system.conf"},
	} {
		o := options(t, tt.change)
		for name, text := range tt.files {
			write(t, filepath.Join(o.Config.Root, name), text)
		}
		t.Log(tt.name)
		expect(t, find(t, doctor.Run(t.Context(), o), "slots"), tt.want, tt.words)
	}
}

func TestWatchdogAndPowerAreSaid(t *testing.T) {
	t.Parallel()
	const dog, hwmon = "sys/class/watchdog/watchdog0/", "sys/class/hwmon/hwmon0/"
	for _, tt := range []struct {
		name, check string
		files       map[string]string
		want        doctor.Outcome
		words       string
	}{
		{"none", "watchdog", nil, doctor.Skipped, "no hardware watchdog"},
		{"fed", "watchdog", map[string]string{dog + "identity": "imx2+ watchdog", dog + "state": "active", dog + "timeout": "60"}, doctor.OK, "imx2+ watchdog (60 s) is fed"},
		{"idle", "watchdog", map[string]string{dog + "identity": "imx2+ watchdog", dog + "state": "inactive"}, doctor.Warn, "nobody feeds it"},
		{"silent", "watchdog", map[string]string{dog + "dev": "248:0"}, doctor.Skipped, "CONFIG_WATCHDOG_SYSFS"},
		{"silent, and one that is fed", "watchdog", map[string]string{dog + "dev": "248:0", "sys/class/watchdog/watchdog1/state": "active"}, doctor.OK, "watchdog1 is fed"},
		{"soft", "watchdog", map[string]string{dog + "identity": "Software Watchdog", dog + "state": "active"}, doctor.Skipped, "no hardware watchdog"},
		{"missing", "watchdog", map[string]string{"proc/device-tree/compatible": "radxa,rock-5b\x00"}, doctor.Warn, "Synopsys DesignWare Watchdog"},
		{"no supply", "power", nil, doctor.Skipped, "no supplies"},
		{"low", "power", map[string]string{hwmon + "name": "rpi_volt", hwmon + "in0_lcrit_alarm": "1"}, doctor.Warn, "undervoltage now"},
		{"good", "power", map[string]string{hwmon + "name": "rpi_volt", hwmon + "in0_lcrit_alarm": "0"}, doctor.OK, "no undervoltage"},
	} {
		o := options(t, nil)
		for name, text := range tt.files {
			write(t, filepath.Join(o.Config.Root, name), text)
		}
		t.Log(tt.name)
		expect(t, find(t, doctor.Run(t.Context(), o), tt.check), tt.want, tt.words)
	}
}
