package loaders_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast/board/loaders"
)

// entries reads names without prefix and suffix, and zeros: 1-a 2-b+1-0.
func entries(t testing.TB, short string) (out []loaders.Entry) {
	t.Helper()
	for _, s := range strings.Fields(short) {
		e, ok, err := loaders.ParseEntry("holdfast-00000" + s + ".conf")
		if !ok || err != nil {
			t.Fatalf("%s: %t, %v", s, ok, err)
		}
		out = append(out, e)
	}
	return out
}

func shortest(all []loaders.Entry) string {
	var words []string
	all = slices.Clone(all)
	slices.SortFunc(all, loaders.Order)
	for _, e := range all {
		words = append(words, strings.TrimSuffix(strings.TrimPrefix(e.Name(), "holdfast-00000"), ".conf"))
	}
	return strings.Join(words, " ")
}

func TestSDBootDoesTheDeed(t *testing.T) {
	for _, tt := range []struct {
		with, running string
		deed          loaders.Deed
		want          string // in the loader's order; "" is an error
	}{
		{"1-a", "a", loaders.Arm, "2-b+1-0 1-a"},
		{"2-b+1-0 1-a", "a", loaders.Arm, "2-b+1-0 1-a"},
		{"2-b+3-0 1-a", "a", loaders.Arm, "3-b+1-0 1-a"}, // somebody else's tries
		{"2-b+0-1 1-a", "a", loaders.Arm, "3-b+1-0 1-a"},
		{"2-b 1-a", "a", loaders.Arm, "3-b+1-0 1-a"},
		{"2-a 1-b", "a", loaders.Arm, "3-b+1-0 2-a"},
		{"2-b+0-1 1-a", "b", loaders.Arm, "1-a 2-b+0-1"}, // on trial: a comes next anyway
		{"3-b+0-1 2-a 1-b", "b", loaders.Arm, "2-a 3-b+0-1"},
		{"2-b+1-0 1-a", "b", loaders.Disarm, "1-a"}, // the loader could not count
		{"2-b+0-1", "b", loaders.Arm, ""},
		{"1-a", "b", loaders.Arm, "1-a"},
		{"", "a", loaders.Arm, ""},
		{"1-a", "a", loaders.Commit, "1-a"},
		{"2-b+1-0 1-a", "a", loaders.Commit, "1-a"},
		{"2-b+0-1 1-a", "a", loaders.Commit, "1-a"},
		{"2-b 1-a", "a", loaders.Commit, "3-a 2-b"},
		{"2-b+0-1 1-a", "b", loaders.Commit, "2-b 1-a"},
		{"2-b+0-1 2-b 1-a", "b", loaders.Commit, "2-b 1-a"}, // cut in the one before
		{"1-a", "b", loaders.Commit, "2-b 1-a"},             // its entry was lost
		{"", "b", loaders.Commit, "1-b"},
		{"2-b 1-a", "b", loaders.Disarm, "2-b"},
		{"2-b 1-a", "a", loaders.Disarm, "3-a"},
		{"2-b+1-0 1-a", "a", loaders.Disarm, "1-a"},
		{"2-b+0-1 1-a", "b", loaders.Disarm, "1-a 2-b+0-1"},
		{"3-b+0-1 2-a 1-b", "b", loaders.Disarm, "2-a 3-b+0-1"},
		{"2-b+0-1", "b", loaders.Disarm, "2-b"},
		{"1-a", "c", loaders.Arm, ""},
		{"1-a", "a", "explode", ""},
	} {
		all := entries(t, tt.with)
		add, remove, err := loaders.SDBoot{}.Change(all, tt.running, tt.deed)
		if add != nil {
			all = append(all, *add)
		}
		all = slices.DeleteFunc(all, func(e loaders.Entry) bool { return slices.Contains(remove, e) })
		if got := shortest(all); (err != nil) != (tt.want == "") || err == nil && got != tt.want {
			t.Errorf("%s in %s, %s: %s, %v, want %s", tt.deed, tt.running, tt.with, got, err, tt.want)
		}
	}
	last := []loaders.Entry{{Generation: 999999, Slot: "a"}}
	if add, _, err := (loaders.SDBoot{}).Change(last, "a", loaders.Arm); err == nil {
		t.Errorf("armed with %s, which is out of order", add.Name())
	}
}

func TestSDBootTakesTheFirstAndCounts(t *testing.T) {
	for _, tt := range []struct{ with, taken, after string }{
		{"1-a", "1-a", "1-a"},
		{"1-a 2-b", "2-b", "2-b"},
		{"1-a 2-b+1-0", "2-b+1-0", "2-b+0-1"},
		{"1-a 2-b+3", "2-b+3-0", "2-b+2-1"},
		{"1-a 2-b+0-1", "1-a", "1-a"},
		{"1-a+0-1 2-b+0-1", "2-b+0-1", "2-b+0-2"}, // something is started, whatever the counters
		{"2-b 2-b+0-1", "2-b", "2-b"},
		{"2-b+1-2 2-b+2-1", "2-b+2-1", "2-b+1-2"},
	} {
		taken, after, err := loaders.Start(entries(t, tt.with))
		if got := shortest([]loaders.Entry{taken}); got != tt.taken || err != nil {
			t.Errorf("%s: %s, %v, want %s", tt.with, got, err, tt.taken)
		}
		if got := shortest([]loaders.Entry{after}); got != tt.after {
			t.Errorf("%s: becomes %s, want %s", tt.with, got, tt.after)
		}
	}
}

func TestAnEntryIsOneSectorThatStartsSomething(t *testing.T) {
	for text, want := range map[string]bool{
		"title A\nlinux /a\n": true, "efi\t/a.efi": true, "uki /a.efi\n": true, "": false, "title linux\n": false, "# linux /a": false,
		"linux /a\nsort-key x\n": false, "linux /a\nversion 3\n": false, "linux /a\n machine-id 1\n": false,
		"linux /a\noptions " + strings.Repeat("x", 500): false,
	} {
		if err := loaders.CheckEntry([]byte(text)); (err == nil) != want {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	if err := loaders.CheckEntry(loaders.Blank([]byte("linux /a\n"))); err == nil {
		t.Error("a blank entry starts something")
	}
}

func TestNamesOfOthersAreNotOurs(t *testing.T) {
	for name, wrong := range map[string]bool{"debian-6.1.conf": false, "holdfast-000001-a.efi": false, "holdfast.conf": false, "": false,
		"holdfast-1-a.conf": true, "holdfast-000001-c.conf": true, "holdfast-000001.conf": true, "holdfast-000000-a.conf": true,
		"holdfast-000001-a+.conf": true, "holdfast-000001-a+x-1.conf": true, "holdfast-000001-a+1-.conf": true, "holdfast-000001-a+-1-0.conf": true} {
		if e, ok, err := loaders.ParseEntry(name); ok || (err != nil) != wrong {
			t.Errorf("%q: %+v, %t, %v", name, e, ok, err)
		}
	}
}

// FuzzEntries: whatever the names, a deed leads where it should, also when the power goes before anything is removed.
func FuzzEntries(f *testing.F) {
	f.Add("holdfast-000001-a.conf holdfast-000002-b+1-0.conf", true)
	f.Add("holdfast-000009-b+0-1.conf holdfast-000003-a.conf HOLDFAST-000007-A+2.conf", false)
	f.Fuzz(func(t *testing.T, names string, first bool) {
		var all []loaders.Entry
		for _, name := range strings.Fields(names) {
			e, ok, err := loaders.ParseEntry(name)
			if err == nil && ok && !slices.Contains(all, e) && e.Generation < 900000 {
				all = append(all, e)
			}
		}
		running, other := "a", "b"
		if !first {
			running, other = other, running
		}
		for deed, want := range map[loaders.Deed]string{loaders.Arm: other, loaders.Commit: running, loaders.Disarm: ""} {
			add, remove, err := loaders.SDBoot{}.Change(all, running, deed)
			if err != nil {
				continue
			}
			after := slices.Clone(all)
			if add != nil {
				if slices.Contains(all, *add) || slices.Contains(remove, *add) {
					t.Fatalf("%s in %s, %s: adds %s", deed, running, names, add.Name())
				}
				after = append(after, *add)
			}
			after = slices.DeleteFunc(after, func(e loaders.Entry) bool { return slices.Contains(remove, e) })
			next, err := loaders.SDBoot{}.Next(after)
			if err != nil || want != "" && next != want {
				t.Fatalf("%s in %s, %s: leaves %s: then %q, %v", deed, running, names, shortest(after), next, err)
			}
			again, gone, err := loaders.SDBoot{}.Change(after, running, deed)
			if err != nil || again != nil || len(gone) > 0 {
				t.Fatalf("%s in %s, %s: once more: adds %v, removes %v, %v", deed, running, names, again, gone, err)
			}
		}
	})
}
