package train_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

// foreigner is a draft as import makes it of two features whose order is not ours.
func foreigner() *forest.Draft {
	d := &forest.Draft{}
	d.Classes, d.Normal, d.Metrics, d.Window, d.Temperature = []string{"hog", "normal"}, 1, []string{"mem", "cpu"}, 2, 1
	d.Features = []forest.Feature{{Metric: 1, Stat: forest.Std}, {Metric: 0, Stat: forest.Mean}, {Metric: 1, Stat: forest.Mean}}
	d.Trees = []forest.Tree{{{Feature: 2, Threshold: 50, Left: 1, Right: 2}, {Shares: []float64{0, 1}}, {Shares: []float64{1, 0}}}}
	return d
}

func adopted(t *testing.T, d *forest.Draft) error {
	t.Helper()
	return train.Adopt(d, []*train.Table{read(t, "dev,t,label,cpu,more,mem\nA,0,normal,10,0,5\nA,2,normal,20,0,6\nA,4,normal,30,0,7\nA,6,hog,90,0,8\nA,8,hog,92,0,9\n", "")})
}

func TestForestFromElsewhereLearnsWhatIsUsual(t *testing.T) {
	d := foreigner()
	if err := adopted(t, d); err != nil {
		t.Fatal(err)
	}
	if d.Step != 2*time.Second {
		t.Errorf("step %v", d.Step)
	}
	for i, want := range []forest.Feature{{Metric: 1, Stat: forest.Std, Median: 5, Low: 1, High: 30}, {Metric: 0, Stat: forest.Mean, Median: 6.5, Low: 5.5, High: 8.5},
		{Metric: 1, Stat: forest.Mean, Median: 25, Low: 15, High: 91}} {
		if d.Features[i] != want {
			t.Errorf("feature %d: %+v, want %+v", i, d.Features[i], want)
		}
	}
	if len(d.Golden) != 2 || d.Golden[0].Row[2] != 60 || d.Golden[1].Row[2] != 15 || d.Golden[1].Shares[1] != 1 {
		t.Errorf("%+v", d.Golden)
	}
	if _, err := d.Encode(); err != nil {
		t.Error(err)
	}
}

func TestTreesThatCannotBeWalkedAreRefused(t *testing.T) {
	for name, change := range map[string]func(*forest.Draft){
		"tree 0 is empty":       func(d *forest.Draft) { d.Trees[0] = nil },
		"leads to 0 and 2":      func(d *forest.Draft) { d.Trees[0][0].Left = 0 },
		"leads to 1 and 0":      func(d *forest.Draft) { d.Trees[0][0].Right = 0 },
		"leads to 3 and 2":      func(d *forest.Draft) { d.Trees[0][0].Left = 3 },
		"leads to 1 and 3":      func(d *forest.Draft) { d.Trees[0][0].Right = 3 },
		"by feature 3":          func(d *forest.Draft) { d.Trees[0][0].Feature = 3 },
		"by feature -2":         func(d *forest.Draft) { d.Trees[0][0].Feature = -2 },
		"3 shares for 2":        func(d *forest.Draft) { d.Trees[0][2].Shares = []float64{1, 0, 0} },
		"no column disk, which": func(d *forest.Draft) { d.Metrics[0] = "disk" },
	} {
		d := foreigner()
		change(d)
		if err := adopted(t, d); err == nil || !strings.Contains(err.Error(), name) || !(errors.Is(err, forest.ErrModel) || errors.Is(err, train.ErrData)) {
			t.Errorf("want %q: %v", name, err)
		}
	}
}

func explained(t *testing.T, text string) []train.Explained {
	t.Helper()
	list, err := train.Explain(meter(t), []*train.Table{read(t, text, "")}, "", math.NaN())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRowsWithoutATimeAreNumbered(t *testing.T) {
	list := explained(t, "dev,label,cpu\nA,x,30\nA,x,30\nA,x,90\nA,x,90\nA,x,90\n")
	if len(list) != 2 || list[0].Time != 2 || list[1].Time != 3 && list[1].Time != 4 {
		t.Errorf("%+v", list)
	}
	if len(list[0].Reasons) != 0 || len(list[1].Reasons) != 1 {
		t.Errorf("reasons of normal and of hog: %+v", list)
	}
}

// A run of verdicts ends with its label, with a row that has no verdict, and with its table; an event has one episode at most.
func TestRunsOfVerdictsAreInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name               string
		texts              []string
		events             int
		alarms, wrong, are int
	}{
		{"the label changes", []string{lines("normal", 30, 90, 90, 90, "hog 1", 90, 90)}, 1, 0, 0, 0},
		{"and long enough after", []string{lines("normal", 30, 90, 90, 90, "hog 1", 90, 90, 90)}, 1, 0, 0, 1},
		{"a value is missing", []string{"dev,t,label,cpu\nA,1,normal,90\nA,2,normal,90\nA,3,normal,90\nA,4,normal,\nA,5,normal,90\nA,6,normal,90\nA,7,normal,90\n"}, 0, 0, 0, 0},
		{"another table", []string{lines("normal", 90, 90, 90), lines("normal", 90, 90, 90)}, 0, 0, 0, 0},
		{"one event, two episodes", []string{lines("hog 1", 90, 90, 90, 90, 30, 30, 90, 90, 90, 90)}, 1, 0, 0, 1},
		{"an event that has no row that counts", []string{lines("hog 1", 90, "hog 2", 90, 90, 90, 90)}, 1, 0, 0, 1},
	} {
		var list []*train.Table
		for _, text := range tt.texts {
			list = append(list, read(t, text, ""))
		}
		s := score(t, meter(t), list)
		if s.Events != tt.events || s.FalseEpisodes != tt.alarms || s.WrongEpisodes != tt.wrong || s.TrueEpisodes != tt.are {
			t.Errorf("%s: %d events, %d false, %d wrong, %d true; wants %d, %d, %d, %d", tt.name, s.Events, s.FalseEpisodes, s.WrongEpisodes, s.TrueEpisodes,
				tt.events, tt.alarms, tt.wrong, tt.are)
		}
	}
}
