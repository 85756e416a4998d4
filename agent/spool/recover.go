package spool

import (
	"fmt"
	"math"
	"slices"
)

// Recovery says what Open found.
type Recovery struct {
	Segments int
	Records  int   // not known to be done
	Bytes    int64 // that could be trusted
	CutBytes int64 // of torn tails
	Skipped  int   // segments of which durable records are lost
	Gaps     []Gap // and which
}

// maxAttempts is how often a file that cannot be read is tried before it counts as lost: over two minutes of back-off.
const maxAttempts = 8

// recover reads the directory. Nothing of the spool changes if it does not succeed, but for the attempts that are counted.
func (s *Spool) recover() (Recovery, error) {
	names, err := s.dir.List()
	if err != nil {
		return Recovery{}, fmt.Errorf("read spool: %w", err)
	}
	f := found{s: s, noted: map[uint32]bool{}}
	for _, name := range names {
		if class, number, ok := parseName(name); ok {
			f.segs[class] = append(f.segs[class], &segment{class: class, number: number})
			f.number = max(f.number, number)
		}
	}
	for class := range f.segs {
		if err := f.load(Class(class)); err != nil {
			return Recovery{}, fmt.Errorf("read spool: %w", err)
		}
	}
	if f.forged() {
		f.discard()
	}
	f.judge()
	for class := range f.segs {
		if err := f.locate(Class(class)); err != nil {
			return Recovery{}, fmt.Errorf("read spool: %w", err)
		}
	}
	f.adopt()
	return f.r, nil
}

// found is what a start has learned so far.
type found struct {
	s       *Spool
	segs    [2][]*segment
	expect  [2]map[uint32]before // by number, what the segment after it says of it
	low     [2]uint64
	ordinal uint64
	number  uint32
	noted   map[uint32]bool
	gaps    []Gap
	notes   []uint32
	doomed  []*segment
	trash   []leftover
	r       Recovery
}

// load reads the segments of a class, the newest first: each says how much of the one before was sure.
func (f *found) load(class Class) error {
	f.expect[class] = map[uint32]before{}
	for _, g := range slices.Backward(f.segs[class]) {
		bound := int64(math.MaxInt64)
		if b, ok := f.expect[class][g.number]; ok {
			bound = int64(min(b.bytes, math.MaxInt64))
		}
		err := f.s.load(g, bound, f.learn)
		if err != nil {
			// It may be a passing fault: what is there must not be given up for it.
			if f.s.attempts[g.name()]++; f.s.attempts[g.name()] < maxAttempts {
				return err
			}
			*g = segment{class: g.class, number: g.number}
		}
		if g.before.number != 0 {
			f.expect[class][g.before.number] = g.before
			f.ordinal = max(f.ordinal, g.before.ordinal)
		}
		f.ordinal = max(f.ordinal, g.last)
	}
	return nil
}

func (f *found) learn(fr frame) {
	switch fr.kind {
	case kindTail:
		f.low[Event] = max(f.low[Event], fr.ordinal)
		f.low[Telemetry] = max(f.low[Telemetry], fr.seq)
	case kindNote:
		f.noted[uint32(fr.ordinal)] = true
	}
}

// settle makes sure what was found, before anything is built on it: after a mere restart of the process it may be in the
// page cache only. So may removals; and a file that came back would meet numbers and ordinals that were given out again.
func (s *Spool) settle() error {
	for c := range s.queues {
		segs := s.queues[c].segs
		if len(segs) == 0 {
			continue
		}
		file, err := s.dir.Open(segs[len(segs)-1].name())
		if err == nil {
			err = file.Sync()
			file.Close()
		}
		if err != nil {
			return err
		}
	}
	if err := s.dir.Sync(); err != nil {
		return err
	}
	s.settled = true
	return nil
}

// forged reports whether there are numbers that no spool can have reached, though their checksums are right. To count on
// from them would end where no frame can be read back.
func (f *found) forged() bool { return max(f.ordinal, f.low[Event], f.low[Telemetry]) > maxOrdinal }

// discard gives up all that is there. The files go before anything is written, or they would outlive their forgery.
func (f *found) discard() {
	for class, segs := range f.segs {
		for _, g := range segs {
			f.trash = append(f.trash, leftover{g.name(), g.size})
			f.r.Skipped++
			if g.records > 0 {
				f.gaps = append(f.gaps, Gap{
					Class: g.class, Session: hex16(g.session), From: g.firstSeq, To: g.lastSeq,
					Count: uint64(g.records), Reason: "numbers on flash make no sense",
				})
			}
		}
		f.segs[class] = nil
	}
	f.low, f.ordinal = [2]uint64{}, 0
}

// judge sorts the segments: to keep, lost in part, done with.
func (f *found) judge() {
	for class := range f.segs {
		keep := f.segs[class][:0]
		torn := false
		for _, g := range f.segs[class] {
			b, known := f.expect[class][g.number]
			lost := known && int(b.records) > g.records && b.ordinal > f.low[class]
			if lost {
				f.lose(g, b)
			} else {
				f.r.CutBytes += g.size - g.valid
			}
			switch {
			case lost && (g.records == 0 || g.last <= f.low[class]):
				f.doomed = append(f.doomed, g)
			case g.records == 0 || g.last <= f.low[class] || torn && f.s.o.mutant == stopAtTornSegment:
				f.trash = append(f.trash, leftover{g.name(), g.size})
			default:
				keep = append(keep, g)
				f.r.Bytes += g.valid
			}
			torn = torn || g.size > g.valid
		}
		f.segs[class] = keep
		f.r.Segments += len(keep)
	}
}

// lose tells of the records of g that were durable once and are not readable.
func (f *found) lose(g *segment, b before) {
	g.rotten = true
	f.r.Skipped++
	if f.noted[g.number] {
		return
	}
	gap := Gap{
		Class: g.class, Session: hex16(b.session), From: b.from, To: b.seq,
		Count: uint64(b.records) - uint64(g.records), Reason: "damaged on flash",
	}
	if g.records > 0 {
		gap.From = g.lastSeq + 1
	}
	f.gaps = append(f.gaps, gap)
	f.notes = append(f.notes, g.number)
}

// locate finds out how far the segments that are done in part are done.
func (f *found) locate(class Class) error {
	low := f.low[class]
	for _, g := range f.segs[class] {
		if low < g.first {
			continue
		}
		file, err := f.s.dir.Open(g.name())
		if err != nil {
			return err
		}
		seed := func(frame, []byte) (uint32, bool) { return g.seed, true }
		_, err = f.s.scan(file, seed, g.valid, func(fr frame, off int64) {
			if fr.kind == class.kind() && fr.ordinal <= low {
				g.done++
				g.resumed = g.done
				g.resume = off + int64(fr.size())
			}
		})
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt makes what was found the spool's.
func (f *found) adopt() {
	s := f.s
	base := max(f.ordinal, f.low[Event], f.low[Telemetry])
	if s.o.mutant == reuseOrdinals {
		base = 0
		for _, segs := range f.segs {
			for _, g := range segs {
				base = max(base, g.last)
			}
		}
	}
	for c := range s.queues {
		q := &s.queues[c]
		q.segs, q.low = f.segs[c], f.low[c]
		for _, g := range q.segs {
			f.r.Records += g.records - g.done
		}
		for _, it := range q.ram { // put while flash could not be read: newer than all that is there
			it.ordinal += base
		}
		q.flight, q.redone = nil, nil
		q.rewind()
		if n := len(q.segs); n > 0 && s.o.mutant == continueTornTail {
			g := q.segs[n-1]
			q.active, _ = s.dir.Open(g.name())
			g.size = (g.size + sectorBytes - 1) &^ (sectorBytes - 1)
			g.valid = g.size
		}
	}
	s.ordinal += base
	s.number = max(s.number, f.number)
	s.noted = f.low
	s.doomed = append(s.doomed, f.doomed...)
	s.trash = append(s.trash, f.trash...)
	s.notes = append(s.notes, f.notes...)
	for _, g := range f.gaps {
		s.lost(g)
	}
	f.r.Gaps = f.gaps
	s.ready, s.buf = true, nil
	clear(s.attempts)
	s.unlink()
}
