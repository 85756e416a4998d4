package nbd

import (
	"errors"
	"io"
	"sync"
)

// ErrNoPower is what a medium answers after a cut.
var ErrNoPower = errors.New("the power is gone")

// A Supply feeds all media of one board: they lose power at one moment, each with what its own cache holds. It counts
// what changes media, so that a cut can be had at one certain request. It is on to begin with.
type Supply struct {
	mu    sync.Mutex
	off   bool
	cuts  int // whoever was connected before one stays without power
	deeds int64
	cutOf string        // the medium whose deeds are counted up to the cut; empty: all of them
	at    int64         // the deed that is cut off, 0 for none
	gone  chan struct{} // closed when the power goes
	last  Deed
	of    map[string]int64 // by medium
}

// A Deed is a request that changes a medium, or flushes it.
type Deed struct {
	Medium string
	Request
}

// NewSupply returns one that is on.
func NewSupply() *Supply { return &Supply{gone: make(chan struct{}), of: map[string]int64{}} }

// On gives power again, and counts from nothing. At the deed of number at, counted from 1, of one medium or of all when its
// name is empty, the power goes in the middle of it; with 0 it stays until Off. What is returned is closed when it goes.
func (s *Supply) On(medium string, at int64) (gone <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off, s.deeds, s.cutOf, s.at, s.last = false, 0, medium, at, Deed{}
	clear(s.of)
	s.gone = make(chan struct{})
	return s.gone
}

// Off takes the power away.
func (s *Supply) Off() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
}

func (s *Supply) cut() {
	if !s.off {
		s.off = true
		s.cuts++
		close(s.gone)
	}
}

// Deeds returns how many there were since On, and the last of them.
func (s *Supply) Deeds() (int64, Deed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deeds, s.last
}

// Of returns how many of them one medium had.
func (s *Supply) Of(medium string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[medium]
}

// allow counts a deed, and reports whether it can be done. One that is not is in the middle when the power goes.
func (s *Supply) allow(medium string, r Request) bool {
	if r.Command == Read {
		return true
	}
	s.deeds++
	s.of[medium]++
	s.last = Deed{medium, r}
	if n := s.of[medium]; s.at > 0 && (s.cutOf == medium && n == s.at || s.cutOf == "" && s.deeds == s.at) {
		s.cut()
	}
	return !s.off
}

// A Medium is a disk with a cache that loses its power with its Supply.
type Medium struct {
	name     string
	image    Image
	size     int64
	readOnly bool
	supply   *Supply
	cache    cache
}

// An Image is what is on the medium itself.
type Image interface {
	io.ReaderAt
	io.WriterAt
}

// MediumOptions say what a medium is like.
type MediumOptions struct {
	Name       string
	Image      Image
	Bytes      int64 // a multiple of 512
	ReadOnly   bool
	CacheBytes int64  // how much the cache holds before it writes out some of it, in an order of its own; 0 means 8 MiB
	Seed       uint64 // of that order, and of what trimmed sectors read as
}

// NewMedium returns a medium with an empty cache.
func NewMedium(s *Supply, o MediumOptions) (*Medium, error) {
	if o.Bytes <= 0 || o.Bytes%sectorBytes != 0 {
		return nil, errors.New("medium " + o.Name + ": wants a multiple of 512 bytes")
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 8 << 20
	}
	m := &Medium{name: o.Name, image: o.Image, size: o.Bytes, readOnly: o.ReadOnly, supply: s}
	m.cache = newCache(o.Image, o.CacheBytes, o.Seed)
	return m, nil
}

func (m *Medium) flags() uint16 {
	if m.readOnly {
		return exportHasFlags | exportReadOnly
	}
	return exportHasFlags | exportFlush | exportFUA | exportTrim | exportWriteZeroes
}

// cuts returns how many there were.
func (m *Medium) cuts() int {
	m.supply.mu.Lock()
	defer m.supply.mu.Unlock()
	return m.supply.cuts
}

// do does a request that was checked, of a client that came after so many cuts. p is what is written, or where what is
// read goes.
func (m *Medium) do(r Request, p []byte, cuts int) error {
	m.supply.mu.Lock()
	defer m.supply.mu.Unlock()
	if m.supply.off || m.supply.cuts != cuts {
		return ErrNoPower
	}
	done := m.supply.allow(m.name, r)
	var err error
	switch r.Command {
	case Read:
		err = m.cache.read(p, r.Offset)
	case Write:
		m.cache.write(p, r.Offset)
	case WriteZeroes:
		m.cache.fill(new([sectorBytes]byte), r.Offset, r.Bytes)
	case Trim:
		m.cache.fill(m.cache.junk, r.Offset, r.Bytes)
	case Flush:
		if done {
			err = m.cache.flush(0, m.size)
		}
	}
	if !done { // whatever of it was under way is in the cache
		return ErrNoPower
	}
	if r.FUA && r.Command != Read {
		err = errors.Join(err, m.cache.flush(r.Offset, r.Bytes))
	}
	return errors.Join(err, m.cache.spill())
}

// Cut makes of the cache what a loss of power leaves, and empties it. The power must be off.
func (m *Medium) Cut(d Damage) (Loss, error) {
	m.supply.mu.Lock()
	defer m.supply.mu.Unlock()
	if !m.supply.off {
		return Loss{}, errors.New("medium " + m.name + ": has power")
	}
	return m.cache.lose(d)
}

// ReadAt reads what a client would read, also without power. Its ranges are whole sectors.
func (m *Medium) ReadAt(p []byte, at int64) (int, error) {
	m.supply.mu.Lock()
	defer m.supply.mu.Unlock()
	if at < 0 || at > m.size || int64(len(p)) > m.size-at || at%sectorBytes != 0 || len(p)%sectorBytes != 0 {
		return 0, errors.New("medium " + m.name + ": read of what is not there, or of parts of sectors")
	}
	return len(p), m.cache.read(p, at)
}
