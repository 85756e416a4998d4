package agent

import (
	"slices"

	"holdfast/agent/spool"
)

// Bounds of what waits between core and drain, while the disk takes its time.
const (
	maxOutbox   = 256
	outboxBytes = 1 << 20
)

// outbox is the records the drain has not yet taken, oldest first. When the drain does not keep up, the oldest readings
// go, then the oldest events; one record tells of them when there is room again.
type outbox struct {
	queue []put
	bytes int
	lost  uint64
	gaps  [2]spool.Gap // by class: what was dropped and not yet told of
	gap   func(spool.Gap) (spool.Record, bool)
}

func (o *outbox) add(r spool.Record) {
	for len(o.queue) > 0 && (len(o.queue) >= maxOutbox || o.bytes+len(r.Payload) > outboxBytes) {
		o.drop()
	}
	o.queue = append(o.queue, put{records: []spool.Record{r}})
	o.bytes += len(r.Payload)
}

func (o *outbox) drop() {
	i := slices.IndexFunc(o.queue, func(p put) bool { return p.records[0].Class == spool.Telemetry })
	gone := o.remove(max(i, 0))
	o.lost++
	g := &o.gaps[gone.Class]
	if g.Count == 0 {
		*g = spool.Gap{Class: gone.Class, Session: gone.Session, From: gone.Seq, To: gone.Seq, Reason: "the disk did not keep up"}
	}
	g.From, g.To, g.Count = min(g.From, gone.Seq), max(g.To, gone.Seq), g.Count+1
}

func (o *outbox) remove(i int) spool.Record {
	r := o.queue[i].records[0]
	o.queue = slices.Delete(o.queue, i, i+1)
	o.bytes -= len(r.Payload)
	return r
}

// taken removes the oldest, which the drain has, and tells of what was dropped once there is room.
func (o *outbox) taken() {
	o.remove(0)
	if len(o.queue) < maxOutbox/2 && o.bytes < outboxBytes/2 {
		o.tell()
	}
}

func (o *outbox) tell() {
	for c := range o.gaps {
		if g := o.gaps[c]; g.Count > 0 {
			o.gaps[c] = spool.Gap{}
			if r, ok := o.gap(g); ok {
				o.add(r)
			}
		}
	}
}

// all is what is left at the end.
func (o *outbox) all() []put {
	o.tell()
	return o.queue
}
