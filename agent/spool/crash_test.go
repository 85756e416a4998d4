package spool_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/agent/spool"
	"holdfast/board/sim"
)

// tiny makes segments, drops and spills happen every few records.
var tiny = spool.Options{LimitBytes: 56 << 10, SegmentBytes: 2 << 10, RAMBytes: 2 << 10, RecordBytes: 400, HoldOff: time.Minute}

// A sweep cuts the power after every operation of seeded workloads.
type sweep struct {
	options spool.Options
	wrap    func(spool.Dir) spool.Dir
	budget  int // states
	hash    maphash.Seed
	seen    map[uint64]bool
	checked int
	bad     []string
	failed  map[string]int
	kinds   map[string]int // what the workloads did
	latest  uint64         // seed of the last workload
	steps   int            // of a workload
	reached int            // of the last one
}

func newSweep(o spool.Options, budget int) *sweep {
	return &sweep{
		options: o, wrap: func(d spool.Dir) spool.Dir { return d }, budget: budget,
		hash: maphash.MakeSeed(), seen: map[uint64]bool{}, failed: map[string]int{}, kinds: map[string]int{}, steps: 70,
	}
}

func (w *sweep) blame(where, verdict, why string) {
	w.failed[verdict]++
	if len(w.bad) < 5 {
		w.bad = append(w.bad, fmt.Sprintf("%s: %s: %s", where, verdict, why))
	}
}

func (w *sweep) full() bool { return len(w.seen) >= w.budget || len(w.bad) > 0 }

// run goes through workloads from the seed on until the budget is used up or a state is bad.
func (w *sweep) run(seed uint64) {
	for ; !w.full(); seed += 1000 {
		w.workload(seed)
	}
}

// A run of one workload.
type run struct {
	*sweep
	seed   uint64
	rnd    *rand.Rand
	disk   *sim.Disk
	book   *ledger
	s      *spool.Spool
	now    int
	up     bool
	step   int
	out    []spool.Entry
	copies map[uint64]bool // states of this very moment that were judged
}

func (w *sweep) workload(seed uint64) {
	r := &run{sweep: w, seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), disk: sim.NewDisk(seed), book: &ledger{}}
	w.latest = seed
	r.disk.Watch(r.cut)
	r.open()
	for r.step = 1; r.step <= w.steps && !w.full(); r.step++ {
		w.reached = r.step
		clear(r.copies)
		r.act()
		r.book.account(r.s)
		if n := r.disk.Usage("spool"); n > w.options.LimitBytes {
			w.blame(fmt.Sprintf("seed %d step %d", seed, r.step), overLimit, fmt.Sprint(n))
		}
	}
}

func (r *run) open() {
	r.book.killed()
	r.book.boot++
	o := r.options
	o.Gap = r.book.tell
	s, _, err := spool.Open(r.wrap(r.disk.Dir("spool")), o)
	if err != nil {
		r.blame(fmt.Sprintf("seed %d step %d", r.seed, r.step), failedStart, err.Error())
	}
	r.s, r.out = s, nil
	if !r.up {
		return
	}
	r.s.Link(at(r.now), true)
}

func (r *run) payload() []byte {
	b := make([]byte, 20+r.rnd.IntN(371))
	for i := range b {
		b[i] = byte(r.rnd.Uint32())
	}
	return b
}

func (r *run) put(class spool.Class, n int) {
	var recs []spool.Record
	for range n {
		recs = append(recs, r.book.record(class, r.payload()))
	}
	_ = r.s.Put(at(r.now), recs...) // Stats says what is durable
}

func (r *run) act() {
	r.now += 1 + r.rnd.IntN(3)
	did := func(what string) { r.kinds[what]++ }
	switch p := r.rnd.IntN(100); {
	case p < 33:
		did("put events")
		r.put(spool.Event, 1+r.rnd.IntN(3))
	case p < 63:
		did("put telemetry")
		r.put(spool.Telemetry, 1+r.rnd.IntN(3))
	case p < 73:
		did("tick")
		r.now += 5 + r.rnd.IntN(60)
		r.s.Tick(at(r.now))
	case p < 77:
		did("link")
		if r.up = !r.up; !r.up {
			r.s.Retry()
			r.out = nil
		}
		r.s.Link(at(r.now), r.up)
	case p < 93:
		did("drain")
		r.drain()
	case p < 95:
		did("close")
		if r.s.Close(at(r.now)) == nil {
			for i := range r.book.deeds {
				d := &r.book.deeds[i]
				d.durable = d.durable || !d.gone
			}
		}
		r.open()
	case p < 96:
		did("kill")
		r.open()
	case p < 98:
		did("EIO")
		r.disk.Break(sim.Fault{Err: syscall.EIO, Skip: r.rnd.IntN(3), Times: 1})
	case p < 99:
		did("ENOSPC")
		r.disk.Break(sim.Fault{Err: syscall.ENOSPC, Skip: r.rnd.IntN(2), Times: 1 + r.rnd.IntN(3)})
	default:
		did("hour")
		r.now += 3600
	}
}

// drain hands out a few records and acknowledges some of them, not in order.
func (r *run) drain() {
	es, _ := r.s.Next(1 + r.rnd.IntN(12)) // after EIO: what came is good, the rest comes later
	r.out = append(r.out, es...)
	r.rnd.Shuffle(len(r.out), func(i, j int) { r.out[i], r.out[j] = r.out[j], r.out[i] })
	n := r.rnd.IntN(len(r.out) + 1)
	var ids []uint64
	for _, e := range r.out[:n] {
		r.book.deeds[e.Seq].done = true
		ids = append(ids, e.ID)
	}
	r.out = slices.Clone(r.out[n:])
	r.s.Done(ids...)
}

// cut judges every state a power cut may leave at this moment, and for some of them every state a second one may leave
// while the spool starts.
func (r *run) cut() {
	if r.copies == nil {
		r.copies = map[uint64]bool{}
	}
	where := fmt.Sprintf("seed %d step %d", r.seed, r.step)
	for d := range r.disk.CrashStates() {
		if r.full() {
			return
		}
		digest := d.Digest(r.hash)
		if r.copies[digest] {
			continue
		}
		r.copies[digest], r.seen[digest] = true, true
		r.checked++
		var during func(*ledger)
		if r.rnd.IntN(50) == 0 {
			during = func(l *ledger) { r.second(d, l, where) }
		}
		if v, why := r.book.judge(d, r.options, r.wrap, during); v != fine {
			r.blame(where, v, why)
		}
	}
}

func (r *run) second(d *sim.Disk, l *ledger, where string) {
	for again := range d.CrashStates() {
		if r.full() {
			return
		}
		r.seen[again.Digest(r.hash)] = true
		r.checked++
		if v, why := l.judge(again, r.options, r.wrap, nil); v != fine {
			r.blame(where+", second cut", v, why)
		}
	}
}

// noSync is a directory whose files, or whose names, are never synced.
type noSync struct {
	spool.Dir
	files, names bool
}

type unsynced struct{ spool.File }

func (unsynced) Sync() error { return nil }

func (d noSync) Open(name string) (spool.File, error) {
	f, err := d.Dir.Open(name)
	if err == nil && d.files {
		f = unsynced{f}
	}
	return f, err
}

func (d noSync) Sync() error {
	if d.names {
		return nil
	}
	return d.Dir.Sync()
}

// mutants returns a sweep for every mistake.
func mutants(budget int) map[string]*sweep {
	all := map[string]*sweep{}
	for name := range spool.Mutants {
		all[name] = newSweep(spool.WithMutant(tiny, name), budget)
	}
	for name, d := range map[string]noSync{"no sync of files": {files: true}, "no sync of names": {names: true}} {
		w := newSweep(tiny, budget)
		w.wrap = func(inner spool.Dir) spool.Dir { d := d; d.Dir = inner; return d }
		all[name] = w
	}
	return all
}

// TestNothingDurableIsLostToAPowerCut goes through some thousand states; HOLDFAST_SPOOL_STATES=n asks for n.
func TestNothingDurableIsLostToAPowerCut(t *testing.T) {
	budget := 4000
	if v := os.Getenv("HOLDFAST_SPOOL_STATES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("HOLDFAST_SPOOL_STATES=%q: want a number", v)
		}
		budget = n
	}
	const workers = 2
	sweeps := make([]*sweep, workers)
	var wg sync.WaitGroup
	for i := range sweeps {
		sweeps[i] = newSweep(tiny, budget/workers+1)
		wg.Go(func() { sweeps[i].run(uint64(i)) })
	}
	wg.Wait()
	states, lostStates, failedStarts := 0, 0, 0
	did := map[string]int{}
	for _, w := range sweeps {
		states += len(w.seen) // other seeds write other bytes: no state is counted twice
		lostStates += w.failed[lost]
		failedStarts += w.failed[failedStart]
		for _, b := range w.bad {
			t.Error(b)
		}
		for k, n := range w.kinds {
			did[k] += n
		}
	}
	for _, k := range []string{"put events", "put telemetry", "tick", "link", "drain", "close", "kill", "EIO", "ENOSPC", "hour"} {
		if did[k] == 0 && budget >= 100_000 {
			t.Errorf("no workload did %q: %v", k, did)
		}
	}
	killed := killMutants(t)
	fmt.Printf("spool: %d states, %d lost, %d failed starts, %d of %d mutants killed\n",
		states, lostStates, failedStarts, killed, len(spool.Mutants)+2)
}

// begin is the seed of a workload that meets the mistake soon; others would in time.
var begin = map[string]uint64{
	"append after a fault": 525, "continue a torn tail": 21, "cursor before gap": 22, "cursors run ahead": 22,
	"forget before sync": 23, "gap after drop": 21, "no sector padding": 4, "no sync of files": 7, "no sync of names": 10,
	"quota off by a segment": 12, "remove handed out": 16, "reuse ordinals": 21, "silent drop": 26,
	"stop at a torn segment": 25, "trust every frame": 1,
}

func killMutants(t *testing.T) (killed int) {
	all := mutants(20_000)
	names := make(chan string, len(all)) // all of them
	for name := range all {
		names <- name
	}
	close(names)
	var wg sync.WaitGroup
	var sane sync.Map // the workload that kills the mutant spares the spool as it is
	for range 2 {
		wg.Go(func() {
			for name := range names {
				all[name].run(begin[name])
				sound := newSweep(tiny, 1<<30)
				sound.steps = all[name].reached
				sound.workload(all[name].latest)
				sane.Store(name, len(sound.bad) == 0)
			}
		})
	}
	wg.Wait()
	var report []string
	for name, w := range all {
		if len(w.bad) == 0 {
			t.Errorf("mutant %q lives after %d states", name, len(w.seen))
			continue
		}
		if ok, _ := sane.Load(name); ok != true {
			t.Errorf("mutant %q: workload %d is no proof, the spool itself does not survive it", name, w.latest)
			continue
		}
		killed++
		report = append(report, fmt.Sprintf("%-24s killed after %5d states: %s", name, w.checked, w.bad[0]))
	}
	slices.Sort(report)
	t.Log("\n" + strings.Join(report, "\n"))
	return killed
}
