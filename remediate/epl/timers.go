package epl

// timers are what is due when: a heap of four children, the earliest first, of equal ones the one that was armed first.
type timers struct {
	heap  []*timer
	order uint64
}

// A timer is part of what it wakes: a state, a window or an output.
type timer struct {
	due   int64
	order uint64
	at    int // in the heap; -1 for not
	rule  *Rule
	state *state
	what  byte // 's' of a state, 'w' of a window, 'o' of an output
}

type armed struct {
	t     *timer
	order uint64
	rule  *Rule
	life  uint64 // of the state
}

func (t *timer) before(o *timer) bool { return t.due < o.due || t.due == o.due && t.order < o.order }

func (t *timer) fire() {
	switch {
	case t.state != nil:
		t.rule.matcher.due(t.state)
	case t.what == 'w':
		t.rule.window.due()
		if tr := t.rule.engine.Trace; tr != nil {
			tr.after(t.rule)
		}
	default:
		t.rule.process.due()
	}
}

func (ts *timers) arm(t *timer, due int64) {
	if t.at >= 0 {
		ts.cancel(t)
	}
	ts.order++
	t.due, t.order, t.at = due, ts.order, len(ts.heap)
	if t.what == 'o' { // after all that may still add to what is put out
		t.order |= 1 << 63
	}
	ts.heap = append(ts.heap, t)
	ts.up(t.at)
}

func (ts *timers) cancel(t *timer) {
	t.order = 0
	i := t.at
	if i < 0 {
		return
	}
	t.at = -1
	n := len(ts.heap) - 1
	last := ts.heap[n]
	ts.heap[n] = nil
	if ts.heap = ts.heap[:n]; i == n {
		return
	}
	ts.heap[i] = last
	last.at = i
	ts.down(i)
	ts.up(last.at)
}

func (ts *timers) up(i int) {
	t := ts.heap[i]
	for i > 0 {
		p := (i - 1) / 4
		if !t.before(ts.heap[p]) {
			break
		}
		ts.heap[i] = ts.heap[p]
		ts.heap[i].at = i
		i = p
	}
	ts.heap[i] = t
	t.at = i
}

func (ts *timers) down(i int) {
	t := ts.heap[i]
	for {
		c := 4*i + 1
		if c >= len(ts.heap) {
			break
		}
		for k := c + 1; k < min(c+4, len(ts.heap)); k++ {
			if ts.heap[k].before(ts.heap[c]) {
				c = k
			}
		}
		if !ts.heap[c].before(t) {
			break
		}
		ts.heap[i] = ts.heap[c]
		ts.heap[i].at = i
		i = c
	}
	ts.heap[i] = t
	t.at = i
}

func (ts *timers) next() (due int64, ok bool) {
	if len(ts.heap) == 0 {
		return 0, false
	}
	return ts.heap[0].due, true
}

// take removes all that are due at now.
func (ts *timers) take(out []armed, now int64) []armed {
	for len(ts.heap) > 0 && ts.heap[0].due <= now {
		t := ts.heap[0]
		order := t.order
		ts.cancel(t)
		t.order = order
		a := armed{t: t, order: order, rule: t.rule}
		if t.state != nil {
			a.life = t.state.life
		}
		out = append(out, a)
	}
	return out
}
