package train

import (
	"slices"

	"holdfast/remediate/forest"
)

// choose returns so many of the trees, those that together say most nearly what all of them say of rows: again and again the one that
// brings their mean vote closest, in squares. A few hundred trees vary less by chance than as many as a device has time for.
func choose(trees []forest.Tree, many int, rows []Sample, classes int) []forest.Tree {
	if len(trees) <= many {
		return trees
	}
	size := len(rows) * classes
	votes, all := make([][]float32, len(trees)), make([]float32, size)
	for t := range trees {
		votes[t] = make([]float32, 0, size)
		for _, r := range rows {
			for _, s := range tell(trees[t], r.Row) {
				votes[t] = append(votes[t], float32(s))
			}
		}
		for i, s := range votes[t] {
			all[i] += float32(s / float32(len(trees)))
		}
	}
	sum := make([]float32, size)
	var chosen []int
	for n := range many {
		best, least := -1, float32(0)
		for t := range trees {
			if slices.Contains(chosen, t) {
				continue
			}
			off := float32(0)
			for i, s := range votes[t] {
				d := float32((sum[i]+s)/float32(n+1)) - all[i]
				off += float32(d * d)
			}
			if best < 0 || off < least {
				best, least = t, off
			}
		}
		chosen = append(chosen, best)
		for i, s := range votes[best] {
			sum[i] += s
		}
	}
	out := make([]forest.Tree, many)
	for i, t := range chosen {
		out[i] = trees[t]
	}
	return out
}

// tell returns what a tree says of a row.
func tell(t forest.Tree, row []float32) []float64 {
	i := 0
	for t[i].Shares == nil {
		if float64(row[t[i].Feature]) <= t[i].Threshold {
			i = t[i].Left
		} else {
			i = t[i].Right
		}
	}
	return t[i].Shares
}
