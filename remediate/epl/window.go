package epl

import (
	"math"
	"strings"
)

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
			n += 4 + 32
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

// texts keeps each text of the rows once.
type texts struct {
	ids  map[string]uint32
	all  []string
	refs []int32
	free []uint32
}

// take returns the number of a text; 0 is null.
func (t *texts) take(v Value) uint32 {
	if v.kind == None {
		return 0
	}
	if id, ok := t.ids[v.text]; ok {
		t.refs[id-1]++
		return id
	}
	s := cut(v.text)
	if len(s) != len(v.text) {
		return t.take(OfText(s))
	}
	s = string([]byte(s)) // not a part of what may be larger
	var id uint32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
		t.all[id-1], t.refs[id-1] = s, 1
	} else {
		t.all, t.refs = append(t.all, s), append(t.refs, 1)
		id = uint32(len(t.all))
	}
	t.ids[s] = id
	return id
}

func (t *texts) of(id uint32) Value {
	if id == 0 {
		return Value{}
	}
	return OfText(t.all[id-1])
}

func (t *texts) leave(id uint32) {
	if id == 0 {
		return
	}
	if t.refs[id-1]--; t.refs[id-1] == 0 {
		delete(t.ids, t.all[id-1])
		t.all[id-1] = ""
		t.free = append(t.free, id)
	}
}

// A window says which rows come and which go.
type window struct {
	kind   string
	rule   *Rule
	rows   *rows
	period int64
	length int
	stamp  int // property of ext_timed
	keys   []fn
	timer
	last    int   // rows of the batch that was handed on last; they are the oldest
	begun   bool  // of time_batch: ref is
	ref     int64 // where its batches are counted from
	unique  table
	scratch []Value
}

const gone = -2 // stands for a row of unique that was replaced: it is in scratch

// arrive takes an event, and hands on what it brings about.
func (w *window) arrive(vals []Value) {
	r, now := w.rows, w.rule.engine.now
	p := w.rule.process
	p.fresh, p.left = p.fresh[:0], p.left[:0]
	switch w.kind {
	case "firstevent":
		if r.n > 0 {
			return
		}
	case "unique":
		w.replace(vals)
		return
	case "time_batch":
		if !w.begun {
			w.begun, w.ref = true, now
		}
		if w.timer.at < 0 {
			w.rule.engine.timers.arm(&w.timer, w.next(now))
		}
	case "ext_timed_batch":
		w.extBatch(vals)
		return
	case "ext_timed":
		t, ok := w.time(vals)
		if !ok {
			return
		}
		if !w.room() {
			p.left = append(p.left, r.slot(0))
		}
		i := r.add(vals, now, t)
		for k := len(p.left); k < r.n-1 && r.stamp[r.slot(k)] <= t-w.period; k++ {
			p.left = append(p.left, r.slot(k))
		}
		p.fresh = append(p.fresh, i)
		w.hand(i, vals)
		return
	}
	full := w.length > 0 && r.n == w.length
	if w.kind == "length_batch" {
		full = false
	}
	if !full && !w.room() { // it does not fit: the oldest goes early
		if w.kind == "time_batch" {
			return
		}
		full = true
	}
	if full {
		p.left = append(p.left, r.slot(0))
	}
	i := r.add(vals, now, 0)
	switch w.kind {
	case "time_batch":
		return
	case "length_batch":
		if r.n-w.last == w.length {
			w.release()
		}
		return
	case "time":
		if w.timer.at < 0 {
			w.rule.engine.timers.arm(&w.timer, r.base+int64(r.when[r.slot(0)])+w.period)
		}
	}
	p.fresh = append(p.fresh, i)
	w.hand(i, vals)
}

// room makes sure that a row can be added; false when the bound is reached, and counts that.
func (w *window) room() bool {
	r := w.rows
	if r.n < r.size {
		return r.n < r.most-1 || w.overflow()
	}
	if !r.grow() {
		return w.overflow()
	}
	if w.kind == "unique" {
		w.reindex()
	}
	return r.n < r.most-1 || w.overflow()
}

func (w *window) overflow() bool {
	w.rule.overflows++
	return false
}

// hand gives the statement the rows that came and left, and then lets these go.
func (w *window) hand(live int, vals []Value) {
	p := w.rule.process
	p.live, p.vals = live, vals
	p.run()
	p.live, p.vals = -1, nil
	for range p.left {
		w.rows.drop()
	}
}

// first is the first row that is not of the batch that was handed on before.
func (w *window) first() int {
	if strings.HasSuffix(w.kind, "_batch") {
		return w.last
	}
	return 0
}

// next is when a batch that is counted from ref ends.
func (w *window) next(now int64) int64 { return now + w.period - (now-w.ref)%w.period }

// due is a window whose time has come.
func (w *window) due() {
	r, now := w.rows, w.rule.engine.now
	p := w.rule.process
	p.fresh, p.left = p.fresh[:0], p.left[:0]
	if w.kind == "time_batch" {
		if r.n > 0 {
			w.release()
			w.rule.engine.timers.arm(&w.timer, w.next(now))
		}
		return
	}
	for k := 0; k < r.n && r.base+int64(r.when[r.slot(k)])+w.period <= now; k++ {
		p.left = append(p.left, r.slot(k))
	}
	w.hand(-1, nil)
	if r.n > 0 {
		w.rule.engine.timers.arm(&w.timer, r.base+int64(r.when[r.slot(0)])+w.period)
	}
}

// release hands on a batch as new, and the one before as old.
func (w *window) release() {
	p, r := w.rule.process, w.rows
	p.fresh, p.left = p.fresh[:0], p.left[:0]
	for k := range r.n {
		if k < w.last {
			p.left = append(p.left, r.slot(k))
		} else {
			p.fresh = append(p.fresh, r.slot(k))
		}
	}
	batch := len(p.fresh)
	w.hand(-1, nil)
	w.last = batch
}

func (w *window) time(vals []Value) (int64, bool) {
	v := vals[w.stamp]
	if v.kind == None {
		w.rule.unusable++
		return 0, false
	}
	f, _ := v.Float()
	if v.kind != Double {
		return int64(v.bits), true
	}
	return int64(max(-1e18, min(f, 1e18))), true
}

func (w *window) extBatch(vals []Value) {
	t, ok := w.time(vals)
	if !ok {
		return
	}
	if !w.begun {
		w.begun, w.ref = true, t
	}
	if t >= w.ref+w.period {
		w.release()
		w.ref = t - (t-w.ref)%w.period
	}
	if w.room() {
		w.rows.add(vals, 0, t)
	}
}

// replace is unique: an event takes the place of the one with the same keys.
func (w *window) replace(vals []Value) {
	p, r := w.rule.process, w.rows
	h := w.hash(vals)
	at := w.unique.find(h, func(i int32) bool {
		r.load(int(i), w.scratch)
		return w.alike(vals, w.scratch)
	})
	if at >= 0 {
		i := int(at)
		r.load(i, w.scratch)
		if r.count {
			p.goneGroup = r.group[i]
		}
		p.left, p.fresh = append(p.left, gone), append(p.fresh, i)
		r.set(i, vals)
		p.live, p.vals = i, vals
		p.run()
		p.live, p.vals = -1, nil
		return
	}
	if !w.room() {
		p.left = append(p.left, r.slot(0))
		r.load(r.slot(0), w.scratch)
		w.unique.drop(w.hash(w.scratch), int32(r.slot(0)))
	}
	i := r.add(vals, 0, 0)
	w.unique.put(h, int32(i), w.rehash)
	p.fresh = append(p.fresh, i)
	w.hand(i, vals)
}

func (w *window) rehash(i int32) uint64 {
	w.rows.load(int(i), w.scratch)
	return w.hash(w.scratch)
}

func (w *window) hash(vals []Value) (h uint64) {
	e := env{ev: vals}
	for _, k := range w.keys {
		h = h*31 + hash(k.v(&e))
	}
	return h
}

func (w *window) alike(a, b []Value) bool {
	x, y := env{ev: a}, env{ev: b}
	for _, k := range w.keys {
		if !same(k.v(&x), k.v(&y)) {
			return false
		}
	}
	return true
}

// reindex enters all rows anew, after they moved.
func (w *window) reindex() {
	w.unique = table{}
	for k := range w.rows.n {
		i := int32(w.rows.slot(k))
		w.unique.put(w.rehash(i), i, w.rehash)
	}
}
