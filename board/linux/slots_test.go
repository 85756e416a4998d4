package linux_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
)

// onFiles returns a layout of plain files below dir, as if slot a were running.
func onFiles(t *testing.T, dir string, sizes map[string]int64) linux.Layout {
	t.Helper()
	l := linux.Layout{Parts: map[string]map[board.SlotID]string{}, Cmdline: filepath.Join(dir, "cmdline")}
	write(t, dir, "cmdline", "rauc.slot=A\n")
	for part, size := range sizes {
		l.Parts[part] = map[board.SlotID]string{}
		for _, id := range []board.SlotID{"a", "b"} {
			name := filepath.Join(dir, part+"-"+string(id))
			write(t, dir, part+"-"+string(id), part)
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
			l.Parts[part][id] = name
		}
	}
	return l
}

func slots(t *testing.T, l linux.Layout) *linux.Slots {
	t.Helper()
	s, err := linux.NewSlots(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSlotsOnFilesKeepTheContract(t *testing.T) {
	boardtest.TestSlots(t, func(t *testing.T) boardtest.Partitions {
		// A size that is no multiple of a page, and one that is larger than the buffers.
		l := onFiles(t, t.TempDir(), map[string]int64{"kernel": 16384 + 512, "root": 700_000})
		return boardtest.Partitions{Slots: slots(t, l), Booted: "a"}
	})
}

// needRoot skips a test that wants loop devices where there can be none.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts want root")
	}
	for _, tool := range []string{"losetup", "mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here", tool)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices: %v", err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %s%v", name, args, out, err)
	}
	return strings.TrimSpace(string(out))
}

// loop attaches a loop device until the test ends.
func loop(t *testing.T, file string, flags ...string) string {
	t.Helper()
	dev := run(t, "losetup", append(append([]string{"--find", "--show"}, flags...), file)...)
	t.Cleanup(func() { run(t, "losetup", "--detach", dev) })
	return dev
}

// onLoops returns a layout of loop devices, as if slot a were running.
func onLoops(t *testing.T, dir string, sizes map[string]int64) linux.Layout {
	t.Helper()
	l := onFiles(t, dir, sizes)
	for part := range l.Parts {
		for id, file := range l.Parts[part] {
			l.Parts[part][id] = loop(t, file)
		}
	}
	return l
}

func TestSlotsOnBlockDevicesKeepTheContract(t *testing.T) {
	needRoot(t)
	boardtest.TestSlots(t, func(t *testing.T) boardtest.Partitions {
		l := onLoops(t, t.TempDir(), map[string]int64{"kernel": 16384 + 512, "root": 700_416})
		return boardtest.Partitions{Slots: slots(t, l), Booted: "a"}
	})
}

// fixed opens the image and asks.
func fixed(t *testing.T, s *linux.Slots, id board.SlotID) bool {
	t.Helper()
	image, _, err := s.Image(id, "root")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	ok, err := image.Fixed()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestAMountedDeviceIsNotWrittenAndFixedOnlyReadOnly(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	l := onLoops(t, dir, map[string]int64{"root": 1 << 20})
	s, dev, at := slots(t, l), l.Parts["root"]["b"], filepath.Join(dir, "mnt")
	run(t, "mkfs.ext4", "-q", dev)
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if !fixed(t, s, "b") {
		t.Error("not mounted: not fixed")
	}
	for options, want := range map[string]bool{"ro": true, "rw": false} {
		run(t, "mount", "-o", options, dev, at)
		if got := fixed(t, s, "b"); got != want {
			t.Errorf("mounted %s: fixed %t", options, got)
		}
		if p, err := s.Open("b", "root", false); err == nil || !errors.Is(err, syscall.EBUSY) {
			p.Close()
			t.Errorf("mounted %s: open: %v, want EBUSY", options, err)
		}
		run(t, "umount", at)
	}
	// A read-only mount of a file system that is mounted to be written elsewhere.
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", dev, at)
	run(t, "mount", "-o", "bind,ro", at, other)
	run(t, "umount", at)
	if fixed(t, s, "b") {
		t.Error("bound read-only, the file system can be written: fixed")
	}
	run(t, "umount", other)
	if p, err := s.Open("b", "root", false); err != nil {
		t.Errorf("not mounted any more: %v", err)
	} else if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestADeviceMountedWhereWeDoNotSeeIsNotFixed(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 20})
	run(t, "mkfs.ext4", "-q", l.Parts["root"]["b"])
	// Of a device that the kernel writes nothing to, it does not matter who has mounted it.
	for flag, want := range map[string]bool{"--read-only": true, "--direct-io=off": false} {
		l.Parts["root"]["b"] = loop(t, filepath.Join(dir, "root-b"), flag)
		hidden := exec.Command("unshare", "--mount", "sh", "-c", `mount -o ro "$0" /mnt && echo mounted && read x`, l.Parts["root"]["b"])
		stdin, err := hidden.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := hidden.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := hidden.Start(); err != nil {
			t.Fatalf("unshare: %v", err)
		}
		if _, err := io.ReadFull(stdout, make([]byte, len("mounted\n"))); err != nil {
			t.Fatalf("mount in another namespace: %v", err)
		}
		if got := fixed(t, slots(t, l), "b"); got != want {
			t.Errorf("loop device %s, mounted in another namespace: fixed %t, want %t", flag, got, want)
		}
		stdin.Close()
		_ = hidden.Wait() // read reports the end of its input
		if !fixed(t, slots(t, l), "b") {
			t.Error("not mounted any more: not fixed")
		}
	}
}

func TestWhatALoopDeviceStandsOnIsNotWritten(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name string
		on   func(*testing.T, string, map[string]int64) linux.Layout
	}{{"file", onFiles}, {"device", onLoops}} {
		dir := t.TempDir()
		l := tt.on(t, dir, map[string]int64{"root": 1 << 20})
		s, below := slots(t, l), l.Parts["root"]["b"]
		run(t, "mkfs.ext4", "-q", below)
		dev := run(t, "losetup", "--find", "--show", below)
		at := filepath.Join(dir, "mnt")
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Open("b", "root", false); err == nil || !errors.Is(err, syscall.EBUSY) {
			p.Close()
			t.Errorf("%s: open: %v, want EBUSY", tt.name, err)
		}
		run(t, "mount", dev, at)
		if fixed(t, s, "b") {
			t.Errorf("%s: a loop device on it is mounted to be written: fixed", tt.name)
		}
		run(t, "umount", at)
		run(t, "losetup", "--detach", dev)
		dev = run(t, "losetup", "--find", "--show", "--read-only", below)
		run(t, "mount", "-o", "ro", dev, at)
		if !fixed(t, s, "b") {
			t.Errorf("%s: a read-only loop device on it is mounted: not fixed", tt.name)
		}
		run(t, "umount", at)
		run(t, "losetup", "--detach", dev)
	}
}

func TestAReadOnlyDeviceIsFixed(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 20})
	for id, file := range l.Parts["root"] {
		l.Parts["root"][id] = loop(t, file, "--read-only")
	}
	if !fixed(t, slots(t, l), "b") {
		t.Error("read-only: not fixed")
	}
	if p, err := slots(t, l).Open("b", "root", false); err == nil {
		p.Close()
		t.Error("a read-only device was opened to be written")
	}
}

func TestTheMediumIsReadAndNotTheCache(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 20})
	file := l.Parts["root"]["b"]
	for id, f := range l.Parts["root"] {
		l.Parts["root"][id] = loop(t, f)
	}
	p, err := slots(t, l).Open("b", "root", true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want := bytes.Repeat([]byte("firmware"), 1<<17)
	if _, err := p.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	// The medium rots behind the device's back: the page cache of the loop device does not know.
	below, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	if _, err := below.WriteAt([]byte("X"), 300_001); err != nil {
		t.Fatal(err)
	}
	image, _, err := slots(t, l).Image("b", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	got, cached := make([]byte, 100), make([]byte, 100)
	if _, err := image.ReadAt(cached, 300_000); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReadAt(got, 300_000); err != nil {
		t.Fatal(err)
	}
	if cached[1] == 'X' {
		t.Fatal("the page cache knows: this test shows nothing")
	}
	if got[1] != 'X' {
		t.Errorf("read %q, want what the medium holds", got[:8])
	}
}

func TestAPlaceIsNotTwoParts(t *testing.T) {
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 16, "kernel": 1 << 16})
	alias := filepath.Join(dir, "alias")
	if err := os.Symlink(l.Parts["root"]["a"], alias); err != nil {
		t.Fatal(err)
	}
	l.Parts["kernel"]["b"] = alias
	if p, err := slots(t, l).Open("b", "kernel", true); err == nil {
		p.Close()
		t.Error("the running root was opened under another name")
	}
}

func TestNothingIsOpenedWhereTheRunningSlotIsNotKnown(t *testing.T) {
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 16})
	write(t, dir, "cmdline", "quiet\n")
	for _, id := range []board.SlotID{"a", "b"} {
		if p, err := slots(t, l).Open(id, "root", true); err == nil {
			p.Close()
			t.Errorf("slot %s was opened", id)
		}
	}
	if b, err := os.ReadFile(l.Parts["root"]["b"]); err != nil || !bytes.HasPrefix(b, []byte("root")) {
		t.Errorf("slot b was erased: %v", err)
	}
}

func TestOnlyDevicesAndFilesAreParts(t *testing.T) {
	dir := t.TempDir()
	l := onFiles(t, dir, map[string]int64{"root": 1 << 16})
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{fifo, dir, "/dev/null", "/dev/zero", filepath.Join(dir, "none"), "relative", "PARTUUID="} {
		l.Parts["root"]["b"] = place
		if image, _, err := slots(t, l).Image("b", "root"); err == nil {
			image.Close()
			t.Errorf("image of %s was opened", place)
		}
		if p, err := slots(t, l).Open("b", "root", false); err == nil {
			p.Close()
			t.Errorf("%s was opened", place)
		}
	}
}

func TestAMediumThatCouldNotBeWrittenNeverSyncsAgain(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	write(t, dir, "small", "")
	if err := os.Truncate(filepath.Join(dir, "small"), 1<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-m", "0", filepath.Join(dir, "small"))
	at := filepath.Join(dir, "mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", loop(t, filepath.Join(dir, "small")), at)
	t.Cleanup(func() { run(t, "umount", at) })
	// Sparse: more than the file system holds. A file says so in the write, a device over it no earlier than in the sync.
	l := onFiles(t, at, map[string]int64{"root": 4 << 20, "device": 4 << 20})
	device := run(t, "losetup", "--find", "--show", l.Parts["device"]["b"])
	defer run(t, "losetup", "--detach", device)
	l.Parts["device"]["b"] = device
	for _, part := range []string{"device", "root"} {
		p, err := slots(t, l).Open("b", part, false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.WriteAt(bytes.Repeat([]byte("x"), 4<<20), 0)
		if err := errors.Join(err, p.Sync()); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: write and sync: %v, want ENOSPC or EIO", part, err)
		}
		if _, err := p.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("%s: a write after the fault succeeded", part)
		}
		if err := p.Sync(); err == nil {
			t.Errorf("%s: a sync after the fault succeeded", part)
		}
		p.Close()
	}
}

func TestWithoutDirectReadsTheCacheIsDroppedAndThatIsSaid(t *testing.T) {
	needRoot(t)
	said := &bytes.Buffer{}
	boardtest.TestSlots(t, func(t *testing.T) boardtest.Partitions {
		at := filepath.Join(t.TempDir(), "mnt")
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, "mount", "-t", "ramfs", "none", at) // knows no O_DIRECT, and no holes
		t.Cleanup(func() { run(t, "umount", at) })
		s, err := linux.NewSlots(onFiles(t, at, map[string]int64{"kernel": 16384, "root": 300_000}), slog.New(slog.NewTextHandler(said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return boardtest.Partitions{Slots: s, Booted: "a"}
	})
	if !strings.Contains(said.String(), "direct reads are not possible") {
		t.Errorf("the log says %q", said)
	}
}
