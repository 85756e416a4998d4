package repo_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/update"
)

const slotBytes = 256 << 10

type deviceClock struct{ now time.Time }

func (c *deviceClock) Now() time.Time { c.now = c.now.Add(time.Microsecond); return c.now }
func (c *deviceClock) Trusted() bool  { return true }
func (c *deviceClock) Timer(time.Duration) (<-chan time.Time, func()) {
	return make(chan time.Time), func() {}
}

// A device is a simulated board with the update engine on it.
type device struct {
	t      *testing.T
	disk   *sim.Disk
	loader *sim.Loader
	slots  *sim.Slots
	clock  *deviceClock
	anchor []byte
	runs   update.Release
	engine *update.Engine
	boots  int
	again  bool
	mu     sync.Mutex
	read   map[string]int64 // bytes of each file; a patch and a full image are read at the same time
}

func newDevice(t *testing.T, anchor []byte, runs update.Release, image []byte) *device {
	t.Helper()
	d := &device{t: t, disk: sim.NewDisk(1), clock: &deviceClock{now: epoch}, anchor: anchor, runs: runs, read: map[string]int64{}}
	d.loader = sim.NewLoader(d.disk)
	d.slots = sim.NewSlots(d.disk, d.loader.Booted, map[string]int64{"root": slotBytes})
	v := d.slots.Device(board.SlotA, "root")
	if _, err := v.WriteAt(image, 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	d.start()
	return d
}

func (d *device) start() {
	d.t.Helper()
	if _, err := d.loader.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.boots++
	boot, up := string(rune('a'+d.boots)), d.clock.now
	var err error
	d.engine, err = update.New(update.Options{Anchor: d.anchor, Running: &d.runs, Files: d.disk.Files("warden"), Slots: d.slots, Boot: d.loader,
		Clock: d.clock, Uptime: func() (string, time.Duration) { return boot, d.clock.now.Sub(up) }, Device: "pump-7", Compatible: []string{"bench"},
		Program: "1.0.0", Built: epoch, Restart: func(context.Context, bool) error { d.again = true; return nil }})
	if err != nil {
		d.t.Fatal(err)
	}
	d.again = false
}

type counted struct {
	*bytes.Reader
	name string
	d    *device
}

func (c counted) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.Reader.ReadAt(p, at)
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.d.read[c.name] += int64(n)
	return n, err
}

// do carries an update out from the files and says how it ended.
func (d *device) do(files map[string][]byte, job, release string) update.Outcome {
	d.t.Helper()
	if err := d.engine.Accept(d.t.Context(), update.Job{ID: job, Release: release}); err != nil {
		d.t.Fatal(err)
	}
	var want update.Want
	for range 10_000 {
		if d.again {
			d.start()
			want = update.Want{}
		}
		offer := update.Offer{Files: map[string]update.Stream{}, Health: &update.Health{Link: true, Sources: []string{"cpu"}}}
		add := func(name string) {
			if raw, ok := files[name]; ok {
				offer.Files[name] = update.Stream{ReaderAt: counted{bytes.NewReader(raw), name, d}, Bytes: int64(len(raw))}
			} else {
				offer.Absent = name
			}
		}
		switch {
		case want.Metadata != "":
			add(want.Metadata)
		case want.Patch != nil:
			add(want.Patch.Name)
			add(want.Full.Name)
		}
		next, err := d.engine.Advance(d.t.Context(), offer)
		if err != nil {
			d.t.Logf("%v", err)
		}
		if next.Done {
			if last := d.engine.Status().Last; last != nil && last.Job == job {
				return *last
			}
			d.t.Fatalf("done, and status is %+v", d.engine.Status())
		}
		d.clock.now = d.clock.now.Add(next.Wait)
		want = next
	}
	d.t.Fatalf("it goes on for ever: %+v", d.engine.Status())
	return update.Outcome{}
}

func (d *device) holds(id board.SlotID, image []byte) bool {
	b := make([]byte, len(image))
	_, err := d.slots.Device(id, "root").ReadCached(b, 0)
	return err == nil && bytes.Equal(b, image)
}

func TestEngineInstallsWhatIsPublished(t *testing.T) {
	s := founded(t)
	one := words(1, 200_000)
	two := altered(one, 2)
	three := altered(two, 3)
	anchor := s.files()["metadata/1.root.json"]
	s.add("pump/1", one)
	s.publish()
	s.add("pump/2", two)
	s.publish()
	d := newDevice(t, anchor, update.Release{Name: "pump/1", Seq: 1}, one)
	if o := d.do(s.files(), "j1", "pump/2"); o.Result != update.Committed || !d.holds(board.SlotB, two) {
		t.Fatalf("%+v", o)
	}
	if got := read(s, d, "pump/2"); got.full > 0 || got.delta == 0 {
		t.Errorf("read %+v: the delta is enough", got)
	}
	a := s.add("pump/3", three)
	if len(a.From) != 2 || len(a.Parts[0].Deltas) != 2 {
		t.Errorf("made from %v", a.From)
	}
	s.publish()
	if o := d.do(s.files(), "j2", "pump/3"); o.Result != update.Committed || !d.holds(board.SlotA, three) {
		t.Fatalf("%+v", o)
	}
	if o := d.do(s.files(), "j3", "pump/1"); o.Result != update.Refused || o.Reason != "downgrade" {
		t.Errorf("down without a permit: %+v", o)
	}
}

// read says how much of a release's payloads a device has read.
func read(s *site, d *device, release string) (n struct{ full, delta int64 }) {
	s.t.Helper()
	all, err := s.Releases()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range all {
		for _, p := range l.Manifest.Parts {
			if l.Name != release {
				continue
			}
			n.full += d.read[p.Full.File]
			for _, delta := range p.Deltas {
				n.delta += d.read[delta.File]
			}
		}
	}
	return n
}
