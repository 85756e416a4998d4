package spool_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"holdfast/agent/spool"
	"holdfast/board/linux"
	"holdfast/board/sim"
)

func TestARottenSegmentIsSkippedAndToldOfOnce(t *testing.T) {
	for _, where := range []struct {
		name    string
		off     int64
		running bool
	}{{"header, at a start", 30, false}, {"record, at a start", 1500, false}, {"record, while running", 1500, true}, {"header, while running", 30, true}} {
		t.Run(where.name, func(t *testing.T) {
			d, g := sim.NewDisk(1), &gaps{}
			o := small
			o.Gap = g.record
			s := opened(t, d.Dir("spool"), o)
			for i := range 24 {
				must(t, s.Put(at(i), rec(spool.Event, i, 300)))
			}
			names, err := d.Dir("spool").List()
			must(t, err)
			if len(names) < 3 || !d.Flip("spool", names[1], where.off, 0x10) {
				t.Fatalf("no byte %d in the second of %q", where.off, names)
			}
			if !where.running {
				var r spool.Recovery
				s, r, err = spool.Open(d.Dir("spool"), o)
				must(t, err)
				if r.Skipped != 1 || len(r.Gaps) != 1 {
					t.Errorf("Recovery = %+v, want one segment skipped and one gap", r)
				}
			}
			seen := map[int]bool{}
			es, err := s.Next(100)
			must(t, err)
			for _, e := range es {
				seen[int(e.Seq)] = true
			}
			lost := 0
			for seq := range 24 {
				if !seen[seq] {
					lost++
					if !covered(g.told, spool.Event, seq) && where.running {
						s.Tick(at(100))
					}
					if !covered(g.told, spool.Event, seq) {
						t.Errorf("record %d is lost and no gap tells of it", seq)
					}
				}
			}
			if lost == 0 || !seen[0] || !seen[23] || len(g.told) != 1 || g.told[0].Count != uint64(lost) {
				t.Errorf("lost %d, told %+v, first %t, last %t", lost, g.told, seen[0], seen[23])
			}
			s.Tick(at(200))
			for range 2 { // the same damage is not told of again
				opened(t, d.Dir("spool"), o)
			}
			if len(g.told) != 1 {
				t.Errorf("told %d times, want once: %+v", len(g.told), g.told)
			}
		})
	}
}

func TestTheSpoolRunsOnARealDirectory(t *testing.T) {
	dir, err := linux.NewDir(t.TempDir() + "/spool")
	must(t, err)
	s := opened(t, dir, small)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		must(t, s.Put(at(i), rec(spool.Event, i, rnd.IntN(900))))
	}
	must(t, s.Close(at(60)))
	s = opened(t, dir, small)
	got := drain(t, s)
	if len(got) < 30 || got[len(got)-1] != 49 {
		t.Errorf("%v after Close and Open, want the last of 50 in order", got)
	}
}

func TestADeadFlashDegradesAndHeals(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		d, g := sim.NewDisk(1), &gaps{}
		o := small
		o.Gap = g.record
		s := opened(t, d.Dir("spool"), o)
		must(t, s.Put(at(0), rec(spool.Event, 0, 100)))
		d.Break(sim.Fault{Err: err})
		if got := s.Put(at(1), rec(spool.Event, 1, 100)); !errors.Is(got, err) {
			t.Errorf("Put = %v, want %v", got, err)
		}
		for i := 2; i < 100; i++ {
			must(t, s.Put(at(i), rec(spool.Telemetry, i, 100)))
			s.Tick(at(i))
		}
		st := s.Stats()
		if !strings.Contains(st.Degraded, err.Error()) || st.RAMBytes > o.RAMBytes || st.InRAM[spool.Event] == 0 || st.Dropped[spool.Telemetry] == 0 {
			t.Errorf("%v: %+v, want it degraded, RAM bounded, the event kept and telemetry dropped", err, st)
		}
		d.Repair()
		s.Tick(at(200))
		if st := s.Stats(); st.Degraded != "" || st.InRAM != [2]int{} {
			t.Errorf("%v: %+v after Repair, want all on flash", err, st)
		}
		s = opened(t, d.Dir("spool"), o)
		got := drain(t, s)
		if len(got) < 15 || got[0] != 0 || got[1] != 1 {
			t.Errorf("%v: %v, want both events and the newest telemetry", err, got)
		}
	}
}

func TestAFlashThatCannotBeReadAtTheStartIsReadLater(t *testing.T) {
	d := sim.NewDisk(1)
	s := opened(t, d.Dir("spool"), small)
	must(t, s.Put(at(0), rec(spool.Event, 1, 100), rec(spool.Event, 2, 100)))
	d.Break(sim.Fault{Err: syscall.EIO})
	s = opened(t, d.Dir("spool"), small)
	if s.Stats().Degraded == "" {
		t.Error("Degraded is empty while nothing can be read")
	}
	if err := s.Put(at(1), rec(spool.Event, 3, 100)); err == nil {
		t.Error("Put succeeded while nothing can be written")
	}
	es, err := s.Next(9)
	must(t, err)
	if len(es) != 1 || es[0].Seq != 3 {
		t.Errorf("Next = %+v, want the record in RAM", es)
	}
	d.Repair()
	s.Tick(at(100))
	equal(t, "after Repair", drain(t, s), 1, 2, 3)
}
