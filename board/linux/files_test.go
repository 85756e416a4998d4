package linux_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
)

func TestFilesKeepTheContract(t *testing.T) {
	boardtest.TestFiles(t, func(t *testing.T) board.Files {
		f, err := linux.NewFiles(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

func TestDirKeepsTheContract(t *testing.T) {
	boardtest.TestDir(t, func(t *testing.T) board.Dir {
		d, err := linux.NewDir(filepath.Join(t.TempDir(), "spool"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f, err := linux.NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("key", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", path, got, want)
		}
	}
}

func TestWritesThatWereCutShortAreClearedAway(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".new-123", "kept", ".other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := linux.NewFiles(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != ".other kept" {
		t.Errorf("directory holds %s, want .other kept", got)
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	f, err := linux.NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := linux.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "folder"} {
		if b, err := f.ReadFile(name, 1<<20); err == nil {
			t.Errorf("ReadFile(%s) = %d bytes, want an error", name, len(b))
		}
		if file, err := d.Open(name); err == nil {
			file.Close()
			t.Errorf("Open(%s) succeeded, want an error", name)
		}
	}
	if names, err := d.List(); err != nil || len(names) != 0 {
		t.Errorf("List = %q, %v, want nothing", names, err)
	}
}
