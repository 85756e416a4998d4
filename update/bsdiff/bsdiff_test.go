package bsdiff_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"holdfast/update/bsdiff"
)

// A file in memory that reads as zeros where nothing was written, as a new file does.
type file struct {
	b      []byte
	writes int64
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	f.writes += int64(len(p))
	return copy(f.b[at:], p), nil
}

func (f *file) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(f.b).ReadAt(p, at) }

func reader(b []byte) bsdiff.Reader {
	return bsdiff.Reader{ReaderAt: bytes.NewReader(b), Bytes: int64(len(b))}
}

// words is text that has structure, but no two places of it are long alike.
func words(rnd *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = fmt.Appendf(b, "%x %s\n", rnd.Uint64(), [...]string{"holdfast", "kelp", "storm", "rock"}[rnd.IntN(4)])
	}
	return b[:n]
}

type pair struct {
	name     string
	old, neu []byte
}

// pairs are small images with what real ones have: shifted and edited files, moved and zero blocks, something new.
var pairs = sync.OnceValue(func() []pair {
	rnd := rand.New(rand.NewPCG(3, 4))
	old := words(rnd, 260<<10)
	clear(old[60<<10 : 120<<10])
	edited := slices.Clone(old)
	for range 200 {
		edited[rnd.IntN(len(edited))] += byte(rnd.IntN(3))
	}
	shifted := slices.Concat(old[:50_001], []byte("an insertion"), old[50_001:170_000], old[200_000:])
	moved := slices.Concat(old[140<<10:260<<10], make([]byte, 70<<10), words(rnd, 20_000), old[:140<<10])
	return []pair{
		{"same", old, old},
		{"edited", old, edited},
		{"shifted", old, shifted},
		{"moved", old, moved},
		{"all new", old, words(rnd, 80_000)},
		{"empty old", nil, old},
		{"empty new", old, nil},
		{"both empty", nil, nil},
		{"one byte", []byte{1}, []byte{2}},
		{"zeros", old, make([]byte, 200_000)},
		{"tiny", []byte("holdfast holdfast holdfast"), []byte("holdfast, holdfast and holdfast")},
		{"odd sizes", old[:100_003], slices.Concat([]byte("x"), old[:99_999])},
	}
})

// small segments make short images have many.
var small = bsdiff.Options{SpanBytes: 64 << 10}

func create(t testing.TB, p pair, o bsdiff.Options) (*bsdiff.Manifest, []byte) {
	t.Helper()
	var patch file
	m, err := bsdiff.Create(context.Background(), reader(p.old), reader(p.neu), &patch, o)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return m, patch.b
}

func apply(m *bsdiff.Manifest, old, patch []byte) ([]byte, error) {
	neu := file{b: make([]byte, m.New.Bytes)}
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &neu, Blank: true}
	err := a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil)
	return neu.b, err
}

func TestWhatIsMadeIsApplied(t *testing.T) {
	for _, codec := range []bsdiff.Codec{bsdiff.Zstd, bsdiff.Bzip2} {
		for _, p := range pairs() {
			o := small
			o.Codec = codec
			m, patch := create(t, p, o)
			got, err := apply(m, p.old, patch)
			if err != nil || !bytes.Equal(got, p.neu) {
				t.Errorf("%s, %s: %v, %d bytes of %d", codec, p.name, err, len(got), len(p.neu))
			}
			if m.New.SHA256 != sha256.Sum256(p.neu) || m.Old.SHA256 != sha256.Sum256(p.old) {
				t.Errorf("%s, %s: wrong hashes", codec, p.name)
			}
			if codec == bsdiff.Zstd {
				if read, err := bsdiff.ReadContainer(bytes.NewReader(patch), int64(len(patch))); err != nil || fmt.Sprint(read) != fmt.Sprint(m) {
					t.Errorf("%s: the container says something else: %v", p.name, err)
				}
			}
			text, err := m.Encode()
			if err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
			if read, err := bsdiff.ParseManifest(text); err != nil || fmt.Sprint(read) != fmt.Sprint(m) {
				t.Errorf("%s: the manifest says something else: %v", p.name, err)
			}
		}
	}
}

func TestPatchesOfWhatIsAlikeAreSmall(t *testing.T) {
	most := map[string]int{"same": 1000, "edited": 3500, "shifted": 1500, "moved": 22_000, "zeros": 1000}
	for _, p := range pairs() {
		_, patch := create(t, p, small)
		if limit, ok := most[p.name]; ok && len(patch) > limit {
			t.Errorf("%s: %d bytes, more than %d", p.name, len(patch), limit)
		}
	}
}

func TestPatchIsTheSameWhateverTheCores(t *testing.T) {
	for _, p := range pairs() {
		one, four := small, small
		one.Workers, four.Workers = 1, 4
		_, a := create(t, p, one)
		_, b := create(t, p, four)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two patches", p.name)
		}
	}
}

func TestProgressEndsWhole(t *testing.T) {
	p := pairs()[3]
	o := small
	last, all := int64(0), int64(0)
	o.Progress = func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress from %d to %d of %d", last, done, total)
		}
		last, all = done, total
	}
	create(t, p, o)
	if last != all || all == 0 {
		t.Errorf("progress ended at %d of %d", last, all)
	}
}

func TestGenerationEndsWithItsContext(t *testing.T) {
	p := pairs()[3]
	ctx, cancel := context.WithCancel(context.Background())
	o := small
	o.Progress = func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}
	if _, err := bsdiff.Create(ctx, reader(p.old), reader(p.neu), &file{}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Create = %v", err)
	}
}

type failing struct{ io.ReaderAt }

var errDisk = errors.New("the disk is gone")

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestUnreadableImagesAreReported(t *testing.T) {
	p := pairs()[1]
	for name, images := range map[string][2]bsdiff.Reader{
		"old": {{ReaderAt: failing{}, Bytes: 100_000}, reader(p.neu)},
		"new": {reader(p.old), {ReaderAt: failing{}, Bytes: 100_000}},
	} {
		if _, err := bsdiff.Create(context.Background(), images[0], images[1], &file{}, small); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is not alike for long, and goes on in its place, costs what it is: packed files are like that.
func TestWhatFollowsWhatWasReplacedIsNotStoredAgain(t *testing.T) {
	noise := rand.NewChaCha8([32]byte{1})
	old := make([]byte, 512<<10)
	_, _ = noise.Read(old)
	const most = 32<<10 + 2000
	for _, at := range []int{0, 128 << 10, 100_001, 256 << 10, 480 << 10} {
		neu := slices.Clone(old)
		_, _ = noise.Read(neu[at:][:32<<10])
		neu[at+32<<10-1] = ^old[at+32<<10-1] // no luck at the end
		m, patch := create(t, pair{fmt.Sprint(at), old, neu}, bsdiff.Options{})
		if len(patch) > most {
			t.Errorf("at %d: %d bytes, more than %d", at, len(patch), most)
		}
		if got, err := apply(m, old, patch); err != nil || !bytes.Equal(got, neu) {
			t.Errorf("at %d: %v", at, err)
		}
	}
}
