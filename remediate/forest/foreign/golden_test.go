package foreign_test

import (
	"compress/gzip"
	"encoding/csv"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/foreign"
)

func unzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// table reads numbers below names.
func table(t testing.TB, name string, bits int) (names []string, rows [][]float64) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range all[1:] {
		row := make([]float64, len(record))
		for i, text := range record {
			if row[i], err = strconv.ParseFloat(text, bits); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
	return all[0], rows
}

func singles(row []float64) []float32 {
	out := make([]float32, len(row))
	for i, x := range row {
		out[i] = float32(x)
	}
	return out
}

// model makes a model of a forest, with the golden rows in it.
func model(t testing.TB, f *foreign.Forest) *forest.Model {
	t.Helper()
	_, rows := table(t, "golden-rows.csv", 32)
	_, shares := table(t, "golden-proba.csv", 64)
	d, err := f.Draft("normal")
	if err != nil {
		t.Fatal(err)
	}
	d.Window, d.Step, d.Temperature = 8, 1e9, 1
	for i := range 8 {
		d.Golden = append(d.Golden, forest.Golden{Row: singles(rows[i*13]), Shares: shares[i*13]})
	}
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

func read(t testing.TB, kind string) *foreign.Forest {
	t.Helper()
	names, _ := table(t, "golden-rows.csv", 32)
	f, err := foreign.JSON(unzip(t, "sklearn-rf40.json"))
	if kind == "onnx" {
		f, err = foreign.ONNX(unzip(t, "sklearn-rf40.onnx"), names)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The figure of the golden rows: no class differs from scikit-learn's, probabilities within 1e-3.
func TestGoldenRowsComeOutAsScikitLearnHasThem(t *testing.T) {
	for _, kind := range []string{"json", "onnx"} {
		m := model(t, read(t, kind))
		_, rows := table(t, "golden-rows.csv", 32)
		names, want := table(t, "golden-proba.csv", 64)
		differ, worst := 0, 0.0
		for i, row := range rows {
			got := m.Shares(singles(row), nil)
			best, wanted := 0, 0
			for c := range names {
				if names[c] != m.Classes[c] {
					t.Fatalf("%s: class %d is %s, want %s", kind, c, m.Classes[c], names[c])
				}
				worst = max(worst, math.Abs(got[c]-want[i][c]))
				if got[c] > got[best] {
					best = c
				}
				if want[i][c] > want[i][wanted] {
					wanted = c
				}
			}
			if v := m.Judge(singles(row)); best != wanted || v.Class != best {
				differ++
			}
		}
		s := m.Size()
		t.Logf("%s: %d golden rows, %d classes differ, probabilities within %.6f; %d trees, %d nodes, %d visits, %d bytes",
			kind, len(rows), differ, worst, s.Trees, s.Nodes, s.Visits, s.Bytes)
		if len(rows) < 100 || differ != 0 || worst > 1e-3 {
			t.Errorf("%s: %d rows, %d classes differ, probabilities differ by %g", kind, len(rows), differ, worst)
		}
	}
}
