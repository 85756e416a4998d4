package scorepage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/cmd/holdfastctl/internal/scorepage"
	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

var update = flag.Bool("update", false, "draw docs/pictures anew")

const pictures = "../../../../docs/pictures"

// tables reads the recordings of the trainer's tests, of one repetition or of the others.
func tables(t *testing.T, held bool) (list []*train.Table) {
	t.Helper()
	for _, name := range []string{"faults_a", "faults_b"} {
		f, err := os.Open(filepath.Join("../../../../remediate/forest/train/testdata", name+".csv.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		table, err := train.ReadTable(z, name, "label", "rep")
		if err != nil {
			t.Fatal(err)
		}
		table.Rows = slices.DeleteFunc(table.Rows, func(r train.Row) bool { return (r.Group == "2") != held })
		list = append(list, table)
	}
	return list
}

// The pictures of docs/models.md are what the program draws of the recordings: two repetitions learned, the third named.
func TestPicturesOfTheTutorialAreUpToDate(t *testing.T) {
	set, err := train.NewSet(tables(t, false), 8, nil, "normal")
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.Train(set, "rep", train.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := forest.Read(r.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := train.Evaluate(m, tables(t, true))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("macro-F1 %.3f by row, %d of %d events right, calibration error %.3f, %d false episodes", s.MacroF1, s.EventsRight, s.Events, s.CalibrationOff, s.FalseEpisodes)
	page, err := os.ReadFile("../../../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{fmt.Sprintf("%.3f by row, %.3f by event", s.MacroF1, s.EventMacroF1), fmt.Sprintf("%d of %d right", s.EventsRight, s.Events),
		fmt.Sprintf("differ by %.3f", s.CalibrationOff), fmt.Sprintf("rep 0     %d   %.3f\nrep 1     %d   %.3f\n", r.Folds[0].Rows, r.Folds[0].MacroF1, r.Folds[1].Rows, r.Folds[1].MacroF1)} {
		if !bytes.Contains(page, []byte(said)) {
			t.Errorf("docs/models.md does not say %q", said)
		}
	}
	for name, b := range scorepage.Pictures(s) {
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		file := filepath.Join(pictures, "model-"+name)
		if *update {
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if kept, err := os.ReadFile(file); err != nil || !bytes.Equal(kept, b) {
			t.Errorf("%s is not what is drawn now (%v): go test ./cmd/holdfastctl/internal/scorepage -update", file, err)
		}
	}
}
