package train

import (
	"fmt"

	"holdfast/remediate/forest"
)

// Adopt fills in what a forest from elsewhere does not say, from data: ranges and medians of the features, the time between two
// rows, and golden rows. The draft has its window already.
func Adopt(d *forest.Draft, tables []*Table) error {
	for _, t := range tables {
		if err := t.Arrange(d.Metrics); err != nil {
			return err
		}
	}
	s, err := NewSet(tables, d.Window, d.Classes, d.Classes[d.Normal])
	if err != nil {
		return err
	}
	if err := whole(d); err != nil {
		return err
	}
	ranges, order := s.ranges(s.Samples), orderOf(&d.Model)
	d.Step = s.Step
	for i, at := range order {
		f := &d.Features[i]
		f.Median, f.Low, f.High = ranges[at].Median, ranges[at].Low, ranges[at].High
	}
	for c := range d.Classes {
		for _, x := range s.Samples {
			if x.Class != c {
				continue
			}
			row := make([]float32, len(order))
			for i, at := range order {
				row[i] = x.Row[at]
			}
			d.Golden = append(d.Golden, forest.Golden{Row: row, Shares: vote(d.Trees, row, make([]float64, len(d.Classes)))})
			break
		}
	}
	return nil
}

// orderOf says for each feature of a model which one of a set it is.
func orderOf(m *forest.Model) []int {
	order := make([]int, len(m.Features))
	for i, f := range m.Features {
		order[i] = int(f.Stat)*len(m.Metrics) + f.Metric
	}
	return order
}

// whole says whether the trees can be walked: all nodes lead forward, to nodes that are there, and ask for features that are.
func whole(d *forest.Draft) error {
	for t, tree := range d.Trees {
		if len(tree) == 0 {
			return fmt.Errorf("%w: tree %d is empty", forest.ErrModel, t)
		}
		for i, n := range tree {
			if n.Shares == nil && (n.Left <= i || n.Right <= i || n.Left >= len(tree) || n.Right >= len(tree) || n.Feature < 0 || n.Feature >= len(d.Features)) {
				return fmt.Errorf("%w: tree %d, node %d: leads to %d and %d by feature %d, of %d nodes and %d features", forest.ErrModel,
					t, i, n.Left, n.Right, n.Feature, len(tree), len(d.Features))
			}
			if n.Shares != nil && len(n.Shares) != len(d.Classes) {
				return fmt.Errorf("%w: tree %d, node %d: %d shares for %d classes", forest.ErrModel, t, i, len(n.Shares), len(d.Classes))
			}
		}
	}
	return nil
}
