package train_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

func read(t *testing.T, text, group string) *train.Table {
	t.Helper()
	table, err := train.ReadTable(strings.NewReader(text), "x", "label", group)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func samples(t *testing.T, text string) *train.Set {
	t.Helper()
	s, err := train.NewSet([]*train.Table{read(t, text, "")}, 2, nil, "normal")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRowsCountFromTheirSecondOn(t *testing.T) {
	s := samples(t, "dev,label,since,cpu\nA,normal,8.9,1\nA,normal,8.99,2\nA,normal,9,3\nA,normal,9.5,4\nA,hog,3,5\nA,hog,3.9,6\nA,hog,4,7\n")
	if len(s.Samples) != 3 || s.Samples[0].Row[0] != 2.5 || s.Samples[2].Row[0] != 6.5 || s.Samples[2].Class != 0 || len(s.Events) != 2 || s.Samples[2].Event != 1 {
		t.Errorf("%+v, events %+v", s.Samples, s.Events)
	}
	if s.Count(s.Normal) != 2 || s.Days != 2.0/86400 {
		t.Errorf("%d normal rows, %g days", s.Count(s.Normal), s.Days)
	}
}

func TestWindowWithAMissingValueIsNoSample(t *testing.T) {
	s := samples(t, "dev,label,cpu,mem\nA,normal,1,1\nA,normal,,1\nA,normal,3,1\nA,normal,4,1\nA,normal,5,1\n")
	if len(s.Samples) != 2 || s.Missing != 2 || s.Samples[0].At != 3 {
		t.Errorf("%d samples, %d missing: %+v", len(s.Samples), s.Missing, s.Samples)
	}
}

func TestStepIsTheMedianTimeBetweenRowsOfADevice(t *testing.T) {
	rows := "dev,t,label,cpu\n"
	for i, at := range []float64{0, 0.1, 10, 20, 30, 40, 1000, 5, 5, 5, 5, 5, 5, 15} { // a clock that goes back, and stands still
		rows += fmt.Sprintf("A,%g,normal,%d\nB,%g,normal,%d\n", at, i, at+3, i)
	}
	if s := samples(t, rows); s.Step != 10*time.Second {
		t.Errorf("step %v", s.Step)
	}
	if s := samples(t, "dev,label,cpu\nA,normal,1\nA,normal,2\n"); s.Step != time.Second {
		t.Errorf("without times: step %v", s.Step)
	}
}

// Two faults of a kind that follow one another are two events, where fault_no says so.
func TestFaultsAreToldApartByTheirNumber(t *testing.T) {
	if s := samples(t, "dev,label,fault_no,cpu\nA,hog,1,1\nA,hog,1,2\nA,hog,2,3\nA,normal,2,3\n"); len(s.Events) != 3 {
		t.Errorf("%d events: wants 3", len(s.Events))
	}
}

func TestThereAreBoundsOfClassesRowsAndColumns(t *testing.T) {
	rows := "dev,label,cpu\nA,normal,1\n"
	for i := range forest.MaxClasses {
		rows += fmt.Sprintf("A,fault%d,1\n", i)
	}
	if _, err := train.NewSet([]*train.Table{read(t, rows, "")}, 2, nil, "normal"); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "33 classes") {
		t.Error(err)
	}
	long := "label,cpu\n" + strings.Repeat("x,1\n", 500_000)
	read(t, long, "")
	if _, err := train.ReadTable(strings.NewReader(long+"x,1\n"), "x", "label", ""); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "more than 500000 rows") {
		t.Error(err)
	}
	head := "label"
	for i := range forest.MaxMetrics + 1 {
		head += fmt.Sprintf(",c%d", i)
	}
	if _, err := train.ReadTable(strings.NewReader(head+"\n"), "x", "label", ""); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "257 columns of metrics") {
		t.Error(err)
	}
}

func TestColumnThatPartsTheDataIsNoMeasure(t *testing.T) {
	if a := read(t, "label,site,cpu\nx,1,2\n", "site"); len(a.Metrics) != 1 || a.Metrics[0] != "cpu" || a.Rows[0].Group != "1" {
		t.Errorf("%+v", a)
	}
}
