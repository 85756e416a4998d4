// Package foreign is a leaf: it reads forests that other programs trained, scikit-learn's arrays as JSON and ONNX's
// TreeEnsembleClassifier, so that package forest can make models of them.
package foreign

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/board/strict"
	"holdfast/remediate/forest"
)

// ErrForest is what all errors of this package are.
var ErrForest = errors.New("forest")

// The bounds of what is read. They are wider than those of a model, so that what is said of a forest that is too large is how large
// it is.
const (
	MaxBytes = 16 << 20
	maxTrees = 1000
	maxNodes = 200_000 // of all trees
)

// A Forest is what a file says. ONNX does not say how features are named.
type Forest struct {
	Classes  []string
	Features []string
	Trees    []forest.Tree
}

// arrays are the tree_ arrays of scikit-learn, as docs/export-sklearn.py writes them.
type arrays struct {
	Format   string   `json:"format"`
	Classes  []string `json:"classes"`
	Features []string `json:"features"`
	Trained  int      `json:"n_train"`
	Trees    []struct {
		F []int       `json:"f"` // feature, -2 in leaves
		T []float64   `json:"t"` // threshold
		L []int       `json:"l"` // children_left, -1 in leaves
		R []int       `json:"r"` // children_right
		V [][]float64 `json:"v"` // value of leaves, for each class
	} `json:"trees"`
}

const jsonFormat = "sk-forest/1"

// JSON reads scikit-learn's arrays.
func JSON(b []byte) (*Forest, error) {
	var a arrays
	if err := strict.Unmarshal(b, &a, strict.Limits{Bytes: MaxBytes, Members: 5_000_000}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForest, err)
	}
	if a.Format != jsonFormat {
		return nil, fmt.Errorf("%w: format %q: wants %q", ErrForest, a.Format, jsonFormat)
	}
	f := &Forest{Classes: a.Classes, Features: a.Features}
	nodes := 0
	for t, in := range a.Trees {
		n := len(in.F)
		if nodes += n; len(in.T) != n || len(in.L) != n || len(in.R) != n || len(in.V) != n || n == 0 || nodes > maxNodes {
			return nil, fmt.Errorf("%w: tree %d: arrays f, t, l, r, v of %d, %d, %d, %d, %d nodes, %d so far: wants as many in each, at most %d",
				ErrForest, t, n, len(in.T), len(in.L), len(in.R), len(in.V), nodes, maxNodes)
		}
		tree := make(forest.Tree, n)
		for i := range tree {
			tree[i] = forest.Node{Feature: in.F[i], Threshold: in.T[i], Left: in.L[i], Right: in.R[i]}
			if in.L[i] < 0 {
				tree[i].Shares = slices.Clone(in.V[i])
				if tree[i].Shares == nil {
					return nil, fmt.Errorf("%w: tree %d, node %d: a leaf without values", ErrForest, t, i)
				}
			}
		}
		f.Trees = append(f.Trees, tree)
	}
	return f, f.check()
}

func (f *Forest) check() error {
	if len(f.Trees) == 0 || len(f.Trees) > maxTrees {
		return fmt.Errorf("%w: %d trees: wants 1 to %d", ErrForest, len(f.Trees), maxTrees)
	}
	if len(f.Classes) < 2 || len(f.Classes) > forest.MaxClasses {
		return fmt.Errorf("%w: %d classes: wants 2 to %d", ErrForest, len(f.Classes), forest.MaxClasses)
	}
	if len(f.Features) > forest.MaxFeatures {
		return fmt.Errorf("%w: %d features: wants at most %d", ErrForest, len(f.Features), forest.MaxFeatures)
	}
	return nil
}

// Draft makes a draft of a forest: everything but what scikit-learn does not know, which is the window, the step, the temperature,
// the ranges and the golden rows. The features' names must end in _mean, _std or _slope.
func (f *Forest) Draft(normal string) (*forest.Draft, error) {
	d := &forest.Draft{Trees: f.Trees}
	d.Classes = f.Classes
	if d.Normal = slices.Index(f.Classes, normal); d.Normal < 0 {
		return nil, fmt.Errorf("%w: no class %q among %s", ErrForest, normal, strings.Join(f.Classes, " "))
	}
	for _, name := range f.Features {
		metric, stat, ok := forest.ParseName(name)
		if !ok {
			return nil, fmt.Errorf("%w: feature %q: wants a name that ends in _mean, _std or _slope", ErrForest, name)
		}
		at := slices.Index(d.Metrics, metric)
		if at < 0 {
			at = len(d.Metrics)
			d.Metrics = append(d.Metrics, metric)
		}
		d.Features = append(d.Features, forest.Feature{Metric: at, Stat: stat, Low: -forest.Widest, High: forest.Widest})
	}
	return d, nil
}
