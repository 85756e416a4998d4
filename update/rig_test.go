package update_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/update"
	"holdfast/update/updatetest"
)

const (
	slotBytes  = 256 << 10
	imageBytes = 200_000 // four segments of 64 KiB, the last one short
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// clock goes on by a moment each time it is looked at, and else stands still until it is moved.
type clock struct {
	now       time.Time
	untrusted bool
}

func (c *clock) Now() time.Time { c.now = c.now.Add(time.Microsecond); return c.now }
func (c *clock) Trusted() bool  { return !c.untrusted }
func (c *clock) Timer(time.Duration) (<-chan time.Time, func()) {
	return make(chan time.Time), func() {}
}

// words is an image with structure.
func words(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "%x holdfast kelp %d\n", rnd.Uint64(), rnd.IntN(100))
	}
	return b[:n]
}

// fixture is a repository with releases 1 to 4, made once: each is its predecessor with some pieces changed.
type fixture struct {
	repo   *updatetest.Repository
	images map[string][]byte
}

var releases = sync.OnceValue(func() *fixture {
	f := &fixture{repo: updatetest.New(epoch, 7), images: map[string][]byte{}}
	image := words(1, imageBytes)
	f.images["pump/1"] = image
	for n := 2; n <= 4; n++ {
		old := image
		image = slices.Clone(old)
		copy(image[n*10_000:], words(uint64(n), 5_000))
		copy(image[100_000:150_000], old[100_100:150_000])
		clear(image[150_000 : 150_000+n*4096])
		name := fmt.Sprintf("pump/%d", n)
		f.images[name] = image
		f.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": image}, Old: map[string][]byte{"root": old},
			Custom: map[string]any{"seq": n, "security_floor": n - 1}})
	}
	f.repo.Publish(epoch)
	return f
})

// A machine is a simulated board with an engine on it, and whoever brings it files.
type machine struct {
	disk    *sim.Disk
	loader  *sim.Loader
	slots   *sim.Slots
	clock   *clock
	files   map[string][]byte // the repository, as the network gives it
	options update.Options    // what differs from the usual
	healthy func(image string) bool
	images  map[string][]byte // releases' images by name

	engine   *update.Engine
	boots    int
	runs     string // the release that the slot held when the machine started
	up       time.Time
	restart  bool // it was asked for
	forgets  int  // so many starts come without what was armed
	backward int  // how often out of a trial
	fetched  *counts
	next     update.Want
	steps    int
	docs     *sim.Files                 // as the engine has them: to open them anew removes what is being written
	careless struct{ Data, Names bool } // of the documents' barriers
	faults   []string                   // what Advance complained about
}

func newMachine(f *fixture) *machine {
	d := sim.NewDisk(1)
	m := &machine{disk: d, clock: &clock{now: epoch}, files: f.repo.Files, images: f.images, fetched: &counts{}}
	m.loader = sim.NewLoader(d)
	m.slots = sim.NewSlots(d, m.loader.Booted, map[string]int64{"root": slotBytes})
	m.options.Anchor = f.repo.Anchor()
	m.options.Running = &update.Release{Name: "pump/1", Seq: 1}
	m.fill(board.SlotA, f.images["pump/1"])
	return m
}

// fill puts an image into a slot, as the factory does.
func (m *machine) fill(id board.SlotID, image []byte) {
	v := m.slots.Device(id, "root")
	if _, err := v.WriteAt(image, 0); err != nil {
		panic(err)
	}
	if err := v.Sync(); err != nil {
		panic(err)
	}
}

// holds returns the name of the release that a slot holds, or "".
func (m *machine) holds(id board.SlotID) string {
	b := make([]byte, slotBytes)
	if _, err := m.slots.Device(id, "root").ReadCached(b, 0); err != nil {
		return ""
	}
	for name, image := range m.images {
		if bytes.Equal(b[:len(image)], image) {
			return name
		}
	}
	return ""
}

// start plays the machine's start and opens an engine on it.
func (m *machine) start() error {
	if f, err := m.loader.Facts(); err == nil && f.Leaving() && m.forgets > 0 {
		m.forgets--
		if err := m.loader.Commit(); err != nil {
			return err
		}
	}
	if _, err := m.loader.Start(); err != nil {
		return err
	}
	m.boots++
	m.runs = m.holds(m.loader.Booted())
	m.up, m.restart = m.clock.now, false
	o := m.options
	files := m.disk.Files("warden")
	files.Careless = m.careless
	m.docs = files
	o.Files, o.Slots, o.Boot, o.Clock = files, m.slots, m.loader, m.clock
	boot := fmt.Sprint("boot-", m.boots)
	o.Uptime = func() (string, time.Duration) { return boot, m.clock.now.Sub(m.up) }
	o.Device, o.Compatible, o.Program, o.Built = "pump-7", []string{"bench"}, "1.0.0", epoch
	o.Restart = func(_ context.Context, back bool) error {
		m.restart = true
		if back {
			m.backward++
		}
		return nil
	}
	if os.Getenv("DEBUG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	m.engine, err = update.New(o)
	return err
}

// counts says how much of each file was read. A patch and a full image are read at the same time.
type counts struct {
	mu sync.Mutex
	of map[string]int64
}

func (c *counts) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int64{}
	}
	c.of[name] += int64(n)
}

// A brought file counts what is read of it.
type brought struct {
	name string
	b    []byte
	m    *machine
}

func (f brought) ReadAt(p []byte, at int64) (int, error) {
	n, err := bytes.NewReader(f.b).ReadAt(p, at)
	f.m.fetched.add(f.name, n)
	return n, err
}

// bring makes the offer that answers a want.
func (m *machine) bring(w update.Want) update.Offer {
	o := update.Offer{Files: map[string]update.Stream{}, Health: m.health()}
	add := func(name string) {
		if raw, ok := m.files[name]; ok {
			o.Files[name] = update.Stream{ReaderAt: brought{name, raw, m}, Bytes: int64(len(raw))}
		} else {
			o.Absent = name
		}
	}
	switch {
	case w.Metadata != "":
		add(w.Metadata)
	case w.Patch != nil:
		add(w.Patch.Name)
		add(w.Full.Name)
	}
	return o
}

func (m *machine) health() *update.Health {
	good := m.healthy == nil || m.healthy(m.runs)
	return &update.Health{Link: good, Sources: []string{"cpu", "memory"}}
}

var errStuck = errors.New("it goes on for ever")

// live goes on until there is nothing to do, through restarts. It returns how many there were.
func (m *machine) live(ctx context.Context) (restarts int, err error) {
	var want update.Want
	for range 10_000 {
		if m.restart {
			restarts++
			if err := m.start(); err != nil {
				return restarts, err
			}
			want = update.Want{}
		}
		next, err := m.engine.Advance(ctx, m.bring(want))
		if err != nil {
			m.faults = append(m.faults, err.Error())
			m.clock.now = m.clock.now.Add(10 * time.Second)
			next = update.Want{}
		}
		if next.Done {
			return restarts, nil
		}
		m.clock.now = m.clock.now.Add(next.Wait)
		want = next
	}
	return restarts, errStuck
}

func (m *machine) job(id, release string) error {
	return m.engine.Accept(context.Background(), update.Job{ID: id, Release: release})
}

// do carries a job out to its end and returns how it ended.
func (m *machine) do(t *testing.T, id, release string) update.Outcome {
	t.Helper()
	if m.engine == nil {
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.job(id, release); err != nil {
		t.Fatal(err)
	}
	if _, err := m.live(t.Context()); err != nil {
		t.Fatalf("%v: %+v, %s", err, m.engine.Status(), strings.Join(m.faults, "; "))
	}
	last := m.engine.Status().Last
	if last == nil || last.Job != id {
		t.Fatalf("status %+v after job %s", m.engine.Status(), id)
	}
	return *last
}

var _ io.ReaderAt = brought{}

// full is the path of a release's full image of its only part.
func (f *fixture) full(release string) string { return f.manifest(release).Parts[0].Full.File }

func (f *fixture) manifest(release string) *update.Manifest {
	for name, raw := range f.repo.Files {
		if strings.HasPrefix(name, "targets/") {
			if m, err := update.ParseManifest(raw); err == nil && m.Release == release {
				return m
			}
		}
	}
	panic("no release " + release)
}

// reopen is the machine without power: what stood in memory is gone, what the disk kept is there.
func (m *machine) reopen() {
	loads, reset, mounted := m.loader.Loads, m.loader.Reset, m.slots.Mounted
	m.loader = sim.NewLoader(m.disk)
	m.loader.Loads, m.loader.Reset = loads, reset
	m.slots = sim.NewSlots(m.disk, m.loader.Booted, map[string]int64{"root": slotBytes})
	m.slots.Mounted = mounted
	m.engine, m.restart, m.next = nil, false, update.Want{}
}

// step is one Advance, with what the one before asked for.
func (m *machine) step(t *testing.T) {
	t.Helper()
	next, err := m.engine.Advance(t.Context(), m.bring(m.next))
	if err != nil {
		m.faults = append(m.faults, err.Error())
		next = update.Want{}
	}
	m.next = next
	m.clock.now = m.clock.now.Add(max(time.Second, next.Wait))
	if m.steps++; m.steps > 10_000 {
		t.Fatalf("%v: %+v %s", errStuck, m.engine.Status(), strings.Join(m.faults, "; "))
	}
}

// in reports whether a job is in a phase, by the journal on the disk.
func (m *machine) in(phase string) bool {
	j := m.journal()
	switch phase {
	case "armed":
		return j.Phase == update.Arming && j.Armed && m.loader.Booted() == j.From
	case "trial":
		return j.Phase == update.Arming && m.loader.Booted() == j.Target
	}
	return string(j.Phase) == phase
}

// made is how many segments are in the slot.
func (m *machine) made() int { return m.journal().Segment }

func (m *machine) journal() (j update.Journal) {
	if m.docs == nil {
		return j
	}
	raw, err := m.docs.ReadFile("system.journal", 1<<20)
	if err == nil {
		raw, err = board.Unseal(raw)
	}
	if err == nil {
		_ = json.Unmarshal(raw, &j)
	}
	return j
}
