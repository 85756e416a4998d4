package epl

import "slices"

// An oWindow is the content of a window, from all that came so far.
type oWindow struct {
	view
	all     []*oRow // every event that came
	content []*oRow // what of it is held
	names   []string

	current []*oRow // of batches: what was not handed on yet, and what was last
	last    []*oRow
	after   []*oRow // what came after the batch that is being handed on
	handing bool
	begun   bool
	ref     int64
	due     int64 // 0 for nothing
}

func (w *oWindow) period() int64 {
	switch e := w.args[len(w.args)-1].(type) {
	case *period:
		return e.d.Milliseconds()
	case *literal:
		f, _ := e.v.Float()
		return int64(f * 1000)
	}
	panic("oracle: no time")
}

func (w *oWindow) count() int { return int(oInt(oValue(w.args[0].(*literal).v))) }

func (w *oWindow) of(r *oRow, e expr) any {
	s := oScope{self: r.ev, names: w.names}
	return s.eval(e)
}

// held are the rows that a window without batches holds of all that came.
func (w *oWindow) held(now int64) (out []*oRow) {
	for i, r := range w.all {
		keep := false
		switch w.name {
		case "time":
			keep = r.when+w.period() > now
		case "length":
			keep = i >= len(w.all)-w.count()
		case "lastevent":
			keep = i == len(w.all)-1
		case "firstevent":
			keep = i == 0
		case "keepall":
			keep = true
		case "unique":
			keep = !slices.ContainsFunc(w.all[i+1:], func(o *oRow) bool { return w.key(o) == w.key(r) })
		case "ext_timed": // the oldest go as long as each is too old; what is behind one that is not stays
			keep = w.stays(i)
		default:
			panic("oracle: window " + w.name)
		}
		if keep {
			out = append(out, r)
		}
	}
	return out
}

func (w *oWindow) key(r *oRow) (key string) {
	for _, a := range w.args {
		key += oKey(w.of(r, a)) + "|"
	}
	return key
}

// stays replays ext_timed, and says whether the i-th is held in the end.
func (w *oWindow) stays(i int) bool {
	gone := 0
	for n, r := range w.all {
		t := oInt(w.of(r, w.args[0]))
		for gone < n && oInt(w.of(w.all[gone], w.args[0])) <= t-w.period() {
			gone++
		}
	}
	return i >= gone
}

// arrive is an event: which rows it brings, and which it takes away.
func (w *oWindow) arrive(r *oRow, now int64) (fresh, gone []*oRow) {
	switch w.name {
	case "time_batch":
		if !w.begun {
			w.begun, w.ref = true, now
		}
		if w.current = append(w.current, r); w.due == 0 {
			w.due = w.boundary(now)
		}
		return nil, nil
	case "length_batch":
		if w.current = append(w.current, r); len(w.current) == w.count() {
			return w.release()
		}
		return nil, nil
	case "ext_timed_batch":
		v := w.of(r, w.args[0])
		if v == nil {
			return nil, nil
		}
		t := oInt(v)
		if !w.begun {
			w.begun, w.ref = true, t
		}
		if t >= w.ref+w.period() {
			fresh, gone = w.release()
			w.ref = t - (t-w.ref)%w.period()
			w.after = append(w.after, r)
			return fresh, gone
		}
		w.current = append(w.current, r)
		return fresh, gone
	case "ext_timed":
		if w.of(r, w.args[0]) == nil {
			return nil, nil
		}
	}
	w.all = append(w.all, r)
	return w.changed(now)
}

func (w *oWindow) boundary(now int64) int64 { return now + w.period() - (now-w.ref)%w.period() }

// release hands a batch on. It is what the window holds until it is dealt with.
func (w *oWindow) release() (fresh, gone []*oRow) {
	w.handing = true
	return w.current, w.last
}

func (w *oWindow) settle() {
	if w.handing {
		w.current, w.last, w.after, w.handing = w.after, w.current, nil, false
	}
}

// changed compares what is held with what was.
func (w *oWindow) changed(now int64) (fresh, gone []*oRow) {
	held := w.held(now)
	for _, r := range held {
		if !slices.Contains(w.content, r) {
			fresh = append(fresh, r)
		}
	}
	for _, r := range w.content {
		if !slices.Contains(held, r) {
			gone = append(gone, r)
		}
	}
	w.content = held
	return fresh, gone
}

// next is when something happens without an event.
func (w *oWindow) next() int64 {
	if w.name == "time" && len(w.content) > 0 {
		return w.content[0].when + w.period()
	}
	return w.due
}

// time is next having come.
func (w *oWindow) time(now int64) (fresh, gone []*oRow) {
	if w.name == "time" {
		return w.changed(now)
	}
	w.due = 0
	if len(w.current)+len(w.last) > 0 {
		w.due = w.boundary(now)
		return w.release()
	}
	return nil, nil
}

// listed is what a snapshot shows.
func (w *oWindow) listed() []*oRow {
	switch w.name {
	case "time_batch", "length_batch", "ext_timed_batch":
		return w.current
	}
	return w.content
}
