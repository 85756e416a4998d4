package remediate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/board/strict"
	"holdfast/remediate/forest"
)

// An episode is three windows in a row of one class at 0.7: fewer, and a burst would be a fault.
const (
	episodeRows       = 3
	episodeConfidence = 0.7
)

// ruledFor is how long the forest is silent about all else after a rule has named a fault: what it sees then is likely the same. A fault
// that lasts for days, such as a sensor that is stuck, does not silence it for days.
const ruledFor = 10 * time.Minute

// A judge has a forest name faults by the rows of DeviceStatus.
type judge struct {
	model *forest.Model
	short string // of its id
	fault string // why the model that was read last is not in force

	window  *forest.Window
	metrics []int // of statusMeasures, in the model's order
	usual   []float64
	values  []float64
	last    time.Time // of the row before
	streak  int       // verdicts in a row that name class
	class   int
	spared  int // verdicts in a row that do not name what is open
	verdict forest.Verdict
	judged  bool
	lacking int // measures that this machine has never said
}

// ModelStanding is how the model does, for people.
type ModelStanding struct {
	ID         string  `json:"id,omitempty"`
	Fault      string  `json:"fault,omitempty"` // why the model that was read last is not in force
	Step       float64 `json:"step_seconds,omitempty"`
	Class      string  `json:"class,omitempty"` // of the last row
	Confidence float64 `json:"confidence,omitempty"`
	Doubt      string  `json:"doubt,omitempty"`   // unsure, out_of_range or missing
	Measure    string  `json:"measure,omitempty"` // that the doubt is about
	Lacking    int     `json:"lacking,omitempty"` // measures of the model that this machine does not have
}

// Model puts a model in force, nil for none. What is broken, does not say of its golden rows what its maker got, or asks for what
// no DeviceStatus has is refused, and the model before stays. read is why it could not be read, and is such a reason, too.
func (r *Rules) Model(text []byte, read error) error {
	m, metrics, err := (*forest.Model)(nil), []int(nil), read
	if err == nil && text != nil {
		m, metrics, err = admit(text)
	}
	j := &r.judge
	if err != nil {
		err = fmt.Errorf("model: %w", err)
		j.fault = clip(err.Error(), 2*maxTextBytes)
		r.o.Event("model", map[string]any{"phase": "refused", "error": j.fault, "in_force": j.short})
		r.o.Log.Error("the model is not in force", "err", err, "in_force", j.short)
		return err
	}
	j.fault = ""
	if m == nil {
		if j.model != nil {
			r.chart.over("there is no model any more", false, func(d *Diagnosis) bool { return d.By == ByForest })
		}
		r.judge = judge{}
		return nil
	}
	if short := m.ID()[:12]; j.model == nil || j.short != short {
		r.chart.over("another model is in force", false, func(d *Diagnosis) bool { return d.By == ByForest })
		r.judge = judge{model: m, short: short, window: m.NewWindow(), metrics: metrics, usual: usuals(m), values: make([]float64, len(metrics))}
		size := m.Size()
		r.o.Log.Info("model in force", "id", short, "classes", len(m.Classes), "step", m.Step, "trees", size.Trees, "bytes", size.Bytes)
	}
	return nil
}

// maxModelStep bounds the time between two rows: a fault that takes an hour to be named is named by a rule.
const maxModelStep = 5 * time.Minute

// admit reads a model and asks whether it can be used here.
func admit(text []byte) (*forest.Model, []int, error) {
	m, err := forest.Read(text)
	if err == nil {
		err = m.Verify()
	}
	if err != nil {
		return nil, nil, err
	}
	if m.Step < 100*time.Millisecond || m.Step > maxModelStep {
		return nil, nil, fmt.Errorf("wants a row every %v: 100ms to %v", m.Step, maxModelStep)
	}
	names := StatusNames()
	metrics := make([]int, len(m.Metrics))
	for i, name := range m.Metrics {
		if metrics[i] = slices.Index(names, name); metrics[i] < 0 {
			err := fmt.Errorf("it asks for %.64q, and DeviceStatus has no such property", name)
			if near := strict.Nearest(name, names); near != "" {
				err = fmt.Errorf("%w; did its maker mean %s?", err, near)
			}
			return nil, nil, err
		}
	}
	for _, class := range m.Classes {
		if class == Unknown {
			return nil, nil, errors.New("a class is called unknown, which means that no class fits")
		}
	}
	return m, metrics, nil
}

// CheckModel reads a model as an agent would, and returns its id in short.
func CheckModel(text []byte) (id string, err error) {
	m, _, err := admit(text)
	if err != nil {
		return "", fmt.Errorf("model: %w", err)
	}
	return m.ID()[:12], nil
}

// usuals are what each metric is in normal running: for those that a machine does not have.
func usuals(m *forest.Model) []float64 {
	usual := make([]float64, len(m.Metrics))
	for _, f := range m.Features {
		if f.Stat == forest.Mean {
			usual[f.Metric] = float64(f.Median)
		}
	}
	return usual
}

// Pace is how often a round is needed for the model, and the sources that it asks for; 0 without a model.
func (r *Rules) Pace() (step time.Duration, sources []string) {
	if r.judge.model == nil {
		return 0, nil
	}
	for _, i := range r.judge.metrics {
		if s := statusMeasures[i].source; s != "" {
			sources = append(sources, s)
		}
	}
	slices.Sort(sources)
	return r.judge.model.Step, slices.Compact(sources)
}

// row takes the DeviceStatus that was just sent, and has the forest judge it. A row too early is left out; after a gap the window
// begins anew, since slopes are per step.
func (r *Rules) row(now time.Time) {
	j := &r.judge
	if j.model == nil {
		return
	}
	gap := now.Sub(j.last)
	if !j.last.IsZero() && gap < j.model.Step*3/4 {
		return
	}
	if gap > j.model.Step*5/2 && !j.last.IsZero() {
		j.window.Reset()
		j.streak = 0
	}
	j.last, j.judged = now, false
	if !j.gather(r.feed) {
		return
	}
	features := j.window.Add(j.values)
	if features == nil {
		return
	}
	j.verdict, j.judged = j.model.Judge(features), true
	r.ruleOn(now, features)
}

// gather takes the model's metrics. What the machine has never said is as usual; it is false when that is more than a third of
// them: a verdict would rest on little.
func (j *judge) gather(f *Feed) bool {
	j.lacking = 0
	for i, index := range j.metrics {
		v := f.status.vals[1+index]
		n, ok := v.Float()
		switch {
		case ok:
		case !v.Null():
			n = 0
			if v.Any() == true {
				n = 1
			}
		case !f.present.said[index]:
			n = j.usual[i]
			j.lacking++
		default:
			n = math.NaN()
		}
		j.values[i] = n
	}
	return 3*j.lacking <= len(j.metrics)
}

// ruleOn makes a diagnosis of verdicts that agree. What rules have named is theirs.
func (r *Rules) ruleOn(now time.Time, features []float32) {
	j := &r.judge
	v := j.verdict
	fault := v.Doubt == forest.Certain && v.Class != j.model.Normal && v.Confidence >= episodeConfidence
	switch {
	case !fault:
		j.streak = 0
	case j.streak > 0 && v.Class == j.class:
		j.streak = min(j.streak+1, episodeRows)
	default:
		j.streak, j.class = 1, v.Class
	}
	mine := func(d *Diagnosis) bool { return d.By == ByForest }
	if i := slices.IndexFunc(r.chart.open, mine); i >= 0 {
		if d := r.chart.open[i]; fault && j.model.Classes[v.Class] == d.Fault {
			j.spared = 0
		} else if j.spared++; j.spared >= j.model.Window || j.streak == episodeRows {
			r.chart.over("it is not seen any more", false, mine)
		}
	}
	class := j.model.Classes[v.Class]
	if j.streak < episodeRows || r.chart.has(func(d *Diagnosis) bool {
		return d.By == ByForest || d.ruled() && (d.Fault == class || now.Sub(d.opened) < ruledFor)
	}) {
		return
	}
	j.spared = 0
	r.chart.over("it has a name", false, func(d *Diagnosis) bool { return d.By == ByHabit })
	d := &Diagnosis{Fault: j.model.Classes[v.Class], By: ByForest, Confidence: float64(v.Confidence), Model: j.short}
	reasons, count := j.model.Explain(features, v.Class)
	for _, reason := range reasons[:count] {
		r := j.reason(features, reason.Metric)
		r.Weight = rounded(float64(reason.Drop))
		d.Reasons = append(d.Reasons, r)
	}
	r.chart.named(now, d, false)
	r.o.Log.Warn("fault named", "fault", d.Fault, "by", d.By, "confidence", rounded(d.Confidence), "because", strings.Join(measures(d.Reasons), " "))
}

// reason tells of a metric the one of its features that is farthest from usual, in widths of the range that was seen in training: of a leak
// that has just begun the slope, and not the mean.
func (j *judge) reason(features []float32, metric int) Reason {
	best, most := Reason{Measure: j.model.Metrics[metric]}, float32(-1)
	for i, f := range j.model.Features {
		if f.Metric != metric {
			continue
		}
		off := max(features[i]-f.Median, f.Median-features[i])
		if width := f.High - f.Low; width > 0 {
			off /= width
		}
		if off > most {
			most = off
			best.Stat, best.Value, best.Usual = strings.TrimPrefix(f.Stat.String(), "_"), float64(features[i]), float64(f.Median)
		}
	}
	return best
}

func measures(reasons []Reason) []string {
	names := make([]string, len(reasons))
	for i, reason := range reasons {
		names[i] = reason.Measure
	}
	return names
}

func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

func (j *judge) standing() *ModelStanding {
	if j.model == nil && j.fault == "" {
		return nil
	}
	s := &ModelStanding{ID: j.short, Fault: j.fault}
	if j.model == nil {
		return s
	}
	s.Step, s.Lacking = j.model.Step.Seconds(), j.lacking
	if j.judged {
		s.Class, s.Confidence, s.Doubt = j.model.Classes[j.verdict.Class], rounded(float64(j.verdict.Confidence)), string(j.verdict.Doubt)
		if j.verdict.Feature >= 0 {
			s.Measure = j.model.Name(j.verdict.Feature)
		}
	}
	return s
}
