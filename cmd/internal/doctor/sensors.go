package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

const (
	noBus = "switch the bus on (dtparam=i2c_arm=on on a Raspberry Pi, status = \"okay\" in a device tree), load i2c-dev, and compare i2c.NAME.bus with i2cdetect -l"
	shut  = "apt-get install i2c-tools (it brings the group i2c, and gives it the buses), mkdir -p /etc/systemd/system/holdfast.service.d && cp /usr/share/doc/holdfast/examples/i2c.conf /etc/systemd/system/holdfast.service.d/ && systemctl daemon-reload && systemctl restart holdfast"
)

// i2c looks whether the buses of the configured chips can be opened, here and by the unit.
func (x *examination) i2c(ctx context.Context) {
	buses := map[string]bool{}
	for _, chip := range x.o.Config.I2C {
		buses[chip.Bus] = true
	}
	for _, bus := range slices.Sorted(maps.Keys(buses)) {
		c := Check{Name: "i2c", Subject: bus, Outcome: OK, Seen: "can be opened"}
		var err error
		switch done := within(ctx, localLimit, func() { err = x.o.Bus(bus) }); {
		case !done:
			c.Outcome, c.Seen, c.Hint = Fail, "does not answer", "look at dmesg"
		case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
			c.Outcome, c.Seen = Skipped, "needs root: "+err.Error()
		case errors.Is(err, fs.ErrNotExist):
			c.Outcome, c.Seen, c.Hint = Fail, "cannot open "+bus+": it is not there", noBus
		case err != nil:
			c.Outcome, c.Seen, c.Hint = Fail, err.Error(), "i2cdetect -l lists the buses that can be used"
		case x.underSystemd():
			if why := x.confined(ctx, bus); why != "" {
				c.Outcome, c.Seen, c.Hint = Fail, fmt.Sprintf("cannot open %s in %s: %s", bus, service, why), shut
			}
		}
		x.add(c)
	}
}

// confined says why the unit keeps the agent from a bus; nothing when it does not, or when that is not known.
func (x *examination) confined(ctx context.Context, bus string) string {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	var out []byte
	if !within(ctx, localLimit, func() {
		out, _ = x.o.Systemctl(ctx, "show", "--property=Id,PrivateDevices,DevicePolicy,DeviceAllow", service)
	}) {
		return ""
	}
	for _, u := range ParseShow(out) {
		allowed := strings.Contains(u["DeviceAllow"], "char-i2c") || strings.Contains(u["DeviceAllow"], bus+" ")
		switch {
		case u["PrivateDevices"] == "yes":
			return "PrivateDevices hides it"
		case (u["DevicePolicy"] == "closed" || u["DevicePolicy"] == "strict" || u["DeviceAllow"] != "") && !allowed:
			return "DeviceAllow does not name it"
		}
	}
	// Without the udev rule of i2c-tools the kernel's mode stands: root alone.
	if info, err := os.Stat(bus); err == nil && info.Mode()&0o006 != 0o006 {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (st.Gid == 0 || info.Mode()&0o060 != 0o060) {
			return "it is root's alone"
		}
	}
	return ""
}
