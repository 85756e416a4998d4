package spool

import (
	"errors"
	"io/fs"
	"slices"
)

// reserve is kept free so that what tells of a loss can be written before the loss frees its room.
func (s *Spool) reserve() int64 { return int64(2*s.o.RAMBytes+s.o.SegmentBytes) + 4*blockBytes }

// room condemns what has to go so that all of a queue's RAM finds place on flash.
func (s *Spool) room(q *queue) error {
	var need int64
	for _, it := range q.ram {
		need += int64(frameBytes + len(it.payload))
	}
	need += (need/int64(s.o.SegmentBytes) + 2) * int64(segmentOverhead)
	free := s.o.LimitBytes - s.reserve() - need
	if s.o.mutant == quotaOffBySegment {
		free = s.o.LimitBytes + int64(s.o.SegmentBytes)
	}
	sizes := func(c Class) (sum int64) {
		for _, g := range s.queues[c].segs {
			sum += blocks(g.size)
		}
		return sum
	}
	if q.class == Telemetry && sizes(Event) > free {
		return errFull
	}
	over := sizes(Event)+sizes(Telemetry) > free
	for telemetry := &s.queues[Telemetry]; over && len(telemetry.segs) > 0; {
		s.condemn(telemetry)
		// A sixteenth at once: the records that tell of losses take room too.
		over = sizes(Event)+sizes(Telemetry) > free-s.o.LimitBytes/16
	}
	for sizes(Event)+sizes(Telemetry) > free {
		if len(s.queues[Event].segs) == 0 {
			return errFull
		}
		s.condemn(&s.queues[Event])
	}
	return nil
}

// condemn drops the oldest segment of a queue. Its file stays until what tells of it is durable.
func (s *Spool) condemn(q *queue) {
	g := q.segs[0]
	gap := Gap{
		Class: q.class, Session: hex16(g.session), From: g.firstSeq, To: g.lastSeq,
		Reason: "spool full",
	}
	if g.last > q.low { // also where a fault has left the same record in two segments
		gap.Count = uint64(max(g.records-g.done, 1))
	}
	if g.done > 0 && q.low >= g.first && q.lowSeq != 0 {
		gap.From = q.lowSeq + 1
	}
	if gap.Count > 0 {
		q.dropped += gap.Count
		if s.o.mutant != silentDrop {
			s.lost(gap)
		}
	}
	q.forget(g)
	for len(q.flight) > 0 && q.flight[0].ordinal <= g.last {
		q.flight = q.flight[1:]
	}
	if q.head != nil && q.head.ordinal <= g.last {
		q.head = nil
	}
	if g.last > q.low {
		q.low, q.lowSeq = g.last, g.lastSeq
	}
	q.handed = max(q.handed, g.last)
	s.doomed = append(s.doomed, g)
	if s.o.mutant == gapAfterDrop {
		_ = s.dir.Remove(g.name())
	}
}

// lost notes a loss, joined to the last one where it goes on.
func (s *Spool) lost(g Gap) {
	for i := range s.gaps {
		p := &s.gaps[i]
		if p.Class == g.Class && p.Session == g.Session && p.Reason == g.Reason {
			p.From, p.To, p.Count = min(p.From, g.From), max(p.To, g.To), p.Count+g.Count
			return
		}
	}
	s.gaps = append(s.gaps, g)
}

// confess makes records of the losses.
func (s *Spool) confess() {
	gaps := s.gaps
	s.gaps = nil
	for _, g := range gaps {
		if s.o.Gap == nil {
			return
		}
		r, ok := s.o.Gap(g)
		if !ok || r.Class != Event {
			continue
		}
		if session, err := s.check(r); err == nil {
			s.enqueue(r, session)
			s.untold = true
		}
	}
}

// told reports whether every loss is told of by a durable record.
func (s *Spool) told() bool {
	if len(s.gaps) == 0 && s.untold && s.queues[Event].waiting() == 0 {
		s.untold = false
	}
	return len(s.gaps) == 0 && !s.untold
}

// unlink removes files that nothing needs any more. What cannot be removed is tried again.
func (s *Spool) unlink() {
	if s.told() {
		for _, g := range s.doomed {
			s.trash = append(s.trash, leftover{g.name(), g.size})
		}
		s.doomed = nil
	}
	s.stuck = nil
	s.trash = slices.DeleteFunc(s.trash, func(f leftover) bool {
		err := s.dir.Remove(f.name)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true
		}
		s.stuck = err
		return false
	})
}

// relieve keeps RAM in its bound: telemetry goes to flash, and where that cannot be, the oldest is dropped.
func (s *Spool) relieve() {
	events, telemetry := &s.queues[Event], &s.queues[Telemetry]
	if events.bytes+telemetry.bytes > s.o.RAMBytes {
		_ = s.flush(telemetry)
	}
	for events.bytes+telemetry.bytes > s.o.RAMBytes {
		q := telemetry
		if len(q.ram) == 0 {
			q = events
		}
		it := q.ram[0]
		q.ram = q.ram[1:]
		q.bytes -= it.size()
		if it.done {
			continue
		}
		q.dropped++
		s.lost(Gap{Class: q.class, Session: hex16(it.session), From: it.seq, To: it.seq, Count: 1, Reason: "no room in RAM"})
		for i := range q.flight {
			if f := &q.flight[i]; f.ordinal == it.ordinal {
				f.done, f.volatile = true, true
			}
		}
		q.advance()
	}
}

// A leftover is a file that nothing needs any more.
type leftover struct {
	name string
	size int64
}
