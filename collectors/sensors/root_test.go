package sensors_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
	"holdfast/collectors/sensors"
)

// rootOf returns a directory with the board of testdata, to be changed at will; of memory where there is some.
func rootOf(t testing.TB) string {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "fake-root-")
	if err != nil {
		root = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	board, err := txtar.ParseFile("testdata/board.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range board.Files {
		if target, is := strings.CutPrefix(strings.TrimSpace(string(f.Data)), "link:"); is {
			path := filepath.Join(root, f.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, root, f.Name, string(f.Data))
	}
	return root
}

func write(t testing.TB, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, root, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
		t.Fatal(err)
	}
}

// A ticker is a clock that moves when told.
type ticker struct{ t time.Time }

func newTicker() *ticker               { return &ticker{time.Unix(1_767_225_600, 0)} }
func (c *ticker) now() time.Time       { return c.t }
func (c *ticker) pass(d time.Duration) { c.t = c.t.Add(d) }

// source returns one source that reads root.
func source(t testing.TB, name, root string, clock *ticker, rules ...doubt.Rule) collectors.Source {
	t.Helper()
	for _, s := range sensors.All(sensors.Options{Root: root, Now: clock.now, Rules: rules}) {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no source %s", name)
	return nil
}

func take(t testing.TB, s collectors.Source) []collectors.Sample {
	t.Helper()
	samples, err := try(s)
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	return samples
}

func try(s collectors.Source) (samples []collectors.Sample, err error) {
	err = s.Collect(context.Background(), func(s collectors.Sample) { samples = append(samples, s) })
	return samples, err
}

// show writes samples as lines: "w1 28-0316a2795cff: temperature_celsius=23.125".
func show(samples []collectors.Sample) string {
	var b strings.Builder
	for _, s := range samples {
		b.WriteString(strings.TrimSpace(s.Source+" "+s.Instance) + ":")
		for _, f := range s.Fields {
			if v, ok := f.Value.Bool(); ok {
				fmt.Fprintf(&b, " %s=%t", f.Name, v)
			} else if v, ok := f.Value.Number(); ok {
				fmt.Fprintf(&b, " %s=%.6g", f.Name, v)
			} else if v, ok := f.Value.Text(); ok {
				fmt.Fprintf(&b, " %s=%s", f.Name, v)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func expect(t testing.TB, what string, samples []collectors.Sample, want string) {
	t.Helper()
	want = strings.TrimPrefix(strings.ReplaceAll(want, "\t", ""), "\n")
	if got := show(samples); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// of returns the samples of one instance.
func of(samples []collectors.Sample, instance string) (out []collectors.Sample) {
	for _, s := range samples {
		if s.Instance == instance {
			out = append(out, s)
		}
	}
	return out
}
