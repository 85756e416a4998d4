package linux

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// trustCheck is how long an answer about the clock is kept: asking costs two system calls, samples ask often.
const trustCheck = 5 * time.Second

// A Clock is the kernel's. The zero value is ready.
type Clock struct {
	// Vouched says that the wall clock is right without NTP: a battery-backed RTC the operator answers for.
	Vouched bool

	asked atomic.Pointer[time.Time] // when the kernel was last asked, with its monotonic reading
	yes   atomic.Bool
}

// Now implements board.Clock.
func (c *Clock) Now() time.Time { return time.Now() }

// Timer implements board.Clock.
func (c *Clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Trusted implements board.Clock: the kernel's clock discipline says that something keeps it synchronised
// (adjtimex(2), STA_UNSYNC), or systemd-timesyncd has left its mark.
func (c *Clock) Trusted() bool {
	if c.Vouched {
		return true
	}
	now := time.Now()
	if last := c.asked.Load(); last != nil && now.Sub(*last) < trustCheck {
		return c.yes.Load()
	}
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	yes := err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
	if !yes {
		_, err := os.Stat("/run/systemd/timesync/synchronized")
		yes = err == nil
	}
	c.yes.Store(yes)
	c.asked.Store(&now)
	return yes
}
