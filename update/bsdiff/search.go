package bsdiff

import (
	"encoding/binary"
	"math/bits"
)

// A window is a text with its sorted suffixes.
type window struct {
	text  []byte
	sa    []int32
	first []int32  // of the suffixes that begin with each pair of bytes, the first; 65537 entries
	seen  []uint64 // a bit for each number that eight bytes of the text mix to
	shift uint
}

func newWindow(text []byte) *window {
	w := &window{text: text, sa: make([]int32, len(text)), first: make([]int32, 1<<16+1)}
	sortSuffixes(text, w.sa)
	size := max(6, bits.Len(uint(len(text)))+2) // four to eight bits a byte
	w.seen, w.shift = make([]uint64, 1<<(size-6)), uint(64-size)
	for i := 0; i+8 <= len(text); i++ {
		h := mix(text[i:]) >> w.shift
		w.seen[h>>6] |= 1 << (h & 63)
	}
	for i := range text {
		w.first[pair(text[i:])+1]++
	}
	for i := 1; i < len(w.first); i++ {
		w.first[i] += w.first[i-1]
	}
	return w
}

// pair is the first two bytes as a number; a suffix of one byte sorts before all others that begin with it.
func pair(b []byte) int {
	if len(b) < 2 {
		return int(b[0]) << 8
	}
	return int(binary.BigEndian.Uint16(b))
}

func mix(b []byte) uint64 {
	h := binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15
	return (h ^ h>>32) * 0xc2b2ae3d27d4eb4f
}

// longest returns where in the text the longest prefix of want begins, and its length. Prefixes shorter than eight bytes
// may be reported as none: most of what is new is told by that, without a search through memory.
func (w *window) longest(want []byte) (at, length int) {
	if len(want) < 8 || len(w.sa) == 0 {
		return 0, 0
	}
	if h := mix(want) >> w.shift; w.seen[h>>6]>>(h&63)&1 == 0 {
		return 0, 0
	}
	p := pair(want)
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
			return int(w.sa[mid]), n
		}
		if n == len(suffix) || suffix[n] < want[n] {
			lo, loLen = mid, n
		} else {
			hi, hiLen = mid, n
		}
	}
	if loLen >= hiLen {
		return int(w.sa[lo]), loLen
	}
	return int(w.sa[hi]), hiLen
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
