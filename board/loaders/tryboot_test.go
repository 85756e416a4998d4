package loaders_test

import (
	"strings"
	"testing"

	"holdfast/board/loaders"
)

const autoboot = "# slots\r\n[all]\r\ntryboot_a_b=1\r\nboot_partition=2\r\n[tryboot]\r\nboot_partition=3\r\n[none]\nboot_partition=7\n"

func parsed(t *testing.T, text string) loaders.Autoboot {
	t.Helper()
	a, err := loaders.ParseAutoboot([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTrybootDoesTheDeed(t *testing.T) {
	other := strings.NewReplacer("n=2", "n=3", "n=3", "n=2").Replace(autoboot)
	for _, tt := range []struct {
		running string
		deed    loaders.Deed
		want    string
		armed   bool
		next    string
	}{
		{"2", loaders.Arm, autoboot, true, "3"},
		{"2", loaders.Disarm, autoboot, false, "2"},
		{"2", loaders.Commit, autoboot, false, "2"},
		{"3", loaders.Arm, autoboot, false, "2"}, // on trial: the good one comes next anyway
		{"3", loaders.Disarm, autoboot, false, "2"},
		{"3", loaders.Commit, other, false, "3"},
	} {
		var p loaders.Tryboot
		after, armed, err := p.Change(parsed(t, autoboot), tt.running, tt.deed)
		if err != nil || string(after.Bytes()) != tt.want || armed != tt.armed {
			t.Errorf("%s in %s: %q, armed %t, %v, want %q, %t", tt.deed, tt.running, after.Bytes(), armed, err, tt.want, tt.armed)
		}
		if next, err := p.Next(after, armed); next != tt.next || err != nil {
			t.Errorf("%s in %s: then %s, %v, want %s", tt.deed, tt.running, next, err, tt.next)
		}
	}
	for _, bad := range []string{"", "4", "02"} {
		if _, _, err := (loaders.Tryboot{}).Change(parsed(t, autoboot), bad, loaders.Arm); err == nil {
			t.Errorf("armed in partition %q", bad)
		}
	}
	for _, p := range []loaders.Tryboot{{Parts: [2]int{2, 5}}, {Parts: [2]int{5, 3}}} {
		if _, err := p.Next(parsed(t, autoboot), false); err == nil {
			t.Errorf("%v: a file for other partitions is understood", p.Parts)
		}
	}
	for _, p := range [][2]int{{2, 2}, {0, 3}, {9, 10}, {2, 64}} {
		if (loaders.Tryboot{Parts: p}).Check() == nil {
			t.Errorf("partitions %v: no error", p)
		}
	}
}

func TestArmedIsOurArgumentAndNoOther(t *testing.T) {
	var p loaders.Tryboot
	for parameter, want := range map[string]bool{"": false, "\n": false, "0 tryboot": true, "0 tryboot\n": true} {
		if got, err := p.Armed(parameter); got != want || err != nil {
			t.Errorf("%q: armed %t, %v", parameter, got, err)
		}
	}
	for _, bad := range []string{"3", "0", "3 tryboot", "tryboot"} {
		if got, err := p.Armed(bad); err == nil {
			t.Errorf("%q: armed %t, want an error", bad, got)
		}
	}
}

func TestWhatIsNoAutobootIsAnError(t *testing.T) {
	good := "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
	for name, bad := range map[string]string{
		"empty": "", "no tryboot_a_b": strings.Replace(good, "tryboot_a_b=1", "", 1), "tryboot_a_b=0": strings.Replace(good, "b=1", "b=0", 1),
		"no [tryboot]": good[:strings.Index(good, "[tryboot]")], "twice": good + "boot_partition=3\n", "0": strings.Replace(good, "n=3", "n=0", 1),
		"02": strings.Replace(good, "n=2", "n=02", 1), "a word": strings.Replace(good, "n=3", "n=b", 1), "256": strings.Replace(good, "n=3", "n=256", 1),
		"another section": "[pi4]\n" + good, "too long": good + strings.Repeat("#", 512), "a blank": strings.Replace(good, "n=3", "n= 3", 1),
	} {
		if a, err := loaders.ParseAutoboot([]byte(bad)); err == nil {
			t.Errorf("%s: %+v, want an error", name, a)
		}
	}
}

// FuzzAutoboot: a commit changes digits in place and nothing else, and is understood again.
func FuzzAutoboot(f *testing.F) {
	f.Add([]byte(autoboot))
	f.Add([]byte("tryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := loaders.ParseAutoboot(text)
		if err != nil {
			return
		}
		var p loaders.Tryboot
		trial, err := p.Next(a, true)
		if err != nil {
			return
		}
		after, armed, err := p.Change(a, trial, loaders.Commit)
		if err != nil || armed || len(after.Bytes()) != len(text) {
			t.Fatalf("%q, armed %t, %v", after.Bytes(), armed, err)
		}
		differ := 0
		for i, c := range after.Bytes() {
			if c != text[i] {
				differ++
			}
		}
		again, err := loaders.ParseAutoboot(after.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if next, err := p.Next(again, false); next != trial || err != nil || differ != 2 {
			t.Fatalf("%q: then %s, %v, %d bytes differ", after.Bytes(), next, err, differ)
		}
	})
}
