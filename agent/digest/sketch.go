package digest

import (
	"math"
	"slices"
)

// A sketch counts values in buckets whose bounds grow by a constant factor, so that a quantile read from it has a bounded
// relative error. It is the DDSketch of Masson, Rim and Lee (VLDB 2019, "DDSketch: a fast and fully-mergeable quantile
// sketch with relative-error guarantees") with the collapse of Epicoco, Melle, Cafaro, Pulimeno and Morleo (IEEE Access
// 2020, "UDDSketch: accurate tracking of quantiles in data streams"): when there are too many buckets each two
// neighbours become one, which doubles the error everywhere instead of losing one end.
//
// Bucket k > 0 counts values in (smallest·γ^(k-1), smallest·γ^k], bucket -k their negatives, and bucket 0 the rest. Only
// buckets in use are kept, in ascending order, which is also the order of the values.
type sketch struct {
	keys      []int16
	counts    []uint32
	collapses uint8
}

const (
	mostBuckets  = 1024
	firstBuckets = 32
	accuracy     = 0.005
	smallest     = 1e-12 // what is nearer to zero than any measure of ours
	mostKey      = math.MaxInt16
)

// gamma is the growth of bucket bounds before any collapse, and logGamma its natural logarithm.
const gamma = (1 + accuracy) / (1 - accuracy)

// logGamma is ln((1+a)/(1-a)) = 2·(a + a³/3 + a⁵/5 + …), of which three terms are exact to the last bit of a float64.
const logGamma = 2 * (accuracy + accuracy*accuracy*accuracy/3 + accuracy*accuracy*accuracy*accuracy*accuracy/5)

const logSmallest = -12 * math.Ln10

// add counts v, which is finite.
func (s *sketch) add(v float64) {
	k := s.key(v)
	i, found := slices.BinarySearch(s.keys, k)
	for !found && len(s.keys) == mostBuckets {
		s.collapse()
		k = s.key(v)
		i, found = slices.BinarySearch(s.keys, k)
	}
	if !found {
		if len(s.keys) == cap(s.keys) {
			s.grow()
		}
		s.keys = slices.Insert(s.keys, i, k)
		s.counts = slices.Insert(s.counts, i, 0)
	}
	if s.counts[i] < math.MaxUint32 {
		s.counts[i]++
	}
}

// key returns the bucket of v.
func (s *sketch) key(v float64) int16 {
	a := math.Abs(v)
	if a <= smallest {
		return 0
	}
	k := min(math.Ceil((math.Log(a)-logSmallest)/logGamma), mostKey)
	k = max(k, 1) // rounding must not move a bound into the bucket of zero
	n := int16(k)
	for range s.collapses {
		n = half(n)
	}
	if v < 0 {
		return -n
	}
	return n
}

// half returns the bucket that k ≥ 0 falls into at a collapse: 1 and 2 become 1, 3 and 4 become 2.
func half(k int16) int16 { return k/2 + k%2 }

// collapse makes one bucket of each two neighbours.
func (s *sketch) collapse() {
	s.collapses++
	last := -1
	for i, k := range s.keys {
		if k < 0 {
			k = -half(-k)
		} else {
			k = half(k)
		}
		if last >= 0 && s.keys[last] == k {
			s.counts[last] = uint32(min(uint64(s.counts[last])+uint64(s.counts[i]), math.MaxUint32))
			continue
		}
		last++
		s.keys[last], s.counts[last] = k, s.counts[i]
	}
	s.keys, s.counts = s.keys[:last+1], s.counts[:last+1]
}

// grow doubles the room, so that it is a power of two and never more than mostBuckets.
func (s *sketch) grow() {
	room := min(max(2*cap(s.keys), firstBuckets), mostBuckets)
	keys, counts := make([]int16, len(s.keys), room), make([]uint32, len(s.counts), room)
	copy(keys, s.keys)
	copy(counts, s.counts)
	s.keys, s.counts = keys, counts
}

// quantile returns a value near the one of rank ⌈q·count⌉.
func (s *sketch) quantile(q float64, count uint64) float64 {
	rank := max(uint64(math.Ceil(q*float64(count))), 1)
	seen := uint64(0)
	for i, k := range s.keys {
		if seen += uint64(s.counts[i]); seen >= rank || i == len(s.keys)-1 {
			return s.value(k)
		}
	}
	return 0
}

// value returns the point of bucket k whose relative distance to both of its bounds is the same.
func (s *sketch) value(k int16) float64 {
	if k < 0 {
		return -s.value(-k)
	}
	if k == 0 {
		return 0
	}
	growth := math.Pow(gamma, float64(uint64(1)<<s.collapses)) // γ squared at every collapse
	top := math.Exp(logSmallest + float64(k)*math.Log(growth))
	return top * 2 / (1 + growth)
}

// accuracy returns the largest relative error of a quantile.
func (s *sketch) accuracy() float64 {
	growth := math.Pow(gamma, float64(uint64(1)<<s.collapses))
	return (growth - 1) / (growth + 1)
}

func (s *sketch) reset() {
	s.keys, s.counts, s.collapses = s.keys[:0], s.counts[:0], 0
}
