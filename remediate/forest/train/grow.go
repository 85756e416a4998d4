package train

import (
	"math"
	"math/rand/v2"
	"slices"

	"holdfast/remediate/forest"
)

// Options say how a forest is grown. The zero value of a field stands for its default.
type Options struct {
	Seed   uint64
	Trees  int     // 40
	Depth  int     // 10 comparisons
	Leaf   int     // rows in a leaf: 2
	Copies int     // of the rows, each as another device might have measured them: 2; -1 for none
	Spread float64 // how much devices differ, as the standard deviation of a factor's logarithm: 0.3
}

func (o Options) orDefaults() Options {
	for _, n := range []struct {
		of *int
		is int
	}{{&o.Trees, 40}, {&o.Depth, 10}, {&o.Leaf, 2}, {&o.Copies, 2}} {
		if *n.of == 0 {
			*n.of = n.is
		}
	}
	if o.Spread == 0 {
		o.Spread = 0.3
	}
	return o
}

// vary returns samples, and copies of them as other devices might have measured the same: for each device in each copy, each
// metric is multiplied by a factor. With few devices in the data, a forest would otherwise take the one's size of disk or speed of
// network for a sign of the fault. Each draw makes others.
func vary(samples []Sample, metrics int, features []forest.Feature, o Options, draw uint64) []Sample {
	out := slices.Clone(samples)
	c := chance{rand.NewPCG(o.Seed, math.MaxUint64-draw)}
	for range max(o.Copies, 0) {
		factors := map[string][]float64{}
		for _, s := range samples {
			by := factors[s.Device]
			if by == nil {
				by = make([]float64, metrics)
				for m := range by {
					by[m] = math.Exp(o.Spread * c.normal())
				}
				factors[s.Device] = by
			}
			s.Row = slices.Clone(s.Row)
			for f := range s.Row {
				s.Row[f] = float32(min(max(float64(s.Row[f])*by[features[f].Metric], -math.MaxFloat32), math.MaxFloat32))
			}
			out = append(out, s)
		}
	}
	return out
}

// grow grows some trees of a forest on samples, from the first on. Classes weigh the same, however many rows each has: a row weighs n / (classes ·
// rows of its class).
func grow(samples []Sample, classes, features int, o Options, first, some int) []forest.Tree {
	rows, labels, weights := make([][]float32, len(samples)), make([]int, len(samples)), make([]float64, len(samples))
	counts := make([]float64, classes)
	kinds := 0.0
	for i, s := range samples {
		rows[i], labels[i] = s.Row, s.Class
		if counts[s.Class]++; counts[s.Class] == 1 {
			kinds++
		}
	}
	trees := make([]forest.Tree, some)
	ranks := rank(rows, features)
	for t := range trees {
		g := &grower{rows: rows, classes: labels, weights: weights, ranks: ranks, count: classes, depth: o.Depth, least: o.Leaf,
			tries: max(1, int(math.Sqrt(float64(features)))), chance: chance{rand.NewPCG(o.Seed, uint64(first+t))}, order: make([]int, features)}
		for f := range g.order {
			g.order[f] = f
		}
		clear(weights)
		for range samples {
			i := g.chance.below(len(samples))
			weights[i] += float64(len(samples)) / (kinds * counts[labels[i]])
		}
		var in []int
		for i, w := range weights {
			if w > 0 {
				in = append(in, i)
			}
		}
		g.grow(in, 0)
		trees[t] = g.tree
	}
	return trees
}

// vote adds up what the trees say of a row: the probability of each class.
func vote(trees []forest.Tree, row []float32, into []float64) []float64 {
	clear(into)
	for _, t := range trees {
		for c, s := range tell(t, row) {
			into[c] += s / float64(len(trees))
		}
	}
	return into
}
