package sim_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

func TestFilesKeepTheContract(t *testing.T) {
	boardtest.TestFiles(t, func(*testing.T) board.Files { return sim.NewDisk(1).Files("state") })
}

func TestDirKeepsTheContract(t *testing.T) {
	boardtest.TestDir(t, func(*testing.T) board.Dir { return sim.NewDisk(1).Dir("spool") })
}

// outcomes counts what show says of every crash state.
func outcomes(d *sim.Disk, show func(*sim.Disk) string) map[string]int {
	seen := map[string]int{}
	for c := range d.CrashStates() {
		seen[show(c)]++
	}
	return seen
}

func text(t *testing.T, d *sim.Disk, name string) string {
	t.Helper()
	names, err := d.Dir("dir").List()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") {
		return "absent"
	}
	f, err := d.Dir("dir").Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func open(t *testing.T, d *sim.Disk, name string) board.File {
	t.Helper()
	f, err := d.Dir("dir").Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, f board.File, s string) {
	t.Helper()
	if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

func TestAPowerCutLosesWhatNoBarrierMadeSure(t *testing.T) {
	d := sim.NewDisk(1)
	show := func(c *sim.Disk) string { return text(t, c, "log") }
	f := open(t, d, "log")
	put(t, f, "hello")
	do(t, f.Sync())
	got := outcomes(d, show)
	if got["absent"] == 0 || got["hello"] == 0 || len(got) != 2 {
		t.Errorf("bytes synced, name not: %v, want absent and hello", got)
	}
	do(t, d.Dir("dir").Sync())
	if got := outcomes(d, show); len(got) != 1 || got["hello"] == 0 {
		t.Errorf("both synced: %v, want only hello", got)
	}
	put(t, f, " world")
	got = outcomes(d, show)
	for _, want := range []string{"hello", "hello world", "hello\x00\x00\x00\x00\x00\x00"} {
		if got[want] == 0 {
			t.Errorf("unsynced append: %v, want %q among them", got, want)
		}
	}
	torn := 0
	for s := range got {
		if !strings.HasPrefix(s, "hello") {
			torn++ // a sector is torn as a whole, with what was sure in it
		}
	}
	if torn == 0 {
		t.Errorf("unsynced append: %v, want the sector torn from its beginning", got)
	}
	do(t, d.Dir("dir").Remove("log"))
	if got := outcomes(d, show); got["absent"] == 0 || got["hello"] == 0 {
		t.Errorf("unsynced removal: %v, want absent and hello", got)
	}
	do(t, d.Dir("dir").Sync())
	if got := outcomes(d, show); len(got) != 1 || got["absent"] == 0 {
		t.Errorf("synced removal: %v, want only absent", got)
	}
}

func TestEachSectorIsLostAndKeptAlone(t *testing.T) {
	d := sim.NewDisk(1)
	f := open(t, d, "log")
	do(t, d.Dir("dir").Sync())
	var whole strings.Builder
	for i := range 4 {
		whole.WriteString(strings.Repeat(fmt.Sprint(i), sim.SectorBytes))
	}
	put(t, f, whole.String())
	got := outcomes(d, func(c *sim.Disk) string {
		s, parts := text(t, c, "log"), []string{}
		for ; len(s) >= sim.SectorBytes; s = s[sim.SectorBytes:] {
			part := s[:1]
			if s[:sim.SectorBytes] != strings.Repeat(part, sim.SectorBytes) {
				part = "#"
			} else if part == "\x00" {
				part = "-"
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, "")
	})
	for _, want := range []string{"", "0123", "----", "-123", "0-23", "01-3", "012-", "0", "-1", "--2", "---3", "####", "012#"} {
		if got[want] == 0 {
			t.Errorf("%v: want %q among them", got, want)
		}
	}
	if got["012#"] < sim.SectorBytes/64 {
		t.Errorf("last sector torn %d times, want at least %d", got["012#"], sim.SectorBytes/64)
	}
}

func TestADocumentIsOldOrNewAtEveryCut(t *testing.T) {
	d := sim.NewDisk(1)
	do(t, d.Files("state").WriteFile("doc", []byte("old")))
	states := 0
	seen := map[string]int{}
	d.Watch(func() {
		for c := range d.CrashStates() {
			states++
			b, err := c.Files("state").ReadFile("doc", 10000)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(b[:min(3, len(b))])]++
			if s := string(b); s != "old" && s != strings.Repeat("new", 600) {
				t.Fatalf("document is %.20q, %d bytes", s, len(s))
			}
			if n := c.Usage("state"); n != 4096 {
				t.Fatalf("%d bytes in the directory, want one document's block", n)
			}
		}
	})
	do(t, d.Files("state").WriteFile("doc", []byte(strings.Repeat("new", 600))))
	if states < 50 || seen["old"] == 0 || seen["new"] == 0 {
		t.Errorf("%d states, %v: want both documents in at least 50", states, seen)
	}
}

func TestASyncThatDidNotSucceedIsNeverMadeGood(t *testing.T) {
	d := sim.NewDisk(1)
	f := open(t, d, "log")
	put(t, f, "a")
	do(t, f.Sync(), d.Dir("dir").Sync())
	put(t, f, "b")
	d.Break(sim.Fault{Err: syscall.EIO, Times: 1})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v, want EIO", err)
	}
	do(t, f.Sync())
	if got := outcomes(d, func(c *sim.Disk) string { return text(t, c, "log") }); got["a"] == 0 || got["ab"] == 0 {
		t.Errorf("%v: want a and ab", got)
	}
}

func TestFaultsHitWhatTheyCan(t *testing.T) {
	for _, tt := range []struct {
		err                          error
		read, write, remove, syncing bool
	}{
		{syscall.ENOSPC, false, true, false, false},
		{syscall.EROFS, false, true, true, true},
		{syscall.EIO, true, true, true, true},
	} {
		d := sim.NewDisk(1)
		f := open(t, d, "log")
		put(t, f, "0123")
		d.Break(sim.Fault{Err: tt.err})
		_, read := f.ReadAt(make([]byte, 4), 0)
		n, write := f.Write([]byte("abcd"))
		for _, c := range []struct {
			op  string
			err error
			hit bool
		}{
			{"read", read, tt.read}, {"write", write, tt.write}, {"sync", f.Sync(), tt.syncing},
			{"remove", d.Dir("dir").Remove("log"), tt.remove},
		} {
			if errors.Is(c.err, tt.err) != c.hit {
				t.Errorf("%v: %s = %v, want it hit: %t", tt.err, c.op, c.err, c.hit)
			}
		}
		if want := map[bool]int{true: 2}[tt.err == syscall.ENOSPC]; n != want {
			t.Errorf("%v: %d bytes written, want %d", tt.err, n, want)
		}
		d.Repair()
		put(t, f, "z")
	}
}

func TestAFaultWaitsForItsTurn(t *testing.T) {
	d := sim.NewDisk(1)
	f := open(t, d, "log")
	d.Break(sim.Fault{Err: syscall.EIO, Skip: 2, Times: 1})
	var got []bool
	for range 4 {
		_, err := f.Write([]byte("x"))
		got = append(got, err != nil)
	}
	if fmt.Sprint(got) != "[false false true false]" {
		t.Errorf("writes hit: %v, want the third alone", got)
	}
}

func TestACloneGoesItsOwnWay(t *testing.T) {
	d := sim.NewDisk(1)
	f := open(t, d, "log")
	put(t, f, "a")
	c := d.Clone()
	put(t, f, "b")
	put(t, open(t, c, "log"), "c")
	do(t, open(t, c, "log").Sync(), c.Dir("dir").Sync())
	if got := text(t, d, "log"); got != "ab" {
		t.Errorf("original holds %q, want ab", got)
	}
	if got := outcomes(d, func(c *sim.Disk) string { return text(t, c, "log") }); got["absent"] == 0 {
		t.Errorf("%v: the clone's sync reached the original", got)
	}
	if got := outcomes(c, func(c *sim.Disk) string { return text(t, c, "log") }); len(got) != 1 || got["ac"] == 0 {
		t.Errorf("clone: %v, want only ac", got)
	}
}
