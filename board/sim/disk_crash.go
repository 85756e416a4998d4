package sim

import (
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
)

// halves is how many random halves CrashStates tries.
const halves = 4

// tearBytes is the step of a torn sector.
const tearBytes = 64

// onto returns the file's bytes with the change made. filler says what stands in bytes that the file's new length takes
// in and nobody has written: zeros where it is nil, else what was on the disk before. b itself is left as it is.
func (c change) onto(b []byte, filler func(n int) []byte) []byte {
	end := max(c.off+int64(len(c.data)), c.grow)
	out := slices.Clone(b)
	if n := int(end) - len(out); n > 0 {
		if filler != nil {
			out = append(out, filler(n)...)
		} else {
			out = append(out, make([]byte, n)...)
		}
	}
	copy(out[c.off:], c.data)
	return out
}

func (c change) rename(names map[string]*inode) {
	for _, b := range c.names {
		if b.ino == nil {
			delete(names, b.name)
		} else {
			names[b.name] = b.ino
		}
	}
}

func (c change) isSector() bool { return len(c.data) > 0 }

// CrashStates yields every disk that a power cut at this moment is taken to leave, as a restarted system finds it. Of
// the changes no barrier has made sure (sectors, lengths, names): all are there; none; all but one, for each; only one,
// for each; random halves; the lengths alone, the bytes zero or garbage; all, the last sector torn at each 64 bytes with
// garbage after. The same state may come more than once.
func (d *Disk) CrashStates() iter.Seq[*Disk] {
	return func(yield func(*Disk) bool) {
		d.mu.Lock()
		pending := slices.Clone(d.pending)
		rnd := rand.New(rand.NewPCG(d.seed, uint64(d.ops)))
		d.mu.Unlock()
		garbage := noise(rnd)
		n := len(pending)
		try := func(take func(int) bool, filler func(int) []byte) bool {
			return yield(d.after(pending, take, filler))
		}
		all := func(int) bool { return true }
		if !try(all, nil) || n == 0 || !try(func(int) bool { return false }, nil) {
			return
		}
		for i := range n {
			if !try(func(j int) bool { return j != i }, nil) || !try(func(j int) bool { return j == i }, nil) {
				return
			}
		}
		for range halves {
			coin := make([]bool, n)
			for i := range coin {
				coin[i] = rnd.IntN(2) == 0
			}
			if !try(func(j int) bool { return coin[j] }, nil) || !try(func(j int) bool { return coin[j] }, garbage) {
				return
			}
		}
		lengths := func(j int) bool { return !pending[j].isSector() }
		if !try(lengths, nil) || !try(lengths, garbage) {
			return
		}
		last := lastSector(pending)
		if last < 0 {
			return
		}
		whole := pending[last].data
		for at := 0; at < len(whole); at += tearBytes {
			pending[last].data = slices.Concat(whole[:at], garbage(len(whole)-at))
			if !try(all, nil) {
				return
			}
		}
	}
}

// Cut returns one disk that a power cut at this moment may leave, at random by the seed: some of the changes made, and
// now and then the last sector torn.
func (d *Disk) Cut() *Disk {
	d.mu.Lock()
	pending := slices.Clone(d.pending)
	rnd := rand.New(rand.NewPCG(d.seed, uint64(d.ops)))
	d.mu.Unlock()
	share := rnd.IntN(5) // of four
	coin := make([]bool, len(pending))
	for i := range coin {
		coin[i] = rnd.IntN(4) < share
	}
	garbage := noise(rnd)
	if last := lastSector(pending); last >= 0 && rnd.IntN(2) == 0 {
		whole := pending[last].data
		at := rnd.IntN(len(whole)) / tearBytes * tearBytes
		pending[last].data = slices.Concat(whole[:at], garbage(len(whole)-at))
		coin[last] = true
	}
	return d.after(pending, func(i int) bool { return coin[i] }, garbage)
}

func lastSector(pending []change) int {
	for i := len(pending) - 1; i >= 0; i-- {
		if pending[i].isSector() {
			return i
		}
	}
	return -1
}

// noise returns what stands in sectors that were something else's before.
func noise(rnd *rand.Rand) func(int) []byte {
	return func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
}

// after returns the disk with those pending changes made that take picks, and the others lost.
func (d *Disk) after(pending []change, take func(int) bool, filler func(int) []byte) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	content := map[*inode][]byte{}
	names := map[*directory]map[string]*inode{}
	for i, c := range pending {
		switch {
		case !take(i):
		case c.dir != nil:
			if names[c.dir] == nil {
				names[c.dir] = maps.Clone(c.dir.kept)
			}
			c.rename(names[c.dir])
		default:
			b, ok := content[c.ino]
			if !ok {
				b = c.ino.kept
			}
			content[c.ino] = c.onto(b, filler)
		}
	}
	out := &Disk{seed: d.seed + uint64(d.ops) + 1, dirs: map[string]*directory{}}
	for name, dir := range d.dirs {
		from := dir.kept
		if changed, ok := names[dir]; ok {
			from = changed
		}
		t := newDirectory()
		for n, ino := range from {
			b, ok := content[ino]
			if !ok {
				b = ino.kept
			}
			b = slices.Clip(b)
			twin := &inode{live: b, kept: b}
			t.live[n], t.kept[n] = twin, twin
		}
		out.dirs[name] = t
	}
	return out
}
