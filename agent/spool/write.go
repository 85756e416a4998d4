package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	// batchBytes of telemetry are worth a sync of their own.
	batchBytes = 32 << 10
	// maxTrash is how many files that cannot be removed are borne before no new ones are made.
	maxTrash = 8
	// segmentOverhead is what a segment takes besides its records, the rounding to blocks included.
	segmentOverhead = frameBytes + headerBytes + 2*sectorBytes + blockBytes
)

func (s *Spool) degrade(err error) {
	s.sick = err
	s.pause = min(max(2*s.pause, time.Second), time.Minute)
	s.retryAt = s.now.Add(s.pause)
}

// flush moves a queue from RAM to flash.
func (s *Spool) flush(q *queue) error {
	if s.sick != nil && s.now.Before(s.retryAt) {
		return fmt.Errorf("write spool: %w", s.sick)
	}
	if s.sick != nil && q.class != Event {
		if err := s.flush(&s.queues[Event]); err != nil {
			return err
		}
	}
	err := s.flushNow(q)
	switch {
	case err == nil && s.sick != nil:
		s.sick, s.pause = nil, 0
		if len(s.gaps) > 0 { // made records of only now, or each attempt would leave one more in RAM
			return s.flush(&s.queues[Event])
		}
		return nil
	case err == nil:
		return nil
	case q.class == Telemetry && errors.Is(err, errFull): // the flash is well
	default:
		s.degrade(err)
	}
	return fmt.Errorf("write spool: %w", err)
}

func (s *Spool) flushNow(q *queue) error {
	if !s.ready {
		if _, err := s.recover(); err != nil {
			return err
		}
	}
	if !s.settled {
		if err := s.settle(); err != nil {
			return err
		}
	}
	if s.unlink(); len(s.trash) > maxTrash {
		return fmt.Errorf("%d files cannot be removed", len(s.trash))
	}
	events := &s.queues[Event]
	if q == events && s.sick == nil {
		s.confess()
	}
	if q.waiting() > 0 {
		if err := s.room(q); err != nil {
			return err
		}
		if s.sick == nil {
			s.confess()
		}
		if q != events && events.waiting() > 0 {
			if err := s.flushNow(events); err != nil {
				return err
			}
		}
	}
	if q == events && q.waiting() == 0 && (s.sick != nil || len(s.notes) > 0) {
		if err := s.write(q, nil); err != nil { // only a write tells whether the flash is well again
			return err
		}
	}
	for q.waiting() > 0 {
		if err := s.write(q, s.batch(q)); err != nil {
			return err
		}
	}
	q.since = s.now
	s.unlink()
	return nil
}

// probe sees whether a degraded flash is well again, and moves to it what waits.
func (s *Spool) probe() { _ = s.flush(&s.queues[Event]) }

// cursors is how far the broker has acknowledged, as it may be noted: what was lost counts as done only when the record
// that tells of it is durable.
func (s *Spool) cursors() [2]uint64 {
	if s.o.mutant == cursorsRunAhead {
		return [2]uint64{s.queues[Event].handed, s.queues[Telemetry].handed}
	}
	if !s.told() && s.o.mutant != cursorBeforeGap {
		return s.noted
	}
	return [2]uint64{s.queues[Event].low, s.queues[Telemetry].low}
}

// batch returns the oldest records in RAM that fit into one segment, and ends the present one when none fits there.
func (s *Spool) batch(q *queue) []*item {
	const tail = frameBytes + sectorBytes
	free := 0
	first := q.ram[slices.IndexFunc(q.ram, func(it *item) bool { return !it.done })]
	if q.active != nil {
		g := q.segs[len(q.segs)-1]
		free = s.o.SegmentBytes - int(g.size) - tail
		if free < frameBytes+len(first.payload) || g.session != first.session {
			q.close()
		}
	}
	if q.active == nil {
		free = s.o.SegmentBytes - tail - frameBytes - headerBytes
	}
	var batch []*item
	for _, it := range q.ram {
		if it.done {
			continue
		}
		free -= frameBytes + len(it.payload)
		if len(batch) > 0 && (free < 0 || it.session != first.session) {
			break
		}
		batch = append(batch, it)
	}
	return batch
}

// write appends a batch, which may be empty, to the queue's segment and makes it durable.
func (s *Spool) write(q *queue, batch []*item) error {
	fresh := q.active == nil
	var g *segment
	if fresh {
		g = s.begin(q, batch)
	} else {
		g = q.segs[len(q.segs)-1]
	}
	notes := s.encode(q, g, batch, fresh)
	if limit := s.o.LimitBytes; s.used()+blocks(g.size+int64(len(s.buf)))-blocks(g.size) > limit && s.o.mutant != quotaOffBySegment {
		return errFull
	}
	if fresh {
		f, err := s.dir.Open(g.name())
		if err != nil {
			return err
		}
		q.active = f
		q.segs = append(q.segs, g)
	}
	if s.o.mutant == forgetBeforeSync {
		q.flushed(g, batch)
	}
	if err := s.commit(q.active, fresh); err != nil {
		s.abandon(q, g, fresh)
		return err
	}
	g.size += int64(len(s.buf))
	g.valid = g.size
	if s.o.mutant != forgetBeforeSync {
		q.flushed(g, batch)
	}
	s.notes = s.notes[notes:]
	s.remember()
	if cap(s.buf) > batchBytes {
		s.buf = nil
	}
	return nil
}

// begin makes the index of a new segment.
func (s *Spool) begin(q *queue, batch []*item) *segment {
	s.number++
	g := &segment{class: q.class, number: s.number}
	if g.session = s.session; len(batch) > 0 {
		g.session = batch[0].session
	}
	if n := len(q.segs); n > 0 {
		p := q.segs[n-1]
		g.before = before{
			number: p.number, records: uint32(p.records), bytes: uint64(p.valid),
			from: p.firstSeq, seq: p.lastSeq, ordinal: p.last, session: p.session,
		}
	}
	return g
}

// encode puts the batch into s.buf and returns how many notes it holds.
func (s *Spool) encode(q *queue, g *segment, batch []*item, fresh bool) (notes int) {
	b := s.buf[:0]
	if fresh {
		b = header{session: g.session, number: g.number, class: g.class, before: g.before}.append(b)
		h, _ := parseFrame(b)
		g.seed = h.sum
	}
	for _, it := range batch {
		b = appendFrame(b, g.seed, q.class.kind(), it.ordinal, it.seq, it.payload)
	}
	if q.class == Event && len(s.gaps) == 0 && len(batch) == q.waiting() {
		for _, n := range s.notes {
			b = appendFrame(b, g.seed, kindNote, uint64(n), 0, nil)
		}
		notes = len(s.notes)
	}
	s.noting = s.cursors()
	if s.o.mutant == noSectorPadding {
		b = appendFrame(b, g.seed, kindTail, s.noting[Event], s.noting[Telemetry], nil)
	} else {
		b = appendTail(b, g.seed, s.noting)
	}
	s.buf = b
	return notes
}

// commit writes s.buf and waits until it is durable.
func (s *Spool) commit(f File, fresh bool) error {
	n, err := f.Write(s.buf)
	s.written += int64(n)
	if err == nil && n < len(s.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	s.syncs++
	if err := f.Sync(); err != nil || !fresh {
		return err
	}
	s.syncs++
	return s.dir.Sync() // the file's name
}

// abandon gives up a segment whose end is not known any more: after a sync that did not succeed, no later one says that
// the bytes before it are durable.
func (s *Spool) abandon(q *queue, g *segment, fresh bool) {
	if s.o.mutant == appendAfterFault && !fresh {
		size, err := fileSize(q.active, g.size)
		if err == nil && size%sectorBytes == 0 {
			g.size, g.valid = size, size
			return
		}
	}
	q.close()
	g.size += int64(len(s.buf))
	if fresh {
		q.segs = q.segs[:len(q.segs)-1]
		if q.read.seg == g {
			q.read.close()
		}
		s.trash = append(s.trash, leftover{g.name(), g.size})
	}
}

// note writes the cursors where a segment is open, without a sync: to lose them is to send again what was sent.
func (s *Spool) note() {
	for c := range s.queues {
		q := &s.queues[c]
		if q.active == nil || s.cursors() == s.noted {
			continue
		}
		g := q.segs[len(q.segs)-1]
		if g.size+sectorBytes > int64(s.o.SegmentBytes) {
			continue
		}
		s.noting = s.cursors()
		s.buf = appendTail(s.buf[:0], g.seed, s.noting)
		n, err := q.active.Write(s.buf)
		s.written += int64(n)
		if err != nil || n < len(s.buf) {
			s.abandon(q, g, false)
			s.degrade(fmt.Errorf("note what is done: %w", errors.Join(err, io.ErrShortWrite)))
			return
		}
		g.size += int64(n)
		g.valid = g.size
		s.remember()
		return
	}
}

// remember takes down that the cursors have been written.
func (s *Spool) remember() {
	if s.noting == [2]uint64{s.queues[Event].low, s.queues[Telemetry].low} {
		s.owed = 0
	}
	s.noted, s.notedAt = s.noting, s.now
}

// spill moves telemetry to flash when the link has been down for long.
func (s *Spool) spill() {
	q := &s.queues[Telemetry]
	hold := s.o.HoldOff
	if s.up || len(q.ram) == 0 || s.now.Sub(s.downAt) < hold || q.bytes < min(batchBytes, s.o.RAMBytes/2) && s.now.Sub(q.since) < hold {
		return
	}
	_ = s.flush(q) // degraded then, and tried again
}
