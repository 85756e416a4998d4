package loaders_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/board/loaders"
)

// block returns an environment of lines.
func block(t testing.TB, lines ...string) loaders.Block {
	t.Helper()
	b, err := loaders.DecodeBlock(raw(lines...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func raw(lines ...string) []byte {
	text := "# GRUB Environment Block\n"
	for _, l := range lines {
		text += l + "\n"
	}
	return []byte(text + strings.Repeat("#", max(0, loaders.BlockBytes-len(text))))
}

// grub is RAUC's variables, short: order, then OK and TRY of A and of B.
func grub(t testing.TB, short string) loaders.Block {
	t.Helper()
	f := strings.Fields(short)
	return block(t, "ORDER="+f[0][:1]+" "+f[0][1:], "A_OK="+f[1][:1], "A_TRY="+f[1][1:], "B_OK="+f[2][:1], "B_TRY="+f[2][1:])
}

func short(b loaders.Block) string {
	return fmt.Sprintf("%s %s%s %s%s", strings.ReplaceAll(b.Get("ORDER"), " ", ""), b.Get("A_OK"), b.Get("A_TRY"), b.Get("B_OK"), b.Get("B_TRY"))
}

func TestGRUBDoesTheDeed(t *testing.T) {
	rauc := loaders.GRUB{Attempts: 1}
	for _, tt := range []struct {
		by            loaders.GRUB
		with, running string
		deed          loaders.Deed
		want, next    string
	}{
		{loaders.GRUB{}, "AB 11 00", "A", loaders.Arm, "BA 10 12", "B"},
		{loaders.GRUB{}, "BA 10 12", "A", loaders.Arm, "BA 10 12", "B"},
		{loaders.GRUB{}, "BA 11 13", "A", loaders.Arm, "BA 10 12", "B"},
		{loaders.GRUB{}, "AB 11 10", "A", loaders.Commit, "AB 10 10", "A"},
		{loaders.GRUB{}, "BA 10 13", "B", loaders.Commit, "BA 10 10", "B"}, // on trial; A is what to fall back to
		{loaders.GRUB{}, "BA 11 13", "A", loaders.Commit, "AB 10 00", "A"}, // fallen back
		{loaders.GRUB{}, "BA 11 12", "A", loaders.Commit, "AB 10 00", "A"}, // only armed
		{loaders.GRUB{}, "AB 12 13", "A", loaders.Commit, "AB 10 00", "A"}, // B was found bad
		{loaders.GRUB{}, "AB 10 00", "B", loaders.Commit, "BA 10 10", "B"}, // disarmed on trial
		{loaders.GRUB{}, "AB 11 10", "A", loaders.Disarm, "AB 11 00", "A"},
		{loaders.GRUB{}, "BA 10 12", "A", loaders.Disarm, "AB 10 00", "A"},
		{loaders.GRUB{}, "BA 10 13", "B", loaders.Disarm, "AB 10 00", "A"},
		{loaders.GRUB{}, "AB 10 00", "B", loaders.Disarm, "AB 10 00", "A"},
		{loaders.GRUB{}, "AB 13 00", "A", loaders.Disarm, "AB 12 00", "A"},
		{rauc, "AB 11 00", "A", loaders.Arm, "BA 10 10", "B"},
		{rauc, "BA 10 11", "B", loaders.Commit, "BA 10 10", "B"},
		{rauc, "BA 10 11", "B", loaders.Disarm, "AB 10 00", "A"},
	} {
		got, err := tt.by.Change(grub(t, tt.with), tt.running, tt.deed)
		if err != nil || short(got) != tt.want {
			t.Errorf("%s in %s, %s: %s, %v, want %s", tt.deed, tt.running, tt.with, short(got), err, tt.want)
		}
		if next, err := tt.by.Next(got); next != tt.next || err != nil {
			t.Errorf("%s in %s, %s: then %q, %v, want %s", tt.deed, tt.running, tt.with, next, err, tt.next)
		}
	}
}

func TestGRUBTakesTheFirstSlotThatIsLeft(t *testing.T) {
	for _, tt := range []struct {
		by               loaders.GRUB
		with, next, want string
	}{
		{loaders.GRUB{}, "AB 10 10", "A", "AB 11 10"},
		{loaders.GRUB{}, "AB 12 10", "A", "AB 13 10"},
		{loaders.GRUB{}, "AB 13 10", "B", "AB 13 11"},
		{loaders.GRUB{}, "AB 00 10", "B", "AB 00 11"},
		{loaders.GRUB{}, "BA 13 13", "B", "BA 10 11"}, // all begin anew
		{loaders.GRUB{}, "BA 13 03", "A", "BA 11 00"},
		{loaders.GRUB{}, "BA 00 03", "", ""},
		{loaders.GRUB{Attempts: 1}, "AB 11 10", "B", "AB 11 11"},
		{loaders.GRUB{Attempts: 1}, "AB 11 11", "", ""}, // its rescue entry
		{loaders.GRUB{}, "AC 10 10", "", ""},
		{loaders.GRUB{}, "AA 10 10", "", ""},
		{loaders.GRUB{}, "AB 14 10", "", ""},
		{loaders.GRUB{}, "AB 20 10", "", ""},
		{loaders.GRUB{}, "AB 1x 10", "", ""},
	} {
		next, after, err := tt.by.Start(grub(t, tt.with))
		if next != tt.next || (err == nil) != (tt.next != "") || err == nil && short(after) != tt.want {
			t.Errorf("%s: starts %q, %v, leaves %s, want %q, %s", tt.with, next, err, short(after), tt.next, tt.want)
		}
	}
	if next, err := (loaders.GRUB{}).Next(block(t, "ORDER=R A B", "A_OK=1", "A_TRY=0", "B_OK=1", "B_TRY=0")); err == nil {
		t.Errorf("ORDER leads to R: Next = %s, want an error", next)
	}
	for _, bad := range []loaders.GRUB{{Attempts: 2}, {Attempts: -1}, {Names: [2]string{"A", "A"}}, {Names: [2]string{"A", "B C"}},
		{Names: [2]string{"A", "B="}}, {Names: [2]string{"", "B"}}} {
		if bad.Check() == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	for _, running := range []string{"", "C"} {
		if _, err := (loaders.GRUB{}).Change(grub(t, "AB 10 10"), running, loaders.Arm); err == nil {
			t.Errorf("armed in slot %q", running)
		}
	}
	if _, err := (loaders.GRUB{}).Change(grub(t, "AB 10 10"), "A", "explode"); err == nil {
		t.Error("explode succeeded")
	}
}

func TestADeedChangesOneSector(t *testing.T) {
	more := strings.Repeat("x", 600)
	b := block(t, "# WARNING: Do not edit", "saved_entry="+more, `path=C:\\x`, "B_TRY=0", "ORDER=A B", "A_OK=1", "A_TRY=1", "B_OK=0")
	var before []byte
	for i, deed := range []loaders.Deed{loaders.Commit, loaders.Arm, loaders.Disarm, loaders.Arm, loaders.Commit} {
		var err error
		if b, err = (loaders.GRUB{}).Change(b, "A", deed); err != nil {
			t.Fatal(err)
		}
		text, err := b.Encode(5)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && (string(text[loaders.SectorBytes:]) != string(before[loaders.SectorBytes:]) || string(text) == string(before)) {
			t.Errorf("%s changed nothing, or the second sector", deed)
		}
		if again, err := loaders.DecodeBlock(text); err != nil || again.Get("saved_entry") != more || again.Get("path") != `C:\x` {
			t.Errorf("%s lost what others keep: %q, %v", deed, again.Get("path"), err)
		}
		before = text
	}
	full := block(t, "# "+strings.Repeat("x", 480), "ORDER=A B", "A_OK=1", "A_TRY=1", "B_OK=0", "B_TRY=0")
	if after, err := (loaders.GRUB{}).Change(full, "A", loaders.Arm); err != nil {
		t.Error(err)
	} else if _, err := after.Encode(5); err == nil {
		t.Error("variables beyond the first sector were written")
	}
	big := b.Set([]string{"x"}, map[string]string{"x": strings.Repeat("y", 1024)})
	if _, err := big.Encode(0); err == nil {
		t.Error("more than a block was written")
	}
}

func TestWhatIsNoBlockIsAnError(t *testing.T) {
	for name, bad := range map[string][]byte{
		"empty": {}, "zeros": make([]byte, loaders.BlockBytes), "short": raw("A=1")[:1023], "long": append(raw("A=1"), '#'),
		"another header": []byte("# Environment Block\n" + strings.Repeat("#", 1004)), "no value": raw("A"), "no name": raw("=1"),
		"twice": raw("A=1", "A=2"), "empty line": raw(""),
		"padding of others": []byte(strings.ReplaceAll(string(raw("A=1")), "##", "#x")),
	} {
		if b, err := loaders.DecodeBlock(bad); err == nil {
			t.Errorf("%s: %+v, want an error", name, b)
		}
	}
}

// FuzzBlock: what was read is written as the same, and a deed in it leads where it should.
func FuzzBlock(f *testing.F) {
	f.Add("ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=3", true)
	f.Add("# comment\nx=\\\\a\\\nb\nORDER=B A\nA_OK=1\nA_TRY=2\nB_OK=0\nB_TRY=0", false)
	f.Fuzz(func(t *testing.T, text string, first bool) {
		b, err := loaders.DecodeBlock(raw(text))
		if err != nil {
			return
		}
		g := loaders.GRUB{}
		running, other := "A", "B"
		if !first {
			running, other = other, running
		}
		for deed, want := range map[loaders.Deed]string{loaders.Arm: other, loaders.Commit: running, loaders.Disarm: ""} {
			after, err := g.Change(b, running, deed)
			if err != nil {
				continue
			}
			next, err := g.Next(after)
			if len(strings.Fields(after.Get("ORDER"))) == 2 && (err != nil || want != "" && next != want) {
				t.Fatalf("%s in %s, %s: then %q, %v", deed, running, text, next, err)
			}
			out, err := after.Encode(5)
			if err != nil {
				continue
			}
			if again, err := loaders.DecodeBlock(out); err != nil || short(again) != short(after) {
				t.Fatalf("%q is read as %s, %v", out, short(again), err)
			}
		}
	})
}
