package sensors

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// firmware is what Raspberry Pi's firmware says of supply and heat, as vcgencmd get_throttled has it. The kernel of Raspberry Pi
// OS has the file; others tell of the supply alone, by the hwmon chip rpi_volt.
type firmware struct {
	Options
	r reader
}

// Name implements collectors.Source.
func (*firmware) Name() string { return "firmware" }

// bits are those of the present; 16 above each is whether it has been so since the start.
var bits = [...]struct{ now, since string }{
	{"undervoltage", "undervoltage_since_boot"}, // below 4.63 V
	{"frequency_capped", "frequency_capped_since_boot"},
	{"throttled", "throttled_since_boot"},
	{"hot", "hot_since_boot"}, // above the soft limit of temperature
}

// Collect implements collectors.Source.
func (f *firmware) Collect(_ context.Context, emit collectors.Emit) error {
	path := f.Root + "/sys/devices/platform/soc/soc:firmware/get_throttled"
	b, err := f.r.text(path)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return fmt.Errorf("%w: %s", collectors.ErrNoData, path)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	n := hex(b)
	if n < 0 {
		return fmt.Errorf("read %s: %w: %.20q", path, errGarbage, b)
	}
	s := fieldsOf("firmware", "", 2*len(bits))
	for i, bit := range bits {
		truth(&s, bit.now, n>>i&1 == 1)
		truth(&s, bit.since, n>>(16+i)&1 == 1)
	}
	emit(s)
	return nil
}
