package train

import "holdfast/remediate/forest"

// Unheld makes a model without holding anything out: what the forest names is the same, only confidences are not.
func Unheld(s *Set, o Options) ([]byte, error) {
	r := &Result{Temperature: 1, Prior: 1}
	err := s.fit(r, o.orDefaults())
	return r.Bytes, err
}

// Parts of the training, for tests.

func Vary(s *Set, o Options, draw uint64) []Sample {
	return vary(s.Samples, len(s.Metrics), s.Features, o, draw)
}

func Grow(s *Set, o Options) []forest.Tree {
	o = o.orDefaults()
	return grow(s.Samples, len(s.Classes), len(s.Features), o, 0, o.Trees)
}

func Choose(trees []forest.Tree, many int, rows []Sample, classes int) []forest.Tree {
	return choose(trees, many, rows, classes)
}

func Area(s *Set, shares [][]float64, class int) float64 {
	return s.told(&validated{shares: shares}, class)
}

func Prior(s *Set, shares [][]float64, temperature float64) float64 {
	return s.prior(&validated{shares: shares}, temperature)
}

func Temperature(s *Set, shares [][]float64) float64 {
	return s.temperature(&validated{shares: shares})
}

func Folds(s *Set, by string) ([]int, []string, error) { return s.folds(by) }

func Ranges(s *Set) []forest.Feature { return s.ranges(s.Samples) }

func Margin(beyond []float64) float64 { return margin(beyond) }
