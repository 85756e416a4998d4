package spool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/agent/spool"
	"holdfast/board/sim"
)

const session = "0123456789abcdef"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a time so many seconds after the start.
func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// small makes everything happen within a few kilobytes.
var small = spool.Options{LimitBytes: 96 << 10, SegmentBytes: 4 << 10, RAMBytes: 4 << 10, RecordBytes: 1 << 10, HoldOff: time.Minute}

func rec(class spool.Class, seq int, size int) spool.Record {
	head := fmt.Sprintf("%d:%s:", seq, class)
	return spool.Record{Class: class, Session: session, Seq: uint64(seq), Payload: []byte(head + strings.Repeat("x", max(0, size-len(head))))}
}

func opened(t testing.TB, d spool.Dir, o spool.Options) *spool.Spool {
	t.Helper()
	s, _, err := spool.Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drain hands out and acknowledges everything.
func drain(t testing.TB, s *spool.Spool) (seqs []int) {
	t.Helper()
	for {
		es, err := s.Next(7)
		must(t, err)
		if len(es) == 0 {
			return seqs
		}
		for _, e := range es {
			seqs = append(seqs, int(e.Seq))
			s.Done(e.ID)
		}
	}
}

func equal(t testing.TB, what string, got []int, want ...int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRecordsComeOutInTheOrderTheyWentIn(t *testing.T) {
	s := opened(t, sim.NewDisk(1).Dir("spool"), small)
	for i, c := range []spool.Class{spool.Event, spool.Telemetry, spool.Telemetry, spool.Event, spool.Telemetry} {
		must(t, s.Put(at(i), rec(c, i+1, 100)))
	}
	es, err := s.Next(10)
	must(t, err)
	for i, e := range es {
		want := rec(e.Class, i+1, 100)
		if e.Seq != want.Seq || e.Session != want.Session || string(e.Payload) != string(want.Payload) {
			t.Errorf("entry %d = %d %s %q", i, e.Seq, e.Session, e.Payload)
		}
	}
	if len(es) != 5 {
		t.Fatalf("%d entries, want 5", len(es))
	}
	if es, err := s.Next(10); err != nil || len(es) != 0 {
		t.Errorf("Next again = %d entries, %v, want none", len(es), err)
	}
}

func TestEventsSurviveAKillAndTelemetryInRAMDoesNot(t *testing.T) {
	d := sim.NewDisk(1)
	s := opened(t, d.Dir("spool"), small)
	s.Link(at(0), true)
	must(t, s.Put(at(0), rec(spool.Event, 1, 100), rec(spool.Telemetry, 2, 100)))
	must(t, s.Put(at(1), rec(spool.Event, 3, 100)))
	equal(t, "after a kill", drain(t, opened(t, d.Dir("spool"), small)), 1, 3)
}

func TestTelemetryGoesToFlashWhenTheLinkIsDownForLong(t *testing.T) {
	d := sim.NewDisk(1)
	s := opened(t, d.Dir("spool"), small)
	s.Link(at(0), true)
	must(t, s.Put(at(0), rec(spool.Telemetry, 1, 100)))
	s.Link(at(10), false)
	s.Tick(at(69))
	if n := s.Stats().InRAM[spool.Telemetry]; n != 1 {
		t.Errorf("%d records in RAM after 59 s without link, want 1", n)
	}
	s.Tick(at(70))
	if n := s.Stats().InRAM[spool.Telemetry]; n != 0 {
		t.Errorf("%d records in RAM after 60 s without link, want 0", n)
	}
	syncs := s.Stats().Syncs
	for i := range 5 {
		must(t, s.Put(at(71+i), rec(spool.Telemetry, 2+i, 100)))
		s.Tick(at(71 + i))
	}
	s.Tick(at(131))
	if st := s.Stats(); st.InRAM[spool.Telemetry] != 0 || st.Syncs != syncs+1 {
		t.Errorf("%d records in RAM, %d syncs more, want 0 and 1", st.InRAM[spool.Telemetry], st.Syncs-syncs)
	}
	equal(t, "after a kill", drain(t, opened(t, d.Dir("spool"), small)), 1, 2, 3, 4, 5, 6)
}

func TestTelemetryStaysOffFlashWhileTheLinkIsUp(t *testing.T) {
	s := opened(t, sim.NewDisk(1).Dir("spool"), small)
	s.Link(at(0), true)
	for i := range 1000 {
		must(t, s.Put(at(10*i), rec(spool.Telemetry, i, 500)))
		drain(t, s)
		s.Tick(at(10 * i))
	}
	if st := s.Stats(); st.WrittenBytes != 0 {
		t.Errorf("%d bytes written, want none", st.WrittenBytes)
	}
}

func TestWhatIsDoneIsGoneAndWhatIsNotComesAgain(t *testing.T) {
	d := sim.NewDisk(1)
	s := opened(t, d.Dir("spool"), small)
	for i := range 10 {
		must(t, s.Put(at(i), rec(spool.Event, i, 300)))
	}
	es, err := s.Next(6)
	must(t, err)
	s.Done(es[0].ID, es[1].ID, es[3].ID)
	s.Retry()
	s.Done(es[2].ID) // too late: nobody's
	es, err = s.Next(4)
	must(t, err)
	var got []int
	for _, e := range es {
		got = append(got, int(e.Seq))
	}
	equal(t, "after Retry", got, 2, 4, 5, 6)
	s.Done(es[0].ID)
	must(t, s.Close(at(20)))
	s = opened(t, d.Dir("spool"), small)
	if n := s.Stats().Waiting[spool.Event]; n != 6 {
		t.Errorf("%d records wait after Close and Open, want 6", n)
	}
	equal(t, "after Close and Open", drain(t, s), 4, 5, 6, 7, 8, 9)
	must(t, s.Close(at(21)))
	if n := d.Usage("spool"); n != 0 {
		t.Errorf("%d bytes left on flash when all was done, want 0", n)
	}
}

func TestOneSyncABatch(t *testing.T) {
	s := opened(t, sim.NewDisk(1).Dir("spool"), small)
	must(t, s.Put(at(0), rec(spool.Event, 0, 100)))
	before := s.Stats().Syncs
	must(t, s.Put(at(1), rec(spool.Event, 1, 100), rec(spool.Event, 2, 100), rec(spool.Event, 3, 100)))
	if n := s.Stats().Syncs - before; n != 1 {
		t.Errorf("%d syncs for three events, want 1", n)
	}
}

// gaps collects what the spool tells of losses, in records of a sequence of their own.
type gaps struct {
	told []spool.Gap
	seq  int
}

func (g *gaps) record(gap spool.Gap) (spool.Record, bool) {
	g.told = append(g.told, gap)
	g.seq++
	return rec(spool.Event, 1_000_000+g.seq, 80), true
}

func TestAFullSpoolDropsTheOldestTelemetryFirstAndSaysSo(t *testing.T) {
	d, g := sim.NewDisk(1), &gaps{}
	o := small
	o.Gap = g.record
	s := opened(t, d.Dir("spool"), o)
	s.Link(at(0), false)
	for i := range 400 {
		class := spool.Telemetry
		if i%20 == 0 {
			class = spool.Event
		}
		must(t, s.Put(at(100+i), rec(class, i, 300)))
		s.Tick(at(100 + i))
		if n := d.Usage("spool"); n > o.LimitBytes {
			t.Fatalf("%d bytes on flash after record %d, limit is %d", n, i, o.LimitBytes)
		}
	}
	st := s.Stats()
	lost := 0
	for _, gap := range g.told {
		if gap.Class != spool.Telemetry {
			t.Errorf("gap %+v while there was telemetry to drop", gap)
		}
		lost += int(gap.Count)
	}
	seen := map[int]bool{}
	last := -1
	events := 0
	for _, seq := range drain(t, s) {
		if seq >= 1_000_000 {
			continue
		}
		if seq <= last {
			t.Errorf("record %d after %d", seq, last)
		}
		last, seen[seq] = seq, true
		if seq%20 == 0 {
			events++
		}
	}
	if events != 20 || lost == 0 || len(seen)+lost != 400 || uint64(lost) != st.Dropped[spool.Telemetry] {
		t.Errorf("%d events, %d records, %d told lost, %d counted lost; want 20 events and 400 in all", events, len(seen), lost, st.Dropped)
	}
	for seq := range 400 {
		if !seen[seq] && !covered(g.told, spool.Telemetry, seq) {
			t.Errorf("record %d is lost and no gap tells of it", seq)
		}
	}
}

func covered(told []spool.Gap, class spool.Class, seq int) bool {
	for _, g := range told {
		if g.Class == class && g.Session == session && g.From <= uint64(seq) && uint64(seq) <= g.To {
			return true
		}
	}
	return false
}

func TestAFullSpoolOfEventsDropsTheOldest(t *testing.T) {
	d, g := sim.NewDisk(1), &gaps{}
	o := small
	o.Gap = g.record
	s := opened(t, d.Dir("spool"), o)
	for i := range 400 {
		must(t, s.Put(at(i), rec(spool.Event, i, 300)))
		if n := d.Usage("spool"); n > o.LimitBytes {
			t.Fatalf("%d bytes on flash after record %d, limit is %d", n, i, o.LimitBytes)
		}
	}
	seen := map[int]bool{}
	for _, seq := range drain(t, s) {
		seen[seq] = true
	}
	if !seen[399] || seen[0] {
		t.Errorf("newest there: %t, oldest there: %t, want true and false", seen[399], seen[0])
	}
	for seq := range 400 {
		if !seen[seq] && !covered(g.told, spool.Event, seq) {
			t.Errorf("record %d is lost and no gap tells of it", seq)
		}
	}
}

func TestRecordsThatDoNotFitAreRefusedWhole(t *testing.T) {
	s := opened(t, sim.NewDisk(1).Dir("spool"), small)
	good := rec(spool.Event, 1, 100)
	long, odd, upper, short := good, good, good, good
	long.Payload = make([]byte, 1025)
	odd.Class = 7
	upper.Session = strings.ToUpper(session)
	short.Session = "12"
	for name, bad := range map[string]spool.Record{"too long": long, "class": odd, "upper case": upper, "short session": short} {
		if err := s.Put(at(0), good, bad); !errors.Is(err, spool.ErrRecord) {
			t.Errorf("%s: Put = %v, want ErrRecord", name, err)
		}
	}
	if n := s.Stats().Waiting[spool.Event]; n != 0 {
		t.Errorf("%d records wait, want 0", n)
	}
}

func TestOptionsThatMakeNoSenseAreAnError(t *testing.T) {
	for name, o := range map[string]spool.Options{
		"record": {RecordBytes: 1 << 17}, "limit": {LimitBytes: 1 << 20}, "segment": {SegmentBytes: 1 << 30},
	} {
		if _, _, err := spool.Open(sim.NewDisk(1).Dir("spool"), o); err == nil {
			t.Errorf("%s: Open succeeded", name)
		}
	}
}

func TestWhatIsDroppedIsToldOfThoughItsNeighboursWereDoneInRAM(t *testing.T) {
	g := &gaps{}
	o := small
	o.Gap = g.record
	s := opened(t, sim.NewDisk(1).Dir("spool"), o)
	s.Link(at(0), true)
	for i := range 4 {
		must(t, s.Put(at(i), rec(spool.Telemetry, i, 100)))
	}
	es, err := s.Next(4)
	must(t, err)
	s.Done(es[1].ID, es[2].ID)
	s.Link(at(10), false)
	s.Tick(at(80)) // 0 and 3 go to flash together
	s.Done(es[0].ID)
	s.Retry()
	n, lost := 4, uint64(0)
	for ; s.Stats().Dropped[spool.Telemetry] == 0; n++ {
		must(t, s.Put(at(100+n), rec(spool.Telemetry, n, 900)))
	}
	s.Tick(at(10_000))
	seen := map[int]bool{0: true, 1: true, 2: true}
	for _, seq := range drain(t, s) {
		seen[seq] = true
	}
	for seq := range n {
		if seen[seq] {
			continue
		}
		lost++
		if !covered(g.told, spool.Telemetry, seq) {
			t.Errorf("record %d was dropped and no gap tells of it: %+v", seq, g.told)
		}
	}
	if len(g.told) != 1 || g.told[0].Count != lost {
		t.Errorf("%d records were dropped, told: %+v", lost, g.told)
	}
}
