package train_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

// plain is a set of one metric's mean, a sample for each value; two devices take turns.
func plain(classes []string, values []float32, class func(i int) int) *train.Set {
	s := &train.Set{Classes: classes, Normal: slices.Index(classes, "normal"), Metrics: []string{"cpu", "mem"}, Window: 2, Step: 1e9,
		Features: []forest.Feature{{Metric: 0, Stat: forest.Mean}, {Metric: 1, Stat: forest.Mean}, {Metric: 0, Stat: forest.Std}}}
	for i, v := range values {
		s.Samples = append(s.Samples, train.Sample{Row: []float32{v, 1, 2 * v}, Class: class(i), Device: string(rune('A' + i%2)), Event: i})
		s.Events = append(s.Events, train.Event{Class: class(i)})
	}
	return s
}

func counted(n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32((i * 7919) % n) // in no order
	}
	return values
}

func tell(t forest.Tree, row []float32) (leaf, depth int) {
	for t[leaf].Shares == nil {
		depth++
		if float64(row[t[leaf].Feature]) <= t[leaf].Threshold {
			leaf = t[leaf].Left
		} else {
			leaf = t[leaf].Right
		}
	}
	return leaf, depth
}

func TestCopiesDifferByDeviceAndMeasure(t *testing.T) {
	s := plain([]string{"hog", "normal"}, []float32{1, 1, 1, 1}, func(i int) int { return i / 2 })
	o := train.Options{Seed: 1, Copies: 2, Spread: 0.3}
	all := train.Vary(s, o, 0)
	if len(all) != 12 || all[1].Row[0] != 1 || s.Samples[0].Row[0] != 1 {
		t.Fatalf("%v", all)
	}
	for k := 4; k < 12; k += 4 {
		a, b, again := all[k].Row, all[k+1].Row, all[k+2].Row
		if a[0] == 1 || a[0] == b[0] || a[0] == a[1] || math.Abs(float64(a[2]-2*a[0])) > 1e-6 || !slices.Equal(a, again) {
			t.Errorf("copy %d: %v %v %v", k/4, a, b, again)
		}
	}
	if other := train.Vary(s, o, 1); slices.Equal(other[4].Row, all[4].Row) || slices.Equal(all[4].Row, all[8].Row) {
		t.Error("draws or copies are the same")
	}
	s.Samples[0].Row[0] = math.MaxFloat32
	for _, x := range train.Vary(s, train.Options{Copies: 50, Spread: 1}, 0) {
		if v := x.Row[0]; v-v != 0 {
			t.Fatal("a copy has a value that is not finite")
		}
	}
}

func TestTreesKeepTheirDepthAndLeaves(t *testing.T) {
	s := plain([]string{"hog", "normal"}, counted(400), func(i int) int { return i % 3 % 2 })
	for _, tree := range train.Grow(s, train.Options{Trees: 5, Depth: 4, Leaf: 15}) {
		rows := map[int]int{}
		for _, x := range s.Samples {
			leaf, depth := tell(tree, x.Row)
			if rows[leaf]++; depth > 4 {
				t.Fatalf("depth %d", depth)
			}
		}
		if len(rows) < 3 {
			t.Errorf("%d leaves", len(rows))
		}
		for leaf, n := range rows {
			if n < 15 {
				t.Errorf("leaf %d has %d rows", leaf, n)
			}
		}
	}
}

func TestOneThresholdIsFoundAmongThousands(t *testing.T) {
	values := counted(1000)
	s := plain([]string{"hog", "normal"}, values, func(i int) int { return int(values[i]) / 500 })
	for k, tree := range train.Grow(s, train.Options{Trees: 8, Depth: 1}) {
		wrong := 0
		for _, x := range s.Samples {
			if leaf, _ := tell(tree, x.Row); tree[leaf].Shares[x.Class] < 0.5 {
				wrong++
			}
		}
		if wrong > 10 { // rows beside the threshold that the bootstrap left out
			t.Errorf("tree %d: %d wrong", k, wrong)
		}
	}
}

func TestNeighboursAmongFloatsAreParted(t *testing.T) {
	low := float32(1)
	high := math.Nextafter32(low, 2)
	values := slices.Concat(slices.Repeat([]float32{low}, 20), slices.Repeat([]float32{high}, 20))
	s := plain([]string{"hog", "normal"}, values, func(i int) int { return i / 20 })
	for k, tree := range train.Grow(s, train.Options{Trees: 20, Depth: 1}) {
		a, _ := tell(tree, s.Samples[0].Row)
		b, _ := tell(tree, s.Samples[39].Row)
		if tree[a].Shares[0] != 1 || tree[b].Shares[1] != 1 {
			t.Errorf("tree %d: %v", k, tree)
		}
	}
}

func TestClassesWeighTheSame(t *testing.T) {
	s := plain([]string{"hog", "normal"}, slices.Repeat([]float32{1}, 200), func(i int) int { return min(i/20, 1) })
	sum := 0.0
	trees := train.Grow(s, train.Options{Trees: 40})
	for _, tree := range trees {
		sum += tree[0].Shares[0] / float64(len(trees))
	}
	if sum < 0.45 || sum > 0.55 {
		t.Errorf("20 rows of 200 have %.2f of the say: wants a half", sum)
	}
}

func TestTreesAreChosenForWhatTheySayTogether(t *testing.T) {
	say := func(share float64) forest.Tree { return forest.Tree{{Shares: []float64{share, 1 - share}}} }
	rows := []train.Sample{{Row: []float32{0}}}
	for _, tt := range []struct{ shares, want []float64 }{
		{[]float64{1, 1, 0, 0}, []float64{0, 1}},
		{[]float64{0.5, 0.9, 0.1, 1, 0}, []float64{0.5, 0.9}},
		{[]float64{0.3, 0.2}, []float64{0.2, 0.3}},
	} {
		var trees []forest.Tree
		for _, s := range tt.shares {
			trees = append(trees, say(s))
		}
		var got []float64
		for _, c := range train.Choose(trees, 2, rows, 2) {
			got = append(got, c[0].Shares[0])
		}
		if slices.Sort(got); !slices.Equal(got, tt.want) && !slices.Equal(got, []float64{0.1, 0.5}) {
			t.Errorf("of %v: %v, want %v", tt.shares, got, tt.want)
		}
	}
}

func TestHeldOutSamplesSayHowFarToTrustTheForest(t *testing.T) {
	s := plain([]string{"hog", "leak", "normal"}, make([]float32, 4), func(i int) int { return []int{0, 0, 2, 2}[i] })
	shares := func(hog ...float64) (list [][]float64) {
		for _, p := range hog {
			list = append(list, []float64{p, 0, 1 - p})
		}
		return list
	}
	for _, tt := range []struct {
		shares [][]float64
		want   float64
	}{{shares(.9, .8, .1, .2), 1}, {shares(.1, .2, .8, .9), 0}, {shares(.5, .5, .5, .5), 0.5}, {shares(.9, .3, .3, .1), 0.875}} {
		if got := train.Area(s, tt.shares, 0); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("area %g, want %g", got, tt.want)
		}
	}
	if got := train.Area(s, shares(.5, .5, .5, .5), 1); got != 0 {
		t.Errorf("a class of which nothing was held out: area %g", got)
	}
	// One normal row in two has no vote for normal, and 0.7 for one fault: (2·0.701 - 1.002) / 0.001.
	odd := [][]float64{{1, 0, 0}, {1, 0, 0}, {.7, .3, 0}, {.7, .3, 0}}
	if got := train.Prior(s, odd, 1); math.Abs(got-400) > 0.01 {
		t.Errorf("prior %g, want 400", got)
	}
	if low, high := train.Prior(s, shares(1, 1, 0, 0), 1), train.Prior(s, shares(1, 1, 1, 1), 0.25); low != 100 || high != 1e4 {
		t.Errorf("priors %g and %g: wants 100 and 10000", low, high)
	}
	if low, high := train.Temperature(s, shares(.6, .6, .4, .4)), train.Temperature(s, shares(.9, .1, .9, .1)); low > 0.3 || high < 2 {
		t.Errorf("always right at 0.6: temperature %g; right half of the time at 0.9: %g", low, high)
	}
}

func TestMarginLeavesOneSampleInAHundredOutside(t *testing.T) {
	beyond := make([]float64, 200)
	beyond[0], beyond[1], beyond[2] = 9, 8, 2
	if got := train.Margin(beyond); got != 8 {
		t.Errorf("margin %g, want 8", got)
	}
	if low, high := train.Margin(make([]float64, 5)), train.Margin([]float64{99}); low != 0.5 || high != 10 {
		t.Errorf("margins %g and %g: wants 0.5 and 10", low, high)
	}
}

func TestPartsThatAreHeldOutAreWhole(t *testing.T) {
	s := plain([]string{"hog", "normal"}, make([]float32, 24), func(i int) int { return min(i%3, 1) })
	of, names, err := train.Folds(s, train.ByEvent)
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	seen := map[[2]int]int{} // hogs are every third event: by their number alone they would not be in each part alike
	for i, x := range s.Samples {
		seen[[2]int{x.Class, of[i]}]++
	}
	for part := range 3 {
		if seen[[2]int{0, part}] < 2 || seen[[2]int{1, part}] < 5 {
			t.Errorf("part %d: %v", part, seen)
		}
	}
	for i := range s.Samples {
		s.Samples[i].Group = fmt.Sprintf("%02d", i%12)
	}
	of, names, err = train.Folds(s, "site")
	if err != nil || len(names) != 10 || slices.Max(of) != 9 || of[10] != 0 || of[0] != 0 {
		t.Errorf("%v %v %v", of, names, err)
	}
	for i := range s.Samples {
		s.Samples[i].Group = "x"
	}
	if _, _, err := train.Folds(s, "site"); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), `all rows have site "x"`) {
		t.Error(err)
	}
}

func TestUsualIsTheMedianOfNormalRows(t *testing.T) {
	s := plain([]string{"hog", "normal"}, []float32{1, 2, 3, 90, 95, 99, 100}, func(i int) int { return 1 - i/3%2 - i/6 })
	if f := train.Ranges(s)[0]; f.Median != 2 || f.Low != 1 || f.High != 100 {
		t.Errorf("%+v", f)
	}
}

func TestOneClassIsNoData(t *testing.T) {
	if _, err := train.Train(samples(t, "label,cpu\nnormal,1\nnormal,2\nnormal,3\n"), train.ByEvent, train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "one class, normal") {
		t.Error(err)
	}
}

// Two devices of which one is three times as hot as the other: what was held out is outside, and is not to be called unknown.
func TestModelTakesOverWhatHeldOutSamplesSay(t *testing.T) {
	text := "dev,label,fault_no,cpu\n"
	for i := range 240 {
		hot, device := 20+i%7, i/120
		if i/20%2 == 1 {
			text += fmt.Sprintf("%c,hog,%d,%d\n", 'A'+device, i/20, (hot+70)*(1+2*device))
		} else {
			text += fmt.Sprintf("%c,normal,%d,%d\n", 'A'+device, i/20, hot*(1+2*device))
		}
	}
	s, err := train.NewSet([]*train.Table{read(t, text, "dev")}, 2, nil, "normal")
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.Train(s, "dev", train.Options{Seed: 1, Trees: 5})
	if err != nil {
		t.Fatal(err)
	}
	if r.Prior < 100 || r.Temperature == 1 || r.Margin < 1 {
		t.Errorf("prior %g, temperature %g, margin %g", r.Prior, r.Temperature, r.Margin)
	}
}
