package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/remediate/forest"
)

// From when on a row counts, in seconds: before, its window is half of what was before.
const (
	FaultFrom  = 4 // since the fault began
	NormalFrom = 9 // since the last fault ended
)

// A Sample is a row that counts, and its features.
type Sample struct {
	Row    []float32
	Class  int // of Set.Classes
	Device string
	Group  string
	Event  int // rows of one event are samples of one event; in Set.Events
	At     int // of the device's rows in its table, from 0: what is at 7 comes after what is at 6
	Table  int
	Time   float64 // seconds
}

// An Event is one fault, or one stretch without any.
type Event struct {
	Class  int
	Device string
	Group  string
}

// A Set is the samples of tables, and what their columns are.
type Set struct {
	Classes  []string // in ascending order
	Normal   int
	Metrics  []string
	Features []forest.Feature // for each metric, all means first
	Window   int
	Step     time.Duration
	Samples  []Sample
	Events   []Event
	Missing  int     // rows that would count, and had a value missing in their window
	Days     float64 // that the samples of the normal class took, in days of a device
}

// NewSet computes the features of the last rows of each device in each table. The classes are those given, in their order, and
// behind them the other labels that are found.
func NewSet(tables []*Table, window int, classes []string, normal string) (*Set, error) {
	if window < 2 || window > forest.MaxWindow {
		return nil, fmt.Errorf("%w: a window of %d rows: wants 2 to %d", ErrData, window, forest.MaxWindow)
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("%w: no tables", ErrData)
	}
	s := &Set{Classes: slices.Clone(classes), Metrics: tables[0].Metrics, Window: window}
	for _, t := range tables {
		if !slices.Equal(t.Metrics, s.Metrics) {
			return nil, fmt.Errorf("%w: %s: its metrics are not those of %s, in the same order", ErrData, t.Name, tables[0].Name)
		}
		for _, r := range t.Rows {
			if !slices.Contains(s.Classes, r.Label) {
				s.Classes = append(s.Classes, r.Label)
			}
		}
	}
	slices.Sort(s.Classes[len(classes):])
	if s.Normal = slices.Index(s.Classes, normal); s.Normal < 0 {
		return nil, fmt.Errorf("%w: no rows of the class %q, which says what is no fault; there are %s", ErrData, normal, strings.Join(s.Classes, " "))
	}
	for stat := forest.Mean; stat <= forest.Slope; stat++ {
		for m := range s.Metrics {
			s.Features = append(s.Features, forest.Feature{Metric: m, Stat: stat})
		}
	}
	if len(s.Features) > forest.MaxFeatures || len(s.Classes) > forest.MaxClasses {
		return nil, fmt.Errorf("%w: %d features, %d classes: wants at most %d and %d", ErrData, len(s.Features), len(s.Classes),
			forest.MaxFeatures, forest.MaxClasses)
	}
	var steps []float64
	for i, t := range tables {
		s.add(i, t, &steps)
	}
	if len(s.Samples) == 0 {
		return nil, fmt.Errorf("%w: no row counts: each needs %d rows before it, and has to be %d s into a fault or %d s behind one", ErrData,
			window-1, FaultFrom, NormalFrom)
	}
	s.Step = time.Second
	if len(steps) > 0 {
		slices.Sort(steps)
		s.Step = time.Duration(math.Round(min(max(steps[len(steps)/2], 1e-3), 86400)*1e3)) * time.Millisecond
	}
	s.Days = float64(s.Count(s.Normal)) * s.Step.Hours() / 24
	return s, nil
}

// Count returns how many samples are of a class.
func (s *Set) Count(class int) (n int) {
	for _, x := range s.Samples {
		if x.Class == class {
			n++
		}
	}
	return n
}

// device is where in a device's rows a table is.
type device struct {
	window *forest.Window
	at     int
	last   Row
	event  int
}

func (s *Set) add(table int, t *Table, steps *[]float64) {
	shape := &forest.Model{Metrics: s.Metrics, Features: s.Features, Window: s.Window}
	devices := map[string]*device{}
	for _, r := range t.Rows {
		class := slices.Index(s.Classes, r.Label)
		d := devices[r.Device]
		if d == nil {
			d = &device{window: shape.NewWindow()}
			devices[r.Device] = d
		}
		if gap := r.Time - d.last.Time; d.at > 0 && gap > 0 {
			*steps = append(*steps, gap)
		}
		if d.at == 0 || r.Label != d.last.Label || r.Fault != d.last.Fault {
			d.event = len(s.Events)
			s.Events = append(s.Events, Event{Class: class, Device: r.Device, Group: r.Group})
		}
		d.last = r
		d.at++
		row := d.window.Add(r.Values)
		from := float64(FaultFrom)
		if class == s.Normal {
			from = NormalFrom
		}
		if row == nil || r.Since < from {
			continue
		}
		if slices.ContainsFunc(row, func(x float32) bool { return x-x != 0 }) {
			s.Missing++
			continue
		}
		s.Samples = append(s.Samples, Sample{Row: slices.Clone(row), Class: class, Device: r.Device, Group: r.Group, Event: d.event,
			At: d.at - 1, Table: table, Time: r.Time})
	}
}
