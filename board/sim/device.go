package sim

import (
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"slices"
	"syscall"
)

// A Device is a block device of a Disk: a fixed number of bytes, all zeros at first. It keeps board.Medium in the Disk's
// model of crashes: sectors that are written wait until Sync, and a power cut may keep or lose each of them. A partial
// sector is written as a whole, with what stood in it before. Several may be handles of the same device.
type Device struct {
	disk *Disk
	m    *medium
}

// A medium is what all handles of a device share. Its trees and slices are never changed in place: clones share them.
type medium struct {
	name    string
	sectors int
	live    tree // what the running system sees
	kept    tree // what is sure to be there after a power cut
	pending []sectorWrite
	bad     []int // sectors that cannot be read, until they are written
	writer  bool  // somebody has opened it to write
}

// A sectorWrite is one thing a power cut may undo.
type sectorWrite struct {
	at    int
	turn  int // of the operation that wrote it
	data  *sector
	limbo bool // a Sync failed on it: it stays unsure until the sector is written again
}

// Device opens the device and makes it where there is none. The size is a multiple of 512 bytes; a device that is there
// with another size is a mistake of the caller's.
func (d *Disk) Device(name string, bytes int64) *Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.devices[name]
	if m == nil {
		n := int(bytes / SectorBytes)
		m = &medium{name: name, sectors: n, live: newTree(n), kept: newTree(n)}
		d.devices[name] = m
	}
	if bytes <= 0 || bytes != m.bytes() {
		panic(fmt.Sprintf("device %s of %d bytes opened with %d", name, m.bytes(), bytes))
	}
	return &Device{disk: d, m: m}
}

func (m *medium) bytes() int64 { return int64(m.sectors) * SectorBytes }

// Bytes returns the device's size.
func (v *Device) Bytes() int64 { return v.m.bytes() }

// Close does nothing; it makes a board.Medium of the device.
func (v *Device) Close() error { return nil }

// WriteAt implements board.Medium. What is not all inside the device is not written at all.
func (v *Device) WriteAt(p []byte, off int64) (int, error) {
	d, m := v.disk, v.m
	if off < 0 || off > m.bytes() || int64(len(p)) > m.bytes()-off {
		return 0, &fs.PathError{Op: "write", Path: m.name, Err: syscall.ENOSPC}
	}
	d.mu.Lock()
	if err := d.begin("write", m.name, changes); err != nil {
		d.mu.Unlock()
		return 0, err
	}
	if len(p) > 0 {
		m.write(p, int(off), d.ops)
		d.written += int64(len(p))
	}
	d.end()
	return len(p), nil
}

func (m *medium) write(p []byte, off, turn int) {
	first, last := off/SectorBytes, (off+len(p)-1)/SectorBytes
	fresh := make([]sector, last-first+1) // one allocation for all
	e := m.live.edit()
	pending := slices.Grow(slices.Clip(m.pending), len(fresh))
	for i := first; i <= last; i++ {
		s := &fresh[i-first]
		from, to := max(off, i*SectorBytes), min(off+len(p), (i+1)*SectorBytes)
		if to-from < SectorBytes {
			e.at(i).read(s.data[:], 0)
		}
		copy(s.data[from-i*SectorBytes:], p[from-off:to-off])
		s = s.seal()
		e.set(i, s)
		pending = append(pending, sectorWrite{at: i, turn: turn, data: s})
	}
	m.live, m.pending = e.tree, pending
	if len(m.bad) > 0 {
		m.bad = slices.DeleteFunc(slices.Clone(m.bad), func(i int) bool { return first <= i && i <= last })
	}
}

// Sync implements board.Medium.
func (v *Device) Sync() error {
	d, m := v.disk, v.m
	d.mu.Lock()
	if err := d.begin("sync", m.name, changes); err != nil {
		m.pending = slices.Clone(m.pending)
		for i := range m.pending {
			m.pending[i].limbo = true
		}
		d.mu.Unlock()
		return err
	}
	m.settle()
	d.end()
	return nil
}

// waits reports whether something waits for a Sync.
func (v *Device) waits() bool {
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	return len(v.m.pending) > 0
}

// settle makes sure of what waits, except of what a Sync failed on and nobody has written since.
func (m *medium) settle() {
	if !slices.ContainsFunc(m.pending, func(w sectorWrite) bool { return w.limbo }) {
		m.kept, m.pending = m.live, nil
		return
	}
	var limbo []sectorWrite
	sure := map[int]bool{}
	e := m.kept.edit()
	for _, w := range m.pending {
		if !w.limbo {
			e.set(w.at, w.data)
			sure[w.at] = true // a sector's limbo comes before what was written over it
		}
	}
	for _, w := range m.pending {
		if w.limbo && !sure[w.at] {
			limbo = append(limbo, w)
		}
	}
	m.kept, m.pending = e.tree, limbo
}

// ReadAt implements board.Medium: it reads what is sure, and of what waits for a Sync that which, by the seed, is on the
// medium already.
func (v *Device) ReadAt(p []byte, off int64) (int, error) {
	d, m := v.disk, v.m
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[int]*sector{}
	for _, w := range m.pending {
		if d.coin(w.turn, w.at) {
			there[w.at] = w.data
		}
	}
	return d.read(m, p, off, func(i int) *sector {
		if s, ok := there[i]; ok {
			return s
		}
		return m.kept.at(i)
	})
}

// ReadCached reads as the running system does through its page cache: everything that was written.
func (v *Device) ReadCached(p []byte, off int64) (int, error) {
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	return v.disk.read(v.m, p, off, v.m.live.at)
}

func (d *Disk) read(m *medium, p []byte, off int64, at func(int) *sector) (n int, err error) {
	if err := d.begin("read", m.name, reads); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: m.name, Err: fs.ErrInvalid}
	}
	for n < len(p) {
		here := off + int64(n)
		if here >= m.bytes() {
			return n, io.EOF
		}
		i, from := int(here/SectorBytes), int(here%SectorBytes)
		if _, bad := slices.BinarySearch(m.bad, i); bad {
			return n, &fs.PathError{Op: "read", Path: m.name, Err: syscall.EIO}
		}
		k := min(SectorBytes-from, len(p)-n)
		at(i).read(p[n:n+k], from)
		n += k
	}
	return n, nil
}

// Discard gives up the content, at once and for sure: by the seed, each sector keeps what it held, reads as zeros or as
// garbage.
func (v *Device) Discard() error {
	d, m := v.disk, v.m
	d.mu.Lock()
	if err := d.begin("discard", m.name, changes); err != nil {
		d.mu.Unlock()
		return err
	}
	garbage := &sector{}
	for i := range garbage.data {
		garbage.data[i] = byte(mix(d.seed, uint64(d.ops), uint64(i)))
	}
	garbage = garbage.seal()
	e := m.live.edit()
	for i := range m.sectors {
		switch mix(d.seed, uint64(d.ops), uint64(i)) % 4 {
		case 0: // kept
		case 1:
			e.set(i, nil)
		default:
			e.set(i, garbage)
		}
	}
	m.live, m.kept, m.pending = e.tree, e.tree, nil
	d.end()
	return nil
}

// Flip inverts the bits of mask in one byte, durably: bit rot. What waits for a Sync does not rot.
func (v *Device) Flip(off int64, mask byte) {
	d, m := v.disk, v.m
	d.mu.Lock()
	defer d.mu.Unlock()
	i := int(off / SectorBytes)
	flip := func(t tree) tree {
		s := &sector{}
		t.at(i).read(s.data[:], 0)
		s.data[off%SectorBytes] ^= mask
		return t.with(i, s.seal())
	}
	m.live, m.kept = flip(m.live), flip(m.kept)
}

// Spoil makes the sectors that hold the bytes unreadable, EIO, until they are written.
func (v *Device) Spoil(off, n int64) {
	d, m := v.disk, v.m
	d.mu.Lock()
	defer d.mu.Unlock()
	bad := slices.Clone(m.bad)
	for i := off / SectorBytes; i*SectorBytes < off+n; i++ {
		bad = append(bad, int(i))
	}
	slices.Sort(bad)
	m.bad = slices.Compact(bad)
}

// coin is a throw that comes out the same whenever it is asked for.
func (d *Disk) coin(turn, at int) bool { return mix(d.seed, uint64(turn), uint64(at))&1 == 0 }

func mix(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xbf58476d1ce4e5b9)
	hi, lo = bits.Mul64(hi^lo^c, 0x94d049bb133111eb)
	return hi ^ lo ^ lo>>29
}
