package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"holdfast/remediate/forest"
)

// Event as a group parts the data by events: each is wholly in one part.
const ByEvent = "event"

const (
	mostFolds  = 10
	eventFolds = 3
)

// A Fold is what was held out at a time, and how a forest of the rest did on it.
type Fold struct {
	Name    string
	Rows    int
	MacroF1 float64
}

// folds says for each sample in which part it is held out.
func (s *Set) folds(by string) (of []int, names []string, err error) {
	of = make([]int, len(s.Samples))
	if by == ByEvent {
		seen := make([]int, len(s.Classes)) // the events of a class take turns
		fold := make([]int, len(s.Events))
		for i, e := range s.Events {
			fold[i] = seen[e.Class] % eventFolds
			seen[e.Class]++
		}
		for i, x := range s.Samples {
			of[i] = fold[x.Event]
		}
		return of, []string{"1", "2", "3"}, nil
	}
	for _, x := range s.Samples {
		if !slices.Contains(names, x.Group) {
			names = append(names, x.Group)
		}
	}
	slices.Sort(names)
	if len(names) < 2 {
		return nil, nil, fmt.Errorf("%w: all rows have %s %q: there is nothing to hold out", ErrData, by, strings.Join(names, ""))
	}
	for i, x := range s.Samples {
		of[i] = slices.Index(names, x.Group) % mostFolds
	}
	if len(names) > mostFolds {
		names = names[:mostFolds]
	}
	return of, names, nil
}

// validated is what forests say of samples that they were not grown on.
type validated struct {
	folds  []Fold
	shares [][]float64 // for each sample
	beyond []float64   // how far outside its range the farthest feature of each sample is
}

// validate grows a forest for each part of the data, without it, and asks it about the part.
func (s *Set) validate(by string, o Options) (*validated, error) {
	of, names, err := s.folds(by)
	if err != nil {
		return nil, err
	}
	v := &validated{shares: make([][]float64, len(s.Samples)), beyond: make([]float64, len(s.Samples))}
	for k, name := range names {
		var rest []Sample
		var held []int
		for i, x := range s.Samples {
			if of[i] == k {
				held = append(held, i)
			} else {
				rest = append(rest, x)
			}
		}
		if len(rest) == 0 || len(held) == 0 {
			continue
		}
		trees := s.grow(rest, o)
		features := s.ranges(rest)
		table := newConfusion(len(s.Classes))
		for _, i := range held {
			x := s.Samples[i]
			v.shares[i] = vote(trees, x.Row, make([]float64, len(s.Classes)))
			v.beyond[i] = beyond(trees, features, x.Row)
			table[x.Class][most(v.shares[i])]++
		}
		v.folds = append(v.folds, Fold{name, len(held), table.macro()})
	}
	if len(v.folds) < 2 {
		return nil, fmt.Errorf("%w: all rows are in one part by %s: there is nothing to hold out", ErrData, by)
	}
	return v, nil
}

func most(shares []float64) int {
	at := 0
	for c := range shares {
		if shares[c] > shares[at] {
			at = c
		}
	}
	return at
}

// beyond returns by how many widths of its range a feature that the trees ask for is outside, at most.
func beyond(trees []forest.Tree, features []forest.Feature, row []float32) float64 {
	out := 0.0
	for _, t := range trees {
		for _, n := range t {
			if n.Shares == nil {
				low, high, x := float64(features[n.Feature].Low), float64(features[n.Feature].High), float64(row[n.Feature])
				if x < low || x > high { // of a feature with one value, that is as far as can be
					out = max(out, min(max(low-x, x-high)/(high-low), forest.Farthest))
				}
			}
		}
	}
	return out
}

// Told is the area under the curve below which a class cannot be told from normal: how often an event of the class that was held out
// looks more like it than a stretch of normal running does. Chance gives 0.5.
const Told = 0.6

// told returns that area for a class (Hanley and McNeil 1982: it is Wilcoxon's statistic), from the share of the class in what
// the forest gives to the class and to normal, the mean of it over the rows of each event. Single rows of a mild fault may well look
// normal.
func (s *Set) told(v *validated, class int) float64 {
	type score struct {
		of   float64
		mine bool
	}
	sums, rows := make([]float64, len(s.Events)), make([]int, len(s.Events))
	for i, x := range s.Samples {
		own, normal := v.shares[i][class], v.shares[i][s.Normal]
		sums[x.Event] += own / (own + normal + 1e-9)
		rows[x.Event]++
	}
	var scores []score
	mine := 0
	for e, of := range s.Events {
		if rows[e] > 0 && (of.Class == class || of.Class == s.Normal) {
			scores = append(scores, score{sums[e] / float64(rows[e]), of.Class == class})
			if of.Class == class {
				mine++
			}
		}
	}
	slices.SortFunc(scores, func(a, b score) int {
		switch {
		case a.of < b.of:
			return -1
		case a.of > b.of:
			return 1
		}
		return 0
	})
	sum := 0.0 // of the ranks of the class, equal scores sharing theirs
	for i := 0; i < len(scores); {
		j := i
		for j < len(scores) && scores[j].of == scores[i].of {
			j++
		}
		for k := i; k < j; k++ {
			if scores[k].mine {
				sum += float64(i+j+1) / 2
			}
		}
		i = j
	}
	others := len(scores) - mine
	if mine == 0 || others == 0 {
		return 0
	}
	return (sum - float64(mine)*float64(mine+1)/2) / float64(mine) / float64(others)
}

// The bounds of a temperature. Below the coldest, what is a little likelier than the rest would be certain.
const (
	coldest = 0.25
	hottest = 5.0
)

// temperature finds the one for which what was held out is least surprising: the mean of -log(confidence in the right class) is
// least (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks").
func (s *Set) temperature(v *validated) float64 {
	loss := func(t float64) float64 {
		sum := 0.0
		for i, x := range s.Samples {
			sum -= math.Log(s.confidence(v.shares[i], x.Class, t, 1))
		}
		return sum
	}
	low, high := math.Log(coldest), math.Log(hottest)
	const golden = 0.6180339887498949
	for range 30 { // golden^30 < 1e-6
		a, b := high-golden*(high-low), low+golden*(high-low)
		if loss(math.Exp(a)) < loss(math.Exp(b)) {
			high = b
		} else {
			low = a
		}
	}
	return math.Exp((low + high) / 2)
}

func (s *Set) confidence(shares []float64, class int, temperature, prior float64) float64 {
	all := 0.0
	for c, p := range shares {
		p = forest.Power(p, temperature)
		if c == s.Normal {
			p *= prior
		}
		all += p
	}
	own := forest.Power(shares[class], temperature)
	if class == s.Normal {
		own *= prior
	}
	return own / all
}

// The bounds of the prior of normal, of which devices have a hundred rows for one of any fault at least, and the share of held-out normal rows that may look like a fault: one in a hundred, by
// chance and not three times in a row.
const (
	leastPrior = 100
	mostPrior  = 1e4
	quietShare = 0.99
)

// prior finds by how much normal has to count for more, so that hardly any normal row that was held out has a fault more likely than
// all else. The data has one row of each fault for every few of normal. Devices have a fault in a year.
func (s *Set) prior(v *validated, temperature float64) float64 {
	var need []float64
	for i, x := range s.Samples {
		if x.Class != s.Normal {
			continue
		}
		// A fault with power f is as likely as all else when prior · normal = f - others.
		normal, others, worst := forest.Power(v.shares[i][s.Normal], temperature), 0.0, 0.0
		for c, p := range v.shares[i] {
			if c != s.Normal {
				p = forest.Power(p, temperature)
				others += p
				worst = max(worst, p)
			}
		}
		need = append(need, (2*worst-others)/normal)
	}
	slices.Sort(need)
	return min(max(need[int(float64(len(need)-1)*quietShare)], leastPrior), mostPrior)
}
