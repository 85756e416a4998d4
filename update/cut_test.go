package update_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/update"
	"holdfast/update/updatetest"
)

const cutBytes = 2*64<<10 + 9_000 // three segments

// A scene is a device's life up to the end of two updates, and what of it must hold whatever the power does.
type scene struct {
	seed    uint64
	f       *fixture
	bad     string // the release that is no good, or ""
	loads   bool   // the bad release comes up at all
	rot     bool   // the slot decays once while it is written
	options update.Options
	reset   board.Reset
	jobs    []string // releases, one after the other
}

// newScene makes images of its own for each seed, so that no state is counted twice.
func newScene(seed uint64) *scene {
	rnd := rand.New(rand.NewPCG(seed, 99))
	s := &scene{seed: seed, f: &fixture{repo: updatetest.New(epoch, byte(seed)), images: map[string][]byte{}}, jobs: []string{"pump/2", "pump/3"}}
	image := words(seed*10, cutBytes)
	s.f.images["pump/1"] = image
	for n := 2; n <= 3; n++ {
		old := image
		image = slices.Clone(old)
		copy(image[rnd.IntN(100_000):], words(seed*10+uint64(n), 1_000+rnd.IntN(20_000)))
		name := fmt.Sprintf("pump/%d", n)
		s.f.images[name] = image
		s.f.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": image}, Old: map[string][]byte{"root": old},
			Custom: map[string]any{"seq": n, "security_floor": n - 1}})
	}
	s.f.repo.Publish(epoch)
	switch seed % 4 {
	case 1:
		s.bad, s.loads = "pump/2", true
		s.options.Trials = 1 + int(seed/4%3)
	case 2:
		s.bad = "pump/2"
		s.options.Trials = 1 + int(seed/4%3)
	case 3:
		s.rot = true
	}
	if seed/2%2 == 1 {
		s.options.Slice = 1 // a segment at a time
	}
	if seed%3 == 0 && (s.bad == "" || s.loads) {
		s.reset = board.ResetPower
	}
	return s
}

// machine puts the scene's device on a disk.
func (s *scene) machine(d *sim.Disk) *machine {
	m := &machine{disk: d, clock: &clock{now: epoch}, files: s.f.repo.Files, images: s.f.images, fetched: &counts{}, options: s.options}
	m.loader = sim.NewLoader(d)
	m.slots = sim.NewSlots(d, m.loader.Booted, map[string]int64{"root": slotBytes})
	m.loader.Reset = s.reset
	m.options.Anchor = s.f.repo.Anchor()
	m.options.Running = &update.Release{Name: "pump/1", Seq: 1}
	m.healthy = func(image string) bool { return s.bad == "" || image != s.bad }
	m.loader.Loads = func(id board.SlotID) bool { // an empty slot is none; one that is half written is loaded
		head := make([]byte, sim.SectorBytes)
		_, err := m.slots.Device(id, "root").ReadCached(head, 0)
		return err == nil && !bytes.Equal(head, make([]byte, len(head))) && (s.bad == "" || s.loads || m.holds(id) != s.bad)
	}
	return m
}

// truth is what is known for sure at a moment of a scene.
type truth struct {
	job   int   // the one under way
	floor int64 // that a committed release has raised
	held  bool  // the bad release was said to be in quarantine
}

// A sweep cuts the power after every operation of scenes.
type sweep struct {
	mutate func(*machine) // builds a mistake in; nil: none
	budget int            // states
	hash   maphash.Seed
	seen   map[uint64]bool
	runs   int // recoveries of devices whose releases are good
	good   int // of them, those that ended with the release
	failed map[string]int
	others map[string]int // how the rest ended
	bad    []string
	latest uint64
}

func newSweep(budget int) *sweep {
	return &sweep{budget: budget, hash: maphash.MakeSeed(), seen: map[uint64]bool{}, failed: map[string]int{}, others: map[string]int{}}
}

func (w *sweep) full() bool { return len(w.seen) >= w.budget || len(w.bad) >= 3 }

func (w *sweep) blame(s *scene, verdict, why string) {
	w.failed[verdict]++
	if len(w.bad) < 3 {
		w.bad = append(w.bad, fmt.Sprintf("seed %d: %s: %s", s.seed, verdict, why))
	}
}

// Verdicts.
const (
	brick    = "brick"
	wrong    = "wrong image"
	lostWord = "broken promise"
)

func (w *sweep) run(seed, step uint64) {
	for ; !w.full(); seed += step {
		w.play(newScene(seed))
	}
}

func (w *sweep) prepare(s *scene, d *sim.Disk) *machine {
	m := s.machine(d)
	if w.mutate != nil {
		w.mutate(m)
	}
	return m
}

// play goes through a scene, and after each of its operations through what a power cut may leave.
func (w *sweep) play(s *scene) {
	w.latest = s.seed
	d := sim.NewDisk(s.seed)
	m := w.prepare(s, d)
	m.fill(board.SlotA, s.f.images["pump/1"])
	known := truth{}
	rotten := !s.rot
	d.Watch(func() {
		for state := range d.CrashStates() {
			if w.full() {
				return
			}
			if key := state.Digest(w.hash); !w.seen[key] {
				w.seen[key] = true
				w.recover(s, state, known, 0)
			}
		}
		if j := m.journal(); !rotten && j.Segment == 1 { // something that was written decays
			rotten = true
			d.Watch(nil)
			m.slots.Device(j.Target, "root").Flip(int64(s.seed%60_000), 1)
		}
	})
	defer d.Watch(nil)
	if err := m.start(); err != nil {
		w.blame(s, brick, err.Error())
		return
	}
	for i, release := range s.jobs {
		known.job = i
		if w.finish(s, m, i); w.full() {
			return
		}
		last := m.engine.Status().Last
		switch {
		case last == nil:
			return
		case last.Result == update.Committed:
			known.floor = int64(i) + 1 // as the scene's releases have it
		case release == s.bad:
			known.held = true
		}
	}
}

// finish carries a job to its end and looks at what came of it.
func (w *sweep) finish(s *scene, m *machine, job int) {
	release := s.jobs[job]
	id := fmt.Sprintf("job-%d", job)
	if err := m.job(id, release); err != nil {
		w.blame(s, lostWord, err.Error())
		return
	}
	_, err := m.live(context.Background())
	last := m.engine.Status().Last
	if err != nil || last == nil {
		w.blame(s, brick, fmt.Sprintf("job %s: %v: %+v %.300q", id, err, m.engine.Status(), m.faults))
		return
	}
	runs := m.holds(m.loader.Booted())
	if runs == "" {
		w.blame(s, wrong, fmt.Sprintf("slot %s runs something unknown after %+v", m.loader.Booted(), *last))
		return
	}
	floor, err := update.Floor(m.docs)
	if err != nil {
		w.blame(s, lostWord, err.Error())
	}
	if release == s.bad {
		if runs == s.bad || last.Result == update.Committed {
			w.blame(s, wrong, fmt.Sprintf("%s runs, which is no good: %+v", runs, *last))
		}
		if last.Reason != "quarantined" {
			w.blame(s, lostWord, fmt.Sprintf("%s is not in quarantine: %+v", release, *last))
		}
		if floor > int64(job) {
			w.blame(s, lostWord, fmt.Sprintf("the floor is %d after a release that was given up", floor))
		}
		return
	}
	if n := s.options.Trials; n > 0 && n < 3 {
		return // a device that gives up sooner than is usual
	}
	w.runs++
	if last.Result == update.Committed && runs == release {
		w.good++
	} else {
		w.others[last.Reason]++
	}
}

// recover starts a device after a power cut, and looks at what is promised. Now and then the power is cut once more.
func (w *sweep) recover(s *scene, d *sim.Disk, known truth, depth int) {
	rnd := rand.New(rand.NewPCG(s.seed, d.Digest(w.hash)))
	m := w.prepare(s, d)
	left := -1
	if depth < 1 && rnd.IntN(3) == 0 {
		left = rnd.IntN(80)
		d.Watch(func() {
			if left--; left < 0 {
				panic(errCut)
			}
		})
	}
	cut := func() (cut bool) {
		defer func() {
			if r := recover(); r != nil {
				if r != errCut {
					panic(r)
				}
				cut = true
			}
		}()
		w.live(s, m, known)
		return false
	}()
	d.Watch(nil)
	if cut {
		next := d.Cut()
		w.seen[next.Digest(w.hash)] = true
		w.recover(s, next, known, depth+1)
	}
}

var errCut = errors.New("power cut")

// live is a device's life after a cut.
func (w *sweep) live(s *scene, m *machine, known truth) {
	if err := m.start(); err != nil {
		w.blame(s, brick, err.Error())
		return
	}
	w.inspect(s, m, known)
	w.finish(s, m, known.job)
	before := m.holds(m.loader.Booted())
	if err := m.start(); err != nil || m.holds(m.loader.Booted()) != before {
		w.blame(s, brick, fmt.Sprintf("one more start: %v, %q runs, %q did", err, m.holds(m.loader.Booted()), before))
	}
}

// inspect looks at a device that has just come up.
func (w *sweep) inspect(s *scene, m *machine, known truth) {
	runs := m.holds(m.loader.Booted())
	if runs == "" {
		w.blame(s, wrong, fmt.Sprintf("slot %s runs something unknown", m.loader.Booted()))
		return
	}
	status := m.engine.Status()
	if status.Fault != "" {
		w.blame(s, lostWord, status.Fault)
	}
	if last := status.Last; status.Phase == "idle" && last != nil && last.Result == update.Committed && (last.Release != runs || status.Next != status.Booted) {
		w.blame(s, lostWord, fmt.Sprintf("%s was told to be committed, %s runs", last.Release, runs))
	}
	files := m.docs
	if floor, err := update.Floor(files); err != nil || floor < known.floor {
		w.blame(s, lostWord, fmt.Sprintf("the floor is %d, %v, where it was %d", floor, err, known.floor))
	}
	if known.floor > 0 {
		for _, name := range []string{"system.floor-0", "system.floor-1"} {
			half := m.disk.Clone()
			half.Flip("warden", name, 3, 1)
			if floor, err := update.Floor(half.Files("warden")); err != nil || floor < known.floor {
				w.blame(s, lostWord, fmt.Sprintf("with %s decayed the floor is %d, %v, where it was %d", name, floor, err, known.floor))
			}
		}
	}
	if known.held && !held(files, s.bad) {
		w.blame(s, lostWord, "the quarantine is forgotten")
	}
	if j := m.journal(); j.Phase == update.Staging && !s.rot {
		w.noted(s, m, j)
	}
}

// noted reports segments that the journal says are in the slot, and are not.
func (w *sweep) noted(s *scene, m *machine, j update.Journal) {
	image := s.f.images[j.Release.Name]
	done := min(len(image), j.Segment*64<<10)
	if j.Part > 0 {
		done = len(image)
	}
	have := make([]byte, done)
	if _, err := m.slots.Device(j.Target, "root").ReadCached(have, 0); err != nil || !bytes.Equal(have, image[:done]) {
		w.blame(s, lostWord, fmt.Sprintf("%d segments are noted and not in the slot", j.Segment))
	}
}

func held(files board.Files, release string) bool {
	raw, err := files.ReadFile("system.quarantine", 1<<20)
	if err == nil {
		raw, err = board.Unseal(raw)
	}
	var q struct {
		Suspects []struct {
			Release string
			Held    bool
		}
	}
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	for _, s := range q.Suspects {
		if s.Release == release && s.Held {
			return err == nil
		}
	}
	return false
}

// TestAPowerCutAtAnyMoment goes through some thousand states; HOLDFAST_CUT_STATES=n asks for n.
func TestAPowerCutAtAnyMoment(t *testing.T) {
	budget := 2_000
	if race {
		budget = 300
	}
	if v := os.Getenv("HOLDFAST_CUT_STATES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("HOLDFAST_CUT_STATES=%q: want a number", v)
		}
		budget = n
	}
	const workers = 2
	sweeps := make([]*sweep, workers)
	var wg sync.WaitGroup
	for i := range sweeps {
		sweeps[i] = newSweep(budget/workers + 1)
		wg.Go(func() { sweeps[i].run(uint64(i), workers) })
	}
	wg.Wait()
	states, runs, good, bricks, wrongs := 0, 0, 0, 0, 0
	for _, w := range sweeps {
		states, runs, good = states+len(w.seen), runs+w.runs, good+w.good
		bricks, wrongs = bricks+w.failed[brick], wrongs+w.failed[wrong]
		for _, b := range w.bad {
			t.Error(b)
		}
	}
	percent := 100 * float64(good) / float64(max(1, runs))
	if percent < 99 {
		t.Errorf("%.2f %% of %d runs ended with the release, the others as %v %v", percent, runs, sweeps[0].others, sweeps[1].others)
	}
	if race {
		fmt.Printf("%d states with the race detector, no mutants: those are for the run without\n", states)
		return
	}
	killed, all := killMutants(t)
	fmt.Printf("%d states, %d bricks, %d wrong images, %d of %d mutants killed, %.2f %% committed\n", states, bricks, wrongs, killed, all, percent)
}

// scenes are where each mistake is met soon; others meet it in time.
var scenes = map[string]uint64{"a count is forgotten": 1, "no look at the slot": 7, "the floor rises early": 1, "trusted before the gate": 1}

func killMutants(t *testing.T) (killed, all int) {
	mutate := map[string]func(*machine){
		"no sync of documents": func(m *machine) { m.careless.Data = true },
		"no sync of names":     func(m *machine) { m.careless.Names = true },
	}
	for name := range update.Mutants {
		mutate[name] = func(m *machine) { m.options = update.WithMutant(m.options, name) }
	}
	names := make(chan string, len(mutate)) // all of them
	for name := range mutate {
		names <- name
	}
	close(names)
	var mu sync.Mutex
	var report []string
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for name := range names {
				w := newSweep(20_000)
				w.mutate = mutate[name]
				w.run(scenes[name], 1)
				lives := len(w.bad) == 0 && float64(w.good) >= 0.99*float64(w.runs)
				mu.Lock()
				if lives {
					t.Errorf("mutant %q lives after %d states", name, len(w.seen))
				} else {
					killed++
					why := fmt.Sprintf("%d of %d committed", w.good, w.runs)
					if len(w.bad) > 0 {
						why = w.bad[0]
					}
					report = append(report, fmt.Sprintf("%-42s killed after %5d states: %.160s", name, len(w.seen), why))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(report)
	t.Log("\n" + strings.Join(report, "\n"))
	return killed, len(mutate)
}
