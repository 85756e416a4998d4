package spool_test

import (
	"fmt"
	"slices"

	"holdfast/agent/spool"
	"holdfast/board/sim"
)

// A deed is one record that was put, and what is owed for it.
type deed struct {
	spool.Record
	durable bool       // acknowledged as such: owed
	done    bool       // acknowledged by the broker: nothing more is owed
	gone    bool       // lost with the RAM it was in, as announced
	gap     *spool.Gap // it tells of this loss
}

// A ledger is what the world outside knows of a spool: seq is the order in which records were put.
type ledger struct {
	boot  int
	deeds []deed
}

func (l *ledger) clone() *ledger { return &ledger{boot: l.boot, deeds: slices.Clone(l.deeds)} }

func (l *ledger) session() string { return fmt.Sprintf("%016x", 0xabc0000+l.boot) }

func (l *ledger) record(class spool.Class, payload []byte) spool.Record {
	r := spool.Record{Class: class, Session: l.session(), Seq: uint64(len(l.deeds)), Payload: payload}
	l.deeds = append(l.deeds, deed{Record: r})
	return r
}

func (l *ledger) tell(g spool.Gap) (spool.Record, bool) {
	r := l.record(spool.Event, fmt.Appendf(nil, "%s %d to %d", g.Class, g.From, g.To))
	l.deeds[r.Seq].gap = &g
	return r, true
}

// account notes after a call what has become durable: everything but the newest records, which are in RAM.
func (l *ledger) account(s *spool.Spool) {
	left := s.Stats().InRAM
	for i := len(l.deeds) - 1; i >= 0; i-- {
		d := &l.deeds[i]
		switch {
		case d.done || d.gone || d.durable:
		case left[d.Class] > 0:
			left[d.Class]--
		case l.droppedFromRAM(s, d):
			d.gone = true
		default:
			d.durable = true
		}
	}
}

func (l *ledger) droppedFromRAM(s *spool.Spool, d *deed) bool {
	in := func(g spool.Gap) bool { return g.Reason == "no room in RAM" && covers(g, d.Record) }
	if slices.ContainsFunc(s.Pending(), in) {
		return true
	}
	return slices.ContainsFunc(l.deeds, func(d deed) bool { return d.gap != nil && in(*d.gap) })
}

// killed notes that what was in RAM is gone.
func (l *ledger) killed() {
	for i := range l.deeds {
		d := &l.deeds[i]
		d.gone = d.gone || !d.durable
	}
}

// mayBeLost reports whether so many records were put and not promised. After a sync that did not succeed, a start without
// a power cut finds them in the page cache, and the one after the cut does not.
func (l *ledger) mayBeLost(g spool.Gap) bool {
	n := uint64(0)
	for _, d := range l.deeds {
		if d.gone && covers(g, d.Record) {
			n++
		}
	}
	return n >= g.Count
}

func covers(g spool.Gap, r spool.Record) bool {
	return g.Class == r.Class && g.From <= r.Seq && r.Seq <= g.To // seq counts across sessions here
}

// verdicts of a crash state.
const (
	fine        = ""
	lost        = "lost"
	failedStart = "failed start"
	disorder    = "out of order"
	invented    = "invented"
	falseGap    = "false gap"
	leftOver    = "left over"
	overLimit   = "over limit"
)

// judge starts a spool on what a power cut left, and looks for what is owed. It returns one of the verdicts and the
// details. during is called while the start and the first writes go on, for cuts in these.
func (l *ledger) judge(d *sim.Disk, o spool.Options, wrap func(spool.Dir) spool.Dir, during func(*ledger)) (verdict, why string) {
	l = l.clone()
	l.killed()
	l.boot++
	o.Gap = l.tell
	if during != nil {
		d.Watch(func() { during(l) })
	}
	s, r, err := spool.Open(wrap(d.Dir("spool")), o)
	if err != nil || s.Stats().Degraded != "" {
		return failedStart, fmt.Sprint(err, s.Stats().Degraded)
	}
	for _, g := range r.Gaps {
		if !l.mayBeLost(g) {
			return falseGap, fmt.Sprintf("%+v", r)
		}
	}
	l.account(s)
	if err := s.Put(at(10_000), l.record(spool.Event, []byte("after the cut"))); err != nil {
		return failedStart, err.Error()
	}
	l.account(s)
	d.Watch(nil)
	delivered := map[uint64]bool{}
	next := uint64(0)
	for {
		es, err := s.Next(50)
		if err != nil {
			return failedStart, err.Error()
		}
		if len(es) == 0 {
			break
		}
		for _, e := range es {
			if e.Seq >= uint64(len(l.deeds)) || string(l.deeds[e.Seq].Payload) != string(e.Payload) || l.deeds[e.Seq].Session != e.Session {
				return invented, fmt.Sprintf("%d %s", e.Seq, e.Session)
			}
			if e.Seq < next {
				return disorder, fmt.Sprintf("%d where at least %d was next", e.Seq, next)
			}
			next = e.Seq + 1
			delivered[e.Seq] = true
			s.Done(e.ID)
		}
	}
	if v, why := l.settle(delivered); v != fine {
		return v, why
	}
	if err := s.Close(at(10_001)); err != nil {
		return failedStart, err.Error()
	}
	if n := d.Usage("spool"); n != 0 {
		return leftOver, fmt.Sprintf("%d bytes when all was done", n)
	}
	return fine, ""
}

// settle looks whether every durable record was delivered or is told of as lost.
func (l *ledger) settle(delivered map[uint64]bool) (verdict, why string) {
	var known func(i int) bool
	known = func(i int) bool {
		d := l.deeds[i]
		if delivered[d.Seq] || d.done {
			return true
		}
		for j := i + 1; j < len(l.deeds); j++ {
			if g := l.deeds[j].gap; g != nil && covers(*g, d.Record) && known(j) {
				return true
			}
		}
		return false
	}
	for i, d := range l.deeds {
		if d.durable && !known(i) {
			return lost, fmt.Sprintf("%s %d of %d", d.Class, d.Seq, len(l.deeds))
		}
	}
	return fine, ""
}
