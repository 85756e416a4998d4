package sim

import (
	"encoding/binary"
	"math/bits"
)

// groupSectors is how many sectors trees share or copy together.
const groupSectors = 64

// A sector is never changed once it is in a tree. A nil one is all zeros.
type sector struct {
	data [SectorBytes]byte
	hash uint64
}

type group [groupSectors]*sector

// A tree is what a device holds. Trees share what they have in common, so that a copy costs nothing and a change what it
// touches: a device of 512 KiB has 16 groups. A nil group is all zeros.
type tree struct {
	groups []*group
	sum    uint64 // of the hash of every sector at its place
}

func newTree(sectors int) tree {
	return tree{groups: make([]*group, (sectors+groupSectors-1)/groupSectors)}
}

func (t tree) at(i int) *sector {
	if g := t.groups[i/groupSectors]; g != nil {
		return g[i%groupSectors]
	}
	return nil
}

// with returns the tree with one sector changed.
func (t tree) with(i int, s *sector) tree {
	e := t.edit()
	e.set(i, s)
	return e.tree
}

// An edit is a tree in the making; groups it has copied it may change.
type edit struct {
	tree
	own [4]uint64 // bits of the first groups; those beyond are copied for each change
}

func (t tree) edit() *edit {
	e := &edit{tree: tree{groups: make([]*group, len(t.groups)), sum: t.sum}}
	copy(e.groups, t.groups)
	return e
}

func (e *edit) set(i int, s *sector) {
	n := i / groupSectors
	if word, bit := n/64, uint64(1)<<(n%64); word >= len(e.own) || e.own[word]&bit == 0 {
		g := &group{}
		if e.groups[n] != nil {
			*g = *e.groups[n]
		}
		e.groups[n] = g
		if word < len(e.own) {
			e.own[word] |= bit
		}
	}
	e.sum += s.place(i) - e.groups[n][i%groupSectors].place(i)
	e.groups[n][i%groupSectors] = s
}

// place returns what the sector adds to a tree's sum where it stands.
func (s *sector) place(i int) uint64 {
	if s == nil {
		return 0
	}
	hi, lo := bits.Mul64(s.hash^(uint64(i)*0x9e3779b97f4a7c15+0xd6e8feb86659fd93), 0xa0761d6478bd642f)
	return hi ^ lo
}

// seal hashes the sector, which is not changed any more, and returns it, or nil if it is all zeros.
func (s *sector) seal() *sector {
	if s.data == [SectorBytes]byte{} {
		return nil
	}
	h := uint64(0x2d358dccaa6c78a5)
	for i := 0; i < SectorBytes; i += 16 {
		a, b := binary.LittleEndian.Uint64(s.data[i:]), binary.LittleEndian.Uint64(s.data[i+8:])
		hi, lo := bits.Mul64(a^h, b^0x8bb84b93962eacc9)
		h = bits.RotateLeft64(h, 23) ^ hi ^ lo
	}
	s.hash = h
	return s
}

// read fills p with the sector's bytes from off on.
func (s *sector) read(p []byte, off int) {
	if s == nil {
		clear(p)
		return
	}
	copy(p, s.data[off:])
}
