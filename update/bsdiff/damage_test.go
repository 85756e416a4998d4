package bsdiff_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"holdfast/update/bsdiff"
)

// sealed is a patch with several kinds of tuples, short enough to be damaged often.
func sealed(t testing.TB, c bsdiff.Codec) (p pair, m *bsdiff.Manifest, patch []byte) {
	rnd := rand.New(rand.NewPCG(7, 8))
	old := words(rnd, 40_000)
	neu := slices.Concat(old[20_000:], []byte("an insertion"), make([]byte, 27_000), old[:20_000], words(rnd, 300))
	for range 40 {
		neu[rnd.IntN(15_000)]++
	}
	p = pair{"sealed", old, neu}
	o := small
	o.Codec = c
	m, patch = create(t, p, o)
	return p, m, patch
}

// open reads the container from the patch itself, where it has one.
func open(m *bsdiff.Manifest, patch []byte) (*bsdiff.Manifest, error) {
	if m.Codec != bsdiff.Zstd {
		return m, nil
	}
	return bsdiff.ReadContainer(bytes.NewReader(patch), int64(len(patch)))
}

func survive(t *testing.T, what string, a *bsdiff.Applier, m *bsdiff.Manifest, patch []byte) {
	t.Helper()
	read, err := open(m, patch)
	if err == nil {
		a.Manifest = read
		err = a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil)
	}
	if err == nil {
		t.Errorf("%s: accepted", what)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	for _, c := range []bsdiff.Codec{bsdiff.Zstd, bsdiff.Bzip2} {
		p, m, patch := sealed(t, c)
		a := &bsdiff.Applier{Old: bytes.NewReader(p.old), New: &file{}}
		step := 1
		if c == bsdiff.Bzip2 || raced {
			step = 11 // slow
		}
		first := 0
		if c == bsdiff.Bzip2 {
			first = int(m.Segments[0].Offset) // the 24 bytes before are icedream's, a manifest holds what they say
		}
		for n := first; n < len(patch); n += step {
			survive(t, fmt.Sprintf("%s, %d of %d bytes", c, n, len(patch)), a, m, patch[:n])
		}
	}
	_, m, patch := sealed(t, bsdiff.Zstd)
	if _, err := open(m, append(slices.Clone(patch), 0)); err == nil {
		t.Error("a patch that goes on was accepted")
	}
}

func TestHundredThousandBitFlipsAreErrors(t *testing.T) {
	for c, flips := range map[bsdiff.Codec]int{bsdiff.Zstd: 100_000, bsdiff.Bzip2: 2_000} {
		if raced {
			flips /= 100
			t.Logf("%s: %d flips under the race detector", c, flips)
		}
		p, m, patch := sealed(t, c)
		first := 0
		if c == bsdiff.Bzip2 {
			first = int(m.Segments[0].Offset)
		}
		const hands = 4
		var wg sync.WaitGroup
		for hand := range hands {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(9, uint64(hand)))
				mine := slices.Clone(patch)
				a := &bsdiff.Applier{Old: bytes.NewReader(p.old), New: &file{}}
				for range flips / hands {
					i, bit := first+rnd.IntN(len(mine)-first), byte(1)<<rnd.IntN(8)
					mine[i] ^= bit
					survive(t, fmt.Sprintf("%s, byte %d of %d, bit %#x", c, i, len(mine), bit), a, m, mine)
					mine[i] ^= bit
				}
			})
		}
		wg.Wait()
	}
}
