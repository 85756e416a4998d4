package doctor_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
)

func TestBusesOfConfiguredChips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		uid     int
		err     error
		show    string // of the unit; empty: systemd does not run
		outcome doctor.Outcome
		words   []string
	}{
		{"good, without systemd", 0, nil, "", doctor.OK, []string{"can be opened"}},
		{"not there", 0, fmt.Errorf("open: %w", fs.ErrNotExist), "", doctor.Fail, []string{"cannot open /dev/i2c-1: it is not there", "dtparam", "i2c-dev"}},
		{"not ours", 1000, fmt.Errorf("open: %w", fs.ErrPermission), "", doctor.Skipped, []string{"needs root"}},
		{"no bus", 0, fmt.Errorf("i2c bus /dev/i2c-1: is none"), "", doctor.Fail, []string{"is none", "i2cdetect"}},
		{"hidden by the unit", 0, nil, "PrivateDevices=yes\nDevicePolicy=closed\nDeviceAllow=\n", doctor.Fail, []string{"PrivateDevices hides it", "examples/i2c.conf"}},
		{"not allowed by the unit", 0, nil, "PrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-gpiochip rw\n", doctor.Fail, []string{"DeviceAllow does not name it"}},
		{"allowed", 0, nil, "PrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-i2c rw\n", doctor.OK, nil},
		{"one bus allowed", 0, nil, "PrivateDevices=no\nDevicePolicy=strict\nDeviceAllow=/dev/i2c-1 rw\n", doctor.OK, nil},
		{"another bus allowed", 0, nil, "PrivateDevices=no\nDevicePolicy=strict\nDeviceAllow=/dev/i2c-10 rw\n", doctor.Fail, nil},
	} {
		o := options(t, func(c *config.Config) {
			c.I2C = map[string]config.I2C{"a": {Bus: "/dev/i2c-1", Chip: "bme280"}, "b": {Bus: "/dev/i2c-1", Chip: "sht4x"}}
		})
		o.UID, o.Bus = tt.uid, func(string) error { return tt.err }
		o.Systemctl = func(context.Context, ...string) ([]byte, error) {
			return []byte("Id=holdfast.service\n" + tt.show), nil
		}
		if tt.show != "" {
			if err := os.MkdirAll(filepath.Join(o.Config.Root, "run/systemd/system"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		r := doctor.Run(t.Context(), o)
		t.Log(tt.name)
		expect(t, find(t, r, "i2c"), tt.outcome, tt.words...)
		one := func(c doctor.Check) bool { return c.Name == "i2c" }
		if at := slices.IndexFunc(r.Checks, one); slices.ContainsFunc(r.Checks[at+1:], one) {
			t.Errorf("%s: the bus of two chips is looked at twice", tt.name)
		}
	}
	bus := filepath.Join(t.TempDir(), "i2c-1")
	if err := os.WriteFile(bus, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t, func(c *config.Config) { c.I2C = map[string]config.I2C{"a": {Bus: bus, Chip: "bme280"}} })
	o.Bus = func(string) error { return nil }
	o.Systemctl = func(context.Context, ...string) ([]byte, error) {
		return []byte("Id=holdfast.service\nPrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-i2c rw\n"), nil
	}
	if err := os.MkdirAll(filepath.Join(o.Config.Root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect(t, find(t, doctor.Run(t.Context(), o), "i2c"), doctor.Fail, "it is root's alone", "i2c-tools")
	if err := os.Chmod(bus, 0o666); err != nil {
		t.Fatal(err)
	}
	expect(t, find(t, doctor.Run(t.Context(), o), "i2c"), doctor.OK)
	if r := doctor.Run(t.Context(), options(t, nil)); slices.ContainsFunc(r.Checks, func(c doctor.Check) bool { return c.Name == "i2c" }) {
		t.Error("buses are looked at without chips")
	}
}
