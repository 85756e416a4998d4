package host

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Clock measures whether something keeps the wall clock right, and how well, as the kernel was told by it.
type Clock struct {
	Adjtimex func(tx *unix.Timex) (state int, err error) // nil is unix.Adjtimex; called to read only
}

// Name is "clock".
func (*Clock) Name() string { return "clock" }

// Collect emits one sample. In a unit with ProtectClock= the kernel answers EPERM, even though nothing is set.
func (c *Clock) Collect(_ context.Context, emit collectors.Emit) error {
	adjtimex := c.Adjtimex
	if adjtimex == nil {
		adjtimex = unix.Adjtimex
	}
	var tx unix.Timex // Modes 0: read
	state, err := adjtimex(&tx)
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: adjtimex", collectors.ErrNoData)
	} else if err != nil {
		return fmt.Errorf("adjtimex: %w", err)
	}
	unit := 1e6
	if tx.Status&unix.STA_NANO != 0 {
		unit = 1e9
	}
	s := fieldsOf("clock", "", 3)
	truth(&s, "synchronised", state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0)
	s.Num("offset_seconds", float64(tx.Offset)/unit).Num("max_error_seconds", float64(tx.Maxerror)/1e6)
	emit(s)
	return nil
}
