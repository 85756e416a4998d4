package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"holdfast/remediate/forest"
)

// A Result is a model, and what was seen of it on data that it was not trained on.
type Result struct {
	Bytes       []byte
	Folds       []Fold
	Told        map[string]float64 // for each class but normal: the area that is compared with the constant Told
	Temperature float64
	Prior       float64
	Margin      float64
	Depth       int // less than what was asked for where the bounds wanted it
	Samples     int
}

// ErrAlike is what the error is where a class cannot be told from normal.
var ErrAlike = errors.New("cannot be told from normal")

// sure is the least confidence of a verdict: the class has more than all others together.
const sure = 0.5

// The bounds of a margin. Devices differ by more than two can show, and what is ten ranges outside is another measure.
const (
	leastMargin = 0.5
	mostMargin  = 10
)

// Train makes a model of a set. It holds out each part of the data, by the column that the tables were read with or by event, to
// find the temperature, the margin, and the classes that cannot be told from normal: with one of those there is no model.
func Train(s *Set, by string, o Options) (*Result, error) {
	o = o.orDefaults()
	if len(s.Classes) < 2 {
		return nil, fmt.Errorf("%w: one class, %s: wants two or more", ErrData, s.Classes[0])
	}
	v, err := s.validate(by, o)
	if err != nil {
		return nil, err
	}
	r := &Result{Folds: v.folds, Told: map[string]float64{}, Samples: len(s.Samples)}
	var alike []string
	for c, name := range s.Classes {
		if c == s.Normal {
			continue
		}
		if r.Told[name] = s.told(v, c); r.Told[name] < Told {
			alike = append(alike, fmt.Sprintf("%s (%.2f)", name, r.Told[name]))
		}
	}
	if len(alike) > 0 {
		return r, fmt.Errorf("%w: %s", ErrAlike, strings.Join(alike, ", "))
	}
	r.Temperature = s.temperature(v)
	r.Prior = s.prior(v, r.Temperature)
	r.Margin = margin(v.beyond)
	return r, s.fit(r, o)
}

// margin returns how far outside its range 99 of 100 samples that were held out are at most.
func margin(beyond []float64) float64 {
	outside := slices.Clone(beyond)
	slices.Sort(outside)
	return min(max(outside[len(outside)*99/100], leastMargin), mostMargin)
}

// fit grows the forest of all samples, one comparison less deep until it keeps the bounds of a model.
func (s *Set) fit(r *Result, o Options) error {
	for r.Depth = o.Depth; ; r.Depth-- {
		o.Depth = r.Depth
		trees := s.grow(s.Samples, o)
		d := &forest.Draft{Trees: trees, Golden: s.golden(trees)}
		d.Model = forest.Model{Classes: s.Classes, Normal: s.Normal, Metrics: s.Metrics, Features: s.ranges(s.Samples), Window: s.Window, Step: s.Step,
			Temperature: float32(r.Temperature), Prior: float32(r.Prior), Sure: sure, Margin: float32(r.Margin)}
		var err error
		if r.Bytes, err = d.Encode(); err == nil || r.Depth == 1 || !errors.Is(err, forest.ErrBounds) {
			return err
		}
	}
}

const (
	candidates = 4 // of how many trees one is chosen
	together   = 8 // trees that are grown on the same copies
)

// grow grows trees on samples and on copies of them, more than are asked for, and chooses among those by what they say of other copies.
// Copies are made anew for a few trees each: one draw of devices for all trees made forests that are as good as the draw.
func (s *Set) grow(samples []Sample, o Options) []forest.Tree {
	var trees []forest.Tree
	for draw := 0; len(trees) < candidates*o.Trees; draw++ {
		some := min(together, candidates*o.Trees-len(trees))
		trees = append(trees, grow(vary(samples, len(s.Metrics), s.Features, o, uint64(draw)), len(s.Classes), len(s.Features), o, len(trees), some)...)
	}
	o.Seed, o.Copies = ^o.Seed, 1
	return choose(trees, o.Trees, vary(samples, len(s.Metrics), s.Features, o, 0)[len(samples):], len(s.Classes))
}

// ranges returns the features with what samples say of them.
func (s *Set) ranges(samples []Sample) []forest.Feature {
	features := slices.Clone(s.Features)
	for f := range features {
		at := &features[f]
		at.Low, at.High = math.MaxFloat32, -math.MaxFloat32
		var usual []float32
		for _, x := range samples {
			at.Low, at.High = min(at.Low, x.Row[f]), max(at.High, x.Row[f])
			if x.Class == s.Normal {
				usual = append(usual, x.Row[f])
			}
		}
		slices.Sort(usual)
		if len(usual) > 0 {
			at.Median = usual[len(usual)/2]
		}
	}
	return features
}

// golden returns the middle sample of each class, and what trees say of it before anything is rounded.
func (s *Set) golden(trees []forest.Tree) (golden []forest.Golden) {
	for c := range s.Classes {
		var of []int
		for i, x := range s.Samples {
			if x.Class == c {
				of = append(of, i)
			}
		}
		if len(of) > 0 {
			row := s.Samples[of[len(of)/2]].Row
			golden = append(golden, forest.Golden{Row: row, Shares: vote(trees, row, make([]float64, len(s.Classes)))})
		}
	}
	return golden
}
