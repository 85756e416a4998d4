package spool_test

import (
	"fmt"
	"syscall"
	"testing"

	"holdfast/agent/spool"
	"holdfast/board/sim"
)

// TestEveryOperationMayGoWrong lets each operation of a workload be the first that a fault hits: for once, for a while,
// or until the end. Nothing crashes, nothing acknowledged is lost, and the spool is well again when the fault has gone.
func TestEveryOperationMayGoWrong(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		for _, times := range []int{1, 20, 0} {
			t.Run(fmt.Sprintf("%v %d times", err, times), func(t *testing.T) {
				n := 0
				for ; hit(t, sim.Fault{Err: err, Skip: n, Times: times}); n++ {
				}
				if n < 50 {
					t.Errorf("the workload has %d operations that can be hit, want at least 50", n)
				}
			})
		}
	}
}

// hit runs a workload and reports whether the fault came to pass.
func hit(t *testing.T, f sim.Fault) bool {
	t.Helper()
	name := fmt.Sprintf("%v from operation %d", f.Err, f.Skip)
	d := sim.NewDisk(uint64(f.Skip))
	d.Break(f)
	book := &ledger{boot: 1}
	o := tiny
	o.Gap = book.tell
	s, _, err := spool.Open(d.Dir("spool"), o)
	if err != nil {
		t.Fatal(err)
	}
	degraded := s.Stats().Degraded != ""
	look := func() {
		book.account(s)
		st := s.Stats()
		degraded = degraded || st.Degraded != ""
		if st.RAMBytes > o.RAMBytes {
			t.Fatalf("%s: %d bytes in RAM, limit is %d", name, st.RAMBytes, o.RAMBytes)
		}
		if n := d.Usage("spool"); n > o.LimitBytes {
			t.Fatalf("%s: %d bytes on flash, limit is %d", name, n, o.LimitBytes)
		}
	}
	work(book, s, look)
	hitAtAll := d.Broken()
	if hitAtAll && f.Err != syscall.ENOSPC && f.Times == 0 && !degraded {
		t.Errorf("%s: Stats never said so", name)
	}
	d.Repair()
	for now := 1000; now < 1400; now += 20 {
		s.Tick(at(now))
	}
	if s.Stats().Degraded != "" {
		t.Errorf("%s: degraded after Repair: %s", name, s.Stats().Degraded)
	}
	if err := s.Put(at(1400), book.record(spool.Event, []byte("after"))); err != nil {
		t.Errorf("%s: Put after Repair: %v", name, err)
	}
	look()
	book.killed()
	if v, why := book.judge(d.Clone(), o, func(d spool.Dir) spool.Dir { return d }, nil); v != fine {
		t.Errorf("%s: %s: %s", name, v, why)
	}
	return hitAtAll
}

// work is a fixed workload that does everything.
func work(book *ledger, s *spool.Spool, look func()) {
	payload := make([]byte, 300)
	now := 0
	put := func(class spool.Class, n int) {
		for range n {
			now++
			_ = s.Put(at(now), book.record(class, payload)) // Stats says what is durable
			look()
		}
	}
	drain := func(n int) {
		es, _ := s.Next(n) // what came is good
		for _, e := range es {
			book.deeds[e.Seq].done = true
			s.Done(e.ID)
		}
		look()
	}
	s.Link(at(now), true)
	put(spool.Event, 3)
	put(spool.Telemetry, 3)
	drain(4)
	s.Link(at(now), false)
	s.Retry()
	now += 100
	put(spool.Telemetry, 40)
	put(spool.Event, 20)
	s.Tick(at(now + 60))
	look()
	now += 60
	put(spool.Telemetry, 20)
	s.Link(at(now), true)
	drain(30)
	s.Tick(at(now + 100))
	look()
	now += 100
	put(spool.Event, 5)
	drain(20)
}
