package train

import (
	"math"

	"holdfast/remediate/forest"
)

// Explained is the verdict on a row, and its reasons.
type Explained struct {
	Device     string   `json:"device"`
	Time       float64  `json:"t"`
	Class      string   `json:"class"`
	Confidence float64  `json:"confidence"`
	Doubt      string   `json:"unknown,omitempty"` // why the verdict is not to be acted upon
	Feature    string   `json:"feature,omitempty"` // that is missing or out of range
	Beyond     float64  `json:"beyond_ranges,omitempty"`
	Reasons    []Reason `json:"reasons"`
}

// A Reason is a metric that speaks for the class.
type Reason struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Usual  float64 `json:"usual"`
	Drop   float64 `json:"drop"` // what the class's probability would lose if the metric were as usual
}

// Explain returns the verdicts on the rows of a device, or of all where it is empty: the first from a time on, or where that is
// NaN each that differs from the one before.
func Explain(m *forest.Model, tables []*Table, device string, at float64) ([]Explained, error) {
	list := []Explained{}
	for _, t := range tables {
		if err := t.Arrange(m.Metrics); err != nil {
			return nil, err
		}
		windows, last := map[string]*forest.Window{}, map[string]forest.Verdict{}
		for i, r := range t.Rows {
			if device != "" && r.Device != device {
				continue
			}
			w := windows[r.Device]
			if w == nil {
				w = m.NewWindow()
				windows[r.Device] = w
			}
			row := w.Add(r.Values)
			if row == nil || r.Time < at {
				continue
			}
			v := m.Judge(row)
			before, known := last[r.Device]
			last[r.Device] = v
			if known && before.Class == v.Class && before.Doubt == v.Doubt {
				continue
			}
			if math.IsNaN(r.Time) {
				r.Time = float64(i + 1)
			}
			list = append(list, explained(m, r, row, v))
			if !math.IsNaN(at) {
				return list, nil
			}
		}
	}
	return list, nil
}

func explained(m *forest.Model, r Row, row []float32, v forest.Verdict) Explained {
	e := Explained{Device: r.Device, Time: r.Time, Confidence: float64(v.Confidence), Doubt: string(v.Doubt), Beyond: float64(v.Beyond), Reasons: []Reason{}}
	if v.Feature >= 0 {
		e.Feature = m.Name(v.Feature)
	}
	if v.Doubt == forest.Missing {
		return e
	}
	e.Class = m.Classes[v.Class]
	reasons, n := m.Explain(row, v.Class)
	for _, r := range reasons[:n] {
		if v.Class != m.Normal {
			e.Reasons = append(e.Reasons, Reason{m.Metrics[r.Metric], float64(r.Value), float64(r.Usual), float64(r.Drop)})
		}
	}
	return e
}
