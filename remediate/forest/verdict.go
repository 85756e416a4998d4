package forest

import (
	"errors"
	"fmt"
	"math"
)

// A Doubt is why a verdict is not to be acted upon; it is empty where there is none.
type Doubt string

// The doubts.
const (
	Certain    Doubt = ""
	Unsure     Doubt = "unsure"       // no class has the confidence that the model demands
	OutOfRange Doubt = "out_of_range" // a feature is where no row was that the model was trained on
	Missing    Doubt = "missing"      // a feature has no value, or none that is finite
)

// A Verdict is what a forest says of a row. The class is the most probable one also where there is a doubt, but for Missing.
type Verdict struct {
	Class      int
	Confidence float32 // of the class, 0 to 1, so that among verdicts of 0.7 seven of ten are right
	Doubt      Doubt
	Feature    int     // with OutOfRange the one that is farthest out, with Missing the first
	Beyond     float32 // with OutOfRange: how far out, in widths of the feature's range, at most 1e6
}

// Judge returns the verdict on a row of features, in the model's order. It allocates nothing.
func (m *Model) Judge(row []float32) Verdict {
	v := Verdict{Feature: -1}
	if v.Doubt = m.doubt(row, &v); v.Doubt == Missing {
		return v
	}
	var sums [MaxClasses]uint32
	m.vote(row, &sums)
	v.Class, v.Confidence = m.confidence(&sums)
	if v.Doubt == Certain && v.Confidence < m.Sure {
		v.Doubt = Unsure
	}
	return v
}

// doubt looks at the features that the trees ask for.
func (m *Model) doubt(row []float32, v *Verdict) Doubt {
	for _, i := range m.used {
		f, x := &m.Features[i], row[i]
		if x >= f.Low && x <= f.High {
			continue
		}
		if !finite(x) {
			v.Feature, v.Beyond = int(i), 0
			return Missing
		}
		if out := min(max(f.Low-x, x-f.High)/(f.High-f.Low), Farthest); out > m.Margin && out > v.Beyond {
			v.Feature, v.Beyond = int(i), out
		}
	}
	if v.Feature >= 0 {
		return OutOfRange
	}
	return Certain
}

// Farthest is what Beyond says of anything farther out, and of features that had one value in training.
const Farthest = 1e6

func finite(x float32) bool { return x-x == 0 }

// vote adds up what the leaves say that the row ends in.
func (m *Model) vote(row []float32, sums *[MaxClasses]uint32) {
	nodes := m.nodes
	for _, root := range m.roots {
		tree := nodes[root:]
		n := tree[0]
		for i := 1; n.feature != leaf; i++ {
			if !(row[n.feature] <= n.threshold) {
				i = int(n.next)
			}
			n = tree[i]
		}
		for _, v := range m.votes[m.leaves[n.next]:m.leaves[n.next+1]] {
			sums[v.class%MaxClasses] += uint32(v.share)
		}
	}
}

// floor is added to each probability before the temperature is applied: a forest's zero means seldom and not never.
const floor = 1e-3

// powerSteps is how finely powers divides the probabilities; between two it is a straight line, off by less than 1e-3.
const powerSteps = 1024

// MaxPrior is the largest Prior of a model.
const MaxPrior = 1e6

// Power returns what a probability counts for when it is scaled. A class's confidence is its power, divided by the sum of all; that
// of the normal class is multiplied by the prior before.
func Power(probability, temperature float64) float64 {
	return math.Pow(probability+floor, 1/temperature)
}

// confidence returns the class with the most votes, the first of equals, and its probability after scaling.
func (m *Model) confidence(sums *[MaxClasses]uint32) (class int, confidence float32) {
	var total uint32
	for c := range len(m.Classes) {
		total += sums[c]
		if sums[c] > sums[class] {
			class = c
		}
	}
	per := powerSteps / float32(max(total, 1))
	var own, all float32
	for c := range len(m.Classes) {
		at := float32(sums[c]) * per
		i := min(int(at), powerSteps-1)
		p := m.powers[i] + (m.powers[i+1]-m.powers[i])*(at-float32(i))
		if c == m.Normal {
			p *= m.Prior
		}
		if all += p; c == class {
			own = p
		}
	}
	return class, own / all
}

// Shares appends to into the probability of each class before it is scaled, as scikit-learn's predict_proba has it.
func (m *Model) Shares(row []float32, into []float64) []float64 {
	var sums [MaxClasses]uint32
	m.vote(row, &sums)
	total := 0.0
	for c := range m.Classes {
		total += float64(sums[c])
	}
	for c := range m.Classes {
		into = append(into, float64(sums[c])/max(total, 1))
	}
	return into
}

// A Reason is a metric that speaks for a verdict.
type Reason struct {
	Metric int     // of Model.Metrics
	Drop   float32 // by how much the class would be less probable if the metric were as usual
	Value  float32 // of its first feature
	Usual  float32 // that feature's median in the normal class
}

// Explain finds the metrics that speak most for a class, at most three, the strongest first: for each metric its features are
// replaced with those of the normal median, and what that takes from the class's probability is measured. It writes to row
// meanwhile, and leaves it as it was. It allocates nothing, and costs a verdict for each metric.
func (m *Model) Explain(row []float32, class int) (reasons [3]Reason, count int) {
	base := m.share(row, class)
	var kept [3]float32 // a metric has a feature of each kind at most
	for metric := range m.Metrics {
		r := Reason{Metric: metric, Value: float32(math.NaN())}
		asked := false
		n := 0
		for i := range m.Features {
			if f := &m.Features[i]; f.Metric == metric {
				if n == 0 {
					r.Value, r.Usual = row[i], f.Median
				}
				asked = asked || row[i] != f.Median
				kept[n] = row[i]
				row[i] = f.Median
				n++
			}
		}
		if asked {
			r.Drop = base - m.share(row, class)
		}
		n = 0
		for i := range m.Features {
			if m.Features[i].Metric == metric {
				row[i] = kept[n]
				n++
			}
		}
		if r.Drop > 0 {
			count = place(&reasons, count, r)
		}
	}
	return reasons, count
}

func (m *Model) share(row []float32, class int) float32 {
	var sums [MaxClasses]uint32
	m.vote(row, &sums)
	total := uint32(0)
	for c := range m.Classes {
		total += sums[c]
	}
	return float32(sums[class]) / float32(max(total, 1))
}

// place puts a reason where it belongs among the count strongest.
func place(reasons *[3]Reason, count int, r Reason) int {
	at := count
	for at > 0 && reasons[at-1].Drop < r.Drop {
		at--
	}
	if at == len(reasons) {
		return count
	}
	copy(reasons[at+1:], reasons[at:])
	reasons[at] = r
	return min(count+1, len(reasons))
}

// ErrGolden is what Verify's errors are.
var ErrGolden = errors.New("golden row")

// Verify evaluates the golden rows that the model brings, and compares the result with what its maker got. A model is not to be
// used before.
func (m *Model) Verify() error {
	var shares []float64
	for g := range len(m.golden) / len(m.Features) {
		row := m.golden[g*len(m.Features):][:len(m.Features)]
		shares = m.Shares(row, shares[:0])
		got, want := 0, 0
		expect := m.expect[g*len(m.Classes):][:len(m.Classes)]
		for c, p := range shares {
			if shares[got] < p {
				got = c
			}
			if expect[want] < expect[c] {
				want = c
			}
			if w := float64(expect[c]) / whole; math.Abs(w-p) > Tolerance {
				return fmt.Errorf("%w %d: class %s has probability %.5f, its maker had %.5f", ErrGolden, g, m.Classes[c], p, w)
			}
		}
		if got != want {
			return fmt.Errorf("%w %d: class %s, its maker had %s", ErrGolden, g, m.Classes[got], m.Classes[want])
		}
	}
	return nil
}
