//go:build !race

package train_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

const seeds = 10

// asked is the figure to reach: what scikit-learn 1.2 reached on these recordings.
const asked = 0.924

func mean(list []float64) (mean, least, most float64) {
	least, most = list[0], list[0]
	for _, x := range list {
		mean += x / float64(len(list))
		least, most = min(least, x), max(most, x)
	}
	return mean, least, most
}

// Two of three repetitions of each fault are learned, the third is named.
func TestRepetitionThatWasHeldOutIsNamedAsWellAsByScikitLearn(t *testing.T) {
	learned := func(r train.Row) bool { return r.Group != "2" }
	held := func(r train.Row) bool { return r.Group == "2" }
	s := set(t, tables(t, "rep", learned, "faults_a", "faults_b"))
	test := tables(t, "rep", held, "faults_a", "faults_b")
	var ours []float64
	for seed := range uint64(seeds) {
		ours = append(ours, score(t, unheld(t, s, seed+1), test).MacroF1)
	}
	got, least, most := mean(ours)
	t.Logf("rep 0 and 1 -> 2, seeds 1 to %d: macro-F1 %.3f (%.3f to %.3f)", seeds, got, least, most)
	bound := asked
	if theirs := scikit(t, s, set(t, test)); theirs != nil {
		mean, least, most := mean(theirs)
		t.Logf("scikit-learn on the same rows: %.3f (%.3f to %.3f)", mean, least, most)
		bound = max(bound, mean)
	}
	if got < bound {
		t.Errorf("macro-F1 %.3f: wants at least %.3f", got, bound)
	}
}

func unheld(t *testing.T, s *train.Set, seed uint64) *forest.Model {
	t.Helper()
	b, err := train.Unheld(s, train.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	m, err := forest.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scikit has scikit-learn do the same, where Debian's python3-sklearn is installed.
func scikit(t *testing.T, learn, test *train.Set) (scores []float64) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import sklearn").Run(); err != nil {
		t.Log("without scikit-learn: python3-sklearn is not installed")
		return nil
	}
	dir := t.TempDir()
	for name, s := range map[string]*train.Set{"learn": learn, "test": test} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := csv.NewWriter(f)
		for _, x := range s.Samples {
			record := []string{s.Classes[x.Class]}
			for _, v := range x.Row {
				record = append(record, strconv.FormatFloat(float64(v), 'g', -1, 32))
			}
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		f.Close()
	}
	out, err := exec.Command(python, "testdata/scikit.py", filepath.Join(dir, "learn"), filepath.Join(dir, "test")).Output()
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		x, err := strconv.ParseFloat(strings.TrimSpace(lines.Text()), 64)
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, x)
	}
	return scores
}

// One device is learned and the other one judged; then both, and their later runs without a fault are quiet.
func TestDeviceThatWasHeldOutIsNamed(t *testing.T) {
	for _, tt := range []struct {
		learn, test string
		least       float64
	}{{"faults_a", "faults_b", 0.88}, {"faults_b", "faults_a", 0.92}} {
		s := set(t, tables(t, "rep", nil, tt.learn))
		var all []float64
		for seed := range uint64(3) {
			all = append(all, score(t, unheld(t, s, seed+1), tables(t, "", nil, tt.test)).MacroF1)
		}
		got, least, most := mean(all)
		t.Logf("%s -> %s, seeds 1 to 3: macro-F1 %.3f (%.3f to %.3f)", tt.learn, tt.test, got, least, most)
		if got < tt.least {
			t.Errorf("%s -> %s: macro-F1 %.3f: wants at least %.3f", tt.learn, tt.test, got, tt.least)
		}
	}
}

func TestRunsWithoutAFaultAreQuiet(t *testing.T) {
	for _, by := range []string{"dev", "rep"} {
		s := set(t, tables(t, by, nil, "faults_a", "faults_b"))
		for seed := range map[string]uint64{"dev": 3, "rep": 1}[by] {
			m := model(t, s, by, seed+1)
			known := score(t, m, tables(t, "", nil, "faults_a", "faults_b"))
			t.Logf("by %s, seed %d: of %d faults it was trained on %d have an episode", by, seed+1, known.Events, known.TrueEpisodes)
			if known.TrueEpisodes < known.Events*2/3 {
				t.Errorf("by %s, seed %d: quiet also where there is a fault", by, seed+1)
			}
			for _, name := range []string{"normal_a", "normal_b"} {
				got := score(t, m, tables(t, "", nil, name))
				t.Logf("by %s, seed %d, %s: %d rows, %.1f %% right, %d false episodes, temperature %.2f, prior %.0f",
					by, seed+1, name, got.Rows, 100*got.Accuracy, got.FalseEpisodes, m.Temperature, m.Prior)
				if got.FalseEpisodes != 0 || got.Rows < 500 {
					t.Errorf("by %s, seed %d, %s: %d false episodes in %d rows", by, seed+1, name, got.FalseEpisodes, got.Rows)
				}
			}
		}
	}
}
