package bsdiff

import (
	"encoding/binary"
	"math/bits"
)

// A window is a text with its sorted suffixes.
type window struct {
	text  []byte
	sa    []int32
	first []int32  // of the suffixes whose first bytes begin with each number of wide bits, the first
	wide  uint     // 16 to 24
	seen  []uint64 // a bit for each number that eight bytes of the text mix to
}

func newWindow(text []byte) *window {
	wide := min(22, max(16, uint(bits.Len(uint(len(text))))-2)) // some four suffixes to a number, or more
	w := &window{text: text, sa: make([]int32, len(text)), wide: wide, first: make([]int32, 1<<wide+1)}
	sortSuffixes(text, w.sa)
	w.seen = make([]uint64, len(text)/16+1) // four bits a byte
	for i := range text {
		w.first[w.prefix(text[i:])+1]++
		if i+8 <= len(text) {
			at, bit := w.gram(text[i:])
			w.seen[at] |= bit
		}
	}
	for i := 1; i < len(w.first); i++ {
		w.first[i] += w.first[i-1]
	}
	return w
}

// prefix is the first wide bits as a number, with zeros after the end: a suffix that ends sorts before what goes on.
func (w *window) prefix(b []byte) int {
	if len(b) < 4 {
		b = append(append(make([]byte, 0, 8), b...), 0, 0, 0, 0)
	}
	return int(binary.BigEndian.Uint32(b) >> (32 - w.wide))
}

// gram says where in seen eight bytes are noted.
func (w *window) gram(b []byte) (at, bit uint64) {
	h := binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xc2b2ae3d27d4eb4f
	at, _ = bits.Mul64(h, uint64(len(w.seen)))
	return at, 1 << (h & 63)
}

// longest returns where in the text the longest prefix of want begins, and its length. Prefixes shorter than eight bytes
// may be reported as none: most of what is new is told by that, without a search through memory.
func (w *window) longest(want []byte, near int) (at, length int) {
	if len(want) < 8 || len(w.sa) == 0 {
		return 0, 0
	}
	if at, bit := w.gram(want); w.seen[at]&bit == 0 {
		return 0, 0
	}
	p := w.prefix(want)
	lo, hi := int(w.first[p]), int(w.first[p+1])-1
	if lo > hi {
		return 0, 0
	}
	// The suffixes at lo and hi share loLen and hiLen bytes with want: whatever lies between shares the smaller number.
	loLen := common(w.text[w.sa[lo]:], want, 0)
	hiLen := loLen
	if hi != lo {
		hiLen = common(w.text[w.sa[hi]:], want, 0)
	}
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		suffix := w.text[w.sa[mid]:]
		n := common(suffix, want, min(loLen, hiLen))
		if n == len(want) {
			return w.nearest(mid, want, near), n
		}
		if n == len(suffix) || suffix[n] < want[n] {
			lo, loLen = mid, n
		} else {
			hi, hiLen = mid, n
		}
	}
	if loLen >= hiLen {
		return w.nearest(lo, want[:loLen], near), loLen
	}
	return w.nearest(hi, want[:hiLen], near), hiLen
}

// alike is how many suffixes on either side are asked whether they are nearer.
const alike = 32

// nearest returns, of the suffixes around i that begin with want, as the one at i does, the one nearest to a place.
func (w *window) nearest(i int, want []byte, near int) int {
	best := int(w.sa[i])
	for _, step := range [2]int{-1, 1} {
		for j := i + step; j >= 0 && j < len(w.sa) && (j-i)*step <= alike; j += step {
			at := int(w.sa[j])
			if common(w.text[at:], want, 0) < len(want) {
				break
			}
			if max(at-near, near-at) < max(best-near, near-best) {
				best = at
			}
		}
	}
	return best
}

// common returns how many bytes a and b share from their beginning, of which from are known to be shared.
func common(a, b []byte, from int) int {
	n := min(len(a), len(b))
	i := min(from, n)
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + trailingBytes(x)
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

func trailingBytes(x uint64) int { return bits.TrailingZeros64(x) / 8 }
