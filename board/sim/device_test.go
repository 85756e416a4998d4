package sim_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"syscall"
	"testing"

	"holdfast/board/sim"
)

// letters shows a device with one letter for each of its sectors: '-' for zeros, '#' for what is not one letter.
func letters(t *testing.T, v *sim.Device) string {
	t.Helper()
	raw := make([]byte, v.Bytes())
	_, err := v.ReadCached(raw, 0)
	do(t, err)
	var b strings.Builder
	for ; len(raw) > 0; raw = raw[sim.SectorBytes:] {
		c := raw[:1]
		switch {
		case !bytes.Equal(raw[:sim.SectorBytes], bytes.Repeat(c, sim.SectorBytes)):
			c = []byte("#")
		case c[0] == 0:
			c = []byte("-")
		}
		b.Write(c)
	}
	return b.String()
}

// fill writes whole sectors, one a letter, from sector at on.
func fill(t *testing.T, v *sim.Device, at int, text string) {
	t.Helper()
	var b []byte
	for _, c := range []byte(text) {
		b = append(b, bytes.Repeat([]byte{c}, sim.SectorBytes)...)
	}
	_, err := v.WriteAt(b, int64(at)*sim.SectorBytes)
	do(t, err)
}

func device(d *sim.Disk) *sim.Device { return d.Device("root", 6*sim.SectorBytes) }

func showDevice(t *testing.T) func(*sim.Disk) string {
	return func(d *sim.Disk) string { return letters(t, device(d)) }
}

func TestSectorsOfADeviceAreLostAndKeptAlone(t *testing.T) {
	d := sim.NewDisk(1)
	v := device(d)
	fill(t, v, 0, "abcdef")
	do(t, v.Sync())
	if got := outcomes(d, showDevice(t)); len(got) != 1 || got["abcdef"] == 0 {
		t.Errorf("synced: %v, want only abcdef", got)
	}
	fill(t, v, 1, "1234")
	got := outcomes(d, showDevice(t))
	for _, want := range []string{"a1234f", "abcdef", "ab234f", "a1c34f", "a12d4f", "a123ef", "a1cdef", "ab2def", "abc3ef", "abcd4f",
		"a123#f"} {
		if got[want] == 0 {
			t.Errorf("%v: want %q among them", got, want)
		}
	}
	if got["a123#f"] < 7 {
		t.Errorf("last sector torn in %d ways, want 7 and more", got["a123#f"])
	}
	for s := range got {
		if s[0] != 'a' || s[5] != 'f' || strings.Contains(s[1:4], "#") {
			t.Errorf("%q: a sector that was not written, or was not the last, has changed", s)
		}
	}
	fill(t, v, 2, "z")
	got = outcomes(d, showDevice(t))
	for _, want := range []string{"a1z34f", "a1234f", "abzdef"} { // the sector written twice has reached the medium once
		if got[want] == 0 {
			t.Errorf("%v: want %q among them", got, want)
		}
	}
	do(t, v.Sync())
	if got := outcomes(d, showDevice(t)); len(got) != 1 || got["a1z34f"] == 0 {
		t.Errorf("synced: %v, want only a1z34f", got)
	}
}

func TestFilesAndDevicesArePendingTogether(t *testing.T) {
	d := sim.NewDisk(1)
	v, f := device(d), open(t, d, "log")
	do(t, d.Dir("dir").Sync())
	fill(t, v, 0, "a")
	put(t, f, "x")
	show := func(c *sim.Disk) string { return letters(t, device(c))[:1] + " " + text(t, c, "log") }
	got := outcomes(d, show)
	for _, want := range []string{"a x", "- ", "- x", "a \x00", "a ", "# x", "- \x00"} {
		if got[want] == 0 {
			t.Errorf("%v: want %q among them", got, want)
		}
	}
	do(t, f.Sync())
	if got := outcomes(d, show); got["a x"] == 0 || got["- x"] == 0 || got["- "] > 0 {
		t.Errorf("file synced, device not: %v", got)
	}
	do(t, v.Sync())
	if got := outcomes(d, show); len(got) != 1 || got["a x"] == 0 {
		t.Errorf("both synced: %v", got)
	}
	seen := map[string]int{}
	fill(t, v, 0, "bc")
	for range 100 {
		_, _ = v.ReadAt(nil, 0) // goes on with the seed
		seen[letters(t, device(d.Cut()))]++
	}
	if len(seen) < 5 || seen["bc----"] == 0 || seen["a-----"] == 0 {
		t.Errorf("a hundred cuts: %v", seen)
	}
}

func TestADeviceIsReadPastTheCache(t *testing.T) {
	sums := map[string]int{}
	for seed := range uint64(64) {
		d := sim.NewDisk(seed)
		v := device(d)
		fill(t, v, 0, "abcdef")
		do(t, v.Sync())
		fill(t, v, 0, "12")
		raw, again := make([]byte, v.Bytes()), make([]byte, v.Bytes())
		_, err := v.ReadAt(raw, 0)
		_, err2 := v.ReadAt(again, 0)
		do(t, err, err2)
		if !bytes.Equal(raw, again) {
			t.Fatal("two reads differ")
		}
		sums[fmt.Sprintf("%c%c%c", raw[0], raw[512], raw[1024])]++
		do(t, v.Sync())
		if _, err := v.ReadAt(raw, 0); err != nil || raw[0] != '1' || raw[512] != '2' {
			t.Fatalf("synced: %c%c, %v", raw[0], raw[512], err)
		}
	}
	if len(sums) != 4 || sums["12c"]+sums["1bc"]+sums["a2c"]+sums["abc"] != 64 {
		t.Errorf("%v, want each of two pending sectors there or not", sums)
	}
}

func TestADeviceHasBrokenSectorsAndRot(t *testing.T) {
	d := sim.NewDisk(1)
	v := device(d)
	fill(t, v, 0, "abcdef")
	do(t, v.Sync())
	v.Flip(512+7, 0x20)
	for c := range d.CrashStates() {
		if got := letters(t, device(c)); got != "a#cdef" {
			t.Errorf("bit rot: %s", got)
		}
	}
	buf := make([]byte, v.Bytes())
	if _, err := v.ReadAt(buf, 0); err != nil || buf[519] != 'B' {
		t.Errorf("bit rot past the cache: %q, %v", buf[519], err)
	}
	v.Spoil(1024+511, 2)
	for name, read := range map[string]func([]byte, int64) (int, error){"past": v.ReadAt, "cached": v.ReadCached} {
		if n, err := read(buf, 0); n != 1024 || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %d bytes, %v, want 1024 and EIO", name, n, err)
		}
	}
	if c := d.Clone(); !errors.Is(second(device(c).ReadAt(buf[:1], 2047)), syscall.EIO) {
		t.Error("the clone's sector can be read")
	}
	fill(t, v, 2, "x")
	if n, err := v.ReadAt(buf, 0); n != 1536 || !errors.Is(err, syscall.EIO) {
		t.Errorf("one written: %d bytes, %v, want 1536 and EIO", n, err)
	}
	fill(t, v, 3, "y")
	if got := letters(t, v); got != "a#xyef" {
		t.Errorf("both written: %s", got)
	}
}

func second(_ int, err error) error { return err }

func TestADeviceThatCouldNotSyncIsUnsure(t *testing.T) {
	d := sim.NewDisk(1)
	v := device(d)
	fill(t, v, 0, "abc")
	do(t, v.Sync())
	fill(t, v, 0, "12")
	d.Break(sim.Fault{Err: syscall.EIO, Times: 1})
	if err := v.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v", err)
	}
	fill(t, v, 2, "3")
	do(t, v.Sync())
	if got := outcomes(d, showDevice(t)); got["123---"] == 0 || got["ab3---"] == 0 || got["1b3---"] == 0 || got["12c---"] > 0 {
		t.Errorf("%v: want 1 and 2 unsure, 3 sure", got)
	}
	fill(t, v, 0, "9")
	do(t, v.Sync())
	if got := outcomes(d, showDevice(t)); got["923---"] == 0 || got["9b3---"] == 0 || got["a23---"]+got["123---"]+got["1b3---"] > 0 {
		t.Errorf("%v: want what was written again sure", got)
	}
}

func TestADeviceHasAnEnd(t *testing.T) {
	v := device(sim.NewDisk(1))
	if n, err := v.WriteAt(make([]byte, 2), v.Bytes()-1); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write across the end: %d, %v", n, err)
	}
	if n, err := v.ReadAt(make([]byte, 9), v.Bytes()-4); n != 4 || err != io.EOF {
		t.Errorf("read across the end: %d, %v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a device was opened with another size")
		}
	}()
	d := sim.NewDisk(1)
	d.Device("x", 512)
	d.Device("x", 1024)
}

func TestADiscardedDeviceHoldsAnything(t *testing.T) {
	d := sim.NewDisk(1)
	v := d.Device("root", 64*sim.SectorBytes)
	fill(t, v, 0, strings.Repeat("a", 64))
	do(t, v.Discard())
	got := letters(t, v)
	if strings.Count(got, "a") < 5 || strings.Count(got, "-") < 5 || strings.Count(got, "#") < 5 {
		t.Errorf("%s: want some sectors as they were, some zeros, some garbage", got)
	}
	for c := range d.CrashStates() {
		if left := letters(t, c.Device("root", 64*sim.SectorBytes)); left != got {
			t.Errorf("after a cut: %s, want %s", left, got)
		}
	}
}

func TestTheDigestOfADeviceIsThatOfItsContent(t *testing.T) {
	seed := maphash.MakeSeed()
	sum := func(d *sim.Disk) uint64 { return d.Digest(seed) }
	d, other := sim.NewDisk(1), sim.NewDisk(2)
	v, w := device(d), device(other)
	before := sum(d)
	fill(t, v, 0, "abc")
	fill(t, w, 2, "c")
	fill(t, w, 1, "x")
	fill(t, w, 0, "ab")
	if sum(d) != sum(other) || sum(d) == before {
		t.Error("the same content by other ways: other digests")
	}
	swapped := sim.NewDisk(1)
	fill(t, device(swapped), 0, "bac")
	if sum(swapped) == sum(d) {
		t.Error("swapped sectors: the same digest")
	}
	fill(t, v, 0, "\x00\x00\x00")
	if sum(d) != before {
		t.Error("zeros again: another digest")
	}
	c := d.Clone()
	fill(t, device(c), 5, "z")
	if sum(c) == sum(d) || letters(t, v) != "------" {
		t.Error("the clone's write is the original's")
	}
	v.Flip(0, 1)
	if sum(d) == before {
		t.Error("a flipped bit: the same digest")
	}
}

func TestOperationsOnDevicesAreWatchedAndHitByFaults(t *testing.T) {
	d := sim.NewDisk(1)
	v := device(d)
	seen := 0
	d.Watch(func() { seen++ })
	fill(t, v, 0, "a")
	do(t, v.Sync(), v.Discard())
	if seen != 3 || d.Written() != 512 {
		t.Errorf("%d operations seen, %d bytes written, want 3 and 512", seen, d.Written())
	}
	for err, hit := range map[error][4]bool{
		syscall.EIO: {true, true, true, true}, syscall.EROFS: {true, true, true, false}, syscall.ENOSPC: {},
	} {
		d.Break(sim.Fault{Err: err})
		_, write := v.WriteAt([]byte("x"), 0)
		_, read := v.ReadAt(make([]byte, 1), 0)
		for i, got := range []error{write, v.Sync(), v.Discard(), read} {
			if errors.Is(got, err) != hit[i] {
				t.Errorf("%v, operation %d: %v, want it hit: %t", err, i, got, hit[i])
			}
		}
	}
}

// BenchmarkSweepStep is what a sweep does for each state: it takes a copy, goes on in it, and asks whether it is new.
func BenchmarkSweepStep(b *testing.B) {
	d := sim.NewDisk(1)
	v := d.Device("root-a", 512<<10)
	if _, err := v.WriteAt(bytes.Repeat([]byte("firmware"), 64<<10), 0); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(v.Sync(), d.Files("state").WriteFile("journal", make([]byte, 300))); err != nil {
		b.Fatal(err)
	}
	seed, page := maphash.MakeSeed(), bytes.Repeat([]byte{1}, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := d.Clone()
		page[0] = byte(i)
		if _, err := c.Device("root-a", 512<<10).WriteAt(page, int64(i%128)*4096); err != nil {
			b.Fatal(err)
		}
		c.Digest(seed)
	}
}

// BenchmarkCrashStates goes through the states of 128 sectors that wait.
func BenchmarkCrashStates(b *testing.B) {
	d := sim.NewDisk(1)
	v := d.Device("root-a", 512<<10)
	if _, err := v.WriteAt(bytes.Repeat([]byte("firmware"), 8<<10), 100<<10); err != nil {
		b.Fatal(err)
	}
	if err := d.Files("state").WriteFile("journal", make([]byte, 300)); err != nil {
		b.Fatal(err)
	}
	seed, states := maphash.MakeSeed(), 0
	for b.Loop() {
		for c := range d.CrashStates() {
			c.Digest(seed)
			states++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(states), "ns/state")
}
