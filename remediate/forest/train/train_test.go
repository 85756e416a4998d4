package train_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

func unzip(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".csv.gz"))
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
	return string(b)
}

// tables reads recordings, and leaves out the rows that keep does not want.
func tables(t testing.TB, group string, keep func(train.Row) bool, names ...string) (list []*train.Table) {
	t.Helper()
	for _, name := range names {
		table, err := train.ReadTable(strings.NewReader(unzip(t, name)), name, "label", group)
		if err != nil {
			t.Fatal(err)
		}
		if keep != nil {
			table.Rows = slices.DeleteFunc(table.Rows, func(r train.Row) bool { return !keep(r) })
		}
		list = append(list, table)
	}
	return list
}

func set(t testing.TB, list []*train.Table) *train.Set {
	t.Helper()
	s, err := train.NewSet(list, 8, nil, "normal")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func model(t testing.TB, s *train.Set, by string, seed uint64) *forest.Model {
	t.Helper()
	r, err := train.Train(s, by, train.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	m, err := forest.Read(r.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func score(t testing.TB, m *forest.Model, list []*train.Table) *train.Score {
	t.Helper()
	s, err := train.Evaluate(m, list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The golden rows were computed by numpy of the same recordings.
func TestFeaturesAreThoseOfNumpy(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "foreign", "testdata", "golden-rows.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := train.ReadTable(z, "golden-rows", "", "")
	if err != nil {
		t.Fatal(err)
	}
	s := set(t, tables(t, "", nil, "faults_a", "faults_b"))
	worst := 0.0
	for i, name := range golden.Metrics {
		if f := s.Features[i]; s.Metrics[f.Metric]+f.Stat.String() != name {
			t.Fatalf("feature %d is %s%s, want %s", i, s.Metrics[f.Metric], f.Stat, name)
		}
	}
	for _, want := range golden.Rows {
		nearest := math.Inf(1)
		for _, x := range s.Samples {
			off := 0.0
			for i, v := range want.Values {
				off = max(off, math.Abs(float64(x.Row[i])-v)/max(math.Abs(v), 1))
			}
			nearest = min(nearest, off)
		}
		worst = max(worst, nearest)
	}
	t.Logf("%d golden rows, the features of each within %.1g of some window's", len(golden.Rows), worst)
	if len(golden.Rows) < 100 || worst > 1e-6 {
		t.Errorf("%d golden rows; one is off by %g from all windows", len(golden.Rows), worst)
	}
}

func TestTheSameSeedMakesTheSameBytes(t *testing.T) {
	list := tables(t, "dev", nil, "faults_a", "faults_b")
	var first []byte
	for i, procs := range []int{1, 4, 2} {
		before := runtime.GOMAXPROCS(procs)
		r, err := train.Train(set(t, list), "dev", train.Options{Seed: 7, Trees: 5, Copies: -1})
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = r.Bytes
		}
		if !bytes.Equal(first, r.Bytes) {
			t.Errorf("with %d processors the model is another one", procs)
		}
	}
	r, err := train.Train(set(t, list), "dev", train.Options{Seed: 8, Trees: 5, Copies: -1})
	if err != nil || bytes.Equal(first, r.Bytes) {
		t.Errorf("another seed makes the same model, or %v", err)
	}
}

// Rows of normal running are given another name, whole stretches of them on both devices.
func TestClassThatIsLikeNormalIsNamedAndRefused(t *testing.T) {
	for _, by := range []string{"dev", train.ByEvent} {
		group := strings.TrimPrefix(by, train.ByEvent)
		list := tables(t, group, nil, "faults_a", "faults_b")
		n := 0
		for _, table := range list {
			for i := range table.Rows {
				if r := &table.Rows[i]; r.Label == "normal" && i > 0 && int(r.Time)/60%3 == 1 {
					r.Label = "phantom"
					if n++; r.Since < train.NormalFrom {
						r.Since = 0 // what the last fault left behind would tell it
					}
				}
			}
		}
		r, err := train.Train(set(t, list), by, train.Options{Seed: 1, Trees: 20})
		if !errors.Is(err, train.ErrAlike) || !strings.Contains(err.Error(), "phantom (") || strings.Contains(err.Error(), ",") || r.Bytes != nil {
			t.Errorf("by %s: %v", by, err)
		}
		least, name := 1.0, ""
		for class, told := range r.Told {
			if class != "phantom" && told < least {
				least, name = told, class
			}
		}
		t.Logf("by %s: %d rows called phantom are told from normal %.2f of the time; of the faults %s is nearest with %.2f; the bound is %.2f",
			by, n, r.Told["phantom"], name, least, train.Told)
	}
}

func TestForestThatIsTooLargeIsGrownLessDeep(t *testing.T) {
	s := set(t, tables(t, "dev", nil, "faults_a", "faults_b"))
	r, err := train.Train(s, "dev", train.Options{Seed: 1, Trees: 60, Copies: -1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := forest.Read(r.Bytes)
	if err != nil || r.Depth >= 10 || m.Size().Visits > forest.MaxVisits {
		t.Errorf("depth %d, %+v, %v", r.Depth, m.Size(), err)
	}
}

func TestDataThatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "EOF"}, {"dev,label,cpu\n", "no rows"}, {"dev,label\nA,x\n", "0 columns of metrics"}, {"cpu,label,cpu\n1,x,2\n", "comes twice"},
		{"cpu\n1\n", "no column label"}, {"label,cpu\nx,fast\n", `x:2: column cpu: "fast": wants a number`}, {"label,cpu\nx,NaN\n", "wants a number"},
		{"label,cpu\nx,1e999\n", "wants a number"}, {"label,cpu\n,1\n", "label: name of 0 bytes"}, {"label,c u\nx,1\n", "blank"}, {"label,cpu\nx\n", "wrong number of fields"},
		{"label,since,cpu\nx,soon,1\n", "column since"}, {"label,cpu\nx,-4e38\n", `"-4e38": wants at most 3.4`},
		{"label,cpu\nx,Inf\n", "wants a number"}, {strings.Repeat("c,", 1_000_000) + "label\nx\n", "1000001 columns: wants at most 264"},
	} {
		if _, err := train.ReadTable(strings.NewReader(tt.text), "x", "label", ""); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	if _, err := train.ReadTable(strings.NewReader("label,cpu\nx,1\n"), "x", "label", "site"); err == nil || !strings.Contains(err.Error(), "no column site") {
		t.Error(err)
	}
	a, _ := train.ReadTable(strings.NewReader("label,cpu\nx,1\nx,2\n"), "x", "label", "")
	b, _ := train.ReadTable(strings.NewReader("label,mem\nx,1\nx,2\n"), "x", "label", "")
	for want, list := range map[string][]*train.Table{"no rows of the class \"normal\"": {a}, "are not those of": {a, b}, "no tables": nil} {
		if _, err := train.NewSet(list, 2, nil, "normal"); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := train.NewSet([]*train.Table{a}, 1, nil, "x"); err == nil || !strings.Contains(err.Error(), "window of 1") {
		t.Error(err)
	}
	if _, err := train.NewSet([]*train.Table{a}, 3, nil, "x"); err == nil || !strings.Contains(err.Error(), "no row counts") {
		t.Error(err)
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add([]byte("dev,t,label,since,cpu\nA,1,normal,9,0.5\nA,2,hog,4,99\n"))
	f.Add([]byte("v,t,label,since,cpu\nA\"")) // a quote in the middle of a field: no record has been read
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := train.ReadTable(bytes.NewReader(b), "x", "label", "")
		if err != nil {
			return
		}
		if s, err := train.NewSet([]*train.Table{table}, 2, nil, "normal"); err == nil && len(s.Features) != 3*len(table.Metrics) {
			t.Errorf("%d features of %d metrics", len(s.Features), len(table.Metrics))
		}
	})
}

// Of what is evaluated nothing may depend on the order of names: a model asks for its metrics by name.
func TestColumnsMayComeInAnyOrder(t *testing.T) {
	text := "dev,t,label,since,mem,cpu\nA,1,normal,100,7,30\nA,2,normal,100,7,30\nA,3,hog,100,7,90\nA,4,hog,100,7,90\n"
	table, err := train.ReadTable(strings.NewReader(text), "x", "label", "")
	if err != nil {
		t.Fatal(err)
	}
	if s := score(t, meter(t), []*train.Table{table}); s.Rows != 3 || s.MacroF1 != 1 {
		t.Errorf("%d rows, macro-F1 %g", s.Rows, s.MacroF1)
	}
}
