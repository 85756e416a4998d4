package bsdiff

import "math/bits"

// A tuple is one step of a patch, in absolute places: diff bytes added to old at old, then extra bytes.
type tuple struct {
	old         int64
	diff, extra int
}

// An anchor is a run of whole blocks of new that old holds at another (or the same) place.
type anchor struct {
	at, n int   // in the segment
	old   int64 // in old
}

// A source gives bytes of old: the window's where they are in memory, else by reading.
type source interface {
	// view returns bytes of old from at, at least one and at most n, or none where old ends. They are valid until the next call.
	view(at int64, n int) []byte
	// longest returns a place in old where the longest known match of want begins, of several one that is near.
	longest(want []byte, near int64) (at int64, length int)
}

// shortest is a match that is not looked at: its tuple costs as much.
const shortest = 8

// gain is how many bytes more must be right in another alignment than in the present one before a tuple is begun for it:
// what the tuple costs in the patch, of which half the bits of its step are the greater part, and on the device, where
// a step that leads far is a read of the disk.
func gain(step int64) int { return 4 + bits.Len64(uint64(max(step, -step)))/2 }

// settled is a run of equal bytes in the present alignment that makes a search needless.
const settled = 32

// estranged is how many bytes may pass before an alignment that holds again is begun anew: what lies between is then
// stored as what it is, not as differences from something else.
const estranged = 64

// A matcher cuts one segment into tuples: Percival's scan, with whole blocks found before.
type matcher struct {
	src     source
	neu     []byte
	anchors []anchor
	tuples  []tuple

	lastNew int   // everything before is cut
	lastOld int64 // what lastNew is aligned with
	offset  int64 // of the present alignment: old minus new
	aligned []byte
	base    int // aligned[0] belongs to neu[base]
	none    bool
}

// cut returns the tuples that make neu.
func cut(src source, neu []byte, anchors []anchor) []tuple {
	m := &matcher{src: src, neu: neu, anchors: anchors, none: true}
	m.scan()
	return m.tuples
}

func (m *matcher) scan() {
	scan, good := 0, 0 // good is where the present alignment last held
	for scan < len(m.neu) {
		limit := len(m.neu)
		if len(m.anchors) > 0 {
			a := m.anchors[0]
			if scan >= a.at {
				m.anchors = m.anchors[1:]
				if a.old < 0 { // zeros
					scan = a.at + a.n
					continue
				}
				if m.none || a.old-int64(a.at) != m.offset || a.at-good > estranged {
					m.cutAt(a.at, a.old)
				}
				scan = a.at + a.n
				good = scan
				continue
			}
			limit = a.at
		}
		run := m.alignedRun(scan, limit)
		if run >= settled || run > 0 && scan+run == limit {
			if scan-good > estranged {
				m.cutAt(scan, int64(scan)+m.offset)
			}
			scan += run
			good = scan
			continue
		}
		at, n := m.src.longest(m.neu[scan:limit], int64(scan)+m.offset)
		enough := gain(at - int64(scan) - m.offset)
		if n <= max(shortest, enough) {
			scan += run + 1
			continue
		}
		switch wrong := m.mismatches(scan, n, enough); {
		case wrong > enough:
			m.cutAt(scan, at)
			scan += n
			good = scan
		case wrong == 0:
			scan += n
			good = scan
		default:
			scan += run + 1 // before the next byte that differs, nothing can be found that is not found after it
		}
	}
	m.finish()
}

// look returns the bytes of old that are aligned with neu[i:].
func (m *matcher) look(i int) []byte {
	if m.none {
		return nil
	}
	if i < m.base || i >= m.base+len(m.aligned) {
		m.base = i
		m.aligned = m.src.view(int64(i)+m.offset, 64<<10)
	}
	return m.aligned[min(i-m.base, len(m.aligned)):]
}

func (m *matcher) alignedRun(scan, limit int) int {
	for i := scan; i < limit; {
		old := m.look(i)
		n := common(old, m.neu[i:limit], 0)
		i += n
		if n < len(old) || n == 0 {
			return i - scan
		}
	}
	return limit - scan
}

// mismatches counts the bytes of neu[i:i+n] that differ from old in the present alignment, up to one more than enough.
func (m *matcher) mismatches(i, n, enough int) int {
	wrong := 0
	for end := i + n; i < end; {
		old := m.look(i)
		if len(old) == 0 {
			return min(wrong+end-i, enough+1)
		}
		old = old[:min(len(old), end-i)]
		for j, c := range old {
			if c != m.neu[i+j] {
				if wrong++; wrong > enough {
					return wrong
				}
			}
		}
		i += len(old)
	}
	return wrong
}

// cutAt ends the present alignment and begins another, in which neu[at] belongs to old[old].
func (m *matcher) cutAt(at int, old int64) {
	forward := m.forward(m.lastNew, at)
	backward := m.backward(at, old, at-m.lastNew)
	if over := forward + backward - (at - m.lastNew); over > 0 {
		keep := m.share(at-backward, old-int64(backward), over)
		forward += keep - over
		backward -= keep
	}
	m.emit(forward, at-backward-m.lastNew-forward)
	m.lastNew, m.lastOld = at-backward, old-int64(backward)
	m.offset, m.none = old-int64(at), false
	m.aligned = nil
}

func (m *matcher) finish() {
	forward := m.forward(m.lastNew, len(m.neu))
	m.emit(forward, len(m.neu)-m.lastNew-forward)
}

func (m *matcher) emit(diff, extra int) {
	if diff > 0 || extra > 0 {
		m.tuples = append(m.tuples, tuple{old: m.lastOld, diff: diff, extra: extra})
	}
}

// hopeless is how far a score may fall below its best before the rest is not looked at.
const hopeless = 1 << 13

// forward returns how far from the present alignment's beginning old and neu[from:to] are alike: where twice the equal
// bytes less all bytes is greatest.
func (m *matcher) forward(from, to int) int {
	score, best, length := 0, 0, 0
	if m.none {
		return 0
	}
	for i := from; i < to; {
		old := m.look(i)
		if len(old) == 0 {
			break
		}
		old = old[:min(len(old), to-i)]
		for j, c := range old {
			if c == m.neu[i+j] {
				if score++; score > best {
					best, length = score, i+j+1-from
				}
			} else if score--; score < best-hopeless {
				return length
			}
		}
		i += len(old)
	}
	return length
}

// backward returns how far neu before at resembles old before old, at most most bytes.
func (m *matcher) backward(at int, old int64, most int) int {
	score, best, length := 0, 0, 0
	most = int(min(int64(most), old))
	for done := 0; done < most; {
		step := min(most-done, 4096)
		have := m.src.view(old-int64(done+step), step)
		if len(have) < step {
			// the beginning of the view is not where its end is: take one byte
			step = 1
			if have = m.src.view(old-int64(done+step), step); len(have) < step {
				break
			}
		}
		neu := m.neu[at-done-step : at-done]
		for j := step - 1; j >= 0; j-- {
			if have[j] == neu[j] {
				if score++; score > best {
					best, length = score, done+step-j
				}
			} else if score--; score < best-hopeless {
				m.aligned = nil
				return length
			}
		}
		done += step
	}
	m.aligned = nil
	return length
}

// share says how many of the over bytes from neu[at], which both alignments claim, the old alignment shall keep.
func (m *matcher) share(at int, old int64, over int) int {
	score, best, keep := 0, 0, 0
	left := make([]byte, 0, 4096)
	for done := 0; done < over; {
		have := m.look(at + done)
		left = append(left[:0], have[:min(len(have), 4096, over-done)]...)
		right := m.src.view(old+int64(done), len(left))
		m.aligned = nil
		if len(right) == 0 {
			break
		}
		for j, c := range right {
			if left[j] == m.neu[at+done+j] {
				score++
			}
			if c == m.neu[at+done+j] {
				score--
			}
			if score > best {
				best, keep = score, done+j+1
			}
		}
		done += len(right)
	}
	return keep
}
