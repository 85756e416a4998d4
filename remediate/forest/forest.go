// Package forest is a leaf: it names what is wrong with the machine by a forest of decision trees over the last rows of its
// measures, or says that it does not know.
//
// A Model is read from at most 200 KB of bytes that come from outside (docs/model-format.md). A verdict costs at most 400
// comparisons and no allocation, whatever the model. Models are made by package train, for the operator.
package forest

import (
	"encoding/hex"
	"math"
	"strings"
	"time"
)

// The bounds of a model. Whoever makes one keeps them, whoever reads one enforces them.
const (
	MaxBytes    = 200_000
	MaxVisits   = 400 // comparisons of a verdict: the depths of all trees, added up
	MaxClasses  = 32
	MaxMetrics  = 256
	MaxFeatures = 512
	MaxWindow   = 64
	MaxGolden   = 64 // rows
	Tolerance   = 1e-3
)

// A Stat is what is computed of a metric over the window.
type Stat uint8

// The statistics.
const (
	Mean  Stat = iota
	Std        // of the population: divided by n
	Slope      // least squares, for each step from row to row
)

var stats = [...]string{"_mean", "_std", "_slope"}

// String is the end of a feature's name, such as "_mean".
func (s Stat) String() string { return stats[s] }

// A Feature is one column of what the trees compare.
type Feature struct {
	Metric    int // of Model.Metrics
	Stat      Stat
	Median    float32 // among the rows of the normal class
	Low, High float32 // among all rows it was trained on
}

// A Model is a forest. It is not written to after Read, so that many may evaluate it at a time.
type Model struct {
	Classes     []string
	Normal      int // the class that is no fault
	Metrics     []string
	Features    []Feature
	Window      int           // rows
	Step        time.Duration // between two rows
	Temperature float32       // by which probabilities are made confidences
	Prior       float32       // by how much normal counts for more than another class, since devices seldom have a fault
	Sure        float32       // the least confidence of a verdict
	Margin      float32       // how far outside its range a feature may be, in widths of the range

	id     [32]byte
	bytes  int
	visits int
	nodes  []node
	roots  []int32   // of the trees, in nodes
	leaves []int32   // where each leaf's votes begin, and where the last one's end
	votes  []vote    // how a leaf divides 65535 among the classes, without the zeros
	used   []uint16  // the features that some tree asks for
	golden []float32 // rows of features
	expect []uint16  // for each golden row, how it divides 65535 among the classes
	powers []float32 // of (i/powerSteps + floor), to 1 / Temperature
}

// A node's first child is the node behind it. A leaf has the feature leaf, and next is which one.
type node struct {
	threshold float32
	feature   uint16
	next      uint16 // the second child, counted from the root
}

type vote struct{ class, share uint16 }

const (
	leaf  = math.MaxUint16
	whole = math.MaxUint16
)

// ID is the SHA-256 of the model, in hexadecimal digits.
func (m *Model) ID() string { return hex.EncodeToString(m.id[:]) }

// Size returns what the model takes of each bound.
func (m *Model) Size() Size {
	return Size{Bytes: m.bytes, Visits: m.visits, Trees: len(m.roots), Nodes: len(m.nodes), Golden: len(m.golden) / len(m.Features)}
}

// A Size says how large a model is. Visits are the comparisons of the most expensive row.
type Size struct{ Bytes, Visits, Trees, Nodes, Golden int }

// Name returns a feature's name, such as "cpu_pct_mean".
func (m *Model) Name(feature int) string {
	f := m.Features[feature]
	return m.Metrics[f.Metric] + f.Stat.String()
}

// ParseName takes a feature's name apart.
func ParseName(name string) (metric string, stat Stat, ok bool) {
	for i, end := range stats {
		if metric, ok = strings.CutSuffix(name, end); ok {
			return metric, Stat(i), true
		}
	}
	return "", 0, false
}

// Widest is the end of a range that holds everything.
const Widest = math.MaxFloat32
