package trust_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"holdfast/update/trust"
)

// The negative suite: a repository made by testdata/negative.py, which shares nothing with the code but the standards,
// and spoilt by it in every way known to have broken somebody. The script also says what must come of it.

var golden = flag.Bool("update", false, "write the golden files anew")

// A tally is one row of the table.
type tally struct{ cases, refused, same, panics, wrong int }

// negative runs what the script prints, on two goroutines, reports each fault, and returns a sample of the lines: every
// so-many-th case, and what it needs.
func negative(t *testing.T, script io.Reader, every int) (classes map[string]*tally, sample []byte) {
	t.Helper()
	in := bufio.NewScanner(script)
	in.Buffer(nil, 16<<20)
	var s *suite
	meanings, lines, kept := map[int]map[string]*meaning{}, map[int][]byte{}, map[int]bool{}
	var mu sync.Mutex
	classes, faults, n := map[string]*tally{}, 0, 0
	cases := make(chan *line, 64)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			b := &bench{warm: map[string]*trust.Client{}}
			for c := range cases {
				b.suite = s
				class, takes, err := b.outcome(c)
				accepted, fault := s.wrong(c, class, takes, err)
				mu.Lock()
				if classes[c.Class] == nil {
					classes[c.Class] = &tally{}
				}
				classes[c.Class].add(class, accepted, fault)
				if fault != "" {
					if faults++; faults <= 40 {
						t.Errorf("%s %s %s %q (%s, %s): want %v: %.600s", c.Class, c.File, c.Place, c.Detail, c.How,
							c.World, c.Want, fault)
					}
				}
				mu.Unlock()
			}
		})
	}
	for in.Scan() {
		sampled := false
		if bytes.HasPrefix(in.Bytes(), []byte(`{"c":`)) {
			n++
			if sampled = n%every == 0; raced && !sampled && n%10 != 0 {
				continue
			}
		}
		c := new(line)
		if err := json.Unmarshal(in.Bytes(), c); err != nil {
			t.Fatalf("%v: %.200s", err, in.Bytes())
		}
		switch {
		case c.Worlds != nil:
			s = &c.suite
			sample = append(append(sample, in.Bytes()...), '\n')
			continue
		case c.Meaning != nil:
			meanings[c.Number], lines[c.Number] = c.Meaning, bytes.Clone(in.Bytes())
			continue
		case c.Means != nil:
			c.means = meanings[*c.Means]
		}
		if sampled && c.Means != nil && !kept[*c.Means] {
			kept[*c.Means] = true
			sample = append(append(sample, lines[*c.Means]...), '\n')
		}
		if sampled {
			sample = append(append(sample, in.Bytes()...), '\n')
		}
		cases <- c
	}
	close(cases)
	workers.Wait()
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if faults > 0 {
		t.Errorf("%d faults", faults)
	}
	return classes, sample
}

func (r *tally) add(class string, accepted bool, fault string) {
	r.cases++
	switch {
	case class == "panic":
		r.panics++
	case accepted && fault != "":
		r.wrong++
	case accepted:
		r.same++
	default:
		r.refused++
	}
}

const sampleFile = "testdata/negative.golden"

func TestNothingSpoiltIsAccepted(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 makes the cases, and is not here")
	}
	cmd := exec.Command(python, "-B", "negative.py")
	cmd.Dir = "testdata"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	classes, sample := negative(t, out, 997)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("negative.py: %v\n%s", err, stderr.Bytes())
	}
	report(t, classes)
	if *golden {
		if err := os.WriteFile(sampleFile, sample, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(sampleFile); err != nil || !bytes.Equal(sample, want) {
		t.Errorf("%s is not a sample of what negative.py prints: write it anew with -update; %v", sampleFile, err)
	}
}

// The sample needs no Python.
func TestNothingOfTheSampleIsAccepted(t *testing.T) {
	sample, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	classes, again := negative(t, bytes.NewReader(sample), 1)
	n := 0
	for _, row := range classes {
		n += row.cases
	}
	if n < 30 || !bytes.Equal(again, sample) {
		t.Errorf("%d cases in the sample", n)
	}
}

// report prints the table, and one line at its end.
func report(t *testing.T, classes map[string]*tally) {
	var all tally
	fmt.Printf("%-14s %7s %8s %14s\n", "class", "cases", "refused", "accepted-same")
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		row := classes[class]
		fmt.Printf("%-14s %7d %8d %14d\n", class, row.cases, row.refused, row.same)
		all.cases, all.panics, all.wrong = all.cases+row.cases, all.panics+row.panics, all.wrong+row.wrong
	}
	fmt.Printf("trust: %d cases, %d panics, %d wrongly accepted, %d classes\n", all.cases, all.panics, all.wrong,
		len(classes))
	for _, class := range []string{"delete", "empty", "null", "wrong type", "duplicate", "case", "reorder", "bit flip",
		"truncate", "extend",
		"swap", "swap role", "wrong key", "revoked key", "threshold", "same key", "version", "expiry", "extra", "hostile name"} {
		if classes[class] == nil {
			t.Errorf("no case of class %q", class)
		}
	}
	if all.panics > 0 || all.wrong > 0 {
		t.Fail()
	}
}
