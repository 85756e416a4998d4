package nbd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// A Damage decides what a loss of power leaves of what was not flushed. The same seed and the same writes give the same.
type Damage struct {
	Seed uint64
	Kind Kind
	// InSectors lets one sector in a cut be torn in its middle. Media promise that they do not; some do.
	InSectors bool
}

// A Kind is a way in which caches lose what they hold. Of a sector that was written several times the newest version
// that is left counts.
type Kind uint8

// The kinds.
const (
	Nothing  Kind = iota // is left
	All                  // is left
	Older                // requests up to one, which is torn between two of its sectors, in the order of their arrival
	Newer                // those from one on, which is torn as well: they overtook the ones before
	Requests             // each as a whole or not at all, by lot; some are torn
	Sectors              // each sector of each request, by lot
	kinds
)

// String returns the kind's name.
func (k Kind) String() string {
	if k >= kinds {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return [...]string{"nothing", "all", "older", "newer", "requests", "sectors"}[k]
}

// Any returns a damage by lot.
func Any(rnd *rand.Rand) Damage { return Damage{Seed: rnd.Uint64(), Kind: Kind(rnd.IntN(int(kinds)))} }

// A Loss is what a cut cost.
type Loss struct {
	Held int64 // sectors whose content was not on the medium yet
	Kept int64 // of them, those that became what was written last
	Torn int64 // those that became something older that was never flushed, or two halves
}

// lose leaves of the cache what the damage leaves, and empties it.
func (c *cache) lose(d Damage) (l Loss, err error) {
	rnd := rand.New(rand.NewPCG(d.Seed, 2))
	keeps := d.Kind.judge(c, rnd)
	sectors := slices.Sorted(maps.Keys(c.sectors))
	broken := int64(-1)
	if d.InSectors && len(sectors) > 0 {
		broken = sectors[rnd.IntN(len(sectors))]
	}
	for _, sector := range sectors {
		versions := c.sectors[sector]
		l.Held++
		left := -1 // the version that is left
		for i, v := range versions {
			if keeps(v.request, sector) {
				left = i
			}
		}
		var b [sectorBytes]byte
		switch {
		case sector == broken:
			if err := c.tear(&b, sector, versions, rnd); err != nil {
				return l, err
			}
			l.Torn++
		case left < 0:
			continue
		case left == len(versions)-1:
			b = *versions[left].bytes
			l.Kept++
		default:
			b = *versions[left].bytes
			l.Torn++
		}
		if _, err := c.image.WriteAt(b[:], sector*sectorBytes); err != nil {
			return l, err
		}
	}
	clear(c.sectors)
	c.held = 0
	return l, nil
}

// tear makes a sector of which the newest version got some way.
func (c *cache) tear(b *[sectorBytes]byte, sector int64, versions []version, rnd *rand.Rand) error {
	if n := len(versions); n > 1 {
		*b = *versions[n-2].bytes
	} else {
		under := cache{image: c.image}
		if err := under.read(b[:], sector*sectorBytes); err != nil {
			return err
		}
	}
	copy(b[:1+rnd.IntN(sectorBytes-1)], versions[len(versions)-1].bytes[:])
	return nil
}

// judge returns what tells whether a request's version of a sector is left. It is asked sector by sector, in order.
func (k Kind) judge(c *cache, rnd *rand.Rand) func(request, sector int64) bool {
	spans := map[int64][2]int64{} // the first and the last sector of each request that are held
	for _, sector := range slices.Sorted(maps.Keys(c.sectors)) {
		for _, v := range c.sectors[sector] {
			s, ok := spans[v.request]
			if !ok {
				s[0] = sector
			}
			s[1] = sector
			spans[v.request] = s
		}
	}
	requests := slices.Sorted(maps.Keys(spans))
	if len(requests) == 0 {
		return nil
	}
	one := requests[rnd.IntN(len(requests))]
	tear := func(r int64) int64 { s := spans[r]; return s[0] + rnd.Int64N(s[1]-s[0]+1) }
	torn := tear(one) // the first sector on the other side
	switch k {
	case All:
		return func(int64, int64) bool { return true }
	case Older:
		return func(r, sector int64) bool { return r < one || r == one && sector < torn }
	case Newer:
		return func(r, sector int64) bool { return r > one || r == one && sector >= torn }
	case Requests:
		ends := map[int64]int64{}
		for _, r := range requests {
			switch rnd.IntN(8) {
			case 0, 1, 2, 3:
				ends[r] = spans[r][1] + 1
			case 4:
				ends[r] = tear(r)
			}
		}
		return func(r, sector int64) bool { end, some := ends[r]; return some && sector < end }
	case Sectors:
		share := []float64{0.1, 0.5, 0.9}[rnd.IntN(3)]
		return func(int64, int64) bool { return rnd.Float64() < share }
	}
	return func(int64, int64) bool { return false }
}
