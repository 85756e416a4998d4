package foreign

import (
	"fmt"
	"math"
	"slices"

	"holdfast/remediate/forest"
)

// The field numbers of onnx.proto that are followed: a model has a graph, that has nodes, a node has attributes.
const (
	modelGraph     = 7
	graphNode      = 1
	nodeOpType     = 4
	nodeAttribute  = 5
	nodeDomain     = 7
	attributeName  = 1
	attributeText  = 4
	attributeFloat = 7
	attributeInt   = 8
	attributeTexts = 9
)

// attributes are those of the TreeEnsembleClassifier that are read. The lists are as long as the file has bytes, at most.
type attributes struct {
	ints   map[string][]int
	floats map[string][]float64
	texts  map[string][]string
}

// ONNX reads the one TreeEnsembleClassifier of a model. Weights have to be shares of a forest: none below 0, as much in each leaf.
func ONNX(b []byte, features []string) (*Forest, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes: wants at most %d", ErrForest, len(b), MaxBytes)
	}
	a, err := classifier(b)
	if err != nil {
		return nil, err
	}
	if post := a.texts["post_transform"]; len(post) > 1 || (len(post) == 1 && post[0] != "NONE") {
		return nil, fmt.Errorf("%w: post_transform %q: wants NONE", ErrForest, post)
	}
	for _, no := range []string{"base_values", "nodes_values_as_tensor", "class_weights_as_tensor", "base_values_as_tensor"} {
		if len(a.floats[no]) > 0 || slices.Contains(a.texts[unread], no) {
			return nil, fmt.Errorf("%w: has %s, which a forest of shares has not", ErrForest, no)
		}
	}
	f := &Forest{Classes: a.texts["classlabels_strings"], Features: features}
	if len(f.Classes) == 0 {
		return nil, fmt.Errorf("%w: its classes have no names (classlabels_strings)", ErrForest)
	}
	places, err := a.nodes(f)
	if err == nil {
		err = a.weights(f, places)
	}
	if err != nil {
		return nil, err
	}
	return f, f.check()
}

// unread is the name below which attributes of other types are noted.
const unread = ""

// classifier finds the classifier's attributes.
func classifier(b []byte) (found *attributes, err error) {
	err = each(b, modelGraph, func(graph []byte) error {
		return each(graph, graphNode, func(nd []byte) error {
			op, a := "", &attributes{map[string][]int{}, map[string][]float64{}, map[string][]string{}}
			if err := each(nd, nodeOpType, func(b []byte) error { op = string(b); return nil }); err != nil {
				return err
			}
			if op != "TreeEnsembleClassifier" {
				return nil // Identity, Cast, ZipMap: they change what the result is packed in
			}
			if found != nil {
				return fmt.Errorf("%w: more than one TreeEnsembleClassifier", ErrForest)
			}
			found = a
			return each(nd, nodeAttribute, a.take)
		})
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%w: no TreeEnsembleClassifier: is this ONNX?", ErrForest)
	}
	return found, err
}

// each calls do for each field of a number that has bytes.
func each(message []byte, number int, do func([]byte) error) error {
	for rest := fields(message); len(rest) > 0; {
		at, err := rest.next()
		if err == nil && at.number == number && at.kind == kindBytes {
			err = do(at.bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *attributes) take(b []byte) error {
	name := ""
	var ints []int
	var floats []float64
	var texts []string
	for rest := fields(b); len(rest) > 0; {
		at, err := rest.next()
		if err != nil {
			return err
		}
		switch at.number {
		case attributeName:
			name = string(at.bytes)
		case attributeText, attributeTexts:
			if texts = append(texts, string(at.bytes)); len(texts) > maxNodes {
				err = fmt.Errorf("%w: attribute %s: more than %d texts", ErrForest, name, maxNodes)
			}
		case attributeInt:
			ints, err = at.ints(ints)
		case attributeFloat:
			floats, err = at.floats(floats)
		}
		if err != nil {
			return err
		}
	}
	if _, twice := a.ints[name]; twice || name == unread {
		return fmt.Errorf("%w: attribute %q comes twice, or has no name", ErrForest, name)
	}
	a.ints[name], a.floats[name], a.texts[name] = ints, floats, texts
	if len(ints) == 0 && len(floats) == 0 && len(texts) == 0 {
		a.texts[unread] = append(a.texts[unread], name)
	}
	return nil
}

// A place is where a node of ONNX is, by the numbers of its tree and its own.
type place struct{ tree, id int }

// nodes makes the trees, without what is in the leaves. A tree's root is its first node.
func (a *attributes) nodes(f *Forest) (map[place]*forest.Node, error) {
	trees, ids, modes := a.ints["nodes_treeids"], a.ints["nodes_nodeids"], a.texts["nodes_modes"]
	features, values := a.ints["nodes_featureids"], a.floats["nodes_values"]
	yes, no := a.ints["nodes_truenodeids"], a.ints["nodes_falsenodeids"]
	n := len(trees)
	if n == 0 || n > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes: wants 1 to %d", ErrForest, n, maxNodes)
	}
	for _, other := range []int{len(ids), len(modes), len(features), len(values), len(yes), len(no)} {
		if other != n {
			return nil, fmt.Errorf("%w: attributes of %d and of %d nodes", ErrForest, n, other)
		}
	}
	for i, id := range ids {
		if i > 0 && trees[i] < trees[i-1] {
			return nil, fmt.Errorf("%w: node %d: its tree %d comes after tree %d", ErrForest, i, trees[i], trees[i-1])
		}
		if i == 0 || trees[i] != trees[i-1] {
			f.Trees = append(f.Trees, nil)
		}
		tree := &f.Trees[len(f.Trees)-1]
		if id != len(*tree) {
			return nil, fmt.Errorf("%w: node %d of tree %d: wants them numbered from 0 on", ErrForest, id, trees[i])
		}
		nd := forest.Node{Feature: features[i], Threshold: values[i], Left: yes[i], Right: no[i]}
		switch modes[i] {
		case "BRANCH_LEQ":
		case "LEAF":
			nd.Shares = make([]float64, min(len(f.Classes), forest.MaxClasses+1))
		default:
			return nil, fmt.Errorf("%w: node %d of tree %d: mode %q: wants BRANCH_LEQ or LEAF", ErrForest, id, trees[i], modes[i])
		}
		*tree = append(*tree, nd)
	}
	places := make(map[place]*forest.Node, n)
	at := -1
	for i, id := range ids {
		if i == 0 || trees[i] != trees[i-1] {
			at++
		}
		places[place{trees[i], id}] = &f.Trees[at][id]
	}
	return places, nil
}

// weights puts into the leaves what is in them.
func (a *attributes) weights(f *Forest, places map[place]*forest.Node) error {
	trees, nodes, classes, weights := a.ints["class_treeids"], a.ints["class_nodeids"], a.ints["class_ids"], a.floats["class_weights"]
	if len(trees) != len(weights) || len(nodes) != len(weights) || len(classes) != len(weights) {
		return fmt.Errorf("%w: %d weights for %d trees, %d nodes, %d classes", ErrForest, len(weights), len(trees), len(nodes), len(classes))
	}
	for i, w := range weights {
		nd := places[place{trees[i], nodes[i]}]
		if nd == nil || nd.Shares == nil || classes[i] < 0 || classes[i] >= len(nd.Shares) || !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("%w: weight %g of class %d at node %d of tree %d: wants one of at least 0, of a class, at a leaf", ErrForest,
				w, classes[i], nodes[i], trees[i])
		}
		nd.Shares[classes[i]] += w
	}
	first := 0.0
	for t, tree := range f.Trees {
		for i, nd := range tree {
			if nd.Shares == nil {
				continue
			}
			sum := 0.0
			for _, w := range nd.Shares {
				sum += w
			}
			if first == 0 {
				first = sum
			}
			if !(math.Abs(sum-first) <= 1e-3*first) {
				return fmt.Errorf("%w: tree %d, node %d: weights add up to %g, elsewhere to %g: leaves of a forest have the same say", ErrForest, t, i, sum, first)
			}
		}
	}
	return nil
}
