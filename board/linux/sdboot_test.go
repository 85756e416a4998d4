package linux_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ours returns the names of the medium's entries, sorted.
func (s *shelf) ours() string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.medium())), func(n string) bool { return !strings.HasPrefix(n, "loader/entries/h") })
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(names, " "), "loader/entries/holdfast-00000", ""), ".conf", "")
}

func TestTheEntryOfAGoodSlotIsNeverTouched(t *testing.T) {
	s, m := running(t, sdboot())
	name := filepath.Join(s.dir, "medium/loader/entries/holdfast-000001-a.conf")
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	arm := func() error { return m.Boot.Arm("b") }
	for i, step := range []struct {
		do   func() error
		want string
	}{
		{arm, "1-a 2-b+1-0"}, {m.Boot.Disarm, "1-a"}, {arm, "1-a 2-b+1-0"}, {m.Restart, "1-a 2-b+0-1"}, {m.Boot.Disarm, "1-a 2-b+0-1"},
		{m.Restart, "1-a 2-b+0-1"}, {m.Boot.Commit, "1-a"}, {arm, "1-a 2-b+1-0"}, {m.Restart, "1-a 2-b+0-1"}, {m.Boot.Commit, "1-a 2-b"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := s.ours(); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the good slot's entry was touched: %v", err)
	}
	if got := s.medium()["loader/entries/holdfast-000002-b.conf"]; got != entryB {
		t.Errorf("slot b's entry: %q", got)
	}
}

func TestWhatStartsNothingIsNoEntry(t *testing.T) {
	s, m := running(t, sdboot())
	s.put("loader/entries/holdfast-000007-b.conf", "")
	s.put("loader/entries/holdfast-000008-b+1-0.conf", strings.Repeat("#", len(entryB)))
	if f, err := m.Boot.Facts(); err != nil || f.Next != "a" {
		t.Errorf("facts %+v, %v", f, err)
	}
	if err := m.Boot.Arm("b"); err != nil {
		t.Error(err)
	}
	if got := s.ours(); got != "1-a 2-b+1-0" {
		t.Errorf("armed: %s", got)
	}
}

func TestWhatSystemdBootWouldNotObeyIsAnError(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text, want string
	}{
		"default by EFI variable":   {"sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "x", "LoaderEntryDefault"},
		"one shot by EFI variable":  {"sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "x", "LoaderEntryOneShot"},
		"capitals":                  {"medium/loader/entries/HOLDFAST-000003-B.conf", entryB, "spelled"},
		"a counter without tries":   {"medium/loader/entries/holdfast-000003-b+2.conf", entryB, "spelled"},
		"no generation":             {"medium/loader/entries/holdfast-b.conf", entryB, "want a name"},
		"long":                      {"medium/loader/entries/holdfast-000003-b.conf", entryB + strings.Repeat("x", 512), "longer"},
		"a version":                 {"medium/loader/entries/holdfast-000001-a.conf", "version 6.1\n" + entryB, "ordered by their names"},
		"a template that is none":   {"medium/loader/holdfast/b.conf", "title b\n", "none of the lines"},
		"a template with a version": {"medium/loader/holdfast/b.conf", entryB + "version 9\n", "ordered by their names"},
	} {
		s, m := running(t, sdboot())
		write(t, s.dir, tt.file, tt.text)
		before := s.ours()
		if err := m.Boot.Arm("b"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
		if after := s.ours(); after != before {
			t.Errorf("%s: entries %s, want %s", name, after, before)
		}
		if strings.Contains(tt.file, "loader/entries") {
			if err := m.Boot.Commit(); err == nil || s.ours() != before {
				t.Errorf("%s: commit: %v, entries %s, want %s", name, err, s.ours(), before)
			}
		}
	}
}
