package spool_test

import (
	"slices"
	"testing"

	"holdfast/agent/spool"
	"holdfast/board/sim"
)

// FuzzRecover starts on segments of arbitrary bytes. The spool starts, hands out what it believes, and keeps what is put.
func FuzzRecover(f *testing.F) {
	d := sim.NewDisk(1)
	s := opened(f, d.Dir("spool"), small)
	s.Link(at(0), false)
	for i := range 12 {
		must(f, s.Put(at(100+i), rec(spool.Event, 2*i, 300), rec(spool.Telemetry, 2*i+1, 300)))
	}
	s.Tick(at(300))
	names, err := d.Dir("spool").List()
	must(f, err)
	var whole [][]byte
	for _, name := range names {
		file, err := d.Dir("spool").Open(name)
		must(f, err)
		b := make([]byte, 16<<10)
		n, _ := file.ReadAt(b, 0)
		whole = append(whole, b[:n])
	}
	f.Add(whole[0], whole[1], uint16(0), byte(0), false)
	f.Add(whole[0], whole[1], uint16(130), byte(1), true)
	f.Add(whole[1], whole[0], uint16(4), byte(255), true)
	f.Add(whole[len(whole)-1], []byte{}, uint16(40), byte(16), false)
	f.Add(make([]byte, 600), []byte("HFSPOOL1"), uint16(7), byte(8), true)
	f.Fuzz(func(t *testing.T, first, second []byte, off uint16, mask byte, reseal bool) {
		d := sim.NewDisk(1)
		for i, f := range []struct {
			name string
			b    []byte
		}{{"event-00000001", slices.Clone(first)}, {"event-00000002", slices.Clone(second)}, {"telemetry-00000003", slices.Clone(first)}} {
			if reseal { // what has sound checksums and still makes no sense
				class := spool.Event
				if i == 2 {
					class = spool.Telemetry
				}
				spool.Reseal(f.b, class, uint32(i+1))
			}
			file, err := d.Dir("spool").Open(f.name)
			must(t, err)
			_, err = file.Write(f.b)
			must(t, err)
		}
		d.Flip("spool", "event-00000001", int64(off), mask)
		told, mineTold := 0, false
		o := small
		o.Gap = func(g spool.Gap) (spool.Record, bool) {
			told++
			mineTold = mineTold || g.Session == "00000000feedbeef" && g.From <= 77 && 77 <= g.To
			return rec(spool.Event, 1000+told, 60), true
		}
		s, r, err := spool.Open(d.Dir("spool"), o)
		must(t, err)
		if st := s.Stats(); st.Degraded != "" {
			t.Fatalf("degraded: %s, %+v", st.Degraded, r)
		}
		if int64(r.Records) > int64(len(first)*2+len(second))/24 {
			t.Fatalf("%d records in %d bytes", r.Records, len(first)*2+len(second))
		}
		mine := spool.Record{Class: spool.Event, Session: "00000000feedbeef", Seq: 77, Payload: []byte("mine")}
		must(t, s.Put(at(1), mine))
		must(t, s.Close(at(2)))
		s = opened(t, d.Dir("spool"), o)
		found := false
		for range 10_000 {
			es, err := s.Next(100)
			must(t, err)
			if len(es) == 0 {
				break
			}
			for _, e := range es {
				found = found || e.Session == mine.Session && e.Seq == 77 && string(e.Payload) == "mine"
				s.Done(e.ID)
			}
		}
		if !found && !mineTold { // a gap: ordinals were forged to end just where no spool can count on
			t.Fatal("what was put did not come out, and nothing told of it")
		}
	})
}
