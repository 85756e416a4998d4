package sim

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"holdfast/board"
)

// Slots are a board's partitions as devices of a Disk: part "root" of slot a is the device "root-a".
type Slots struct {
	// Mounted says whether the part is mounted so that it can be written to; nil: none is. What is mounted is not fixed,
	// and cannot be opened to be written.
	Mounted func(id board.SlotID, part string) bool

	disk   *Disk
	booted func() board.SlotID
	parts  map[string]int64
}

// NewSlots returns slots with the parts and their sizes in bytes, multiples of 512. booted says which slot the running
// system came from; Loader.Booted does.
func NewSlots(d *Disk, booted func() board.SlotID, parts map[string]int64) *Slots {
	return &Slots{disk: d, booted: booted, parts: maps.Clone(parts)}
}

// Parts implements board.Slots.
func (s *Slots) Parts() []string { return slices.Sorted(maps.Keys(s.parts)) }

// Device returns what holds the part, for tests that put something there or break it. It is nil where there is none.
func (s *Slots) Device(id board.SlotID, part string) *Device {
	if size, ok := s.parts[part]; ok && (id == board.SlotA || id == board.SlotB) {
		return s.disk.Device(part+"-"+string(id), size)
	}
	return nil
}

func (s *Slots) device(id board.SlotID, part string) (*Device, error) {
	if v := s.Device(id, part); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("slot %q has no part %q: %w", id, part, fs.ErrNotExist)
}

func (s *Slots) mounted(id board.SlotID, part string) bool {
	return s.Mounted != nil && s.Mounted(id, part)
}

// Room implements board.Slots.
func (s *Slots) Room(id board.SlotID, part string) (int64, error) {
	v, err := s.device(id, part)
	if err != nil {
		return 0, err
	}
	return v.Bytes(), nil
}

// Image implements board.Slots.
func (s *Slots) Image(id board.SlotID, part string) (board.Image, int64, error) {
	v, err := s.device(id, part)
	if err != nil {
		return nil, 0, err
	}
	return &image{v, func() bool { return !v.opened() && !s.mounted(id, part) }}, v.Bytes(), nil
}

// Open implements board.Slots.
func (s *Slots) Open(id board.SlotID, part string, erase bool) (board.Partition, error) {
	v, err := s.device(id, part)
	if err != nil {
		return board.Partition{}, err
	}
	if id == s.booted() || s.mounted(id, part) || !v.claim(true) {
		return board.Partition{}, &fs.PathError{Op: "open", Path: v.m.name, Err: syscall.EBUSY}
	}
	if erase {
		if err := v.Discard(); err != nil {
			v.claim(false)
			return board.Partition{}, fmt.Errorf("erase %s: %w", v.m.name, err)
		}
	}
	return board.Partition{Medium: &writer{v, false}, Bytes: v.Bytes()}, nil
}

type image struct {
	v     *Device
	fixed func() bool
}

func (i *image) ReadAt(p []byte, off int64) (int, error) { return i.v.ReadCached(p, off) }
func (i *image) Fixed() (bool, error)                    { return i.fixed(), nil }
func (i *image) Close() error                            { return nil }

// claim takes the device for a writer, or gives it back, and reports whether that was possible.
func (v *Device) claim(writer bool) bool {
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	if writer && v.m.writer {
		return false
	}
	v.m.writer = writer
	return true
}

func (v *Device) opened() bool {
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	return v.m.writer
}

type writer struct {
	v      *Device
	closed bool
}

func (w *writer) check() error {
	if w.closed {
		return &fs.PathError{Op: "use", Path: w.v.m.name, Err: fs.ErrClosed}
	}
	return nil
}

func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	return w.v.ReadAt(p, off)
}

func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	return w.v.WriteAt(p, off)
}

func (w *writer) Sync() error {
	if err := w.check(); err != nil {
		return err
	}
	return w.v.Sync()
}

func (w *writer) Close() error {
	if err := w.check(); err != nil {
		return err
	}
	w.closed = true
	w.v.claim(false)
	return nil
}
