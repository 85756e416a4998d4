package forest

import "math"

// A Window keeps the last rows of a model's metrics, and computes the features of them.
type Window struct {
	m     *Model
	ring  []float64    // a run of m.Window values for each metric
	next  int          // the slot of the next row
	count int          // of rows, at most m.Window
	steps []float64    // the distance of each row from the middle of the window, the oldest first
	per   float64      // 1 / the sum of their squares
	of    [][3]float64 // the statistics of each metric
	row   []float32
}

// NewWindow returns an empty window for the model.
func (m *Model) NewWindow() *Window {
	w := &Window{m: m, ring: make([]float64, m.Window*len(m.Metrics)), steps: make([]float64, m.Window),
		of: make([][3]float64, len(m.Metrics)), row: make([]float32, len(m.Features))}
	sum := 0.0
	for i := range w.steps {
		w.steps[i] = float64(i) - float64(m.Window-1)/2
		sum += w.steps[i] * w.steps[i]
	}
	w.per = 1 / sum
	return w
}

// Reset forgets all rows, as after a gap.
func (w *Window) Reset() { w.next, w.count = 0, 0 }

// Add takes a value for each metric, in the model's order; NaN stands for one that is missing. It returns the features once
// the window is full, and nil before. They are good until the next Add. It allocates nothing.
func (w *Window) Add(values []float64) []float32 {
	for i, v := range values[:len(w.m.Metrics)] {
		w.ring[i*w.m.Window+w.next] = v
	}
	w.next = (w.next + 1) % w.m.Window
	if w.count < w.m.Window {
		w.count++
	}
	if w.count < w.m.Window {
		return nil
	}
	w.compute()
	return w.row
}

// compute goes over all values again rather than keeping sums: sums of float64 drift, and a window is small.
func (w *Window) compute() {
	for metric := range w.of {
		w.of[metric] = w.stats(metric)
	}
	for i := range w.m.Features {
		f := &w.m.Features[i]
		w.row[i] = float32(w.of[f.Metric][f.Stat])
	}
}

func (w *Window) stats(metric int) [3]float64 {
	values := w.ring[metric*w.m.Window:][:w.m.Window]
	n := float64(len(values))
	sum, slope := 0.0, 0.0
	for i, v := range values {
		sum += v
		age := i - w.next // 0 is the oldest
		if age < 0 {
			age += len(values)
		}
		slope += w.steps[age] * v
	}
	mean := sum / n
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return [3]float64{mean, math.Sqrt(squares / n), slope * w.per}
}
