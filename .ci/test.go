// Command .ci is what `make test` runs: every check of this tree, one after the other, and a count of what passed at the end.
//
//	go run .ci/*.go [-strict] [-only step,...] [-fuzz 90s]
//
// With -strict a skipped test is a failure, which is how .ci/run calls it. What a test wants beside Go (a broker, a
// message bus) is installed first where that is possible.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A tally counts over all steps.
type tally struct {
	passed, failed int
	skipped        []string
}

// A step is one kind of check; run returns what is wrong, or nil.
type step struct {
	name, about string
	run         func(*tally) error
}

func main() {
	strict := flag.Bool("strict", false, "a skipped test is a failure")
	only := flag.String("only", "", "comma-separated steps, for working on one of them")
	budget := flag.Duration("fuzz", 60*time.Second, "time for all fuzz targets together")
	flag.Parse()
	steps := []step{
		{"format", "gofmt -l", format},
		{"tidy", "go mod tidy -diff", func(*tally) error { return quiet("go", "mod", "tidy", "-diff") }},
		{"vet", "go vet ./...", func(*tally) error {
			return errors.Join(quiet("go", "vet", "./..."), quiet("sh", "-c", "go vet .ci/*.go"))
		}},
		{"static", "staticcheck ./...", func(*tally) error {
			return quiet("go", "tool", "-modfile=.ci/staticcheck.mod", "staticcheck", "./...")
		}},
		{"plan", "imports stay on the floor plan", func(t *tally) error {
			return tests(t, "-count=1", "./cmd/internal/arch")
		}},
		{"trust", "the negative suite, whole", func(t *tally) error {
			return tests(t, "-count=1", "-run=^TestNothingSpoilt|^TestOfWhatever", "./update/trust")
		}},
		{"forest", "what forests are worth", func(t *tally) error { // ten times as long with the race detector, and of one goroutine
			return tests(t, "-count=1", "-run=^TestRepetition|^TestDevice|^TestRuns|^TestHabits|^TestWhatIsWrong|^TestClockThat", "./remediate/forest/train", "./remediate/habit")
		}},
		{"starter", "the starter model of its recordings", made("starter", "CHECK=1")},
		{"race", "go test -race ./...", func(t *tally) error { return tests(t, "-race", "-timeout=6m", "./...") }},
		{"cut", "power cuts at 30,000 moments", cut},
		{"field", "updates on loop devices", made("field", "KILLS=12")},
		{"nspawn", "units and their sandboxes", made("nspawn")},
		{"layout", "cards of all boards", made("layout")},
		{"storm", "power cuts on emulated boards", made("storm", "N=8")},
		{"faults", "faults of a device", made("faults", "FAULTSFLAGS=-short")},
		{"fuzz", "every parser, shortly", func(t *tally) error { return fuzz(t, *budget) }},
	}
	var total tally
	start := time.Now()
	if missing := install(); missing != "" {
		fmt.Println("not here, so tests that want it are skipped: " + missing)
	}
	for _, s := range steps {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		began, passed, before := time.Now(), total.passed, total.failed
		err := s.run(&total)
		if err != nil && total.failed == before {
			total.failed++
		} else if err == nil && total.passed == passed {
			total.passed++
		}
		mark := "ok  "
		if err != nil {
			mark = "FAIL"
			fmt.Println(err)
		}
		fmt.Printf("%s  %-7s %-32s %6.1fs\n", mark, s.name, s.about, time.Since(began).Seconds())
	}
	for _, s := range total.skipped {
		fmt.Println("skipped: " + s)
	}
	if *strict && len(total.skipped) > 0 {
		fmt.Printf("%d tests were skipped, and here none may be\n", len(total.skipped))
		total.failed += len(total.skipped)
	}
	fmt.Printf("%.0f s\n", time.Since(start).Seconds())
	fmt.Printf("%d passed, %d failed\n", total.passed, total.failed)
	if total.failed > 0 {
		os.Exit(1)
	}
}

// cut sweeps through updates without the race detector, which makes it ten times as slow.
func cut(t *tally) error {
	if err := os.Setenv("HOLDFAST_CUT_STATES", "30000"); err != nil {
		return err
	}
	defer os.Unsetenv("HOLDFAST_CUT_STATES")
	return tests(t, "-count=1", "-timeout=15m", "-run=^TestAPowerCutAtAnyMoment$", "./update")
}

// made runs a target of the Makefile that wants root and the programs as they are shipped, and shows its last line.
func made(target ...string) func(*tally) error {
	return func(t *tally) error {
		if os.Geteuid() != 0 {
			t.skipped = append(t.skipped, target[0]+": wants root")
			return nil
		}
		out, err := exec.Command("make", append([]string{"--no-print-directory"}, target...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s%w", out, err)
		}
		fmt.Print(string(out[bytes.LastIndexByte(bytes.TrimSpace(out), '\n')+1:]))
		return nil
	}
}

// format lists the files gofmt would change. Files that git ignores are nobody's business.
func format(*tally) error {
	names, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	files := slices.DeleteFunc(strings.Split(string(names), "\x00"), func(name string) bool {
		_, err := os.Stat(name)
		return name == "" || err != nil
	})
	out, err := exec.Command("gofmt", append([]string{"-l"}, files...)...).CombinedOutput()
	if err == nil && len(bytes.TrimSpace(out)) > 0 {
		err = errors.New("gofmt would change these files")
	}
	if err != nil {
		return fmt.Errorf("%s%w", out, err)
	}
	return nil
}

// quiet runs a command whose output is of interest only when it fails.
func quiet(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s%w", out, err)
	}
	return nil
}
