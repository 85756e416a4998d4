package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

const python = "/usr/bin/python3"

// block returns the first block of a language in a page.
func block(t *testing.T, page, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, "```"+language+"\n")
	text, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatalf("no block of %s", language)
	}
	return text + "\n"
}

// The session of docs/coming-from-scikit-learn.md is run as it stands there, and what it promises comes true.
func TestSessionOfScikitLearnRunsAsItIsDescribed(t *testing.T) {
	if err := exec.Command(python, "-c", "import sklearn").Run(); err != nil {
		t.Skip("without scikit-learn: Debian's python3-sklearn is not installed")
	}
	const page = "coming-from-scikit-learn.md"
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	script := "exec " + python + " session.py\nsessioned\n"
	for line := range strings.Lines(block(t, text, "sh")) {
		script += "exec " + line
	}
	script += "scored\n-- session.py --\n" + block(t, text, "python")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "session.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	var random, held, temperature float64
	testscript.Run(t, testscript.Params{Dir: dir, Setup: recordings, Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"sessioned": func(ts *testscript.TestScript, _ bool, _ []string) {
			_, err := fmt.Sscanf(ts.ReadFile("stdout"), "random rows %f\nheld out %f\ntemperature %f\n", &random, &held, &temperature)
			ts.Check(err)
			t.Logf("macro-F1 %.3f by random rows, %.3f by repetition, temperature %.2f", random, held, temperature)
			if said := fmt.Sprintf("has a macro-F1 of %.2f, and %.2f on a repetition", random, held); !strings.Contains(text, said) {
				ts.Fatalf("the page does not say %s", said)
			}
			if said := fmt.Sprintf("--temperature %.2f ", temperature); !strings.Contains(script, said) {
				ts.Fatalf("the page does not say %s", said)
			}
		},
		"scored": func(ts *testscript.TestScript, _ bool, _ []string) {
			var got float64
			_, err := fmt.Sscanf(regexp.MustCompile(`"macro_f1":[0-9.]+`).FindString(ts.ReadFile("stdout")), `"macro_f1":%f`, &got)
			ts.Check(err)
			if d := got - held; d > 1e-4 || d < -1e-4 {
				ts.Fatalf("macro-F1 %g, Python has %g", got, held)
			}
		},
	}})
}

// recordings puts the recordings and the exporter where a script runs.
func recordings(env *testscript.Env) error {
	for _, name := range []string{"faults_a.csv", "faults_b.csv"} {
		f, err := os.Open(filepath.Join("..", "..", "remediate", "forest", "train", "testdata", name+".gz"))
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(z)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), b, 0o600); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "export-sklearn.py"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "export_sklearn.py"), b, 0o600)
}
