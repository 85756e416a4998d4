package nbd_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/cmd/internal/nbd"
)

const sector = 512

// A file is an image in memory.
type file []byte

func (f file) ReadAt(p []byte, at int64) (int, error)  { return copy(p, f[at:]), nil }
func (f file) WriteAt(p []byte, at int64) (int, error) { return copy(f[at:], p), nil }

// A bench is one medium with its supply, and a client that has chosen it.
type bench struct {
	*client
	supply *nbd.Supply
	medium *nbd.Medium
	image  file
}

func newBench(t testing.TB, sectors int, cacheBytes int64) *bench {
	t.Helper()
	b := &bench{supply: nbd.NewSupply(), image: make(file, sectors*sector)}
	var err error
	b.medium, err = nbd.NewMedium(b.supply, nbd.MediumOptions{Name: "disk", Image: b.image, Bytes: int64(len(b.image)), CacheBytes: cacheBytes, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.client = connect(t, map[string]*nbd.Medium{"disk": b.medium})
	b.choose(t, "disk")
	return b
}

// mark is a sector that tells which request it is of.
func mark(request, at int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%07d %07d\n", request, at), sector/16)
}

func marks(request, at, sectors int) (p []byte) {
	for i := range sectors {
		p = append(p, mark(request, at+i)...)
	}
	return p
}

func (b *bench) sector(at int) []byte { return b.image[at*sector:][:sector] }

func TestWhatIsReadIsWhatWasWrittenLast(t *testing.T) {
	b := newBench(t, 64, 0)
	b.must(t, nbd.Write, 0, 4, 0, marks(1, 4, 4))
	b.must(t, nbd.Write, 0, 6, 0, marks(2, 6, 1))
	got := b.must(t, nbd.Read, 0, 4, 4, nil)
	want := slices.Concat(marks(1, 4, 2), mark(2, 6), mark(1, 7))
	if !bytes.Equal(got, want) {
		t.Errorf("read %q", got)
	}
	if !bytes.Equal(b.sector(4), make([]byte, sector)) {
		t.Error("it is on the medium before it was flushed")
	}
	b.must(t, nbd.Flush, 0, 0, 0, nil)
	if !bytes.Equal(b.image[4*sector:8*sector], want) {
		t.Error("it was flushed, and is not on the medium")
	}
	b.must(t, nbd.WriteZeroes, 0, 5, 2, nil)
	if got := b.must(t, nbd.Read, 0, 4, 4, nil); !bytes.Equal(got, slices.Concat(mark(1, 4), make([]byte, 2*sector), mark(1, 7))) {
		t.Errorf("with zeroes: %q", got)
	}
	b.must(t, nbd.Trim, 0, 4, 1, nil)
	if got := b.must(t, nbd.Read, 0, 4, 1, nil); bytes.Equal(got, make([]byte, sector)) || bytes.Equal(got, mark(1, 4)) {
		t.Error("a trimmed sector reads as anything, and here as zeroes or what it was")
	}
}

func TestFUAIsOnTheMediumAlone(t *testing.T) {
	b := newBench(t, 64, 0)
	b.must(t, nbd.Write, 0, 1, 0, mark(1, 1))
	b.must(t, nbd.Write, 0, 2, 0, mark(1, 2))
	b.must(t, nbd.Write, fua, 2, 0, mark(2, 2))
	b.supply.Off()
	if l, err := b.medium.Cut(nbd.Damage{Kind: nbd.Nothing}); err != nil || l.Held != 1 {
		t.Fatalf("lost %+v, %v", l, err)
	}
	if !bytes.Equal(b.sector(2), mark(2, 2)) || !bytes.Equal(b.sector(1), make([]byte, sector)) {
		t.Errorf("sectors 1 and 2 are %.8q and %.8q", b.sector(1), b.sector(2))
	}
}

// A written is what was asked for since the last flush.
type written struct{ request, at, sectors int }

// load flushes some sectors, and then writes without a flush, with overlaps.
func load(t *testing.T, b *bench, rnd *rand.Rand) (before file, after []written) {
	b.must(t, nbd.Write, 0, 0, 0, marks(0, 0, len(b.image)/sector))
	b.must(t, nbd.Flush, 0, 0, 0, nil)
	for n := 1; n <= 20; n++ {
		w := written{n, rnd.IntN(40), 1 + rnd.IntN(20)}
		b.must(t, nbd.Write, 0, w.at, 0, marks(w.request, w.at, w.sectors))
		after = append(after, w)
	}
	return slices.Clone(b.image), after
}

// versions are what a sector may be after a cut: of before, or of any request.
func versions(at int, after []written) (all []int) {
	all = []int{0}
	for _, w := range after {
		if at >= w.at && at < w.at+w.sectors {
			all = append(all, w.request)
		}
	}
	return all
}

// of returns the request whose version a sector is, -1 when it is nobody's.
func of(b []byte, at int) int {
	for n := range 21 {
		if bytes.Equal(b, mark(n, at)) {
			return n
		}
	}
	return -1
}

func TestACutLeavesOfEachSectorOneOfItsVersions(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		b := newBench(t, 64, 0)
		_, after := load(t, b, rnd)
		b.supply.Off()
		d := nbd.Any(rnd)
		l, err := b.medium.Cut(d)
		if err != nil {
			t.Fatal(err)
		}
		kept, old, torn := 0, 0, 0
		for at := range 64 {
			may, is := versions(at, after), of(b.sector(at), at)
			if !slices.Contains(may, is) {
				t.Fatalf("seed %d, %s: sector %d is of request %d, want one of %v", seed, d.Kind, at, is, may)
			}
			switch {
			case len(may) == 1:
			case is == may[len(may)-1]:
				kept++
			case is == 0:
				old++
			default:
				torn++
			}
		}
		if l.Kept != int64(kept) || l.Torn != int64(torn) || l.Held != int64(kept+old+torn) {
			t.Errorf("seed %d, %s: %d kept, %d torn, %d old, and it says %+v", seed, d.Kind, kept, torn, old, l)
		}
		seen[fmt.Sprintf("%s kept=%t old=%t torn=%t", d.Kind, kept > 0, old > 0, torn > 0)] = true
	}
	for _, want := range []string{"nothing kept=false old=true torn=false", "all kept=true old=false torn=false", "older kept=true old=true torn=true",
		"newer kept=true old=true torn=false", "requests kept=true old=true torn=true", "sectors kept=true old=true torn=true"} {
		if !seen[want] {
			t.Errorf("never: %s", want)
		}
	}
}

func TestACutKeepsAnOrder(t *testing.T) {
	for seed := range uint64(40) {
		for _, kind := range []nbd.Kind{nbd.Older, nbd.Newer} {
			rnd := rand.New(rand.NewPCG(seed, 9))
			b := newBench(t, 64, 0)
			_, after := load(t, b, rnd)
			b.supply.Off()
			if _, err := b.medium.Cut(nbd.Damage{Seed: seed, Kind: kind}); err != nil {
				t.Fatal(err)
			}
			// of sectors that were written once there is a request before which all are of one side, and after it of the other
			left, gone := []int{}, []int{}
			for at := range 64 {
				if may := versions(at, after); len(may) != 2 {
					continue
				} else if of(b.sector(at), at) == may[1] {
					left = append(left, may[1])
				} else {
					gone = append(gone, may[1])
				}
			}
			if kind == nbd.Newer {
				left, gone = gone, left
			}
			if len(left) > 0 && len(gone) > 0 && slices.Max(left) > slices.Min(gone) {
				t.Errorf("seed %d, %s: %v are on one side, %v on the other", seed, kind, left, gone)
			}
		}
	}
}

func TestTheSameSeedGivesTheSameDamage(t *testing.T) {
	var first [2]file
	for seed := range uint64(12) {
		for turn := range 2 {
			b := newBench(t, 64, 10*sector)
			load(t, b, rand.New(rand.NewPCG(seed, 9)))
			b.supply.Off()
			if _, err := b.medium.Cut(nbd.Damage{Seed: seed, Kind: nbd.Kind(seed % 6), InSectors: seed > 6}); err != nil {
				t.Fatal(err)
			}
			first[turn] = b.image
		}
		if !bytes.Equal(first[0], first[1]) {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}

func TestASectorIsTornOnlyWhereThatIsAskedFor(t *testing.T) {
	torn := 0
	for seed := range uint64(10) {
		b := newBench(t, 64, 0)
		load(t, b, rand.New(rand.NewPCG(seed, 9)))
		b.supply.Off()
		if _, err := b.medium.Cut(nbd.Damage{Seed: seed, Kind: nbd.Sectors, InSectors: true}); err != nil {
			t.Fatal(err)
		}
		here := 0
		for at := range 64 {
			if of(b.sector(at), at) < 0 {
				here++
			}
		}
		if here > 1 {
			t.Errorf("seed %d: %d sectors are torn", seed, here)
		}
		torn += here
	}
	if torn < 8 { // one in sixteen is torn where both halves are the same
		t.Errorf("%d of 10 cuts tore a sector", torn)
	}
}

func TestAFullCacheWritesOutSomeOfIt(t *testing.T) {
	b := newBench(t, 64, 16*sector)
	for n := range 3 {
		b.must(t, nbd.Write, 0, 10*n, 0, marks(n+1, 10*n, 10))
	}
	out := 0
	for at := range 30 {
		if of(b.sector(at), at) > 0 {
			out++
		}
	}
	if out < 4 || out > 26 {
		t.Errorf("%d of 30 sectors are on the medium", out)
	}
	if got := b.must(t, nbd.Read, 0, 0, 30, nil); !bytes.Equal(got, slices.Concat(marks(1, 0, 10), marks(2, 10, 10), marks(3, 20, 10))) {
		t.Error("what is read is not what was written")
	}
}

func TestThePowerGoesInTheMiddleOfADeed(t *testing.T) {
	b := newBench(t, 64, 0)
	gone := b.supply.On("", 3)
	late := connect(t, map[string]*nbd.Medium{"disk": b.medium})
	late.choose(t, "disk")
	late.must(t, nbd.Read, 0, 0, 1, nil)
	b.must(t, nbd.Write, 0, 0, 0, marks(1, 0, 2))
	b.must(t, nbd.Flush, 0, 0, 0, nil)
	b.must(t, nbd.Read, 0, 0, 2, nil)
	select {
	case <-gone:
		t.Fatal("the power went early")
	default:
	}
	if _, err := b.do(nbd.Write, 0, 2, 0, marks(2, 2, 4)); err == nil {
		t.Error("the third deed was answered")
	}
	<-gone
	if n, last := b.supply.Deeds(); n != 3 || last.Medium != "disk" || last.Command != nbd.Write || last.Offset != 2*sector || last.Bytes != 4*sector {
		t.Errorf("deed %d was %+v", n, last)
	}
	if n, none := b.supply.Of("disk"), b.supply.Of("other"); n != 3 || none != 0 {
		t.Errorf("%d deeds of the disk and %d of another", n, none)
	}
	if l, err := b.medium.Cut(nbd.Damage{Kind: nbd.All}); err != nil || l.Held != 4 || l.Kept != 4 {
		t.Errorf("lost %+v, %v", l, err)
	}
	// it is on again: what was asked for before it went is not done any more, and another client finds what was left
	b.supply.On("", 0)
	if _, err := late.do(nbd.Write, 0, 0, 0, mark(9, 0)); err == nil {
		t.Error("a client from before the cut is served")
	}
	c := connect(t, map[string]*nbd.Medium{"disk": b.medium})
	c.choose(t, "disk")
	if got := c.must(t, nbd.Read, 0, 0, 6, nil); !bytes.Equal(got, slices.Concat(marks(1, 0, 2), marks(2, 2, 4))) {
		t.Errorf("after the cut: %q", got)
	}
}

func TestThePowerGoesAtADeedOfOneMedium(t *testing.T) {
	supply := nbd.NewSupply()
	all := map[string]*nbd.Medium{}
	clients := map[string]*client{}
	for _, name := range []string{"one", "two"} {
		m, err := nbd.NewMedium(supply, nbd.MediumOptions{Name: name, Image: make(file, 8*sector), Bytes: 8 * sector})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = m
		clients[name] = connect(t, all)
		clients[name].choose(t, name)
	}
	supply.On("two", 2)
	for range 3 {
		clients["one"].must(t, nbd.Write, 0, 0, 0, mark(1, 0))
	}
	clients["two"].must(t, nbd.Write, 0, 0, 0, mark(1, 0))
	if _, err := clients["two"].do(nbd.Flush, 0, 0, 0, nil); err == nil {
		t.Error("its second deed was answered")
	}
	if _, err := clients["one"].do(nbd.Read, 0, 0, 1, nil); err == nil {
		t.Error("the other medium has power")
	}
}

func TestOnlyWhatHasNoPowerIsCut(t *testing.T) {
	b := newBench(t, 8, 0)
	if _, err := b.medium.Cut(nbd.Damage{}); err == nil {
		t.Error("a medium that has power lost it")
	}
	b.must(t, nbd.Write, 0, 2, 0, mark(1, 2))
	b.supply.Off()
	b.supply.Off() // twice is once
	got := make([]byte, 2*sector)
	if n, err := b.medium.ReadAt(got, 2*sector); n != len(got) || err != nil || !bytes.Equal(got[:sector], mark(1, 2)) {
		t.Errorf("ReadAt: %d, %v, %.8q", n, err, got)
	}
	for _, tt := range []struct{ at, n int64 }{{-512, 512}, {8 * 512, 512}, {7 * 512, 1024}, {1, 512}, {0, 100}} {
		if _, err := b.medium.ReadAt(make([]byte, tt.n), tt.at); err == nil {
			t.Errorf("ReadAt of %d at %d: no error", tt.n, tt.at)
		}
	}
	if _, err := b.do(nbd.Read, 0, 0, 1, nil); err == nil || errors.Is(err, errRefused) {
		t.Errorf("a medium without power answers: %v", err)
	}
	for _, bytes := range []int64{0, -512, 100} {
		if _, err := nbd.NewMedium(b.supply, nbd.MediumOptions{Name: "odd", Bytes: bytes}); err == nil {
			t.Errorf("a medium of %d bytes", bytes)
		}
	}
}
