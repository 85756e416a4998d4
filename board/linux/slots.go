package linux

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/board"
)

// Slots is a board.Slots over block devices, or over plain files for trials.
type Slots struct {
	layout Layout
	log    *slog.Logger
}

// NewSlots returns the slots of a layout. The devices are looked for when they are opened. log may be nil.
func NewSlots(l Layout, log *slog.Logger) (*Slots, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Slots{layout: l, log: log}, nil
}

// Parts implements board.Slots.
func (s *Slots) Parts() []string { return slices.Sorted(maps.Keys(s.layout.Parts)) }

// where returns the path of a part.
func (s *Slots) where(id board.SlotID, part string) (string, error) {
	where, ok := s.layout.Parts[part][id]
	if !ok {
		return "", fmt.Errorf("slot %.20q has no part %.40q: %w", id, part, os.ErrNotExist)
	}
	return s.layout.path(where)
}

// Room implements board.Slots.
func (s *Slots) Room(id board.SlotID, part string) (int64, error) {
	image, size, err := s.Image(id, part)
	if err != nil {
		return 0, err
	}
	return size, image.Close()
}

// Image implements board.Slots.
func (s *Slots) Image(id board.SlotID, part string) (board.Image, int64, error) {
	path, err := s.where(id, part)
	if err != nil {
		return nil, 0, err
	}
	file, at, size, err := open(path, os.O_RDONLY)
	if err != nil {
		return nil, 0, fmt.Errorf("image of %s in slot %s: %w", part, id, err)
	}
	return &image{File: file, layout: s.layout, at: at}, size, nil
}

// Open implements board.Slots. The kernel is asked for the device alone (O_EXCL), which it refuses while it is mounted
// or another device stands on it; a file is locked (flock). Where it cannot be told which slot the system runs from,
// nothing is opened.
func (s *Slots) Open(id board.SlotID, part string, erase bool) (board.Partition, error) {
	m, err := s.open(id, part)
	if err != nil {
		return board.Partition{}, fmt.Errorf("open %s of slot %s: %w", part, id, err)
	}
	if erase {
		if err := m.erase(); err != nil {
			m.file.Close()
			return board.Partition{}, fmt.Errorf("erase %s of slot %s: %w", part, id, err)
		}
	}
	return board.Partition{Medium: m, Bytes: m.bytes}, nil
}

func (s *Slots) open(id board.SlotID, part string) (*medium, error) {
	path, err := s.where(id, part)
	if err != nil {
		return nil, err
	}
	booted, err := s.layout.Booted()
	if err != nil {
		return nil, err
	}
	if id == booted {
		return nil, errors.New("the system runs from it")
	}
	file, at, size, err := open(path, os.O_RDWR|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: it is mounted, or something stands on it, or it is open already", err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.claim(file, at, id, part); err != nil {
		file.Close()
		return nil, err
	}
	return &medium{file: file, bytes: size, block: at.block(), log: s.log}, nil
}

// claim asks what O_EXCL does not: that no other part is at the same place, that no loop device stands on it, and of a
// file whether it is open already.
func (s *Slots) claim(file *os.File, at place, id board.SlotID, part string) error {
	for p, places := range s.layout.Parts {
		for other, where := range places {
			if q, err := s.layout.find(where); err == nil && q == at && (p != part || other != id) {
				return fmt.Errorf("%s of slot %s is at the same place", p, other)
			}
		}
	}
	if loops, err := s.layout.loops(at); err != nil {
		return err
	} else if len(loops) > 0 {
		return fmt.Errorf("a loop device stands on it: %w", unix.EBUSY)
	}
	if at.block() {
		if s.layout.readOnly(at.dev) { // the kernel refuses the writes, not always the opening
			return unix.EROFS
		}
		return nil
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("it is open already: %w", err)
	}
	return nil
}

// open opens a block device or a file and returns its size.
func open(path string, flags int) (*os.File, place, int64, error) {
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK, 0) // a FIFO would block
	if err != nil {
		return nil, place{}, 0, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(file.Fd()), &st)
	var at place
	if err == nil {
		at, err = placeOf(path, &st)
	}
	var size int64
	if err == nil {
		size, err = file.Seek(0, io.SeekEnd) // tells of a block device too
	}
	if err == nil && size <= 0 {
		err = fmt.Errorf("%s: has no bytes", path)
	}
	if err != nil {
		file.Close()
		return nil, place{}, 0, err
	}
	return file, at, size, nil
}

// An image is a part opened to be read.
type image struct {
	*os.File
	layout Layout
	at     place
}

// Fixed implements board.Image. Of a block device it is true when its file system is mounted read-only wherever it is
// mounted, or when nobody has it open for himself alone; the same must hold of the devices that stand on it, unless the
// kernel lets nobody write to them, as with verity. What another mount namespace has mounted is not known, so it is not
// fixed. A file is fixed when neither a loop device nor Open has it.
func (i *image) Fixed() (bool, error) {
	mounts, err := i.layout.mounts()
	if err != nil {
		return false, err
	}
	if !i.at.block() {
		if fixed, err := i.layout.fixedBelow(i.at, mounts, 0); err != nil || !fixed {
			return false, err
		}
		return unlocked(i.File)
	}
	return i.layout.fixed(i.at.dev, mounts, 0)
}

// unlocked reports whether Open has not got the file: it holds an exclusive lock.
func unlocked(file *os.File) (bool, error) {
	err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("image %s: %w", file.Name(), err)
	}
	return true, unix.Flock(int(file.Fd()), unix.LOCK_UN)
}

// fixed reports whether nobody can be writing to the block device.
func (l Layout) fixed(dev uint64, mounts []mount, depth int) (bool, error) {
	if depth > 8 {
		return false, errors.New("devices stand on one another more than 8 deep")
	}
	if l.readOnly(dev) {
		return true, nil
	}
	mounted := false
	for _, m := range mounts {
		if !m.on(dev) {
			continue
		}
		if !m.readOnly {
			return false, nil
		}
		mounted = true
	}
	above, err := l.neighbours(dev, "holders")
	if err != nil {
		return false, err
	}
	for _, holder := range above {
		if fixed, err := l.fixed(holder, mounts, depth+1); err != nil || !fixed {
			return false, err
		}
	}
	if fixed, err := l.fixedBelow(place{dev: dev}, mounts, depth); err != nil || !fixed {
		return false, err
	}
	return mounted || len(above) > 0 || l.free(dev), nil
}

func (l Layout) readOnly(dev uint64) bool {
	text, err := readSmall(l.sysBlock(dev, "ro"), 64)
	return err == nil && strings.TrimSpace(text) == "1"
}

// fixedBelow reports whether nobody can be writing to the loop devices that stand on the place.
func (l Layout) fixedBelow(at place, mounts []mount, depth int) (bool, error) {
	loops, err := l.loops(at)
	if err != nil {
		return false, err
	}
	for _, loop := range loops {
		if fixed, err := l.fixed(loop, mounts, depth+1); err != nil || !fixed {
			return false, err
		}
	}
	return true, nil
}

// free reports whether nobody has the block device for himself alone: the kernel would give it to us. The device is let
// go at once.
func (l Layout) free(dev uint64) bool {
	text, err := readSmall(l.sysBlock(dev, "uevent"), 4096)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			file, at, _, err := open(l.under("dev/"+name), os.O_RDONLY|unix.O_EXCL)
			if err != nil {
				return false
			}
			file.Close()
			return at.dev == dev
		}
	}
	return false
}
