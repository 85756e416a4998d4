package board

import "io"

// A SlotID names one of the two sets of partitions that each hold a whole system.
type SlotID string

// The slots of every board. How the bootloader and the partition table call them is the driver's business.
const (
	SlotA SlotID = "a"
	SlotB SlotID = "b"
)

// Other returns the slot that is not s.
func (s SlotID) Other() SlotID {
	if s == SlotA {
		return SlotB
	}
	return SlotA
}

// A Medium is one partition of a slot, opened to be written: a flat file of a fixed size. One goroutine uses it.
type Medium interface {
	// ReadAt reads what the medium itself holds, past any cache: what was written and not yet synced may be missing.
	io.ReaderAt
	io.WriterAt
	// Sync returns when everything written is durable.
	Sync() error
	io.Closer
}

// A Partition is one part of a slot. Bytes is its size: an image of more does not fit.
type Partition struct {
	Medium
	Bytes int64
}

// An Image is one part of a slot, opened to be read while the system may be running from it.
type Image interface {
	io.ReaderAt
	io.Closer
	// Fixed reports whether nobody can be writing to it: it is not mounted, or mounted read-only. What is not fixed is no
	// source for a delta.
	Fixed() (bool, error)
}

// Slots are a board's partitions. A part is "root" or another name the board's layout gives: each part exists in both
// slots, all parts of a slot are switched together.
type Slots interface {
	// Parts returns the names of the parts, sorted.
	Parts() []string
	// Room returns how many bytes a part can have.
	Room(id SlotID, part string) (int64, error)
	// Image opens a part for reading, through the page cache, and returns its size.
	Image(id SlotID, part string) (Image, int64, error)
	// Open opens a part for writing, exclusively: it is an error on a part that is mounted or that the running system
	// came from. With erase its content is given up first (discarded where the medium can), and what it reads as until it
	// is written is anything.
	Open(id SlotID, part string, erase bool) (Partition, error)
}

// BootFacts is what the bootloader knows and how this boot came about; nothing in it is inferred from our own records.
type BootFacts struct {
	Booted SlotID // the slot the running system came from
	Next   SlotID // the slot the bootloader will try first at the next boot, if nothing changes
	Reset  Reset  // why the machine started
}

// Leaving reports whether the next boot leads to another slot, if nothing changes: the running system is on trial, or the
// other slot is armed. Which of the two it is, the bootloader does not say.
func (f BootFacts) Leaving() bool { return f.Next != f.Booted }

// A Reset is why the machine started, as far as its hardware tells.
type Reset string

// The reasons. Most boards know none: empty.
const (
	ResetPower    Reset = "power"    // the supply was gone
	ResetWatchdog Reset = "watchdog" // the hardware watchdog
	ResetRequest  Reset = "request"  // an orderly restart
)

// Boot is the bootloader's switch between the slots. Each call is durable when it returns, leaves the switch as it was or
// as it should be if the power goes in the middle, and may be done twice.
//
// One thing some bootloaders cannot keep: what is armed may be forgotten in a power cut, where the bootloader hears of it
// in a warm restart alone (the Raspberry Pi's tryboot). Facts say so then: Next is Booted, and it may be armed again.
type Boot interface {
	Facts() (BootFacts, error)
	// Arm makes the next boot try the slot, once: if that boot is not committed, the one after it leads back to the slot
	// that is running now.
	Arm(id SlotID) error
	// Disarm takes back what Arm did: the next boot leads to the slot that was good before. In a boot that is on trial it
	// makes sure of what would happen anyway. The bootloader does not fall back to the other slot either until that is
	// armed: what is in it may be overwritten.
	Disarm() error
	// Commit trusts the running system from now on; an Arm before it is taken back. Boards that count attempts at every
	// boot want it at each that is healthy.
	Commit() error
}
