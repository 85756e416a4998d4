package forest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A Draft is what a model is made of.
type Draft struct {
	Model  // but for what Encode finds out by itself
	Trees  []Tree
	Golden []Golden
}

// A Tree is a decision tree. Its root is node 0.
type Tree []Node

// A Node asks whether a feature is at most the threshold. Where it is a leaf, Shares has a share for each class.
type Node struct {
	Feature     int
	Threshold   float64
	Left, Right int // nodes: where the answer is yes, and where it is no
	Shares      []float64
}

// Golden is a row of features and the probabilities that the maker got for it.
type Golden struct {
	Row    []float32
	Shares []float64
}

// Down returns the largest float32 that is not above x. Features are float32: x64 <= threshold and x32 <= Down(threshold) then
// always agree.
func Down(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// Encode returns the bytes of a model, after Read and Verify have taken them.
func (d *Draft) Encode() ([]byte, error) {
	e := encoder{d: d, leaves: map[string]uint16{}}
	nodes, sizes, err := e.trees()
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b := append([]byte(magic), 0, 0, 0, 0)
	for _, n := range []int{d.Window, len(d.Classes), d.Normal, len(d.Metrics), len(d.Features), len(d.Trees), len(e.leaves), len(d.Golden)} {
		if n < 0 || n > math.MaxUint16 {
			return nil, fmt.Errorf("%w: a count of %d", ErrModel, n)
		}
		b = le.AppendUint16(b, uint16(n))
	}
	b = le.AppendUint32(b, uint32(len(nodes)/nodeBytes))
	b = le.AppendUint32(b, uint32(min(max(d.Step.Milliseconds(), 0), math.MaxUint32)))
	for _, f := range []float32{d.Temperature, d.Sure, d.Margin, max(d.Prior, 1)} {
		b = le.AppendUint32(b, math.Float32bits(f))
	}
	for _, name := range slices.Concat(d.Classes, d.Metrics) {
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrModel, err)
		}
		b = append(append(b, byte(len(name))), name...)
	}
	for _, f := range d.Features {
		b = le.AppendUint16(b, uint16(f.Metric))
		b = le.AppendUint16(b, uint16(f.Stat))
		for _, x := range []float32{f.Median, f.Low, f.High} {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
	}
	b = append(append(append(b, sizes...), nodes...), e.shares...)
	if b, err = e.golden(b); err != nil {
		return nil, err
	}
	le.PutUint32(b[8:], uint32(len(b)+hashBytes))
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	m, err := Read(b)
	if err == nil {
		err = m.Verify()
	}
	return b, err
}

// encoder keeps each row of shares once: most leaves are of one class.
type encoder struct {
	d      *Draft
	shares []byte
	leaves map[string]uint16
}

func (e *encoder) trees() (nodes, sizes []byte, err error) {
	for t, tree := range e.d.Trees {
		before := len(nodes)
		if nodes, err = e.walk(nodes, before, tree, 0, 0); err != nil {
			return nil, nil, fmt.Errorf("%w: tree %d: %w", ErrModel, t, err)
		}
		sizes = binary.LittleEndian.AppendUint16(sizes, uint16((len(nodes)-before)/nodeBytes))
	}
	return nodes, sizes, nil
}

// walk appends node i of a tree that begins at start, and what is below it.
func (e *encoder) walk(nodes []byte, start int, tree Tree, i, depth int) ([]byte, error) {
	if i < 0 || i >= len(tree) || depth > MaxVisits || len(nodes)-start >= math.MaxUint16*nodeBytes {
		return nil, fmt.Errorf("node %d of %d, at depth %d: is out of bounds", i, len(tree), depth)
	}
	le := binary.LittleEndian
	n := &tree[i]
	if n.Shares != nil {
		row, err := e.leaf(n.Shares)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		return le.AppendUint32(le.AppendUint16(le.AppendUint16(nodes, leaf), row), 0), nil
	}
	if n.Feature < 0 || n.Feature >= len(e.d.Features) {
		return nil, fmt.Errorf("node %d: feature %d of %d", i, n.Feature, len(e.d.Features))
	}
	here := len(nodes)
	nodes = le.AppendUint16(nodes, uint16(n.Feature))
	nodes = le.AppendUint32(le.AppendUint16(nodes, 0), math.Float32bits(Down(n.Threshold)))
	nodes, err := e.walk(nodes, start, tree, n.Left, depth+1)
	if err != nil {
		return nil, err
	}
	le.PutUint16(nodes[here+2:], uint16((len(nodes)-start)/nodeBytes))
	return e.walk(nodes, start, tree, n.Right, depth+1)
}

func (e *encoder) leaf(shares []float64) (row uint16, err error) {
	b, err := divide(nil, shares, len(e.d.Classes))
	if err != nil {
		return 0, err
	}
	row, known := e.leaves[string(b)]
	if !known {
		if len(e.leaves) == math.MaxUint16 {
			return 0, fmt.Errorf("%w: more than %d different leaves", ErrBounds, math.MaxUint16)
		}
		row = uint16(len(e.leaves))
		e.leaves[string(b)] = row
		e.shares = append(e.shares, b...)
	}
	return row, nil
}

// divide appends shares as parts of 65535.
func divide(b []byte, shares []float64, classes int) ([]byte, error) {
	sum := 0.0
	for _, s := range shares {
		if !(s >= 0) || math.IsInf(s, 0) {
			return nil, fmt.Errorf("a share of %g", s)
		}
		sum += s
	}
	if len(shares) != classes || !(sum > 0) || math.IsInf(sum, 0) {
		return nil, fmt.Errorf("%d shares that add up to %g, for %d classes", len(shares), sum, classes)
	}
	for _, s := range shares {
		b = binary.LittleEndian.AppendUint16(b, uint16(math.Round(s/sum*whole)))
	}
	return b, nil
}

func (e *encoder) golden(b []byte) ([]byte, error) {
	for _, g := range e.d.Golden {
		if len(g.Row) != len(e.d.Features) {
			return nil, fmt.Errorf("%w: golden row of %d features, not %d", ErrModel, len(g.Row), len(e.d.Features))
		}
		for _, x := range g.Row {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	for i, g := range e.d.Golden {
		var err error
		if b, err = divide(b, g.Shares, len(e.d.Classes)); err != nil {
			return nil, fmt.Errorf("%w: golden row %d: %w", ErrModel, i, err)
		}
	}
	return b, nil
}
