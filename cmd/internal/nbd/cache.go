package nbd

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
)

// A version is what a sector became by one request.
type version struct {
	request int64
	bytes   *[sectorBytes]byte
}

// A cache holds what was written since the last flush: every version of each sector, since any of them may be the one
// that a loss of power leaves.
type cache struct {
	image    Image
	sectors  map[int64][]version // by number, the oldest version first
	held     int64               // versions in all
	limit    int64               // of them
	requests int64
	rnd      *rand.Rand
	junk     *[sectorBytes]byte
}

func newCache(image Image, bytes int64, seed uint64) cache {
	c := cache{image: image, sectors: map[int64][]version{}, limit: bytes / sectorBytes, rnd: rand.New(rand.NewPCG(seed, 1)), junk: new([sectorBytes]byte)}
	for i := range c.junk {
		c.junk[i] = byte(c.rnd.Uint32())
	}
	return c
}

func (c *cache) put(sector int64, b *[sectorBytes]byte) {
	c.sectors[sector] = append(c.sectors[sector], version{c.requests, b})
	c.held++
}

// drop forgets what is held of a sector.
func (c *cache) drop(sector int64) {
	c.held -= int64(len(c.sectors[sector]))
	delete(c.sectors, sector)
}

func (c *cache) write(p []byte, at int64) {
	c.requests++
	for ; len(p) >= sectorBytes; p, at = p[sectorBytes:], at+sectorBytes {
		b := [sectorBytes]byte(p)
		c.put(at/sectorBytes, &b)
	}
}

// fill writes the same to each sector.
func (c *cache) fill(b *[sectorBytes]byte, at, bytes int64) {
	c.requests++
	for sector := at / sectorBytes; sector < (at+bytes)/sectorBytes; sector++ {
		c.put(sector, b)
	}
}

// read returns what was written last, whether it is on the medium or not.
func (c *cache) read(p []byte, at int64) error {
	if n, err := c.image.ReadAt(p, at); n < len(p) {
		if !errors.Is(err, io.EOF) {
			return err
		}
		clear(p[n:]) // beyond the end of a file that is shorter than the medium
	}
	if len(c.sectors) == 0 {
		return nil
	}
	for i := 0; i < len(p); i += sectorBytes {
		if v := c.sectors[(at+int64(i))/sectorBytes]; len(v) > 0 {
			copy(p[i:], v[len(v)-1].bytes[:])
		}
	}
	return nil
}

// flush carries the newest version of each sector in a range to the medium.
func (c *cache) flush(at, bytes int64) error {
	for _, sector := range slices.Sorted(maps.Keys(c.sectors)) {
		if sector < at/sectorBytes || sector >= (at+bytes)/sectorBytes {
			continue
		}
		if err := c.carry(sector); err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) carry(sector int64) error {
	v := c.sectors[sector]
	if _, err := c.image.WriteAt(v[len(v)-1].bytes[:], sector*sectorBytes); err != nil {
		return err
	}
	c.drop(sector)
	return nil
}

// spill makes room when the cache is over its limit: half of the sectors, chosen by lot, go to the medium.
func (c *cache) spill() error {
	if c.held <= c.limit {
		return nil
	}
	for _, sector := range slices.Sorted(maps.Keys(c.sectors)) {
		if c.rnd.IntN(2) == 0 {
			if err := c.carry(sector); err != nil {
				return err
			}
		}
	}
	return nil
}
