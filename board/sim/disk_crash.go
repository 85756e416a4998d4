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

// A pick is one way a power cut may go: of the changes no barrier has made sure, which are there afterwards.
type pick struct {
	files   func(i int) bool     // of the files' pending changes
	filler  func(n int) []byte   // what stands in bytes that a length takes in and nobody has written; nil: zeros
	devices func(m *medium) tree // what a device holds
}

func all(int) bool  { return true }
func none(int) bool { return false }

func kept(m *medium) tree { return m.kept }
func live(m *medium) tree { return m.live } // what was written last is what all pending changes come to

// without returns the device as if its i-th pending change had never reached it, and all others had.
func (m *medium) without(i int) tree {
	at := m.pending[i].at
	s := m.kept.at(at)
	for j, w := range m.pending {
		if w.at == at && j != i {
			s = w.data
		}
	}
	return m.live.with(at, s)
}

// of returns the device with those pending changes that take picks.
func (m *medium) of(take func(int) bool) tree {
	e := m.kept.edit()
	for i, w := range m.pending {
		if take(i) {
			e.set(w.at, w.data)
		}
	}
	return e.tree
}

// torn returns the device with all pending changes, the last cut off at a byte and followed by garbage.
func (m *medium) torn(at int, garbage func(int) []byte) tree {
	w := m.pending[len(m.pending)-1]
	s := &sector{}
	w.data.read(s.data[:], 0)
	copy(s.data[at:], garbage(SectorBytes-at))
	return m.live.with(w.at, s.seal())
}

// CrashStates yields every disk that a power cut at this moment is taken to leave, as a restarted system finds it. Of
// the changes no barrier has made sure (sectors, lengths, names): all are there; none; all but one, for each; only one,
// for each; random halves; of files the lengths alone, the bytes zero or garbage; all, the last sector of the files and
// of each device torn at each 64 bytes with garbage after. The same state may come more than once.
func (d *Disk) CrashStates() iter.Seq[*Disk] {
	return func(yield func(*Disk) bool) {
		d.mu.Lock()
		pending := slices.Clone(d.pending)
		var waiting []*medium
		for _, name := range slices.Sorted(maps.Keys(d.devices)) {
			if m := d.devices[name]; len(m.pending) > 0 {
				waiting = append(waiting, m)
			}
		}
		rnd := rand.New(rand.NewPCG(d.seed, uint64(d.ops)))
		d.mu.Unlock()
		try := func(p pick) bool { return yield(d.after(pending, p)) }
		if !try(pick{all, nil, live}) || len(pending)+len(waiting) == 0 || !try(pick{none, nil, kept}) {
			return
		}
		garbage := noise(rnd)
		_ = singles(len(pending), waiting, try) && random(rnd, len(pending), waiting, garbage, try) &&
			tornFile(pending, garbage, try) && tornDevice(waiting, garbage, try)
	}
}

// singles tries all changes but one, and only one, for each.
func singles(files int, waiting []*medium, try func(pick) bool) bool {
	for i := range files {
		if !try(pick{func(j int) bool { return j != i }, nil, live}) || !try(pick{func(j int) bool { return j == i }, nil, kept}) {
			return false
		}
	}
	for _, m := range waiting {
		for i, w := range m.pending {
			but := func(o *medium) tree {
				if o != m {
					return o.live
				}
				return m.without(i)
			}
			only := func(o *medium) tree {
				if o != m {
					return o.kept
				}
				return m.kept.with(w.at, w.data)
			}
			if !try(pick{all, nil, but}) || !try(pick{none, nil, only}) {
				return false
			}
		}
	}
	return true
}

// random tries halves, and the lengths of files alone.
func random(rnd *rand.Rand, files int, waiting []*medium, garbage func(int) []byte, try func(pick) bool) bool {
	for range halves {
		coin := toss(rnd, files, 1, 2)
		trees := map[*medium]tree{}
		for _, m := range waiting {
			trees[m] = m.of(toss(rnd, len(m.pending), 1, 2))
		}
		devices := func(m *medium) tree {
			if t, ok := trees[m]; ok {
				return t
			}
			return m.kept
		}
		if !try(pick{coin, nil, devices}) || files > 0 && !try(pick{coin, garbage, devices}) {
			return false
		}
	}
	return true
}

// toss returns a coin for each of n changes, which comes out heads times in of.
func toss(rnd *rand.Rand, n, heads, of int) func(int) bool {
	coin := make([]bool, n)
	for i := range coin {
		coin[i] = rnd.IntN(of) < heads
	}
	return func(i int) bool { return coin[i] }
}

func tornFile(pending []change, garbage func(int) []byte, try func(pick) bool) bool {
	if len(pending) == 0 {
		return true
	}
	lengths := func(j int) bool { return !pending[j].isSector() }
	if !try(pick{lengths, nil, kept}) || !try(pick{lengths, garbage, kept}) {
		return false
	}
	last := lastSector(pending)
	if last < 0 {
		return true
	}
	whole := pending[last].data
	defer func() { pending[last].data = whole }()
	for at := 0; at < len(whole); at += tearBytes {
		pending[last].data = slices.Concat(whole[:at], garbage(len(whole)-at))
		if !try(pick{all, nil, live}) {
			return false
		}
	}
	return true
}

func tornDevice(waiting []*medium, garbage func(int) []byte, try func(pick) bool) bool {
	for _, m := range waiting {
		for at := 0; at < SectorBytes; at += tearBytes {
			torn := func(o *medium) tree {
				if o != m {
					return o.live
				}
				return m.torn(at, garbage)
			}
			if !try(pick{all, nil, torn}) {
				return false
			}
		}
	}
	return true
}

// Cut returns one disk that a power cut at this moment may leave, at random by the seed: some of the changes made, and
// now and then the last sector torn.
func (d *Disk) Cut() *Disk {
	d.mu.Lock()
	pending := slices.Clone(d.pending)
	rnd := rand.New(rand.NewPCG(d.seed, uint64(d.ops)))
	d.mu.Unlock()
	share := rnd.IntN(5) // of four
	coin := toss(rnd, len(pending), share, 4)
	garbage := noise(rnd)
	take := coin
	if last := lastSector(pending); last >= 0 && rnd.IntN(2) == 0 {
		whole := pending[last].data
		at := rnd.IntN(len(whole)) / tearBytes * tearBytes
		pending[last].data = slices.Concat(whole[:at], garbage(len(whole)-at))
		take = func(i int) bool { return i == last || coin(i) }
	}
	return d.after(pending, pick{take, garbage, func(m *medium) tree {
		if len(m.pending) > 0 && rnd.IntN(4) == 0 {
			return m.torn(rnd.IntN(SectorBytes)/tearBytes*tearBytes, garbage)
		}
		return m.of(toss(rnd, len(m.pending), share, 4))
	}})
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

// after returns the disk as a pick leaves it.
func (d *Disk) after(pending []change, p pick) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	content := map[*inode][]byte{}
	names := map[*directory]map[string]*inode{}
	for i, c := range pending {
		switch {
		case !p.files(i):
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
			content[c.ino] = c.onto(b, p.filler)
		}
	}
	out := NewDisk(d.seed + uint64(d.ops) + 1)
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
	for _, name := range slices.Sorted(maps.Keys(d.devices)) {
		m := d.devices[name]
		t := p.devices(m)
		out.devices[name] = &medium{name: name, sectors: m.sectors, live: t, kept: t, bad: m.bad}
	}
	return out
}

// Clone returns a copy that goes its own way, with the same changes pending. Fault and watch stay behind, and so
// does who has opened a device.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewDisk(d.seed)
	c.ops, c.written, c.temps = d.ops, d.written, d.temps
	for name, m := range d.devices {
		twin := *m
		twin.writer = false
		c.devices[name] = &twin
	}
	inodes := map[*inode]*inode{nil: nil}
	twin := func(i *inode) *inode {
		if _, ok := inodes[i]; !ok {
			inodes[i] = &inode{live: slices.Clip(i.live), kept: i.kept}
		}
		return inodes[i]
	}
	dirs := map[*directory]*directory{nil: nil}
	for name, dir := range d.dirs {
		t := newDirectory()
		for n, i := range dir.live {
			t.live[n] = twin(i)
		}
		for n, i := range dir.kept {
			t.kept[n] = twin(i)
		}
		c.dirs[name], dirs[dir] = t, t
	}
	for _, ch := range d.pending {
		ch.ino, ch.dir, ch.names = twin(ch.ino), dirs[ch.dir], slices.Clone(ch.names)
		for i := range ch.names {
			ch.names[i].ino = twin(ch.names[i].ino)
		}
		c.pending = append(c.pending, ch)
	}
	return c
}
