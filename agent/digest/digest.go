// Package digest is a leaf: it reduces a stream of numbers to what is worth sending.
//
// A Window keeps count, mean, extremes and quantiles of many values in fixed memory; a Gate lets a value pass when it
// says something new. The agent keeps one of each for every source, instance and field. Nothing here is safe for use
// by two goroutines at a time, and nothing starts one.
package digest

import "math"

// A Window summarizes the values added since it was made or reset. The zero Window is ready for use.
//
// Memory: about 110 bytes, plus 6 bytes for each bucket in use, rounded up to the next power of two. A temperature that
// stays within 20 K uses 64 buckets (0.5 KB), an hour of uniform noise 512 (3 KB), and no stream more than 1024 (6 KB).
// Reset keeps the buckets, so that Add does not allocate once a series has shown its range.
type Window struct {
	count    uint64
	invalid  uint64
	mean     float64
	min, max float64
	sketch   sketch
}

// A Summary is what a Window says. Everything but Count and Invalid is 0 when Count is 0.
type Summary struct {
	Count   uint64 // finite values added
	Invalid uint64 // values added that were NaN or infinite; they count nowhere else
	Mean    float64
	Min     float64
	Max     float64
	P50     float64 // nearest-rank quantiles, within Accuracy of the exact one
	P95     float64
	P99     float64
	// Accuracy is the largest relative error of a quantile: 0.005, or the double of it for every time that the stream
	// had more than 1024 buckets. It holds for magnitudes between 1e-12 and 1e130; what is smaller counts as 0.
	Accuracy float64
}

// Add takes one value.
func (w *Window) Add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		w.invalid++
		return
	}
	if w.count == 0 {
		w.min, w.max, w.mean = v, v, 0
	}
	w.count++
	n := float64(w.count)
	w.mean += v/n - w.mean/n // the difference of two huge values could overflow, these cannot
	w.min, w.max = min(w.min, v), max(w.max, v)
	w.sketch.add(v)
}

// Summary returns what was added so far.
func (w *Window) Summary() Summary {
	s := Summary{Count: w.count, Invalid: w.invalid}
	if w.count == 0 {
		return s
	}
	// A mean of equal values may be off by rounding, and then lie outside of them.
	s.Mean, s.Min, s.Max = w.within(w.mean), w.min, w.max
	s.P50 = w.within(w.sketch.quantile(0.50, w.count))
	s.P95 = w.within(w.sketch.quantile(0.95, w.count))
	s.P99 = w.within(w.sketch.quantile(0.99, w.count))
	s.Accuracy = w.sketch.accuracy()
	return s
}

// Reset forgets every value.
func (w *Window) Reset() {
	w.sketch.reset()
	*w = Window{sketch: w.sketch}
}

func (w *Window) within(v float64) float64 { return min(max(v, w.min), w.max) }
