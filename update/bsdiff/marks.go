package bsdiff

import "math/bits"

// A gear is a rolling hash of the last 64 bytes: each byte's number is added while the older ones move out to the left.
type gear uint64

func (g gear) roll(c byte) gear { return g<<1 + gear(uint64(c+1)*0x9e3779b97f4a7c15^uint64(c)<<29) }

// marks is the index of a whole image: of every few bytes, chosen by what they say, the block they are in. It finds what
// moved, however far, in memory that does not grow with the image.
type marks struct {
	shift  uint   // a place is marked when the gear's highest bits are zero
	mask   uint64 // of the table's length, a power of two
	checks []uint32
	blocks []int32
}

// markTable is the greatest number of entries; about half are used at most.
const markTable = 1 << 22

func newMarks(size int64) *marks {
	// one mark in 64 bytes, or as many fewer as keep them below half the table
	sparse := max(6, bits.Len64(uint64(size)/(markTable/2)))
	entries := min(markTable, 1<<bits.Len64(uint64(size)/16+64))
	return &marks{shift: uint(64 - sparse), mask: uint64(entries - 1), checks: make([]uint32, entries), blocks: make([]int32, entries)}
}

func (m *marks) slot(g gear) (uint64, uint32) {
	h := uint64(g) * 0xc2b2ae3d27d4eb4f
	return h >> 32 & m.mask, uint32(h) | 1
}

// add marks the places of a block. Where a mark is there already, the first stays.
func (m *marks) add(g gear, block []byte, i int32) gear {
	for _, c := range block {
		if g = g.roll(c); g>>m.shift == 0 {
			for at, check := m.slot(g); ; at = (at + 1) & m.mask {
				if m.checks[at] == 0 {
					m.checks[at], m.blocks[at] = check, i
				}
				if m.checks[at] == check {
					break
				}
			}
		}
	}
	return g
}

// votes adds the blocks that hold what the block also holds.
func (m *marks) votes(votes []int32, g gear, block []byte) ([]int32, gear) {
	for _, c := range block {
		if g = g.roll(c); g>>m.shift == 0 {
			for at, check := m.slot(g); m.checks[at] != 0; at = (at + 1) & m.mask {
				if m.checks[at] == check {
					if n := len(votes); n == 0 || votes[n-1] != m.blocks[at] {
						votes = append(votes, m.blocks[at])
					}
					break
				}
			}
		}
	}
	return votes, g
}
