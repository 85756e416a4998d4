package train

import (
	"fmt"
	"math"
	"slices"

	"holdfast/remediate/forest"
)

// An episode is as many verdicts in a row as this, of one fault and at this confidence or more. Repairs wait for one.
const (
	EpisodeRows       = 3
	EpisodeConfidence = 0.7
)

// A confusion counts rows by what they are and by what they were called.
type confusion [][]int

func newConfusion(classes int) confusion {
	c := make(confusion, classes)
	for i := range c {
		c[i] = make([]int, classes)
	}
	return c
}

// class returns how often a class was rightly named, how often it was named, and how often it was there.
func (c confusion) class(i int) (right, named, there int) {
	for k := range c {
		named += c[k][i]
		there += c[i][k]
	}
	return c[i][i], named, there
}

// macro returns the mean of F1 over the classes that were there or named, as scikit-learn's f1_score has it.
func (c confusion) macro() float64 {
	sum, n := 0.0, 0
	for i := range c {
		if right, named, there := c.class(i); named+there > 0 {
			sum += 2 * float64(right) / float64(named+there)
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// A Class is how a class fared.
type Class struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Rows      int     `json:"rows"`
}

// A Bin is the rows whose confidence is in a tenth.
type Bin struct {
	From       float64 `json:"from"`
	Rows       int     `json:"rows"`
	Confidence float64 `json:"confidence"` // their mean
	Right      float64 `json:"right"`      // the share of them that were right
}

// A Score is how a model fares on labelled data.
type Score struct {
	Model          string           `json:"model"`
	Rows           int              `json:"rows"`
	Missing        int              `json:"rows_missing"`
	MacroF1        float64          `json:"macro_f1"`
	Accuracy       float64          `json:"accuracy"`
	Events         int              `json:"events"` // faults, not stretches without one
	EventsRight    int              `json:"events_right"`
	EventMacroF1   float64          `json:"event_macro_f1"`
	FalseEpisodes  int              `json:"false_episodes"`      // of a fault while there was none
	TrueEpisodes   int              `json:"events_with_episode"` // faults of which there was an episode that names them
	WrongEpisodes  int              `json:"wrong_episodes"`      // of a fault while there was another
	NormalDays     float64          `json:"normal_device_days"`
	FalsePerDay    float64          `json:"false_episodes_per_device_day"`
	Unsure         int              `json:"rows_unsure"`
	OutOfRange     int              `json:"rows_out_of_range"`
	CalibrationOff float64          `json:"calibration_error"` // the mean distance of confidence and share right
	Bins           []Bin            `json:"calibration"`
	PerClass       map[string]Class `json:"per_class"`
	Classes        []string         `json:"classes"`
	Confusion      [][]int          `json:"confusion"` // rows by label, columns by verdict, in the order of classes
}

// Evaluate has a model judge the samples of tables.
func Evaluate(m *forest.Model, tables []*Table) (*Score, error) {
	for _, t := range tables {
		if err := t.Arrange(m.Metrics); err != nil {
			return nil, err
		}
	}
	s, err := NewSet(tables, m.Window, m.Classes, m.Classes[m.Normal])
	if err != nil {
		return nil, err
	}
	order := orderOf(m)
	verdicts := make([]forest.Verdict, len(s.Samples))
	row := make([]float32, len(order))
	for i, x := range s.Samples {
		for f, at := range order {
			row[f] = x.Row[at]
		}
		verdicts[i] = m.Judge(row)
	}
	out := &Score{Model: m.ID(), Rows: len(s.Samples), Missing: s.Missing, NormalDays: s.Days, PerClass: map[string]Class{}, Classes: s.Classes}
	out.rows(s, verdicts)
	out.events(s, verdicts)
	out.episodes(s, verdicts)
	out.calibrate(s, verdicts)
	if s.Days > 0 {
		out.FalsePerDay = float64(out.FalseEpisodes) / s.Days
	}
	return out, nil
}

// Arrange puts a table's metrics into the order of a model's, and leaves others out.
func (t *Table) Arrange(metrics []string) error {
	from := make([]int, len(metrics))
	for i, name := range metrics {
		if from[i] = slices.Index(t.Metrics, name); from[i] < 0 {
			return fmt.Errorf("%w: %s: no column %s, which the model asks for", ErrData, t.Name, name)
		}
	}
	for r := range t.Rows {
		values := make([]float64, len(metrics))
		for i, at := range from {
			values[i] = t.Rows[r].Values[at]
		}
		t.Rows[r].Values = values
	}
	t.Metrics = slices.Clone(metrics)
	return nil
}

func (out *Score) rows(s *Set, verdicts []forest.Verdict) {
	table := newConfusion(len(s.Classes))
	right := 0
	for i, x := range s.Samples {
		table[x.Class][verdicts[i].Class]++
		if x.Class == verdicts[i].Class {
			right++
		}
		switch verdicts[i].Doubt {
		case forest.Unsure:
			out.Unsure++
		case forest.OutOfRange:
			out.OutOfRange++
		}
	}
	out.Confusion, out.MacroF1, out.Accuracy = table, table.macro(), float64(right)/float64(len(s.Samples))
	for c, name := range s.Classes {
		right, named, there := table.class(c)
		out.PerClass[name] = Class{Precision: float64(right) / float64(max(named, 1)), Recall: float64(right) / float64(max(there, 1)),
			F1: 2 * float64(right) / float64(max(named+there, 1)), Rows: there}
	}
}

// events calls an event what most of its rows are called; of equals what comes first in the order of classes. A stretch without a
// fault is an event of the normal class for F1, and is not among those that are counted.
func (out *Score) events(s *Set, verdicts []forest.Verdict) {
	votes := newConfusion(max(len(s.Events), len(s.Classes)))
	has := make([]bool, len(s.Events))
	for i, x := range s.Samples {
		votes[x.Event][verdicts[i].Class]++
		has[x.Event] = true
	}
	table := newConfusion(len(s.Classes))
	for e, of := range s.Events {
		if !has[e] {
			continue
		}
		called := 0
		for c := range s.Classes {
			if votes[e][c] > votes[e][called] {
				called = c
			}
		}
		table[of.Class][called]++
		if of.Class != s.Normal {
			out.Events++
			if called == of.Class {
				out.EventsRight++
			}
		}
	}
	out.EventMacroF1 = table.macro()
}

// episodes counts the runs of EpisodeRows verdicts that name a fault: where there is none, where there is another one, and the
// faults of which there is one.
func (out *Score) episodes(s *Set, verdicts []forest.Verdict) {
	runs, told := make([]int, len(s.Samples)), make([]bool, len(s.Events))
	for i, x := range s.Samples {
		v := verdicts[i]
		if v.Class == s.Normal || v.Confidence < EpisodeConfidence {
			continue
		}
		runs[i] = 1
		if last := before(s, i); last >= 0 && verdicts[last].Class == v.Class && s.Samples[last].Class == x.Class {
			runs[i] += runs[last]
		}
		switch {
		case runs[i] == EpisodeRows && x.Class == s.Normal:
			out.FalseEpisodes++
		case runs[i] == EpisodeRows && x.Class != v.Class:
			out.WrongEpisodes++
		case runs[i] >= EpisodeRows && x.Class == v.Class && !told[x.Event]:
			told[x.Event] = true
			out.TrueEpisodes++
		}
	}
}

// before returns the sample of the same device just before sample i, or -1.
func before(s *Set, i int) int {
	x := s.Samples[i]
	for k := i - 1; k >= 0 && s.Samples[k].Table == x.Table; k-- {
		if s.Samples[k].Device == x.Device {
			if s.Samples[k].At == x.At-1 {
				return k
			}
			return -1
		}
	}
	return -1
}

func (out *Score) calibrate(s *Set, verdicts []forest.Verdict) {
	const bins = 10
	out.Bins = make([]Bin, bins)
	for i, x := range s.Samples {
		b := &out.Bins[min(int(verdicts[i].Confidence*bins), bins-1)]
		b.Rows++
		b.Confidence += float64(verdicts[i].Confidence)
		if x.Class == verdicts[i].Class {
			b.Right++
		}
	}
	for i := range out.Bins {
		b := &out.Bins[i]
		b.From = float64(i) / bins
		if b.Rows > 0 {
			b.Confidence, b.Right = b.Confidence/float64(b.Rows), b.Right/float64(b.Rows)
			out.CalibrationOff += math.Abs(b.Confidence-b.Right) * float64(b.Rows) / float64(len(s.Samples))
		}
	}
}
