package fetch

import (
	"context"
	"net"
	"time"

	"holdfast/board"
)

var (
	ParseRange = parseRange
	ParseRetry = parseRetry
)

// Dialing makes h connect by dial.
func Dialing(h *HTTP, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	h.dial = dial
}

// Paced is a connection whose peer has to keep up.
func Paced(c net.Conn, stall time.Duration, rate int64, clock board.Clock) net.Conn {
	return &paced{Conn: c, clock: clock, pace: pace{stall: stall, rate: rate}}
}
