package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A target is one fuzz function.
type target struct{ pkg, dir, name string }

var (
	fuzzFunc     = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	failingInput = regexp.MustCompile(`Failing input written to (\S+)`)
)

// targets finds every fuzz function of the tree by its declaration: asking the test binaries would mean to build them.
func targets() ([]target, error) {
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var found []target
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir, ImportPath           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		for _, file := range append(p.TestGoFiles, p.XTestGoFiles...) {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, err
			}
			for _, m := range fuzzFunc.FindAllSubmatch(source, -1) {
				found = append(found, target{p.ImportPath, p.Dir, string(m[1])})
			}
		}
	}
}

// fuzz gives every target an equal part of budget, between one and five seconds; building comes on top.
func fuzz(t *tally, budget time.Duration) error {
	all, err := targets()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no fuzz target was found: the search is broken")
	}
	share := min(max(budget/time.Duration(len(all)), time.Second), max(5*time.Second, budget/60))
	var broken error
	for _, one := range all {
		err := one.run(share)
		if errors.Is(err, errNoInput) { // go test -fuzz may trip over its own deadline; a real find is found again
			err = one.run(share)
		}
		if err != nil {
			broken = fmt.Errorf("%s %s failed", one.pkg, one.name)
			fmt.Println(err)
			t.failed++
			continue
		}
		t.passed++
	}
	if broken == nil {
		fmt.Printf("fuzzed %d targets for %v each\n", len(all), share.Round(100*time.Millisecond))
	}
	return broken
}

var errNoInput = errors.New("no failing input was found")

func (one target) run(share time.Duration) error {
	// Unless told otherwise, go test spends up to a minute on making the first input of interest smaller, and fuzzes no more.
	out, err := exec.Command("go", "test", "-run=^$", "-fuzz=^"+one.name+"$", "-fuzztime="+share.String(),
		"-fuzzminimizetime=10x", one.pkg).CombinedOutput()
	if err == nil {
		return nil
	}
	if strings.Contains(string(out), "context deadline exceeded") && !strings.Contains(string(out), "Failing input") {
		return fmt.Errorf("%s%w", out, errNoInput)
	}
	if m := failingInput.FindSubmatch(out); m != nil { // the tree may be a clone that is about to go
		input, _ := os.ReadFile(filepath.Join(one.dir, string(m[1])))
		out = append(out, input...)
	}
	return fmt.Errorf("%s%w", out, err)
}
