package forest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"holdfast/remediate/forest"
)

// small is a forest of two trees over two metrics: cpu above 50 is hog, a memory that grows by more than 1 a step is leak.
func small() *forest.Draft {
	d := &forest.Draft{}
	d.Classes, d.Normal, d.Metrics = []string{"hog", "leak", "normal"}, 2, []string{"cpu", "mem"}
	d.Features = []forest.Feature{
		{Metric: 0, Stat: forest.Mean, Median: 10, Low: 0, High: 100},
		{Metric: 1, Stat: forest.Mean, Median: 20, Low: 0, High: 100},
		{Metric: 1, Stat: forest.Slope, Median: 0, Low: -1, High: 3},
	}
	d.Window, d.Step, d.Temperature, d.Sure, d.Margin = 4, 1e9, 1, 0.5, 0.5
	d.Trees = []forest.Tree{
		{{Feature: 0, Threshold: 50, Left: 1, Right: 2}, {Feature: 2, Threshold: 1, Left: 3, Right: 4},
			{Shares: []float64{1, 0, 0}}, {Shares: []float64{0, 0, 1}}, {Shares: []float64{0, 1, 0}}},
		{{Feature: 2, Threshold: 1, Left: 1, Right: 2}, {Feature: 0, Threshold: 50, Left: 3, Right: 4},
			{Shares: []float64{0, 1, 0}}, {Shares: []float64{0, 0, 1}}, {Shares: []float64{1, 0, 0}}},
	}
	d.Golden = []forest.Golden{{Row: []float32{90, 20, 0}, Shares: []float64{1, 0, 0}}, {Row: []float32{90, 20, 2}, Shares: []float64{.5, .5, 0}}}
	return d
}

func encoded(t testing.TB, d *forest.Draft) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opened(t testing.TB, d *forest.Draft) *forest.Model {
	t.Helper()
	m, err := forest.Read(encoded(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVerdictNamesTheClassOrTheDoubt(t *testing.T) {
	m := opened(t, small())
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tt := range []struct {
		name    string
		row     []float32
		class   string
		doubt   forest.Doubt
		feature int
		beyond  float32
	}{
		{"hog", []float32{90, 20, 0}, "hog", forest.Certain, -1, 0},
		{"leak", []float32{10, 20, 2}, "leak", forest.Certain, -1, 0},
		{"normal", []float32{10, 20, 0}, "normal", forest.Certain, -1, 0},
		{"on the threshold is not above", []float32{50, 20, 1}, "normal", forest.Certain, -1, 0},
		{"both", []float32{90, 20, 2}, "hog", forest.Unsure, -1, 0},
		{"half a range outside is still believed", []float32{150, 20, 0}, "hog", forest.Certain, -1, 0},
		{"farther outside", []float32{200, 20, 0}, "hog", forest.OutOfRange, 0, 1},
		{"the farthest is named", []float32{200, 20, 11}, "hog", forest.OutOfRange, 2, 2},
		{"the farthest is named, also when it comes first", []float32{350, 20, 6}, "hog", forest.OutOfRange, 0, 2.5},
		{"below", []float32{10, 20, -4}, "normal", forest.OutOfRange, 2, 0.75},
		{"what no tree asks for is not looked at", []float32{10, nan, 0}, "normal", forest.Certain, -1, 0},
		{"missing", []float32{10, 20, nan}, "hog", forest.Missing, 2, 0},
		{"infinite", []float32{inf, 20, 0}, "hog", forest.Missing, 0, 0},
	} {
		v := m.Judge(tt.row)
		if m.Classes[v.Class] != tt.class || v.Doubt != tt.doubt || v.Feature != tt.feature || v.Beyond != tt.beyond {
			t.Errorf("%s: %s %+v", tt.name, m.Classes[v.Class], v)
		}
	}
}

// At the temperature T a probability p counts as (p + 0.001)^(1/T), that of normal times the prior.
func TestConfidenceIsScaledByTemperatureAndPrior(t *testing.T) {
	for _, temperature := range []float32{0.3, 1, 4} {
		d := small()
		d.Temperature, d.Prior = temperature, 5
		d.Trees[0][2].Shares = []float64{.7, .1, .2}
		d.Golden = []forest.Golden{{Row: []float32{90, 20, 0}, Shares: []float64{.85, .05, .1}}}
		m := opened(t, d)
		sum := 4 * math.Pow(.101, 1/float64(temperature)) // normal counts five times
		for _, p := range []float64{.85, .05, .1} {
			sum += math.Pow(p+0.001, 1/float64(temperature))
		}
		want := math.Pow(.851, 1/float64(temperature)) / sum
		if v := m.Judge(d.Golden[0].Row); math.Abs(float64(v.Confidence)-want) > 1e-3 {
			t.Errorf("T %g: confidence %g, want %g", temperature, v.Confidence, want)
		}
	}
}

func TestReasonsAreWhatChangesTheVerdictMost(t *testing.T) {
	d := small()
	d.Trees[0][2].Shares, d.Golden = []float64{.5, .5, 0}, d.Golden[:1]
	d.Golden[0].Shares = []float64{.75, .25, 0}
	m := opened(t, d)
	row := []float32{90, 25, 2}
	reasons, n := m.Explain(row, 1)
	if n != 1 || m.Metrics[reasons[0].Metric] != "mem" || reasons[0].Value != 25 || reasons[0].Usual != 20 || math.Abs(float64(reasons[0].Drop)-0.5) > 1e-4 {
		t.Errorf("%d reasons: %+v", n, reasons)
	}
	if row[0] != 90 || row[1] != 25 || row[2] != 2 {
		t.Errorf("Explain left %v", row)
	}
	if _, n := m.Explain([]float32{10, 20, 0}, 0); n != 0 {
		t.Errorf("%d reasons of a row that is as usual", n)
	}
}

func TestWindowComputesMeanDeviationAndSlope(t *testing.T) {
	d := small()
	d.Features = append(d.Features, forest.Feature{Metric: 0, Stat: forest.Std}, forest.Feature{Metric: 0, Stat: forest.Slope})
	for i := range d.Golden {
		d.Golden[i].Row = append(d.Golden[i].Row, 0, 0)
	}
	w := opened(t, d).NewWindow()
	for i, row := range [][]float64{{7, 0}, {1, 2}, {2, 4}, {3, 6}, {4, 8}} {
		got := w.Add(row)
		if i < 3 {
			if got != nil {
				t.Errorf("row %d: %v of a window that is not full", i, got)
			}
			continue
		}
		want := []float32{2.5, 5, 2, float32(math.Sqrt(1.25)), 1}
		if i == 3 {
			want = []float32{3.25, 3, 2, float32(math.Sqrt(5.1875)), -1.1}
		}
		for f := range want {
			if math.Abs(float64(got[f]-want[f])) > 1e-6 {
				t.Errorf("row %d: %v, want %v", i, got, want)
			}
		}
	}
	if got := w.Add([]float64{5, math.NaN()}); got[0] != 3.5 || !math.IsNaN(float64(got[1])) {
		t.Errorf("with a value that is missing: %v", got)
	}
	w.Reset()
	if got := w.Add([]float64{5, 5}); got != nil {
		t.Errorf("after Reset: %v", got)
	}
}

func TestNothingIsAllocatedForAVerdict(t *testing.T) {
	m := opened(t, small())
	w, row := m.NewWindow(), []float32{90, 20, 2}
	values := []float64{1, 2}
	if n := testing.AllocsPerRun(100, func() {
		m.Judge(row)
		m.Explain(row, 0)
		w.Add(values)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestTheSameDraftMakesTheSameModel(t *testing.T) {
	a, b := encoded(t, small()), encoded(t, small())
	if !bytes.Equal(a, b) {
		t.Error("two encodings differ")
	}
	m := opened(t, small())
	if s := m.Size(); s != (forest.Size{Bytes: len(a), Visits: 4, Trees: 2, Nodes: 10, Golden: 2}) || len(m.ID()) != 64 || m.Name(2) != "mem_slope" {
		t.Errorf("%+v, id %s, feature 2 %s", s, m.ID(), m.Name(2))
	}
}

func TestGoldenRowThatComesOutDifferentlyIsRefused(t *testing.T) {
	for name, shares := range map[string][]float64{"another probability": {.98, .02, 0}, "another class": {0, 0, 1}} {
		d := small()
		d.Golden[0].Shares = shares
		if _, err := d.Encode(); !errors.Is(err, forest.ErrGolden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// seal puts length and hash right, so that what is behind them is looked at.
func seal(b []byte) []byte {
	if len(b) < 44 {
		return b
	}
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	sum := sha256.Sum256(b[:len(b)-32])
	copy(b[len(b)-32:], sum[:])
	return b
}

func TestBrokenModelsAreRefused(t *testing.T) {
	good := encoded(t, small())
	u16 := func(at, v int) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], uint16(v)); return b }
	}
	f32 := func(at int, v float64) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(v)))
			return b
		}
	}
	// The head has 52 bytes; the names have 4+5+7+4+4, the features 16 each, the sizes 2 each.
	const names, features, sizes, nodes = 52, 76, 124, 128
	for _, tt := range []struct {
		want string
		do   func([]byte) []byte
	}{
		{"rows of a window", u16(12, 1)}, {"rows of a window", u16(12, 65)}, {"1 classes", u16(14, 1)}, {"33 classes", u16(14, 33)},
		{"as the normal class", u16(16, 3)}, {"0 metrics", u16(18, 0)}, {"7 features", u16(20, 7)}, {"0 trees", u16(22, 0)},
		{"401 trees", u16(22, 401)}, {"0 leaves", u16(24, 0)}, {"65 golden rows", u16(26, 65)}, {"0 golden rows", u16(26, 0)},
		{"nodes: wants", u16(30, 0xffff)}, {"0 ms between rows", u16(32, 0)}, {"ms between rows", u16(34, 0xffff)},
		{"temperature NaN", f32(36, math.NaN())}, {"temperature 0", f32(36, 0)}, {"least confidence 2", f32(40, 2)},
		{"margin +Inf", f32(44, math.Inf(1))}, {"prior of normal 0.5", f32(48, 0.5)}, {"prior of normal NaN", f32(48, math.NaN())},
		{"name of 0 bytes", func(b []byte) []byte { b[names] = 0; return b }},
		{"name of 200 bytes", func(b []byte) []byte { b[names] = 200; return b }},
		{"not printable ASCII", func(b []byte) []byte { b[names+1] = '\n'; return b }},
		{"comes twice", func(b []byte) []byte { copy(b[names+21:], "cpu"); return b }},
		{"metric 2 of 2", u16(features, 2)}, {"statistic 3 of 3", u16(features+2, 3)}, {"comes twice", u16(features+34, 0)},
		{"range from 101 to 100", f32(features+8, 101)}, {"median NaN", f32(features+4, math.NaN())}, {"high +Inf", f32(features+12, math.Inf(1))},
		{"metric mem has no feature", func(b []byte) []byte {
			return u16(features+18, 1)(u16(features+34, 2)(u16(features+32, 0)(u16(features+16, 0)(b))))
		}},
		{"0 nodes of a tree", u16(sizes, 0)}, {"nodes in its trees", u16(sizes, 6)}, {"ends before its last leaf", u16(sizes, 4)},
		{"feature 3 of 3", u16(nodes, 3)}, {"threshold NaN", f32(nodes+4, math.NaN())}, {"threshold -Inf", f32(nodes+4, math.Inf(-1))},
		{"is no tree", u16(nodes+2, 0)}, {"is no tree", u16(nodes+2, 2)}, {"leaf 9 of", u16(nodes+18, 9)}, {"threshold 1", f32(nodes+20, 1)},
		{"no node leads to", u16(nodes, 0xffff)}, {"its shares add up to", u16(nodes+80, 7)}, {"golden value NaN", f32(nodes+80+18, math.NaN())},
		{"too early", func(b []byte) []byte { return b[:len(b)-4] }}, {"bytes too many", func(b []byte) []byte { return append(b, 0, 0, 0, 0) }},
	} {
		if tt.want == "ends before its last leaf" {
			tt.do = func(b []byte) []byte { return u16(sizes+2, 6)(u16(sizes, 4)(b)) }
		}
		if tt.want == "no node leads to" { // a leaf in front of others
			tt.do = func(b []byte) []byte { return f32(nodes+4, 0)(u16(nodes+2, 0)(u16(nodes, 0xffff)(b))) }
		}
		if _, err := forest.Read(seal(tt.do(bytes.Clone(good)))); !errors.Is(err, forest.ErrModel) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q: %v", tt.want, err)
		}
	}
	for want, b := range map[string][]byte{"wants at most": make([]byte, forest.MaxBytes+1), "does not begin": good[:60], "damaged": append(bytes.Clone(good[:len(good)-1]), 1)} {
		if _, err := forest.Read(b); !errors.Is(err, forest.ErrModel) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestModelThatCostsTooMuchIsRefused(t *testing.T) {
	d := small()
	for len(d.Trees) <= forest.MaxVisits/2 {
		d.Trees = append(d.Trees, d.Trees[0])
	}
	d.Golden = []forest.Golden{{Row: []float32{10, 20, 0}, Shares: []float64{0, 0, 1}}}
	if _, err := d.Encode(); err == nil || !strings.Contains(err.Error(), "402 comparisons") {
		t.Error(err)
	}
	chain := forest.Tree{}
	for i := range forest.MaxVisits + 1 {
		chain = append(chain, forest.Node{Left: 2*i + 1, Right: 2*i + 2}, forest.Node{Shares: []float64{0, 0, 1}})
	}
	chain = append(chain, forest.Node{Shares: []float64{0, 0, 1}})
	d.Trees = []forest.Tree{chain}
	if _, err := d.Encode(); err == nil {
		t.Error("a tree that is too deep was taken")
	}
	d.Trees = []forest.Tree{{{Left: 0, Right: 0}}}
	if _, err := d.Encode(); err == nil {
		t.Error("a tree that leads back to its root was taken")
	}
}

func TestThresholdsAreRoundedDown(t *testing.T) {
	for _, x := range []float64{0.1, -0.1, 1.0 / 3, 1e-50, -1e-50, 3, 0, 16777217} {
		if f := forest.Down(x); float64(f) > x || float64(math.Nextafter32(f, float32(math.Inf(1)))) <= x {
			t.Errorf("Down(%g) = %g", x, f)
		}
	}
}

// Whatever is read can be evaluated, and says so again.
func FuzzRead(f *testing.F) {
	good := encoded(f, small())
	f.Add(good)
	for _, at := range []int{12, 14, 18, 20, 22, 24, 28, 36, 52, 76, 124, 128, 130, len(good) - 40} { // a count or bound each
		bad := bytes.Clone(good)
		bad[at]++
		f.Add(bad)
	}
	f.Add(good[:52])
	one := small()
	one.Trees, one.Golden = one.Trees[:1], one.Golden[:1]
	one.Trees[0] = forest.Tree{{Shares: []float64{1, 0, 0}}}
	f.Add(encoded(f, one))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, seal(b)} {
			m, err := forest.Read(b)
			if err != nil {
				if !errors.Is(err, forest.ErrModel) {
					t.Error(err)
				}
				continue
			}
			row := make([]float32, len(m.Features))
			if v := m.Judge(row); v.Class >= len(m.Classes) || !(v.Confidence >= 0 && v.Confidence <= 1) {
				t.Errorf("%+v", v)
			}
			m.Explain(row, 0)
			_ = m.Verify()
		}
	})
}
