package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// An event is one line of `go test -json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// tests runs go test, prints what failed and counts. Only tests are counted, not their parts, so that a table with many
// rows is one; a part that was skipped is named all the same.
func tests(t *tally, args ...string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed := t.failed
	read(t, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%sgo test %s: %w", stderr.Bytes(), strings.Join(args, " "), err)
	}
	if t.failed > failed {
		return fmt.Errorf("go test %s: %d failed", strings.Join(args, " "), t.failed-failed)
	}
	return nil
}

func read(t *tally, events io.Reader) {
	said := map[string][]string{} // output by package and test
	failing := map[string]bool{}  // packages of which a test failed
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Println(lines.Text())
			continue
		}
		key := e.Package + "." + e.Test
		whole := e.Test != "" && !strings.Contains(e.Test, "/")
		switch e.Action {
		case "output":
			said[key] = append(said[key], e.Output)
			continue
		case "build-output":
			fmt.Print(e.Output)
			continue
		case "pass":
			if whole {
				t.passed++
			}
			if e.Test == "" && e.Elapsed > 20 {
				fmt.Printf("slow: %s takes %.0f s\n", e.Package, e.Elapsed)
			}
		case "skip":
			if e.Test != "" {
				t.skipped = append(t.skipped, strings.TrimPrefix(key, "holdfast/")+": "+reason(said[key]))
			}
		case "fail":
			if whole || e.Test == "" && !failing[e.Package] { // a package may fail without a test: a panic, a build
				t.failed++
			}
			failing[e.Package] = true
			fmt.Print(strings.Join(said[key], ""))
		default:
			continue
		}
		delete(said, key)
	}
	if err := lines.Err(); err != nil {
		fmt.Println("go test -json:", err)
		t.failed++
	}
}

// reason returns what a skipped test said, on one line.
func reason(said []string) string {
	var words []string
	for _, line := range said {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
