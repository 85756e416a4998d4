package train_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

// meter is a model that calls the mean of two rows of cpu hog above 50 and leak below 10, at a confidence that is the votes' share.
func meter(t *testing.T) *forest.Model {
	t.Helper()
	d := &forest.Draft{}
	d.Classes, d.Normal, d.Metrics = []string{"hog", "leak", "normal"}, 2, []string{"cpu"}
	d.Features = []forest.Feature{{Metric: 0, Stat: forest.Mean, Median: 30, Low: 0, High: 100}}
	d.Window, d.Step, d.Temperature, d.Sure, d.Margin = 2, 1e9, 1, 0.5, 0.5
	d.Trees = []forest.Tree{{{Threshold: 50, Left: 1, Right: 2}, {Threshold: 10, Left: 3, Right: 4}, {Threshold: 80, Left: 5, Right: 6},
		{Shares: []float64{0, 1, 0}}, {Shares: []float64{0, 0, 1}}, {Shares: []float64{.65, 0, .35}}, {Shares: []float64{.9, 0, .1}}}}
	d.Golden = []forest.Golden{{Row: []float32{30}, Shares: []float64{0, 0, 1}}}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := forest.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lines writes rows of one device, a second apart: label, fault, value, value, ...
func lines(parts ...any) string {
	b := strings.Builder{}
	b.WriteString("dev,t,label,fault_no,since,cpu\n")
	at, label, fault := 0, "", ""
	for _, p := range parts {
		if text, ok := p.(string); ok {
			label, fault, _ = strings.Cut(text, " ")
			continue
		}
		at++
		fmt.Fprintf(&b, "A,%d,%s,%s,100,%d\n", at, label, fault, p)
	}
	return b.String()
}

func TestScoreCountsRowsEventsAndEpisodes(t *testing.T) {
	for _, tt := range []struct {
		name                                         string
		text                                         string
		rows, events, right, falseAlarms, wrongAlarm int
	}{
		{"all right", lines("normal", 30, 30, 30, "hog 1", 90, 90, 90), 5, 1, 1, 0, 0},
		{"an alarm of three", lines("normal", 90, 90, 90, 90), 3, 0, 0, 1, 0},
		{"two are none", lines("normal", 90, 90, 90, 30, 30, 90, 90, 90, 30), 8, 0, 0, 0, 0},
		{"three at less than 0.7 are none", lines("normal", 70, 70, 70, 70, 70), 4, 0, 0, 0, 0},
		{"four are one", lines("normal", 90, 90, 90, 90, 90), 4, 0, 0, 1, 0},
		{"two of the one and two of the other are none", lines("normal", 90, 90, 90, 0, 0, 0), 5, 0, 0, 0, 0},
		{"another fault", lines("leak 1", 90, 90, 90, 90), 3, 1, 0, 0, 1},
		{"two events of a class", lines("hog 1", 90, 90, "hog 2", 30, 30, 30), 4, 2, 1, 0, 0},
	} {
		table, err := train.ReadTable(strings.NewReader(tt.text), tt.name, "label", "")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(tt.text, "normal") { // what is normal has to be there
			table.Rows = append(table.Rows, train.Row{Device: "B", Label: "normal", Values: []float64{30}, Since: 100, Time: 1})
		}
		s := score(t, meter(t), []*train.Table{table})
		if s.Rows != tt.rows || s.Events != tt.events || s.EventsRight != tt.right || s.FalseEpisodes != tt.falseAlarms || s.WrongEpisodes != tt.wrongAlarm {
			t.Errorf("%s: %d rows, %d of %d events right, %d false and %d wrong episodes", tt.name, s.Rows, s.EventsRight, s.Events, s.FalseEpisodes, s.WrongEpisodes)
		}
	}
}

// By hand: of 6 hogs 5 are called hog and 1 normal, of 4 normals 3 are called normal and 1 leak. F1 of hog is 10/11, of normal 6/8,
// of leak 0.
func TestMacroF1IsTheMeanOverClasses(t *testing.T) {
	text := lines("hog", 90, 90, 90, 90, 90, "hog 2", 20, 10, "normal", 20, 30, 30, -80)
	table, err := train.ReadTable(strings.NewReader(text), "x", "label", "")
	if err != nil {
		t.Fatal(err)
	}
	s := score(t, meter(t), []*train.Table{table})
	want := (2*5/11.0 + 0 + 2*3/8.0) / 3
	if s.Rows != 10 || math.Abs(s.MacroF1-want) > 1e-9 || s.Confusion[0][0] != 5 || s.Confusion[2][1] != 1 || s.PerClass["normal"].Recall != 0.75 {
		t.Errorf("%d rows, macro-F1 %g, want %g: %v", s.Rows, s.MacroF1, want, s.Confusion)
	}
	if s.OutOfRange != 0 || math.Abs(s.Accuracy-0.8) > 1e-9 {
		t.Errorf("%+v", s)
	}
}

func TestLabelThatTheModelDoesNotKnowIsNeverRight(t *testing.T) {
	table, err := train.ReadTable(strings.NewReader(lines("normal", 30, 30, "flood 1", 90, 90, 90)), "x", "label", "")
	if err != nil {
		t.Fatal(err)
	}
	s := score(t, meter(t), []*train.Table{table})
	if c := s.PerClass["flood"]; c.Rows != 3 || c.F1 != 0 || s.Events != 1 || s.EventsRight != 0 {
		t.Errorf("%+v", s)
	}
}

func TestExplainTellsWhereTheVerdictChanges(t *testing.T) {
	table, err := train.ReadTable(strings.NewReader(lines("normal", 30, 30, 30, 90, 90, 90, 500)), "x", "label", "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := train.Explain(meter(t), []*train.Table{table}, "", math.NaN())
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if e := list[1]; e.Time != 4 || e.Class != "hog" || len(e.Reasons) != 1 || e.Reasons[0].Metric != "cpu" || e.Reasons[0].Value != 60 || e.Reasons[0].Usual != 30 {
		t.Errorf("%+v", e)
	}
	if e := list[2]; e.Doubt != "out_of_range" || e.Feature != "cpu_mean" || math.Abs(e.Beyond-1.95) > 1e-6 {
		t.Errorf("%+v", e)
	}
	if list, err = train.Explain(meter(t), []*train.Table{table}, "A", 5); err != nil || len(list) != 1 || list[0].Time != 5 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = train.Explain(meter(t), []*train.Table{table}, "B", 5); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
