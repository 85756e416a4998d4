package epl

import "math"

// rows are what a window holds: of each row only the properties that the statement needs, a column each, in a ring that
// grows up to a bound.
type rows struct {
	cols  []col
	when  []uint32 // milliseconds since base
	stamp []int64  // of ext_timed: what the property was
	group []uint32 // number of the group that counts the row; none when no group does
	timed bool
	ext   bool
	count bool // group is kept
	base  int64
	head  int
	n     int
	most  int
	size  int
	texts *texts
	width int // of an event
}

const none = math.MaxUint32

// A col is one property.
type col struct {
	prop  int
	kind  Kind
	nums  []float64 // of doubles
	ints  []int64   // of all other kinds; of texts, their numbers
	small []uint32
}

const nullInt = math.MinInt64 // stands for null

func newRows(t *Type, props []int, most int) *rows {
	r := &rows{most: most, width: len(t.Properties), texts: &texts{ids: map[string]uint32{}}}
	for _, p := range props {
		r.cols = append(r.cols, col{prop: p, kind: t.Properties[p].Kind})
	}
	return r
}

// bytes is what a row takes.
func (r *rows) bytes() int {
	n := 0
	for _, c := range r.cols {
		switch c.kind {
		case Double, Long, Int:
			n += 8
		case Text:
			n += 4 + maxKept + 64 // the text, and where it is found
		default:
			n += 4
		}
	}
	if r.timed {
		n += 4
	}
	if r.ext {
		n += 8
	}
	if r.count {
		n += 4
	}
	return n
}

// slot is where the i-th row is, the oldest being 0.
func (r *rows) slot(i int) int {
	if i += r.head; i >= r.size {
		i -= r.size
	}
	return i
}

// grow makes room; false when there is none to be made.
func (r *rows) grow() bool {
	if r.size >= r.most {
		return false
	}
	size := min(max(16, r.size+r.size/2), r.most)
	for i := range r.cols {
		c := &r.cols[i]
		c.nums, c.ints, c.small = regrown(r, c.nums, size, c.kind == Double), regrown(r, c.ints, size, c.kind == Int || c.kind == Long), regrown(r, c.small, size, c.kind == Text || c.kind == Bool)
	}
	r.when = regrown(r, r.when, size, r.timed)
	r.stamp = regrown(r, r.stamp, size, r.ext)
	r.group = regrown(r, r.group, size, r.count)
	r.head, r.size = 0, size
	return true
}

func regrown[T any](r *rows, old []T, size int, used bool) []T {
	if !used {
		return nil
	}
	out := make([]T, size)
	n := copy(out, old[min(r.head, len(old)):])
	copy(out[n:], old[:min(r.head, len(old))])
	return out
}

// add appends a row; there is room.
func (r *rows) add(vals []Value, now, stamp int64) int {
	i := r.slot(r.n)
	r.n++
	r.put(i, vals)
	if r.timed {
		if r.n == 1 {
			r.base = now
		}
		if now-r.base > math.MaxUint32/2 {
			r.rebase()
		}
		r.when[i] = uint32(now - r.base)
	}
	if r.ext {
		r.stamp[i] = stamp
	}
	if r.count {
		r.group[i] = none
	}
	return i
}

// set puts an event in the place of a row.
func (r *rows) set(i int, vals []Value) {
	for k := range r.cols {
		if c := &r.cols[k]; c.kind == Text {
			r.texts.leave(c.small[i])
		}
	}
	r.put(i, vals)
	if r.count {
		r.group[i] = none
	}
}

func (r *rows) put(i int, vals []Value) {
	for k := range r.cols {
		c := &r.cols[k]
		v := vals[c.prop]
		switch c.kind {
		case Double:
			if v.kind == None {
				c.nums[i] = math.NaN()
			} else {
				c.nums[i], _ = v.Float()
			}
		case Int, Long:
			if v.kind == None {
				c.ints[i] = nullInt
			} else {
				c.ints[i] = int64(v.bits)
			}
		case Text:
			c.small[i] = r.texts.take(v)
		default:
			c.small[i] = 2
			if v.kind != None {
				c.small[i] = uint32(v.bits)
			}
		}
	}
}

// rebase counts from the oldest row.
func (r *rows) rebase() {
	by := r.when[r.head]
	for k := range r.n - 1 {
		r.when[r.slot(k)] -= by
	}
	r.base += int64(by)
}

// load puts a row where an event's values are.
func (r *rows) load(i int, vals []Value) {
	for k := range r.cols {
		c := &r.cols[k]
		v := Value{}
		switch c.kind {
		case Double:
			v = OfDouble(c.nums[i])
		case Int, Long:
			if c.ints[i] != nullInt {
				v = Value{kind: c.kind, bits: uint64(c.ints[i])}
			}
		case Text:
			v = r.texts.of(c.small[i])
		default:
			if c.small[i] < 2 {
				v = Value{kind: Bool, bits: uint64(c.small[i])}
			}
		}
		vals[c.prop] = v
	}
}

// drop takes the oldest row out.
func (r *rows) drop() {
	for k := range r.cols {
		if c := &r.cols[k]; c.kind == Text {
			r.texts.leave(c.small[r.head])
		}
	}
	r.head = r.slot(1)
	r.n--
}
