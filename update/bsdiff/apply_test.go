package bsdiff_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"holdfast/agent/link/linktest"
	"holdfast/update/bsdiff"
)

// a pair with several segments, its patch and its full image.
func staged(t testing.TB) (p pair, m *bsdiff.Manifest, patch []byte, full *bsdiff.Full, image []byte) {
	p = pairs()[3]
	m, patch = create(t, p, small)
	fm, image := create(t, pair{"full", nil, p.neu}, small)
	return p, m, patch, &bsdiff.Full{Manifest: fm, Open: bsdiff.RangeOf(bytes.NewReader(image))}, image
}

func TestRunResumesAtAnySegment(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	for cut := range len(m.Segments) + 1 {
		neu := file{b: bytes.Repeat([]byte{0xa5}, len(p.neu))}
		stop := errors.New("power cut")
		next := 0
		done := func(n int) error {
			if next = n; n == cut {
				return stop
			}
			return nil
		}
		if cut > 0 {
			a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(p.old), New: &neu}
			if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, done); !errors.Is(err, stop) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		opened := int64(-1)
		open := func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
			if opened >= 0 {
				t.Error("a second request")
			}
			opened = offset
			return io.NopCloser(io.NewSectionReader(bytes.NewReader(patch), offset, length)), nil
		}
		a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(p.old), New: &neu}
		if err := a.Run(context.Background(), next, open, nil, nil); err != nil || !bytes.Equal(neu.b, p.neu) {
			t.Errorf("resumed at %d: %v", next, err)
		}
		if next < len(m.Segments) && opened != m.Segments[next].Offset {
			t.Errorf("resumed at %d: read from %d", next, opened)
		}
	}
}

func TestDamagedOldIsRepairedSegmentBySegment(t *testing.T) {
	p, m, patch, full, _ := staged(t)
	old := slices.Clone(p.old)
	old[90<<10]++ // zeros of old, which nothing is made from
	old[200<<10]++
	var damaged []int
	probe := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &file{}}
	for n, s := range m.Segments {
		err := probe.Segment(context.Background(), n, bytes.NewReader(patch[s.Offset:]))
		if errors.Is(err, bsdiff.ErrOutput) {
			damaged = append(damaged, n)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(damaged) == 0 || len(damaged) > 3 {
		t.Fatalf("segments %d of %d are wrong", damaged, len(m.Segments))
	}
	fetched := int64(0)
	for _, n := range damaged {
		fetched += full.Manifest.Segments[n].Length
	}
	neu := file{b: make([]byte, len(p.neu))}
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &neu}
	if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), full, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(neu.b, p.neu) || a.Stats.Repaired != len(damaged) || a.Stats.Full != fetched {
		t.Errorf("repaired %+v", a.Stats)
	}
	if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); !errors.Is(err, bsdiff.ErrOutput) {
		t.Errorf("without a full image: %v", err)
	}
}

// Zeros that come from old come out wrong when old is damaged: what was written there is not left when the repair finds
// zeros.
func TestRepairWritesZerosToo(t *testing.T) {
	p := pairs()[2]
	m, patch := create(t, p, small)
	fm, image := create(t, pair{"full", nil, p.neu}, small)
	old := slices.Clone(p.old)
	old[80<<10]++
	neu := file{b: make([]byte, len(p.neu))}
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &neu, Blank: true}
	err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)),
		&bsdiff.Full{Manifest: fm, Open: bsdiff.RangeOf(bytes.NewReader(image))}, nil)
	if err != nil || a.Stats.Repaired != 1 || !bytes.Equal(neu.b, p.neu) {
		t.Errorf("%v, %+v", err, a.Stats)
	}
}

func TestWhatWasReadOfOldIsForgottenBetweenSegments(t *testing.T) {
	old := words(rand.New(rand.NewPCG(11, 12)), 100_000)
	var neu []byte
	for at := len(old); at > 0; at -= 5_000 { // pieces short enough to go through the pages that are kept
		neu = append(neu, old[at-5_000:at]...)
	}
	m, patch := create(t, pair{"pieces", old, neu}, small)
	old = slices.Clone(old)
	const spot = 52_000
	old[spot]++
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &file{}}
	again := 0
	for n, s := range m.Segments {
		err := a.Segment(context.Background(), n, bytes.NewReader(patch[s.Offset:]))
		if errors.Is(err, bsdiff.ErrOutput) {
			old[spot]--
			err = a.Segment(context.Background(), n, bytes.NewReader(patch[s.Offset:]))
			old[spot]++
			again++
		}
		if err != nil {
			t.Errorf("segment %d: %v", n, err)
		}
	}
	if again == 0 {
		t.Error("no segment was wrong")
	}
}

// A decayed old cannot be read in places.
type decayed struct {
	*bytes.Reader
	from, to int64
}

func (d decayed) ReadAt(p []byte, at int64) (int, error) {
	if at < d.to && at+int64(len(p)) > d.from {
		return 0, errDisk
	}
	return d.Reader.ReadAt(p, at)
}

func TestUnreadableOldIsRepaired(t *testing.T) {
	p, m, patch, full, _ := staged(t)
	old := decayed{bytes.NewReader(p.old), 200 << 10, 204 << 10}
	neu := file{b: make([]byte, len(p.neu))}
	a := &bsdiff.Applier{Manifest: m, Old: old, New: &neu}
	if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), full, nil); err != nil || !bytes.Equal(neu.b, p.neu) {
		t.Errorf("%v, %+v", err, a.Stats)
	}
	err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil)
	if !errors.Is(err, bsdiff.ErrOutput) || !errors.Is(err, errDisk) {
		t.Errorf("without a full image: %v", err)
	}
}

func TestFullImageOfSomethingElseIsRefused(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	other, image := create(t, pair{"other", nil, bytes.Repeat([]byte("x"), len(p.neu))}, small)
	old := slices.Clone(p.old)
	old[200<<10]++
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &file{}}
	err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)),
		&bsdiff.Full{Manifest: other, Open: bsdiff.RangeOf(bytes.NewReader(image))}, nil)
	if !errors.Is(err, bsdiff.ErrFormat) {
		t.Errorf("Run = %v", err)
	}
}

func TestWrongOldIsSaidBeforeAnythingIsWritten(t *testing.T) {
	p, m, _, _, _ := staged(t)
	ctx := context.Background()
	if err := m.CheckOld(ctx, bytes.NewReader(p.old), int64(len(p.old))); err != nil {
		t.Error(err)
	}
	longer := append(slices.Clone(p.old), 1) // a slot is longer than its image
	if err := m.CheckOld(ctx, bytes.NewReader(longer), int64(len(longer))); err != nil {
		t.Error(err)
	}
	if err := m.CheckOld(ctx, bytes.NewReader(p.neu), int64(len(p.neu))); !errors.Is(err, bsdiff.ErrOld) {
		t.Errorf("another image: %v", err)
	}
	if err := m.CheckOld(ctx, bytes.NewReader(p.old), int64(len(p.old)-1)); !errors.Is(err, bsdiff.ErrOld) {
		t.Errorf("a short image: %v", err)
	}
}

func TestWhatIsRightIsNotWritten(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	run := func(neu *file, present io.ReaderAt, blank bool) bsdiff.Stats {
		a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(p.old), New: neu, Present: present, Blank: blank}
		if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); err != nil || !bytes.Equal(neu.b, p.neu) {
			t.Errorf("%v", err)
		}
		if a.Stats.Written != neu.writes || a.Stats.Written+a.Stats.Skipped != int64(len(p.neu)) {
			t.Errorf("%+v, %d were written", a.Stats, neu.writes)
		}
		return a.Stats
	}
	twice := &file{b: slices.Clone(p.neu)}
	if s := run(twice, twice, false); s.Written != 0 {
		t.Errorf("over itself: %+v", s)
	}
	wrong := &file{b: slices.Clone(p.neu)}
	wrong.b[5]++
	wrong.b[100_000]++
	if s := run(wrong, wrong, false); s.Written != 2*bsdiff.BlockBytes {
		t.Errorf("two wrong blocks: %+v", s)
	}
	if s := run(&file{b: make([]byte, len(p.neu))}, nil, true); s.Skipped < 64<<10 {
		t.Errorf("70 KiB of zeros: %+v", s)
	}
	if s := run(&file{b: bytes.Repeat([]byte{9}, len(p.neu))}, nil, false); s.Skipped != 0 {
		t.Errorf("over something else: %+v", s)
	}
}

func TestContextStopsAndPacesTheApplier(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(p.old), New: &file{}}
	asked := 0
	ctx := bsdiff.WithPace(context.Background(), func(_ context.Context, n int) error {
		if n < 1 || n > 16<<10 {
			t.Errorf("asked for %d bytes", n)
		}
		asked += n
		return nil
	})
	if err := a.Run(ctx, 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); err != nil {
		t.Fatal(err)
	}
	if int64(asked) < a.Stats.Patch {
		t.Errorf("asked for %d of %d bytes", asked, a.Stats.Patch)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := a.Run(ctx, 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := a.Run(bsdiff.WithPace(context.Background(), func(context.Context, int) error { return errDisk }), 0,
		bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); !errors.Is(err, errDisk) || errors.Is(err, bsdiff.ErrStream) {
		t.Errorf("pace: %v", err)
	}
}

func TestErrorsOfTheWorldAreNotThePatchs(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(p.old), New: full{}}
	if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); !errors.Is(err, errDisk) || errors.Is(err, bsdiff.ErrStream) {
		t.Errorf("a full disk: %v", err)
	}
	a.New = &file{}
	err := a.Segment(context.Background(), 0, io.MultiReader(bytes.NewReader(patch[m.Segments[0].Offset:][:m.Segments[0].Length/2]), failingReader{}))
	if !errors.Is(err, errDisk) || errors.Is(err, bsdiff.ErrStream) {
		t.Errorf("a broken connection: %v", err)
	}
	if err := a.Segment(context.Background(), len(m.Segments), bytes.NewReader(patch)); err == nil {
		t.Error("a segment that is not there was made")
	}
}

type full struct{}

func (full) WriteAt([]byte, int64) (int, error) { return 0, errDisk }

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDisk }

// The memory of an Applier does not depend on the images: making many segments allocates next to nothing.
func TestApplierAllocatesOnce(t *testing.T) {
	old := words(rand.New(rand.NewPCG(5, 6)), 512<<10)
	neu := slices.Concat(old[256<<10:], []byte("shift"), old[:256<<10])
	m, patch := create(t, pair{"", old, neu}, small)
	dst := &file{b: make([]byte, len(neu))}
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: dst}
	run := func() {
		if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	run()
	// a few small values a segment: the wire, the tuples' reader, errors that were not
	if n := testing.AllocsPerRun(3, run); n > 40*float64(len(m.Segments)) {
		t.Errorf("%.0f allocations for %d segments", n, len(m.Segments))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / uint64(len(m.Segments)); n > 4<<10 {
		t.Errorf("%d bytes allocated a segment", n)
	}
}

// A guarded image remembers how far it was written.
type guarded struct {
	file
	end int64
}

func (g *guarded) WriteAt(p []byte, at int64) (int, error) {
	g.end = max(g.end, at+int64(len(p)))
	return g.file.WriteAt(p, at)
}

func TestNothingIsWrittenBehindASegmentThatIsWrong(t *testing.T) {
	p, m, patch, _, _ := staged(t)
	old := slices.Clone(p.old)
	old[200<<10]++
	neu := &guarded{}
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: neu}
	next := 0
	err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, func(n int) error { next = n; return nil })
	if !errors.Is(err, bsdiff.ErrOutput) || next == len(m.Segments)-1 {
		t.Fatalf("after %d of %d segments: %v", next, len(m.Segments), err)
	}
	if s := m.Segments[next]; neu.end > s.At+s.Bytes {
		t.Errorf("segment %d is wrong and %d was written, behind its end at %d", next, neu.end, s.At+s.Bytes)
	}
}

// What an Applier reads ahead is bounded, and not counted before it is used; what it started has ended when it returns.
func TestAStoppedRunLeavesNothingBehind(t *testing.T) {
	image := bytes.Repeat(words(rand.New(rand.NewPCG(21, 22)), 64<<10), 128)
	m, patch := create(t, pair{"full", nil, image}, small)
	before := linktest.InUse()
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(nil), New: &file{}}
	for range 20 {
		a.Stats = bsdiff.Stats{}
		far := int64(0)
		ctx := bsdiff.WithPace(context.Background(), func(_ context.Context, n int) error { far += int64(n); return nil })
		err := a.Run(ctx, 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, func(int) error { return errDisk })
		if !errors.Is(err, errDisk) || a.Stats.Patch != m.Segments[0].Length {
			t.Fatalf("%v, %+v, the first segment has %d bytes", err, a.Stats, m.Segments[0].Length)
		}
		if far > m.PatchBytes()*3/4 {
			t.Fatalf("%d of %d bytes were read for one segment of %d", far, m.PatchBytes(), len(m.Segments))
		}
	}
	linktest.NoMoreThan(t, before)
	neu := &file{}
	a.New = neu
	if err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil); err != nil || !bytes.Equal(neu.b, image) {
		t.Errorf("after that: %v", err)
	}
}
