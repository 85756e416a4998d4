package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
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

	gap   func(spool.Gap) (spool.Record, bool)
	limit time.Duration // how long the end may wait for what is in flight

	in    chan put
	link  chan bool         // whether the link is up; room for one, of which the newest counts
	stats chan<- spoolStats // the core's; it always reads

	flying  map[uint64]flight // entries handed to the connection
	acks    chan ack          // room for the window: a callback never waits
	up      bool
	held    bool   // nothing is sent before the link or the clock says more: a publication came back, or flash is unreadable
	again   bool   // something of the window was lost; it is handed out again when the rest is back
	refused uint64 // records the broker, the dialect or the spool would not take
}

// flight is what is remembered of an entry under way.
type flight struct {
	class   spool.Class
	session string
	seq     uint64
	isGap   bool
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
	size := sizeOf(p.records)
more:
	for len(batch) < 64 && size < putBytes { // enough to share an fsync, few enough that an answer is soon there
		select {
		case p, open := <-d.in:
			if !open {
				break more // seen again by run
			}
			batch, waiting = append(batch, p.records...), append(waiting, p.durable)
			size += sizeOf(p.records)
		default:
			break more
		}
	}
	err := d.spool.Put(d.clock.Now(), batch...)
	if errors.Is(err, spool.ErrRecord) { // none was taken, and perhaps one alone is to blame
		err = d.putEach(batch)
	}
	if err != nil {
		d.log.Debug("spool", "err", err)
	}
	for _, w := range waiting {
		if w != nil {
			w <- err
		}
	}
}

// putBytes bounds what shares an fsync: with the largest record after it, it still fits into the spool's memory.
const putBytes = 32 << 10

func sizeOf(records []spool.Record) (sum int) {
	for _, r := range records {
		sum += len(r.Payload)
	}
	return sum
}

// putEach stores records one at a time; what the spool cannot keep is told of.
func (d *drain) putEach(records []spool.Record) (last error) {
	for _, r := range records {
		err := d.spool.Put(d.clock.Now(), r)
		if errors.Is(err, spool.ErrRecord) {
			d.refuse(flight{class: r.Class, session: r.Session, seq: r.Seq, isGap: isGap(r)}, err)
		}
		if err != nil {
			last = err
		}
	}
	return last
}

// refuse counts a record that can never be delivered, and tells of it. A record that tells of a loss is not told of.
func (d *drain) refuse(f flight, err error) {
	d.refused++
	d.log.Warn("record refused", "seq", f.seq, "err", err)
	if f.isGap {
		return
	}
	tells, ok := d.gap(spool.Gap{Class: f.class, Session: f.session, From: f.seq, To: f.seq, Count: 1, Reason: "refused: " + short(err)})
	if !ok {
		return
	}
	if err := d.spool.Put(d.clock.Now(), tells); err != nil {
		d.log.Debug("spool", "err", err)
	}
}

func isGap(r spool.Record) bool {
	return r.Class == spool.Event && bytes.Contains(r.Payload[:min(len(r.Payload), 96)], []byte(`"kind":"gap"`))
}

// short is an error's text, in few enough bytes for a record.
func short(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}

// send fills the window.
func (d *drain) send() {
	if !d.up || d.held || len(d.flying) >= d.window || d.again && len(d.flying) > 0 {
		return
	}
	entries, err := d.spool.Next(d.window - len(d.flying))
	if err != nil {
		d.log.Warn("read spool", "err", err)
		d.held = true // asked again at the next tick
	}
	for _, e := range entries {
		out := link.Outbound{Telemetry: e.Payload}
		if e.Class == spool.Event {
			out = link.Outbound{Event: e.Payload}
		}
		m, err := d.dialect.Encode(out)
		d.flying[e.ID] = flight{e.Class, e.Session, e.Seq, isGap(e.Record)}
		if err != nil {
			d.landed(ack{e.ID, err})
			continue
		}
		d.conn.Publish(m, func(err error) { d.acks <- ack{e.ID, err} })
	}
}

// landed closes one publication. What the link lost is handed out again when the last of the window is back and the link
// is up; what was refused for what it is will be refused again, and is dropped, counted and told of.
func (d *drain) landed(a ack) {
	f := d.flying[a.id]
	delete(d.flying, a.id)
	switch {
	case a.err == nil:
		d.spool.Done(a.id)
	case errors.Is(a.err, link.ErrDown):
		d.held, d.again = true, true
	default:
		d.refuse(f, a.err)
		d.spool.Done(a.id)
	}
	if d.again && len(d.flying) == 0 {
		d.spool.Retry()
		d.again = false
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
	deadline, stop := d.clock.Timer(d.limit)
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
			d.spool.Link(d.clock.Now(), d.up)
			continue
		case <-deadline:
		}
		break
	}
	return d.spool.Close(d.clock.Now())
}
