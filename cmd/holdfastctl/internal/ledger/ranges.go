package ledger

import (
	"slices"
	"sort"
)

// ranges are sorted, and neither overlap nor touch.
type ranges []Range

// after returns the index of the first range that ends at seq or later.
func (rs ranges) after(seq uint64) int {
	if n := len(rs); n == 0 || rs[n-1].Last < seq { // in order, which is nearly always
		return n
	}
	return sort.Search(len(rs), func(i int) bool { return rs[i].Last >= seq })
}

// add enters one number. grown is by how many ranges the list grew: -1, 0 or 1; 2 when it would have had to but may
// not.
func (rs *ranges) add(seq uint64, may bool) (fresh bool, grown int) {
	s := *rs
	i := s.after(seq)
	if i < len(s) && s[i].First <= seq {
		return false, 0
	}
	left := i > 0 && s[i-1].Last+1 == seq
	right := i < len(s) && s[i].First == seq+1
	switch {
	case left && right:
		s[i-1].Last = s[i].Last
		*rs = slices.Delete(s, i, i+1)
		return true, -1
	case left:
		s[i-1].Last = seq
	case right:
		s[i].First = seq
	case !may:
		return true, 2
	default:
		*rs = slices.Insert(s, i, Range{seq, seq})
		return true, 1
	}
	return true, 0
}

// cover enters a whole range.
func (rs *ranges) cover(r Range) {
	s := *rs
	i := s.after(r.First)
	if i > 0 && s[i-1].Last+1 == r.First {
		i--
	}
	j := i
	for j < len(s) && (s[j].First <= r.Last || s[j].First == r.Last+1) {
		r.First, r.Last = min(r.First, s[j].First), max(r.Last, s[j].Last)
		j++
	}
	*rs = slices.Replace(s, i, j, r)
}

// minus returns what is in rs and not in other.
func (rs ranges) minus(other ranges) ranges {
	var out ranges
	for _, r := range rs {
		next, open := r.First, true
		for i := other.after(r.First); i < len(other) && other[i].First <= r.Last; i++ {
			if other[i].First > next {
				out = append(out, Range{next, other[i].First - 1})
			}
			if other[i].Last >= r.Last {
				open = false
				break
			}
			next = other[i].Last + 1
		}
		if open {
			out = append(out, Range{next, r.Last})
		}
	}
	return out
}
