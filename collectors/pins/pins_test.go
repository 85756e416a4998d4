package pins_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/collectors"
	"holdfast/collectors/pins"
)

func TestSamplesOfLines(t *testing.T) {
	door, pump, gone := sim.NewInput("door", true), sim.NewOutput("pump", false), sim.NewInput("gone", true)
	gone.Break(syscall.ENODEV)
	p := pins.New(map[string]board.Line{"pump": pump, "gone": gone, "door": door})
	var got []string
	err := p.Collect(t.Context(), func(s collectors.Sample) {
		measured(t, s)
		got = append(got, string(s.AppendJSON(nil)))
	})
	if !errors.Is(err, syscall.ENODEV) {
		t.Errorf("Collect = %v, want the fault of the line that is gone", err)
	}
	for i, want := range []string{
		`"gpio","instance":"door",*"fields":{"level":1,"high":true}}`,
		`"gpio","instance":"gone",*"fields":{"error":"read line gone: no such device"}}`,
		`"gpio","instance":"pump",*"fields":{"level":0,"high":false}}`,
	} {
		head, tail, _ := strings.Cut(want, "*")
		if i >= len(got) || !strings.Contains(got[i], head) || !strings.HasSuffix(got[i], tail) {
			t.Errorf("sample %d of %q, want %s", i, got, want)
		}
	}
	gone.Break(nil)
	if err := p.Collect(t.Context(), func(collectors.Sample) {}); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// counting is an input whose edges somebody else counts.
type counting struct {
	board.Line
	counts board.Counts
	known  bool
}

func (c counting) Counts() (board.Counts, bool) { return c.counts, c.known }

func TestEdgesThatSomebodyElseCountsAreInTheSource(t *testing.T) {
	counts := board.Counts{Rising: 3, Falling: 2, Lost: 7}
	p := pins.New(map[string]board.Line{"door": counting{sim.NewInput("door", true), counts, true}, "gate": counting{sim.NewInput("gate", true), counts, false}})
	var got []string
	if err := p.Collect(t.Context(), func(s collectors.Sample) {
		measured(t, s)
		got = append(got, string(s.AppendJSON(nil)))
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !strings.HasSuffix(got[0], `"high":true,"edges_count":5,"rising_count":3,"falling_count":2,"lost_count":7}}`) ||
		!strings.HasSuffix(got[1], `"high":true}}`) {
		t.Errorf("said %q", got)
	}
}

func TestNoLinesAreNoData(t *testing.T) {
	if err := pins.New(nil).Collect(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("Collect without lines = %v, want ErrNoData", err)
	}
}

// measured fails the test when a sample holds a field that the table does not explain.
func measured(t *testing.T, s collectors.Sample) {
	t.Helper()
	for _, f := range s.Fields {
		if !slices.ContainsFunc(pins.Measures(), func(m collectors.Measure) bool { return m.Source == s.Source && m.Field == f.Name }) {
			t.Errorf("%s is not in the table of %s", f.Name, s.Source)
		}
	}
}
