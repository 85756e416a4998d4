package digest_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"holdfast/agent/digest"
)

// streams are the shapes that a quantile sketch gets wrong first.
var streams = []struct {
	name string
	next func(r *rand.Rand) float64
}{
	{"uniform", func(r *rand.Rand) float64 { return 100 * r.Float64() }},
	{"pareto 1.16", func(r *rand.Rand) float64 { return math.Pow(1-r.Float64(), -1/1.16) }},
	{"pareto 0.5", func(r *rand.Rand) float64 { return math.Pow(1-r.Float64(), -2) }},
	{"bimodal", func(r *rand.Rand) float64 {
		if r.Float64() < 0.94 { // p95 falls right beside the gap
			return 10 + r.NormFloat64()
		}
		return 1000 + 20*r.NormFloat64()
	}},
	{"negative", func(r *rand.Rand) float64 { return -40 + 5*r.NormFloat64() }},
	{"around zero", func(r *rand.Rand) float64 { return r.NormFloat64() }},
	{"mostly zero", func(r *rand.Rand) float64 { return max(0, r.NormFloat64()-1.3) }},
	{"temperature", func(r *rand.Rand) float64 { return 50 + math.Round(20*r.NormFloat64())/10 }},
	{"constant", func(*rand.Rand) float64 { return 3.3 }},
	{"bytes", func(r *rand.Rand) float64 { return math.Floor(math.Exp(20 * r.Float64())) }}, // eight decades: one collapse
}

// exact returns the value of rank ⌈q·n⌉.
func exact(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

func near(got, want, relative float64) bool {
	return math.Abs(got-want) <= relative*math.Abs(want)*(1+1e-9)+1e-12
}

func TestAnHourOfSecondsKeepsItsQuantilesWithinOnePercent(t *testing.T) {
	for _, stream := range streams {
		t.Run(stream.name, func(t *testing.T) {
			worst := 0.0
			var w digest.Window // one window for all hours, as the agent has it
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 1))
				values, sum := make([]float64, 3600), 0.0
				w.Reset()
				for i := range values {
					values[i] = stream.next(r)
					sum += values[i]
					w.Add(values[i])
				}
				slices.Sort(values)
				s := w.Summary()
				for _, c := range []struct{ q, got float64 }{{0.50, s.P50}, {0.95, s.P95}, {0.99, s.P99}} {
					want := exact(values, c.q)
					if !near(c.got, want, 0.01) || !near(c.got, want, s.Accuracy) {
						t.Errorf("seed %d: p%g = %g, exactly %g, stated accuracy %g", seed, 100*c.q, c.got, want, s.Accuracy)
					}
					if want != 0 {
						worst = max(worst, math.Abs(c.got/want-1))
					}
				}
				if s.Count != 3600 || s.Min != values[0] || s.Max != values[3599] {
					t.Errorf("seed %d: count %d, min %g, max %g, want 3600, %g, %g", seed, s.Count, s.Min, s.Max, values[0], values[3599])
				}
				if mean := sum / 3600; math.Abs(s.Mean-mean) > 1e-9*(math.Abs(mean)+max(-s.Min, s.Max)) {
					t.Errorf("seed %d: mean = %g, exactly %g", seed, s.Mean, mean)
				}
			}
			t.Logf("worst relative error of p50, p95, p99 in 60 hours: %.3f %%", 100*worst)
		})
	}
}

// A stream made to have as many buckets as it can still has quantiles as good as its summary says.
func TestTooManyBucketsCostAccuracyAndSaySo(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	values := make([]float64, 100_000)
	var w digest.Window
	for i := range values {
		values[i] = math.Exp(280*r.Float64() - 20)
		if r.IntN(2) == 0 {
			values[i] = -values[i]
		}
		w.Add(values[i])
	}
	slices.Sort(values)
	s := w.Summary()
	if s.Accuracy < 0.02 || s.Accuracy > 0.5 {
		t.Errorf("accuracy = %g: the stream was meant to collapse the sketch some times", s.Accuracy)
	}
	for _, c := range []struct{ q, got float64 }{{0.50, s.P50}, {0.95, s.P95}, {0.99, s.P99}} {
		if want := exact(values, c.q); !near(c.got, want, s.Accuracy) {
			t.Errorf("p%g = %g, exactly %g, stated accuracy %g", 100*c.q, c.got, want, s.Accuracy)
		}
	}
}

func TestWhatIsNotFiniteOnlyCounts(t *testing.T) {
	var w digest.Window
	for _, v := range []float64{math.NaN(), math.Inf(1), 1, math.Inf(-1), 2, math.NaN()} {
		w.Add(v)
	}
	s := w.Summary()
	if s.Count != 2 || s.Invalid != 4 || s.Mean != 1.5 || s.Min != 1 || s.Max != 2 {
		t.Errorf("summary = %+v", s)
	}
}

func TestExtremesOfFloat64StayFinite(t *testing.T) {
	var w digest.Window
	for _, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 0} {
		w.Add(v)
	}
	s := w.Summary()
	for _, v := range []float64{s.Mean, s.Min, s.Max, s.P50, s.P95, s.P99} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatalf("summary = %+v", s)
		}
	}
	if s.P50 != 0 || s.Min != -math.MaxFloat64 || s.Max != math.MaxFloat64 {
		t.Errorf("summary = %+v", s)
	}
}

func TestOneValueIsItsOwnSummary(t *testing.T) {
	for _, v := range []float64{0, 47.3, -47.3, 1e-13, 1e200} {
		var w digest.Window
		w.Add(v)
		want := digest.Summary{Count: 1, Mean: v, Min: v, Max: v, P50: v, P95: v, P99: v, Accuracy: 0.005}
		got := w.Summary()
		if math.Abs(got.Accuracy-0.005) > 1e-12 {
			t.Errorf("accuracy = %g, want 0.005", got.Accuracy)
		}
		got.Accuracy = 0.005
		if got != want {
			t.Errorf("summary of %g = %+v", v, got)
		}
	}
	var w digest.Window
	if got := w.Summary(); got != (digest.Summary{}) {
		t.Errorf("summary of nothing = %+v", got)
	}
	w.Add(1)
	w.Reset()
	if got := w.Summary(); got != (digest.Summary{}) {
		t.Errorf("summary after a reset = %+v", got)
	}
}

func TestAWindowInUseDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var w digest.Window
	for range 10_000 {
		w.Add(100 * r.Float64())
	}
	w.Reset()
	if n := testing.AllocsPerRun(3600, func() { w.Add(100 * r.Float64()) }); n != 0 {
		t.Errorf("Add allocates %g times", n)
	}
	if n := testing.AllocsPerRun(100, func() { w.Summary() }); n != 0 {
		t.Errorf("Summary allocates %g times", n)
	}
	if size := unsafe.Sizeof(w); size > 128 {
		t.Errorf("a window is %d bytes before its buckets: the comment on Window says about 110", size)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, stream := range streams[:4] {
		b.Run(stream.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			values := make([]float64, 3600)
			for i := range values {
				values[i] = stream.next(r)
			}
			var w digest.Window
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(values) == 0 {
					w.Reset()
				}
				w.Add(values[i%len(values)])
			}
		})
	}
}

func BenchmarkSummary(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var w digest.Window
	for range 3600 {
		w.Add(100 * r.Float64())
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Summary()
	}
}
