package bsdiff_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdfast/update/bsdiff"
)

// bspatch and bsdiff are Debian's; where they are missing, a line says so.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (apt-get install bsdiff)", name)
	}
}

func keep(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func convert(t *testing.T, patch []byte, to bsdiff.Kind) []byte {
	t.Helper()
	var out file
	if err := bsdiff.Convert(context.Background(), reader(patch), to, &out); err != nil {
		t.Fatalf("convert to %s: %v", to, err)
	}
	return out.b
}

func applyForeign(old, patch []byte) ([]byte, error) {
	var neu file
	n, err := bsdiff.ApplyForeign(context.Background(), reader(old), reader(patch), &neu)
	return append(neu.b, make([]byte, max(0, int(n)-len(neu.b)))...), err
}

func TestDebiansBspatchAppliesOurs(t *testing.T) {
	tool(t, "bspatch")
	for _, p := range pairs() {
		dir := t.TempDir()
		_, patch := create(t, p, small)
		keep(t, dir, "old", p.old)
		keep(t, dir, "patch", convert(t, patch, bsdiff.KindBsdiff40))
		cmd := exec.Command("bspatch", "old", "new", "patch")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: bspatch: %v: %s", p.name, err, out)
			continue
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "new")); !bytes.Equal(got, p.neu) {
			t.Errorf("%s: bspatch made something else", p.name)
		}
	}
}

func TestWeApplyDebiansBsdiff(t *testing.T) {
	tool(t, "bsdiff")
	for _, p := range pairs() {
		if len(p.old) == 0 || len(p.neu) == 0 {
			continue // it cannot map an empty file
		}
		dir := t.TempDir()
		keep(t, dir, "old", p.old)
		keep(t, dir, "new", p.neu)
		cmd := exec.Command("bsdiff", "old", "new", "patch")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: bsdiff: %v: %s", p.name, err, out)
		}
		theirs, _ := os.ReadFile(filepath.Join(dir, "patch"))
		for _, kind := range []bsdiff.Kind{bsdiff.KindBsdiff40, bsdiff.KindBzip2} {
			patch := theirs
			if kind != bsdiff.KindBsdiff40 {
				patch = convert(t, theirs, kind)
			}
			if got, err := applyForeign(p.old, patch); err != nil || !bytes.Equal(got, p.neu) {
				t.Errorf("%s as %s: %v", p.name, kind, err)
			}
		}
	}
}

func TestPatchesGoFromKindToKind(t *testing.T) {
	for _, p := range pairs() {
		m, patch := create(t, p, small)
		kinds := []bsdiff.Kind{bsdiff.KindBzip2, bsdiff.KindBsdiff40, bsdiff.KindZstd}
		for _, first := range kinds {
			one := convert(t, patch, first)
			for _, second := range kinds {
				two := convert(t, one, second)
				if second != bsdiff.KindZstd {
					if got, err := applyForeign(p.old, two); err != nil || !bytes.Equal(got, p.neu) {
						t.Errorf("%s, %s, %s: %v", p.name, first, second, err)
					}
					continue
				}
				made, err := bsdiff.ReadContainer(bytes.NewReader(two), int64(len(two)))
				if err != nil {
					t.Errorf("%s, %s, %s: %v", p.name, first, second, err)
					continue
				}
				if made.Unhashed != (first != bsdiff.KindZstd) || !made.Unhashed && made.New != m.New {
					t.Errorf("%s, %s, %s: hashes went astray", p.name, first, second)
				}
				if got, err := apply(made, p.old, two); err != nil || !bytes.Equal(got, p.neu) {
					t.Errorf("%s, %s, %s: %v", p.name, first, second, err)
				}
			}
		}
	}
}
