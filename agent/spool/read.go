package spool

import (
	"errors"
	"fmt"
	"slices"
)

// noteBytes of acknowledged payload are worth noting without waiting.
const noteBytes = 64 << 10

// Next hands out up to most records, oldest first, that have not been handed out since Open or Retry; of records handed
// out and not done there are at most 1024. An error says that flash could not be read; the entries returned with it are
// good, and a later call tries again.
func (s *Spool) Next(most int) ([]Entry, error) {
	s.confess()
	s.relieve()
	var out []Entry
	for len(out) < most && len(s.queues[Event].flight)+len(s.queues[Telemetry].flight) < maxFlight {
		e, t := &s.queues[Event], &s.queues[Telemetry]
		first, err := s.peek(e)
		second, err2 := s.peek(t)
		if err := errors.Join(err, err2); err != nil {
			return out, fmt.Errorf("read spool: %w", err)
		}
		switch {
		case first == 0 && second == 0:
			return out, nil
		case second == 0 || first != 0 && first < second:
			out = append(out, s.take(e))
		default:
			out = append(out, s.take(t))
		}
	}
	return out, nil
}

// peek returns the ordinal of the queue's next record, or 0.
func (s *Spool) peek(q *queue) (uint64, error) {
	if q.head == nil && s.ready {
		if err := s.fetch(q); err != nil {
			return 0, err
		}
	}
	if q.head != nil {
		return q.head.ordinal, nil
	}
	if i := q.inRAM(); i >= 0 {
		return q.ram[i].ordinal, nil
	}
	return 0, nil
}

// take hands out what peek has seen.
func (s *Spool) take(q *queue) Entry {
	s.id++
	f := flight{id: s.id}
	e := Entry{ID: s.id, Record: Record{Class: q.class}}
	if h := q.head; h != nil {
		f.ordinal, f.seq, f.seg, f.end = h.ordinal, h.seq, h.seg, h.end
		e.Session, e.Payload = hex16(h.session), h.payload
		q.head = nil
	} else {
		it := q.ram[q.inRAM()]
		f.ordinal, f.seq = it.ordinal, it.seq
		e.Session, e.Payload = hex16(it.session), it.payload
	}
	e.Seq, f.size = f.seq, len(e.Payload)
	q.handed = f.ordinal
	q.flight = append(q.flight, f)
	return e
}

// fetch reads the queue's next record on flash into its head, if there is one.
func (s *Spool) fetch(q *queue) error {
	r := &q.read
	for {
		if ok, err := s.aim(q); err != nil || !ok {
			return err
		}
		fr, payload, err := r.next(s)
		switch {
		case err == nil:
			r.fails, s.trouble = 0, nil
		case errors.Is(err, errRotten) && r.fails > 0:
			s.skip(q)
			continue
		default:
			// Once more from the file: the fault may be a passing one. Rot is believed at the second sight.
			r.buf = r.buf[:0]
			if r.fails++; errors.Is(err, errRotten) {
				continue
			}
			if s.trouble = err; r.fails >= maxAttempts {
				s.skip(q)
				continue
			}
			return err
		}
		if r.off += int64(fr.size()); fr.kind != q.class.kind() {
			continue
		}
		r.count, r.last, r.seq = r.count+1, fr.ordinal, fr.seq
		if fr.ordinal <= q.handed {
			continue
		}
		if slices.Contains(q.redone, fr.ordinal) {
			q.handed = fr.ordinal
			s.id++
			q.flight = append(q.flight, flight{id: s.id, ordinal: fr.ordinal, seq: fr.seq, seg: r.seg, end: r.off, done: true})
			q.advance()
			continue
		}
		q.head = &head{ordinal: fr.ordinal, seq: fr.seq, session: r.seg.session, payload: slices.Clone(payload), seg: r.seg, end: r.off}
		return nil
	}
}

// aim points the queue's reader at the next frame. It reports false when there is none yet.
func (s *Spool) aim(q *queue) (bool, error) {
	r := &q.read
	if r.seg != nil && r.off < r.seg.valid {
		return true, nil
	}
	var next *segment
	for _, g := range q.segs {
		if g.last > q.handed && (r.seg == nil || g.number > r.seg.number) {
			next = g
			break
		}
	}
	if next == nil {
		return false, nil
	}
	f, err := s.dir.Open(next.name())
	if err != nil {
		if q.read.fails++; q.read.fails < maxAttempts {
			s.trouble = err
			return false, err
		}
	}
	r.close()
	r.seg, r.file, r.off, r.count = next, f, next.resume, next.resumed
	if err != nil {
		s.skip(q)
		return s.aim(q)
	}
	return true, nil
}

// skip gives up the rest of the segment that is being read, and tells of it.
func (s *Spool) skip(q *queue) {
	r := &q.read
	g := r.seg
	gap := Gap{
		Class: q.class, Session: hex16(g.session), From: g.firstSeq, To: g.lastSeq,
		Count: uint64(max(g.records-r.count, 0)), Reason: "damaged on flash",
	}
	switch {
	case r.last != 0:
		gap.From = r.seq + 1
	case g.done > 0 && q.lowSeq != 0:
		gap.From = q.lowSeq + 1
	}
	if gap.Count > 0 {
		q.dropped += gap.Count
		s.lost(gap)
		s.notes = append(s.notes, g.number)
	}
	if len(q.segs) > 0 && q.segs[len(q.segs)-1] == g {
		q.close()
	}
	// What was read of it stays until it is done; the rest is as if it had never been.
	g.rotten = true
	g.records, g.valid = r.count, r.off
	if r.last != 0 {
		g.last, g.lastSeq = r.last, r.seq
	} else {
		g.last = q.low
	}
	r.fails = 0
	r.buf = r.buf[:0]
}

// Done says that the broker has acknowledged the entries. An ID from before Retry is nobody's, and harmless.
func (s *Spool) Done(ids ...uint64) {
	for _, id := range ids {
		for c := range s.queues {
			q := &s.queues[c]
			i, ok := slices.BinarySearchFunc(q.flight, id, func(f flight, id uint64) int { return int(int64(f.id - id)) })
			if !ok || q.flight[i].done {
				continue
			}
			q.flight[i].done = true
			s.owed += q.flight[i].size
			q.flight[i].volatile = q.release(q.flight[i].ordinal)
		}
	}
	for c := range s.queues {
		s.queues[c].advance()
		s.reap(&s.queues[c], false)
	}
	if s.owed >= noteBytes && s.partly() && s.sick == nil {
		s.note()
	}
}

// reap removes segments of which everything is done. The one that events are being written to stays, unless all ends.
func (s *Spool) reap(q *queue, all bool) {
	done := func(g *segment) bool { return g.last <= q.low }
	if s.o.mutant == removeHandedOut {
		done = func(g *segment) bool { return g.last <= q.handed }
	}
	for len(q.segs) > 0 && done(q.segs[0]) {
		g := q.segs[0]
		if len(q.segs) == 1 && q.active != nil && q.class == Event && !all {
			break
		}
		q.forget(g)
		if g.rotten {
			s.doomed = append(s.doomed, g)
		} else {
			s.trash = append(s.trash, leftover{g.name(), g.size})
		}
	}
	if len(s.trash)+len(s.doomed) > 0 && s.sick == nil {
		s.unlink()
	}
}

// partly reports whether some segment is done in part.
func (s *Spool) partly() bool {
	for c := range s.queues {
		q := &s.queues[c]
		for _, g := range q.segs {
			if g.done > 0 {
				return true
			}
		}
	}
	return false
}

// Retry says that the link was lost: everything that is not done is handed out again.
func (s *Spool) Retry() {
	for c := range s.queues {
		q := &s.queues[c]
		for _, f := range q.flight {
			if f.done {
				q.redone = append(q.redone, f.ordinal)
			}
		}
		q.flight = nil
		q.rewind()
	}
}
