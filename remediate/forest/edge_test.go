package forest_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"holdfast/remediate/forest"
)

func TestGoldenRowOfWhichOnlyTheClassDiffersIsRefused(t *testing.T) {
	d := small()
	d.Trees = []forest.Tree{{{Shares: []float64{.5004, .4996, 0}}}}
	d.Golden = []forest.Golden{{Row: []float32{1, 2, 0}, Shares: []float64{.4998, .5002, 0}}}
	if _, err := d.Encode(); !errors.Is(err, forest.ErrGolden) || !strings.Contains(err.Error(), "class hog, its maker had leak") {
		t.Error(err)
	}
	d.Golden[0].Shares = []float64{.5015, .4985, 0}
	if _, err := d.Encode(); !errors.Is(err, forest.ErrGolden) || !strings.Contains(err.Error(), "has probability") {
		t.Error(err)
	}
}

func TestFeatureWithOneValueIsFarOutAtOnce(t *testing.T) {
	d := small()
	d.Features[0].Low, d.Features[0].High = 10, 10
	m := opened(t, d)
	if v := m.Judge([]float32{11, 20, 0}); v.Doubt != forest.OutOfRange || v.Feature != 0 || v.Beyond != 1e6 {
		t.Errorf("%+v", v)
	}
	if v := m.Judge([]float32{10, 20, 0}); v.Doubt != forest.Certain {
		t.Errorf("%+v", v)
	}
	d.Features[0].Low, d.Features[0].High = -forest.Widest, forest.Widest
	if v := opened(t, d).Judge([]float32{3e38, 20, 0}); v.Doubt != forest.Certain {
		t.Errorf("%+v", v)
	}
}

func TestTheBoundsThemselvesAreKept(t *testing.T) {
	d := small()
	for len(d.Trees) < forest.MaxVisits/2 {
		d.Trees = append(d.Trees, d.Trees[0])
	}
	d.Golden = []forest.Golden{{Row: []float32{10, 20, 0}, Shares: []float64{0, 0, 1}}}
	if n := opened(t, d).Size().Visits; n != forest.MaxVisits {
		t.Errorf("%d comparisons", n)
	}
	d.Trees = append(d.Trees, forest.Tree{{Threshold: 1, Left: 1, Right: 2}, {Shares: []float64{0, 0, 1}}, {Shares: []float64{0, 0, 1}}})
	if _, err := d.Encode(); !errors.Is(err, forest.ErrBounds) || !strings.Contains(err.Error(), "401 comparisons") {
		t.Error(err)
	}
	good := encoded(t, small())
	leaves := binary.LittleEndian.Uint16(good[24:])
	binary.LittleEndian.PutUint16(good[128+18:], leaves) // the first leaf: see TestBrokenModelsAreRefused
	if _, err := forest.Read(seal(good)); err == nil || !strings.Contains(err.Error(), "leaf 3 of 3") {
		t.Error(err)
	}
}
