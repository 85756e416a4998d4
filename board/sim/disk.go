package sim

import (
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"syscall"
)

// SectorBytes is the unit in which a power cut keeps or loses what was written.
const SectorBytes = 512

// blockBytes is what a file takes at least.
const blockBytes = 4096

// A Disk is a file system in memory, with block devices beside it, that remembers which of its changes a power cut may
// still undo.
//
// What a running system sees is the page cache: every write, at once. What a power cut leaves is decided by barriers:
// bytes and length of a file are sure after its Sync, its name (or absence) after the Sync of its directory, the sectors
// of a device after the device's Sync, and nothing else is. Each write is kept as 512-byte sectors, each creation, rename
// and removal as one change of names; CrashStates goes through what may be left of them.
//
// A Sync that answers EIO behaves as Linux does: what was waiting is neither sure nor lost, and no later Sync of the same
// file makes it sure.
//
// A Disk may be used from several goroutines.
type Disk struct {
	mu      sync.Mutex
	seed    uint64
	dirs    map[string]*directory
	devices map[string]*medium
	pending []change // of files, in the order they were made
	ops     int
	written int64
	temps   int
	watch   func()
	fault   Fault
	hits    int
}

type directory struct {
	live map[string]*inode // what the running system sees
	kept map[string]*inode // what is sure to be there after a power cut
}

type inode struct {
	live []byte
	kept []byte // shares memory with live; neither is ever written in place
}

// A change is one thing a power cut may undo: a sector of a file (data), a file's new length (grow), or names.
type change struct {
	ino   *inode
	off   int64 // of a sector: its beginning in the file
	data  []byte
	grow  int64
	limbo bool // a Sync failed on it: it stays unsure for ever
	dir   *directory
	names []binding
}

// A binding sets a name; a nil inode removes it.
type binding struct {
	name string
	ino  *inode
}

// A Fault makes operations fail. ENOSPC hits creations and writes of files (of which half is written), EROFS these and
// removals, renames, syncs and what changes devices, any other error everything, reads too.
type Fault struct {
	Err   error
	Skip  int // so many operations that it could hit pass unharmed
	Times int // then so many fail; 0 means all until Repair
}

// NewDisk returns an empty disk. The seed decides what is random in it: garbage, and which halves survive.
func NewDisk(seed uint64) *Disk {
	return &Disk{seed: seed, dirs: map[string]*directory{}, devices: map[string]*medium{}}
}

// Break installs a fault in place of the one before.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.hits = f, 0
}

// Broken reports whether a fault has hit an operation since Break or Repair.
func (d *Disk) Broken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits > 0
}

// Repair ends the fault.
func (d *Disk) Repair() { d.Break(Fault{}) }

// Watch has f called after every operation that changes the disk, before it returns to its caller: the moment to look at
// CrashStates. f may not change this disk. nil ends it.
func (d *Disk) Watch(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

// Ops returns how many operations, reads among them, there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Written returns how many bytes were written, to files and devices.
func (d *Disk) Written() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// Usage returns what the files in the directory take, each rounded up to whole blocks of 4 KiB.
func (d *Disk) Usage(dir string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum int64
	for _, ino := range d.directory(dir).live {
		sum += (int64(len(ino.live)) + blockBytes - 1) / blockBytes * blockBytes
	}
	return sum
}

// Digest returns a hash of what the running system sees, by which states can be told apart.
func (d *Disk) Digest(seed maphash.Seed) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var h maphash.Hash
	h.SetSeed(seed)
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		h.WriteString(dir)
		for _, name := range slices.Sorted(maps.Keys(d.dirs[dir].live)) {
			data := d.dirs[dir].live[name].live
			h.WriteString(name)
			maphash.WriteComparable(&h, len(data))
			h.Write(data)
		}
		h.WriteByte(0)
	}
	for _, name := range slices.Sorted(maps.Keys(d.devices)) {
		h.WriteString(name)
		maphash.WriteComparable(&h, d.devices[name].live.sum)
	}
	return h.Sum64()
}

// Flip inverts the bits of mask in one byte of a file, durably: bit rot. It reports whether the byte is there.
func (d *Disk) Flip(dir, name string, off int64, mask byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino := d.directory(dir).live[name]
	if ino == nil || off >= int64(len(ino.live)) {
		return false
	}
	ino.live = slices.Clone(ino.live)
	ino.live[off] ^= mask
	if off < int64(len(ino.kept)) {
		ino.kept = slices.Clone(ino.kept)
		ino.kept[off] ^= mask
	}
	return true
}

func newDirectory() *directory {
	return &directory{live: map[string]*inode{}, kept: map[string]*inode{}}
}

func (d *Disk) directory(name string) *directory {
	dir := d.dirs[name]
	if dir == nil {
		dir = newDirectory()
		d.dirs[name] = dir
	}
	return dir
}

// reach says what an operation is to a fault.
type reach int

const (
	reads   reach = iota // hit by EIO and its like
	changes              // and by EROFS
	grows                // and by ENOSPC
)

// begin counts an operation and returns the fault's error if it is hit. The caller holds the lock.
func (d *Disk) begin(op, name string, r reach) error {
	d.ops++
	f := &d.fault
	if f.Err == nil || errors.Is(f.Err, syscall.ENOSPC) && r < grows || errors.Is(f.Err, syscall.EROFS) && r < changes {
		return nil
	}
	if f.Skip > 0 {
		f.Skip--
		return nil
	}
	err := &fs.PathError{Op: op, Path: name, Err: f.Err}
	d.hits++
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			f.Err = nil
		}
	}
	return err
}

// end releases the lock and tells the watcher.
func (d *Disk) end() {
	watch := d.watch
	d.mu.Unlock()
	if watch != nil {
		watch()
	}
}

func (d *Disk) create(dir *directory, name string) (*inode, error) {
	d.mu.Lock()
	if err := d.begin("create", name, grows); err != nil {
		d.mu.Unlock()
		return nil, err
	}
	ino := &inode{}
	d.bind(dir, binding{name, ino})
	d.end()
	return ino, nil
}

func (d *Disk) bind(dir *directory, names ...binding) {
	for _, b := range names {
		if b.ino == nil {
			delete(dir.live, b.name)
		} else {
			dir.live[b.name] = b.ino
		}
	}
	d.pending = append(d.pending, change{dir: dir, names: names})
}

func (d *Disk) write(ino *inode, name string, p []byte) (int, error) {
	d.mu.Lock()
	err := d.begin("write", name, grows)
	if err != nil {
		if !errors.Is(err, syscall.ENOSPC) {
			d.mu.Unlock()
			return 0, err
		}
		p = p[:len(p)/2]
	}
	if len(p) > 0 {
		first := int64(len(ino.live)) / SectorBytes * SectorBytes
		ino.live = append(ino.live, p...)
		size := int64(len(ino.live))
		for off := first; off < size; off += SectorBytes {
			// A sector goes out as a whole, with what stood in it before.
			data := slices.Clone(ino.live[off:min(off+SectorBytes, size)])
			d.pending = append(d.pending, change{ino: ino, off: off, data: data})
		}
		d.pending = append(d.pending, change{ino: ino, grow: size})
		d.written += int64(len(p))
	}
	d.end()
	return len(p), err
}

func (d *Disk) readAt(ino *inode, name string, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("read", name, reads); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	if off >= int64(len(ino.live)) {
		return 0, io.EOF
	}
	n := copy(p, ino.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *Disk) sync(ino *inode, name string) error {
	d.mu.Lock()
	err := d.begin("sync", name, changes)
	limbo := false
	for i := range d.pending {
		if c := &d.pending[i]; c.ino == ino {
			c.limbo = c.limbo || err != nil
			limbo = limbo || c.limbo
		}
	}
	if err != nil {
		d.mu.Unlock()
		return err
	}
	if !limbo {
		ino.kept = slices.Clip(ino.live)
	}
	d.settle(func(c change) bool { return c.ino == ino && !c.limbo }, limbo)
	d.end()
	return nil
}

func (d *Disk) syncDir(dir *directory, name string) error {
	d.mu.Lock()
	if err := d.begin("sync", name, changes); err != nil {
		d.mu.Unlock()
		return err
	}
	d.settle(func(c change) bool { return c.dir == dir }, true)
	d.end()
	return nil
}

// settle takes the changes out of pending and, if asked, applies them to what is kept.
func (d *Disk) settle(sure func(change) bool, apply bool) {
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool {
		if !sure(c) {
			return false
		}
		if apply && c.dir != nil {
			c.rename(c.dir.kept)
		} else if apply {
			c.ino.kept = c.onto(c.ino.kept, nil)
		}
		return true
	})
}

func (d *Disk) remove(dir *directory, name string) error {
	d.mu.Lock()
	if err := d.begin("remove", name, changes); err != nil {
		d.mu.Unlock()
		return err
	}
	if dir.live[name] == nil {
		d.mu.Unlock()
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	d.bind(dir, binding{name, nil})
	d.end()
	return nil
}

func (d *Disk) rename(dir *directory, from, to string) error {
	d.mu.Lock()
	if err := d.begin("rename", from, changes); err != nil {
		d.mu.Unlock()
		return err
	}
	d.bind(dir, binding{from, nil}, binding{to, dir.live[from]})
	d.end()
	return nil
}

func (d *Disk) list(dir *directory) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("list", ".", reads); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(dir.live)), nil
}

// lookup counts as an operation of its own, as opening a file does.
func (d *Disk) lookup(dir *directory, name string) (*inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("open", name, reads); err != nil {
		return nil, err
	}
	return dir.live[name], nil
}
