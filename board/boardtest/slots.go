package boardtest

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"holdfast/board"
)

// Partitions are slots under test. Each part holds at least 16 KiB in both slots.
type Partitions struct {
	Slots  board.Slots
	Booted board.SlotID // the slot the running system came from
	// Restart ends the running system, which has synced nothing, and returns the slots as the next one sees them, from the
	// same slot. Nil where that cannot be done.
	Restart func() board.Slots
}

// TestSlots is the contract of board.Slots. open makes a new board.
func TestSlots(t *testing.T, open func(t *testing.T) Partitions) {
	t.Run("each part is in both slots, by sorted names", func(t *testing.T) {
		p := open(t)
		parts := p.Slots.Parts()
		if len(parts) == 0 || !slices.IsSorted(parts) {
			t.Fatalf("parts %q, want some, sorted", parts)
		}
		for _, part := range parts {
			for _, id := range []board.SlotID{board.SlotA, board.SlotB} {
				room, err := p.Slots.Room(id, part)
				if err != nil || room <= 0 {
					t.Errorf("slot %s has room for %d bytes of %s, %v", id, room, part, err)
				}
				image, size, err := p.Slots.Image(id, part)
				if err != nil || size < 16384 {
					t.Fatalf("image of %s in %s: %d bytes, %v", part, id, size, err)
				}
				if err := image.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("what is not there cannot be opened", func(t *testing.T) {
		p := open(t)
		part := p.Slots.Parts()[0]
		for _, c := range []struct {
			id   board.SlotID
			part string
		}{{p.Booted.Other(), "none"}, {p.Booted.Other(), ""}, {"c", part}, {"", part}} {
			if room, err := p.Slots.Room(c.id, c.part); err == nil {
				t.Errorf("slot %q has room for %d bytes of %q", c.id, room, c.part)
			}
			if image, _, err := p.Slots.Image(c.id, c.part); err == nil {
				image.Close()
				t.Errorf("Image(%q, %q) succeeded", c.id, c.part)
			}
			if medium, err := p.Slots.Open(c.id, c.part, false); err == nil {
				medium.Close()
				t.Errorf("Open(%q, %q) succeeded", c.id, c.part)
			}
		}
	})
	t.Run("the running system is not written over", func(t *testing.T) {
		p := open(t)
		for _, part := range p.Slots.Parts() {
			before := content(t, p.Slots, p.Booted, part)
			for _, erase := range []bool{false, true} {
				if medium, err := p.Slots.Open(p.Booted, part, erase); err == nil {
					medium.Close()
					t.Errorf("%s of the running system was opened to be written", part)
				}
			}
			if !bytes.Equal(content(t, p.Slots, p.Booted, part), before) {
				t.Errorf("%s of the running system has changed", part)
			}
		}
	})
	t.Run("a part has one writer, until it is closed", func(t *testing.T) { testOneWriter(t, open(t)) })
	t.Run("what is written is read", func(t *testing.T) { testWritten(t, open(t)) })
	t.Run("what is synced outlasts the system", func(t *testing.T) { testOutlasts(t, open(t)) })
	t.Run("nothing is written past the end", func(t *testing.T) { testEnd(t, open(t)) })
	t.Run("a closed part is closed", func(t *testing.T) {
		p := open(t)
		medium := opened(t, p, p.Slots.Parts()[0], false)
		if err := medium.Close(); err != nil {
			t.Fatal(err)
		}
		_, read := medium.ReadAt(make([]byte, 1), 0)
		_, write := medium.WriteAt(make([]byte, 1), 0)
		if read == nil || write == nil || medium.Sync() == nil {
			t.Errorf("read %v, write %v, sync: want errors of all three", read, write)
		}
	})
}

func testOneWriter(t *testing.T, p Partitions) {
	part, id := p.Slots.Parts()[0], p.Booted.Other()
	image, _, err := p.Slots.Image(id, part)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if fixed, err := image.Fixed(); !fixed || err != nil {
		t.Errorf("nobody writes: fixed %t, %v", fixed, err)
	}
	first := opened(t, p, part, false)
	if second, err := p.Slots.Open(id, part, false); err == nil {
		second.Close()
		t.Error("a second writer was let in")
	}
	if fixed, err := image.Fixed(); fixed || err != nil {
		t.Errorf("somebody writes: fixed %t, %v", fixed, err)
	}
	for _, beside := range p.Slots.Parts()[1:] {
		if err := opened(t, p, beside, false).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := opened(t, p, part, false).Close(); err != nil {
		t.Fatal(err)
	}
	if fixed, err := image.Fixed(); !fixed || err != nil {
		t.Errorf("nobody writes any more: fixed %t, %v", fixed, err)
	}
}

// testWritten writes pieces of odd lengths at odd places, over one another, and compares with a copy in memory.
func testWritten(t *testing.T, p Partitions) {
	parts, id := p.Slots.Parts(), p.Booted.Other()
	part := parts[len(parts)-1]
	before := map[string][]byte{}
	for _, beside := range parts[:len(parts)-1] {
		before[beside] = content(t, p.Slots, id, beside)
	}
	medium := opened(t, p, part, true)
	want := make([]byte, 16384)
	write(t, medium, want, 0) // after it was erased it may hold anything
	for i, at := range []struct{ off, n int }{
		{0, 512}, {512, 512}, {1024, 4096}, {3, 1}, {511, 2}, {4000, 200}, {5120, 11264}, {8191, 2}, {700, 9001}, {16383, 1}, {0, 1},
		{9000, 0},
	} {
		piece := bytes.Repeat([]byte{byte(i + 1)}, at.n)
		copy(want[at.off:], piece)
		write(t, medium, piece, int64(at.off))
		clear(piece) // what is written was copied
		if i%4 == 3 {
			if err := medium.Sync(); err != nil {
				t.Fatal(err)
			}
			compare(t, medium, want)
		}
	}
	if err := medium.Sync(); err != nil {
		t.Fatal(err)
	}
	compare(t, medium, want)
	if err := medium.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, p.Slots, id, part)[:len(want)]; !bytes.Equal(got, want) {
		t.Errorf("the image differs from byte %d on", differ(got, want))
	}
	for beside, was := range before {
		if !bytes.Equal(content(t, p.Slots, id, beside), was) {
			t.Errorf("%s beside it has changed", beside)
		}
	}
}

func testOutlasts(t *testing.T, p Partitions) {
	if p.Restart == nil {
		return // a driver's own tests may do it in another way
	}
	part, id := p.Slots.Parts()[0], p.Booted.Other()
	medium := opened(t, p, part, true)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	write(t, medium, want, 0)
	if err := medium.Sync(); err != nil {
		t.Fatal(err)
	}
	p.Slots = p.Restart()
	if got := content(t, p.Slots, id, part)[:len(want)]; !bytes.Equal(got, want) {
		t.Errorf("the image differs from byte %d on", differ(got, want))
	}
	if err := opened(t, p, part, false).Close(); err != nil {
		t.Error(err)
	}
}

func testEnd(t *testing.T, p Partitions) {
	medium := opened(t, p, p.Slots.Parts()[0], false)
	defer medium.Close()
	whole := bytes.Repeat([]byte{7}, int(medium.Bytes))
	write(t, medium, whole, 0)
	if err := medium.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ off, n int64 }{
		{medium.Bytes, 1}, {medium.Bytes - 1, 2}, {medium.Bytes + 4096, 1}, {0, medium.Bytes + 1}, {-1, 1}, {1 << 62, 1},
	} {
		if _, err := medium.WriteAt(bytes.Repeat([]byte{9}, int(c.n)), c.off); err == nil {
			t.Errorf("%d bytes were written at %d of %d", c.n, c.off, medium.Bytes)
		}
	}
	compare(t, medium, whole)
	buf := make([]byte, 16)
	if n, err := medium.ReadAt(buf, medium.Bytes-5); n != 5 || err != io.EOF || !bytes.Equal(buf[:n], whole[:5]) {
		t.Errorf("read across the end: %d bytes, %v, want 5, EOF", n, err)
	}
	if n, err := medium.ReadAt(buf, medium.Bytes); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d bytes, %v, want EOF", n, err)
	}
	if _, err := medium.ReadAt(buf, -1); err == nil || err == io.EOF {
		t.Errorf("read before the beginning: %v", err)
	}
}

func opened(t *testing.T, p Partitions, part string, erase bool) board.Partition {
	t.Helper()
	medium, err := p.Slots.Open(p.Booted.Other(), part, erase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = medium.Close() }) // a second time, mostly
	return medium
}

func write(t *testing.T, medium board.Partition, p []byte, off int64) {
	t.Helper()
	if n, err := medium.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("write %d bytes at %d: %d, %v", len(p), off, n, err)
	}
}

// compare reads what the medium holds, in odd pieces.
func compare(t *testing.T, medium board.Partition, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	for off := 0; off < len(got); off += 3001 {
		end := min(off+3001, len(got))
		if n, err := medium.ReadAt(got[off:end], int64(off)); n != end-off || (err != nil && err != io.EOF) {
			t.Fatalf("read at %d: %d bytes, %v", off, n, err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the medium differs from byte %d on", differ(got, want))
	}
}

func content(t *testing.T, s board.Slots, id board.SlotID, part string) []byte {
	t.Helper()
	image, size, err := s.Image(id, part)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	b := make([]byte, size)
	if n, err := image.ReadAt(b, 0); n != len(b) || (err != nil && err != io.EOF) {
		t.Fatalf("read %s of %s: %d bytes of %d, %v", part, id, n, size, err)
	}
	return b
}

func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}
