package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/spool"
	"holdfast/board"
)

// A put is records on their way to the spool.
type put struct {
	records []spool.Record
	durable chan<- error // told when they are on flash, if not nil; has room for the answer
}

// drain owns the spool: it puts in what comes and sends what is there, a window of records at a time.
type drain struct {
	spool   *spool.Spool
	conn    link.Conn
	dialect link.Dialect
	clock   board.Clock
	log     *slog.Logger
	window  int // records in flight, at most

	in    chan put
	link  chan bool         // the link came up or went down
	stats chan<- spoolStats // the core's; it always reads

	flying  map[uint64]struct{} // entries handed to the connection
	acks    chan ack            // room for the window: a callback never waits
	up      bool
	held    bool   // a publication came back undelivered; nothing is sent before the link or the clock says more
	refused uint64 // records the broker or the dialect would not take
}

type ack struct {
	id  uint64
	err error
}

// spoolStats is what the core knows of the spool.
type spoolStats struct {
	spool.Stats
	Refused uint64
	Flying  int
}

// drainTick is how often the spool looks at its clock: whether readings must go to flash, whether a disk that was full
// can be written again.
const drainTick = 5 * time.Second

// run works until in is closed, then keeps what is left on flash and returns. It outlives every other part, so that the
// last words are kept.
func (d *drain) run(context.Context) error {
	tick, stop := d.clock.Timer(drainTick)
	defer func() { stop() }()
	for {
		d.send()
		select {
		case p, open := <-d.in:
			if !open {
				return d.close()
			}
			d.put(p)
		case a := <-d.acks:
			d.landed(a)
		case up := <-d.link:
			d.up, d.held = up, false
			d.spool.Link(d.clock.Now(), up)
		case <-tick:
			d.held = false
			d.spool.Tick(d.clock.Now())
			d.tell()
			tick, stop = d.clock.Timer(drainTick)
		}
	}
}

// put stores p and whatever else waits, with one fsync.
func (d *drain) put(p put) {
	batch, waiting := p.records, []chan<- error{p.durable}
more:
	for len(batch) < 64 { // enough to share an fsync, few enough that an answer is soon there
		select {
		case p, open := <-d.in:
			if !open {
				break more // seen again by run
			}
			batch, waiting = append(batch, p.records...), append(waiting, p.durable)
		default:
			break more
		}
	}
	err := d.spool.Put(d.clock.Now(), batch...)
	if err != nil {
		d.log.Debug("spool", "err", err)
	}
	for _, w := range waiting {
		if w != nil {
			w <- err
		}
	}
}

// send fills the window.
func (d *drain) send() {
	if !d.up || d.held || len(d.flying) >= d.window {
		return
	}
	entries, err := d.spool.Next(d.window - len(d.flying))
	if err != nil {
		d.log.Warn("read spool", "err", err)
	}
	for _, e := range entries {
		out := link.Outbound{Telemetry: e.Payload}
		if e.Class == spool.Event {
			out = link.Outbound{Event: e.Payload}
		}
		m, err := d.dialect.Encode(out)
		d.flying[e.ID] = struct{}{}
		if err != nil {
			d.landed(ack{e.ID, err})
			continue
		}
		d.conn.Publish(m, func(err error) { d.acks <- ack{e.ID, err} })
	}
}

// landed closes one publication. What the link lost is handed out again when the last of the window is back and the link
// is up; what was refused for what it is will be refused again, and is dropped and counted.
func (d *drain) landed(a ack) {
	delete(d.flying, a.id)
	switch {
	case a.err == nil:
		d.spool.Done(a.id)
	case errors.Is(a.err, link.ErrDown):
		d.held = true
	default:
		d.refused++
		d.log.Warn("record refused", "err", a.err)
		d.spool.Done(a.id)
	}
	if len(d.flying) == 0 {
		d.spool.Retry()
	}
}

// tell hands the core the present figures.
func (d *drain) tell() {
	select {
	case d.stats <- spoolStats{d.spool.Stats(), d.refused, len(d.flying)}:
	default: // the core has older ones still to read
	}
}

// close waits a moment for what is in flight, then keeps the rest.
func (d *drain) close() error {
	deadline, stop := d.clock.Timer(2 * time.Second)
	defer stop()
	for d.up && !d.held {
		d.send()
		if len(d.flying) == 0 {
			break
		}
		select {
		case a := <-d.acks:
			d.landed(a)
			continue
		case d.up = <-d.link:
			continue
		case <-deadline:
		}
		break
	}
	return d.spool.Close(d.clock.Now())
}
