package boardtest

import "time"

// Clock is the machine's clock, trusted; in a bubble of testing/synctest it is the bubble's.
type Clock struct{}

// Now implements board.Clock.
func (Clock) Now() time.Time { return time.Now() }

// Trusted implements board.Clock.
func (Clock) Trusted() bool { return true }

// Timer implements board.Clock.
func (Clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
