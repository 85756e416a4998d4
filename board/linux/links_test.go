package linux_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
	"holdfast/board/sim"
)

func links(t *testing.T, dir string, files board.Files) *linux.Links {
	t.Helper()
	l, err := linux.NewLinks(linux.LinksOptions{Dir: dir, Files: files, Document: "program.json", Bytes: 65536, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// linked is a machine whose document is on the simulated disk, and whose link says at first what it says.
func linked(t *testing.T, disk *sim.Disk, link string, cuts int) *boardtest.Machine {
	t.Helper()
	dir := inMemory(t)
	if link != "" {
		if err := os.Symlink(link, filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	l := links(t, dir, disk.Files("state"))
	m := &boardtest.Machine{
		Boot: l,
		Restart: func() error {
			id, err := l.Start()
			if to, e := os.Readlink(filepath.Join(dir, "current")); err == nil && (e != nil || to != string(id)) {
				return fmt.Errorf("the link says %q, %v, want %s", to, e, id)
			}
			return err
		},
		Garble: func() {
			if err := disk.Files("state").WriteFile("program.json", []byte(`{"good":"b"}`)); err != nil {
				t.Fatal(err)
			}
		},
	}
	if cuts > 0 {
		m.Cuts = func(deed func()) iter.Seq[*boardtest.Machine] {
			return func(yield func(*boardtest.Machine) bool) {
				var left []*sim.Disk
				keep := func() {
					for d := range disk.CrashStates() {
						left = append(left, d)
					}
				}
				keep()
				disk.Watch(keep)
				deed()
				disk.Watch(nil)
				for i, d := range left { // the link may be as old as it likes
					if !yield(linked(t, d, []string{"", "a", "b"}[i%3], cuts-1)) {
						return
					}
				}
			}
		}
	}
	return m
}

func TestLinksKeepTheContractOfBoot(t *testing.T) {
	boardtest.TestBoot(t, func(t *testing.T) *boardtest.Machine {
		m := linked(t, sim.NewDisk(1), "", 1)
		if err := m.Restart(); err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func TestLinksKeepTheContractOfSlots(t *testing.T) {
	boardtest.TestSlots(t, func(t *testing.T) boardtest.Partitions {
		dir := t.TempDir()
		for _, id := range []string{"a", "b"} {
			write(t, dir, id, strings.Repeat("old ", 4096))
		}
		l := links(t, dir, sim.NewDisk(1).Files("state"))
		if _, err := l.Start(); err != nil {
			t.Fatal(err)
		}
		return boardtest.Partitions{Slots: l, Booted: "a"}
	})
}

func TestWhatTheDocumentOfLinksSaysACutDoesNotUndo(t *testing.T) {
	for _, move := range []string{"arm", "commit", "start"} {
		told := map[string]int{}
		for n := range 40 {
			disk := sim.NewDisk(uint64(n))
			l := links(t, t.TempDir(), disk.Files("state"))
			_, err := l.Start()
			if move != "arm" {
				_, start := error(nil), error(nil)
				_, start = l.Start()
				err = errors.Join(err, l.Arm("b"), start)
			}
			if move == "commit" {
				_, start := l.Start()
				err = errors.Join(err, start)
			}
			if err != nil {
				t.Fatal(err)
			}
			disk.Break(sim.Fault{Err: syscall.EIO, Skip: n, Times: 1})
			deed := map[string]func() error{"arm": func() error { return l.Arm("b") }, "commit": l.Commit,
				"start": func() error { _, err := l.Start(); return err }}[move]
			err = deed()
			hit := disk.Broken()
			disk.Repair()
			if hit != (err != nil) {
				t.Errorf("%s, operation %d fails: %v", move, n, err)
			}
			f, err := l.Facts()
			if err != nil {
				t.Fatal(err)
			}
			told[fmt.Sprint(hit, f.Next)]++
			for left := range disk.CrashStates() {
				if id, err := links(t, t.TempDir(), left.Files("state")).Start(); id != f.Next || err != nil {
					t.Errorf("%s, operation %d fails: the facts said %s, a cut leads to %s, %v", move, n, f.Next, id, err)
				}
			}
		}
		if len(told) < 3 {
			t.Errorf("%s: %v: want faults that undo it, and some that do not", move, told)
		}
	}
}

func TestALinkPointsToWhatRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "program")
	files, err := linux.NewFiles(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	l := links(t, dir, files)
	if _, err := l.Facts(); err == nil {
		t.Error("facts before anything was started")
	}
	if p, err := l.Open("b", linux.LinksFile, true); err == nil {
		p.Close()
		t.Error("a slot was opened before anything was started")
	}
	if id, err := l.Start(); id != "a" || err != nil {
		t.Fatalf("Start = %s, %v", id, err)
	}
	if _, _, err := l.Image("b", linux.LinksFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("image of a file that is not there: %v", err)
	}
	p, err := l.Open("b", linux.LinksFile, true)
	if err != nil {
		t.Fatal(err)
	}
	script := []byte("#!/bin/sh\necho new\n")
	if _, err := p.WriteAt(script, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Sync(), p.Close(), l.Arm("b")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".new-current", "left behind")
	if id, err := l.Start(); id != "b" || err != nil {
		t.Fatalf("Start = %s, %v", id, err)
	}
	if out := run(t, filepath.Join(dir, "current")); out != "new" {
		t.Errorf("current says %q", out)
	}
	// What was longer before it was erased is no longer than what is written, and gets the mode it should have.
	if err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a", "of another mode")
	for _, text := range []string{strings.Repeat("long", 10_000), "short"} {
		p, err := l.Open("a", linux.LinksFile, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		if n, err := p.ReadAt(buf, int64(len(text)-3)); n != 3 || err != io.EOF || string(buf[:n]) != text[len(text)-3:] {
			t.Errorf("read across the end: %q, %v", buf[:n], err)
		}
		if err := errors.Join(p.Sync(), p.Close()); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(l.Path("a")); err != nil || string(b) != text {
			t.Errorf("%d bytes, %v, want %d", len(b), err, len(text))
		}
	}
	if info, err := os.Stat(l.Path("a")); err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v, want 0755", info.Mode(), err)
	}
}

func TestLinksTakeNoOtherFiles(t *testing.T) {
	dir := t.TempDir()
	l := links(t, dir, sim.NewDisk(1).Files("state"))
	if _, err := l.Start(); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, filepath.Dir(secret), "secret", "secret")
	for name, make := range map[string]func(string) error{
		"link":      func(p string) error { return os.Symlink(secret, p) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		if err := make(l.Path("b")); err != nil {
			t.Fatal(err)
		}
		if image, _, err := l.Image("b", linux.LinksFile); err == nil {
			image.Close()
			t.Errorf("%s: image was opened", name)
		}
		if p, err := l.Open("b", linux.LinksFile, true); err == nil {
			p.Close()
			t.Errorf("%s: opened", name)
		}
		if err := os.RemoveAll(l.Path("b")); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(secret); string(b) != "secret" || err != nil {
		t.Errorf("what a link pointed to holds %q, %v", b, err)
	}
}

func TestLinksOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]linux.LinksOptions{
		"no document": {Bytes: 1}, "odd document": {Bytes: 1, Document: "../x"}, "no bytes": {Document: "x"},
	} {
		o.Dir, o.Files = t.TempDir(), sim.NewDisk(1).Files("state")
		if _, err := linux.NewLinks(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestADocumentThatCannotBeIsAnError(t *testing.T) {
	for body, good := range map[string]bool{
		`{"good":"a","try":"b","running":"a"}`:                  true,
		`{"good":"a","running":"a"}`:                            true,
		`{"good":"a","spent":true,"running":"a"}`:               false,
		`{"good":"c","running":"a"}`:                            false,
		`{"good":"a","running":"c"}`:                            false,
		`{"good":"a","try":"c","running":"a"}`:                  false,
		`{"good":"a","good":"b","running":"a"}`:                 false,
		`{"Good":"a","running":"a"}`:                            false,
		`{"good":"a","running":"a","more":1}`:                   false,
		`{"good":"a","try":"b","spent":1,"running":"a"}`:        false,
		`{"running":"a"}`:                                       false,
		`{"good":"a","running":"a"}` + strings.Repeat(" ", 600): false,
	} {
		disk := sim.NewDisk(1)
		if err := disk.Files("state").WriteFile("program.json", board.Seal([]byte(body))); err != nil {
			t.Fatal(err)
		}
		if f, err := links(t, t.TempDir(), disk.Files("state")).Facts(); (err == nil) != good {
			t.Errorf("%.60s: %+v, %v", body, f, err)
		}
	}
}

func FuzzLinking(f *testing.F) {
	for _, doc := range []string{`{"good":"a"}`, `{"good":"a","try":"b","spent":true,"running":"b"}`, `{"good":"c"}`, `{"good":"a","spent":true}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		disk := sim.NewDisk(1)
		if err := disk.Files("state").WriteFile("program.json", board.Seal(body)); err != nil {
			t.Fatal(err)
		}
		l := links(t, t.TempDir(), disk.Files("state"))
		f, err := l.Facts()
		if err == nil && (f.Booted.Other().Other() != f.Booted || f.Next.Other().Other() != f.Next) {
			t.Fatalf("%q: %+v", body, f)
		}
		if id, err := l.Start(); err == nil && id != "a" && id != "b" {
			t.Fatalf("%q starts %q", body, id)
		}
	})
}

// Whoever runs what a slot holds keeps a shared lock on it: that can be seen, and keeps nobody from reading it.
func TestWhatRunsIsHeld(t *testing.T) {
	dir := t.TempDir()
	files, err := linux.SharedFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := linux.NewLinks(linux.LinksOptions{Dir: dir, Files: files, Document: "links", Bytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	if held, err := l.Held(board.SlotA); held || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a slot that has no file is held: %v, %v", held, err)
	}
	if err := os.WriteFile(l.Path(board.SlotA), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(l.Path(board.SlotA))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct {
		how  int
		want bool
	}{{unix.LOCK_UN, false}, {unix.LOCK_SH, true}, {unix.LOCK_UN, false}} {
		if err := unix.Flock(int(f.Fd()), tt.how); err != nil {
			t.Fatal(err)
		}
		if held, err := l.Held(board.SlotA); held != tt.want || err != nil {
			t.Errorf("with lock %d: held %v, %v", tt.how, held, err)
		}
		image, _, err := l.Image(board.SlotA, linux.LinksFile)
		if err != nil {
			t.Fatal(err)
		}
		if fixed, err := image.Fixed(); !fixed || err != nil {
			t.Errorf("with lock %d: fixed %v, %v", tt.how, fixed, err)
		}
		image.Close()
	}
}
