package epl

// A window says which rows come and which go.
type window struct {
	kind   string
	batch  bool // it hands on many rows at once
	rule   *Rule
	rows   *rows
	period int64
	length int
	stamp  int // property of ext_timed
	a, b   env // rows that are compared
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
	p.left = p.left[:0]
}

// first is the first row that is not of the batch that was handed on before.
func (w *window) first() int {
	return w.last // 0 of one that is no batch
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
	w.a = env{ev: vals, now: w.rule.engine.now}
	for _, k := range w.keys {
		h = h*31 + hash(kept(k.v(&w.a)))
	}
	return h
}

func (w *window) alike(a, b []Value) bool {
	w.a, w.b = env{ev: a, now: w.rule.engine.now}, env{ev: b, now: w.rule.engine.now}
	for _, k := range w.keys {
		if !same(kept(k.v(&w.a)), kept(k.v(&w.b))) {
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
