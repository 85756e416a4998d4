package host_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
)

// The fake roots: testdata/before, and what is different ten seconds later in testdata/after.
const before, after = "testdata/before", "testdata/after"

// rootOf returns a copy of the fake root, to be changed at will.
func rootOf(t testing.TB) string {
	t.Helper()
	root := memory(t)
	lay(t, root, before)
	return root
}

// memory returns an empty directory, of memory where there is one: nothing here is about disks.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "fake-root-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// lay copies the files below from over those of root.
func lay(t testing.TB, root, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
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

// A ticker is a clock that moves when told.
type ticker struct{ t time.Time }

func newTicker() *ticker               { return &ticker{time.Unix(1_767_225_600, 0)} }
func (c *ticker) now() time.Time       { return c.t }
func (c *ticker) pass(d time.Duration) { c.t = c.t.Add(d) }

func noData(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), collectors.ErrNoData.Error())
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

// show writes samples as lines: "network eth0: carrier=true speed_bits_per_second=1e+09".
func show(samples []collectors.Sample) string {
	var b strings.Builder
	for _, s := range samples {
		b.WriteString(s.Source)
		if s.Instance != "" {
			b.WriteString(" " + s.Instance)
		}
		b.WriteString(":")
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

func expect(t *testing.T, what string, samples []collectors.Sample, want string) {
	t.Helper()
	want = strings.TrimPrefix(strings.ReplaceAll(want, "\t", ""), "\n")
	if got := show(samples); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
