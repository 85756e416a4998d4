package loaders_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"holdfast/board/loaders"
)

// A convention is what both have.
type convention interface {
	Check() error
	Variables() []string
	Next(loaders.Vars) (string, error)
	Change(v loaders.Vars, running string, deed loaders.Deed) (loaders.Vars, error)
}

func vars(text string) loaders.Vars {
	v := loaders.Vars{}
	for _, pair := range strings.Split(text, "|") {
		name, value, _ := strings.Cut(pair, "=")
		v[name] = value
	}
	return v
}

// order is RAUC's variables, short.
func order(order, a, b string) string {
	return "BOOT_ORDER=" + order + "|BOOT_A_LEFT=" + a + "|BOOT_B_LEFT=" + b
}

// part is Mender's variables, short.
func part(part, available, count string) string {
	return "mender_boot_part=" + part + "|upgrade_available=" + available + "|bootcount=" + count + "|bootlimit=1"
}

func TestNextIsWhatTheScriptWillTake(t *testing.T) {
	for _, tt := range []struct {
		with loaders.Vars
		by   convention
		want string
	}{
		{vars(order("A B", "3", "3")), loaders.RAUC{}, "A"},
		{vars(order("B A", "3", "1")), loaders.RAUC{}, "B"},
		{vars(order("B A", "3", "0")), loaders.RAUC{}, "A"},
		{vars(order("B A", "a", "0")), loaders.RAUC{}, "A"},
		{vars(order("B A", "0", "00")), loaders.RAUC{}, "B"}, // all get attempts again
		{vars(order("A", "0", "3")), loaders.RAUC{}, "A"},
		{vars(order("A B R", "0", "2")), loaders.RAUC{}, "B"},
		{vars("BOOT_ORDER=system1 system0|BOOT_system0_LEFT=3|BOOT_system1_LEFT=0"),
			loaders.RAUC{Names: [2]string{"system0", "system1"}}, "system0"},
		{vars(part("2", "0", "0")), loaders.Mender{}, "2"},
		{vars(part("3", "1", "0")), loaders.Mender{}, "3"},
		{vars(part("3", "1", "1")), loaders.Mender{}, "2"},
		{vars(part("3", "1", "7")), loaders.Mender{}, "2"},
		{vars(part("3", "0", "7")), loaders.Mender{}, "3"}, // nothing is counted
		{vars("mender_boot_part=12|bootlimit=1"), loaders.Mender{Parts: [2]int{5, 12}}, "12"},
		{vars("mender_boot_part=2|upgrade_available=1|bootcount=1|bootlimit=3"), loaders.Mender{}, "2"},
	} {
		if got, err := tt.by.Next(tt.with); got != tt.want || err != nil {
			t.Errorf("%v: Next = %q, %v, want %s", tt.with, got, err, tt.want)
		}
	}
}

func TestChangeDoesTheDeed(t *testing.T) {
	r, m := loaders.RAUC{}, loaders.Mender{}
	for _, tt := range []struct {
		by            convention
		with, running string
		deed          loaders.Deed
		want          string
	}{
		{r, order("A B", "2", "3"), "A", loaders.Arm, order("B A", "3", "1")},
		{r, order("A", "2", "0"), "A", loaders.Arm, order("B A", "3", "1")},
		{r, order("B A", "3", "1"), "A", loaders.Arm, order("B A", "3", "1")},
		{r, order("A B R", "2", "3"), "A", loaders.Arm, order("B A R", "3", "1")},
		{r, order("B A", "2", "0"), "A", loaders.Arm, order("B A", "3", "1")},
		{r, order("A B", "2", "3"), "A", loaders.Commit, order("A B", "3", "3")},
		{r, order("B A", "3", "0"), "B", loaders.Commit, order("B A", "3", "3")}, // on trial; A is what to fall back to
		{r, order("B A", "2", "0"), "A", loaders.Commit, order("A", "3", "0")},   // fallen back
		{r, order("B A", "3", "1"), "A", loaders.Commit, order("A", "3", "0")},   // only armed
		{r, order("A", "3", "0"), "B", loaders.Commit, order("B A", "3", "3")},   // disarmed on trial
		{r, order("A B R", "1", "3"), "A", loaders.Commit, order("A B R", "3", "3")},
		{r, order("A B", "2", "3"), "A", loaders.Disarm, order("A", "2", "0")},
		{r, order("B A", "3", "1"), "A", loaders.Disarm, order("A", "3", "0")},
		{r, order("B A", "3", "0"), "B", loaders.Disarm, order("A", "3", "0")},
		{r, order("A", "3", "0"), "B", loaders.Disarm, order("A", "3", "0")},
		{r, order("B A", "2", "0"), "A", loaders.Disarm, order("A", "2", "0")},
		{r, order("A", "0", "0"), "A", loaders.Disarm, order("A", "1", "0")},
		{r, order("B A R", "2", "0"), "A", loaders.Disarm, order("A R", "2", "0")},
		{loaders.RAUC{Attempts: 9}, order("A B", "2", "3"), "A", loaders.Commit, order("A B", "9", "3")},
		{m, part("2", "0", "0"), "2", loaders.Arm, part("3", "1", "0") + "|mender_boot_part_hex=3"},
		{m, part("3", "1", "1"), "2", loaders.Arm, part("3", "1", "0") + "|mender_boot_part_hex=3"},
		{m, part("3", "1", "1"), "3", loaders.Commit, part("3", "0", "0") + "|mender_boot_part_hex=3"},
		{m, part("3", "1", "0"), "2", loaders.Commit, part("2", "0", "0") + "|mender_boot_part_hex=2"},
		{m, part("3", "1", "0"), "2", loaders.Disarm, part("2", "0", "0") + "|mender_boot_part_hex=2"},
		{m, part("3", "1", "1"), "3", loaders.Disarm, part("2", "0", "0") + "|mender_boot_part_hex=2"},
		{m, part("2", "0", "2"), "3", loaders.Disarm, part("2", "0", "0") + "|mender_boot_part_hex=2"},
		{m, "mender_boot_part=2|bootlimit=4", "2", loaders.Arm, part("3", "1", "3") + "|mender_boot_part_hex=3"},
		{loaders.Mender{Parts: [2]int{10, 11}}, part("10", "0", "0"), "10", loaders.Arm, part("11", "1", "0") + "|mender_boot_part_hex=b"},
	} {
		want := vars(tt.want)
		delete(want, "bootlimit") // is read, and never written
		got, err := tt.by.Change(vars(tt.with), tt.running, tt.deed)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s in %s, %s: %v, %v, want %v", tt.deed, tt.running, tt.with, got, err, want)
		}
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	for _, tt := range []struct {
		by   convention
		with string
		want string
	}{
		{loaders.RAUC{}, "", "BOOT_ORDER is not set"},
		{loaders.RAUC{}, "BOOT_ORDER=A B|BOOT_A_LEFT=3", "BOOT_B_LEFT is not set"},
		{loaders.RAUC{}, order("A B", "3", "x"), "BOOT_B_LEFT"},
		{loaders.RAUC{}, order("A B", "-1", "3"), "BOOT_A_LEFT"},
		{loaders.RAUC{}, order("A B", "0x3", "3"), "BOOT_A_LEFT"},
		{loaders.RAUC{}, order("A B", "100000000", "3"), "BOOT_A_LEFT"},
		{loaders.RAUC{}, order("A B", "10000", "3"), "at most"},
		{loaders.RAUC{}, order("C D", "3", "3"), "BOOT_ORDER"},
		{loaders.RAUC{}, order("   ", "3", "3"), "BOOT_ORDER"},
		{loaders.RAUC{}, order("A B A", "3", "3"), "twice"},
		{loaders.RAUC{}, order(strings.Repeat("A", 17), "3", "3"), "BOOT_ORDER"},
		{loaders.RAUC{}, order("R A B", "3", "3"), "leads to R"},
		{loaders.RAUC{}, order("A B R", "0", "0"), "leads to R"},
		{loaders.Mender{}, "", "mender_boot_part is not set"},
		{loaders.Mender{}, part("4", "0", "0"), "neither 2 nor 3"},
		{loaders.Mender{}, part("2", "2", "0"), "upgrade_available"},
		{loaders.Mender{}, part("2", "yes", "0"), "upgrade_available"},
		{loaders.Mender{}, part("2", "1", "a"), "bootcount"},
		{loaders.Mender{}, "mender_boot_part=2", "bootlimit is not set"},
		{loaders.Mender{}, "mender_boot_part=2|bootlimit=0", "for ever"},
	} {
		if got, err := tt.by.Next(vars(tt.with)); err == nil || !strings.Contains(err.Error(), tt.want) || got != "" {
			t.Errorf("%s: Next = %q, %v, want an error with %q", tt.with, got, err, tt.want)
		}
	}
	for _, c := range []struct {
		by   convention
		with string
	}{{loaders.RAUC{}, order("A B", "3", "3")}, {loaders.Mender{}, part("2", "0", "0")}} {
		for _, running := range []string{"", "C", "4"} {
			if got, err := c.by.Change(vars(c.with), running, loaders.Arm); err == nil {
				t.Errorf("arm in slot %q: %v, want an error", running, got)
			}
		}
		running, _ := c.by.Next(vars(c.with))
		if got, err := c.by.Change(vars(c.with), running, "explode"); err == nil {
			t.Errorf("explode: %v, want an error", got)
		}
	}
}

func TestAConventionHasTwoNames(t *testing.T) {
	for _, bad := range []convention{
		loaders.RAUC{Names: [2]string{"A", "A"}}, loaders.RAUC{Names: [2]string{"A", ""}}, loaders.RAUC{Names: [2]string{"A B", "C"}},
		loaders.RAUC{Names: [2]string{"A", strings.Repeat("B", 33)}}, loaders.RAUC{Names: [2]string{"A=", "B"}},
		loaders.RAUC{Attempts: 10}, loaders.RAUC{Attempts: -1},
		loaders.Mender{Parts: [2]int{2, 2}}, loaders.Mender{Parts: [2]int{0, 3}}, loaders.Mender{Parts: [2]int{2, 256}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	for _, good := range []convention{loaders.RAUC{}, loaders.RAUC{Names: [2]string{"system0", "system1"}, Attempts: 9}, loaders.Mender{},
		loaders.Mender{Parts: [2]int{1, 255}}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestAScriptHasOneVariableALine(t *testing.T) {
	got, err := loaders.Vars{"b": "2 x", "a": "1"}.Script()
	if string(got) != "a=1\nb=2 x\n" || err != nil {
		t.Errorf("Script = %q, %v", got, err)
	}
	for _, bad := range []loaders.Vars{{"": "1"}, {"a b": "1"}, {"a=b": "1"}, {"#a": "1"}, {"a\n": "1"}, {"a": "1\nb=2"}, {"a": "\x00"},
		{"a": "\r"}, {"ä": "1"}, {"a": "ä"}, {strings.Repeat("a", 65): "1"}, {"a": strings.Repeat("a", 257)}} {
		if got, err := bad.Script(); err == nil {
			t.Errorf("%q: Script = %q, want an error", bad, got)
		}
	}
}

func TestPrintedIsWhatWasAskedForAndNoMore(t *testing.T) {
	wanted := []string{"a", "b"}
	if got, err := loaders.Printed([]byte("b=2\na="), wanted); err != nil || !maps.Equal(got, loaders.Vars{"a": "", "b": "2"}) {
		t.Errorf("Printed = %v, %v", got, err)
	}
	for _, bad := range []string{"", "a=1\n", "a=1\nb=2\nc=3\n", "a=1\nb=2\na=1\n", "a=1\nb\n", "a=1\nb=2\n\n", "a=1\nb=\x1b[2J\n",
		"a=1\r\nb=2\r\n", "a=1\nb=" + strings.Repeat("x", 300), " a=1\nb=2\n", "A=1\nb=2\n"} {
		if got, err := loaders.Printed([]byte(bad), wanted); err == nil {
			t.Errorf("%q: Printed = %v, want an error", bad, got)
		}
	}
}

// FuzzConventions: whatever is printed, a deed that is done can be written, and leads where it should.
func FuzzConventions(f *testing.F) {
	f.Add("BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n", true)
	f.Add("BOOT_ORDER=B A R\nBOOT_A_LEFT=0\nBOOT_B_LEFT=1\n", false)
	f.Add("mender_boot_part=2\nmender_boot_part_hex=2\nupgrade_available=1\nbootcount=0\nbootlimit=1\n", true)
	f.Fuzz(func(t *testing.T, out string, first bool) {
		for _, c := range []struct {
			by    convention
			names [2]string
		}{{loaders.RAUC{}, [2]string{"A", "B"}}, {loaders.Mender{}, [2]string{"2", "3"}}} {
			v, err := loaders.Printed([]byte(out), c.by.Variables())
			if err != nil {
				continue
			}
			running, other := c.names[0], c.names[1]
			if !first {
				running, other = other, running
			}
			for deed, want := range map[loaders.Deed]string{loaders.Arm: other, loaders.Commit: running, loaders.Disarm: ""} {
				set, err := c.by.Change(v, running, deed)
				if err != nil {
					continue
				}
				after := maps.Clone(v)
				maps.Copy(after, set)
				next, err := c.by.Next(after)
				if err != nil || want != "" && next != want || !slices.Contains(c.names[:], next) {
					t.Fatalf("%s in %s, %v: set %v, next %q, %v", deed, running, v, set, next, err)
				}
				if _, err := set.Script(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
