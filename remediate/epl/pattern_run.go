package epl

// repeats returns 1 when there is a repeat in a pattern, and otherwise 0.
func repeats(n *node) int {
	if n.op == opUntil {
		return 1
	}
	for _, k := range n.kids {
		if repeats(k) == 1 {
			return 1
		}
	}
	return 0
}

const maxCalls = 500 // of states by one another, for one event

// start begins a state with what the tags before it are bound to.
func (m *matcher) start(s *state, tags []*held) {
	if m.depth++; m.depth > maxCalls {
		m.depth--
		m.overflow()
		return
	}
	defer func() { m.depth-- }()
	copy(s.begin, tags)
	m.retain(s.begin)
	switch s.op {
	case opFilter:
		m.listen(s)
	case opEvery, opDistinct:
		m.respawn(s)
	case opFollowed:
		m.sow(s, 0, s.begin)
	case opAnd, opOr:
		for _, n := range s.kids {
			m.spawn(n, s)
		}
		for i := range s.kids {
			for k := s.first; k != nil && s.active; k = k.next {
				if k.index == i {
					m.start(k, s.begin)
					break
				}
			}
		}
	case opNot:
		m.sow(s, 0, s.begin)
		if s.active { // what has not come true is not
			m.isTrue(s, s.begin, false)
		}
	case opUntil:
		s.n = 0
		if len(s.kids) > 1 { // the end first: an event that is both ends it, and is not taken
			m.sow(s, 1, s.begin)
		}
		if s.active {
			m.sow(s, 0, s.begin)
		}
	case opWithin, opWithinMax:
		m.arm(s, s.period.Milliseconds())
		m.sow(s, 0, s.begin)
	case opWhile:
		m.sow(s, 0, s.begin)
	case opInterval:
		if s.period > 0 {
			m.arm(s, s.period.Milliseconds())
			return
		}
		m.ends(s)
	case opAt:
		if wait, ok := m.rule.engine.until(s.cron); ok {
			m.arm(s, wait)
		}
	}
}

// sow starts a kid of a state; without room there is none.
func (m *matcher) sow(s *state, i int, tags []*held) *state {
	k := m.spawn(s.kids[i], s)
	if k != nil {
		m.start(k, tags)
	}
	return k
}

func (m *matcher) arm(s *state, millis int64) {
	e := m.rule.engine
	e.timers.arm(&s.timer, e.now+millis)
}

// respawn starts what is below an every once more. What comes true at once would do so for ever, and is ended.
func (m *matcher) respawn(s *state) {
	k := m.spawn(s.kids[0], s)
	if k == nil {
		return
	}
	spawning, came := s.spawning, s.came
	s.spawning, s.came = k, false
	m.start(k, s.begin)
	if s.came {
		m.quit(k)
	}
	s.spawning, s.came = spawning, came
}

// ends is a state that comes true by itself, once.
func (m *matcher) ends(s *state) {
	tags := m.push(s.begin)
	s.active = false
	m.isTrue(s, tags, true)
	m.bury(s)
	m.pop(tags)
}

// due is a state whose time has come.
func (m *matcher) due(s *state) {
	switch {
	case m.stopped:
	case !s.active:
		m.ghost(s)
	case s.op == opInterval || s.op == opAt:
		m.ends(s)
	default:
		m.guarded(s)
	}
}

// ghost is a state that ended before its time came. Esper tells the parent nevertheless in two cases: when both were due at
// the same time, and when what a guard guards ended false, which does not stop the guard's clock. What comes of it are
// more instances below an every; the cases that were observed have it so.
func (m *matcher) ghost(s *state) {
	up := s.was
	if s.lingers {
		s.lingers = false
		s.next, m.dead = m.dead, s
	}
	truth := s.op == opInterval || s.op == opAt
	for up != nil && up.life == s.wasLife {
		switch up.op {
		case opEvery, opDistinct:
			if !up.active {
				return
			}
			m.forget(&up.seen)
			m.respawn(up)
			if truth {
				tags := m.push(s.begin)
				m.isTrue(up, tags, false)
				m.pop(tags)
			}
			return
		case opOr:
			if up.first != nil {
				return
			}
		case opAnd, opFollowed:
			if truth || up.first != nil {
				return
			}
		default:
			return
		}
		if up.up != nil {
			return // it is active: it was told already
		}
		s, up = up, up.was
	}
}

// guarded is a guard that ends what it guards.
func (m *matcher) guarded(s *state) {
	m.quitKids(s)
	m.isFalse(s)
}

// isTrue tells the parent of a state that it came true with these tags. With quit it ended by that; the caller then
// buries it.
func (m *matcher) isTrue(from *state, tags []*held, quit bool) {
	up := from.up
	if up == nil {
		if from == m.top {
			if quit {
				m.top = nil
			}
			m.rule.match(tags)
		}
		return
	}
	if !up.active {
		return
	}
	if m.depth++; m.depth > maxCalls {
		m.depth--
		m.overflow()
		return
	}
	defer func() { m.depth-- }()
	index := from.index
	if quit {
		detach(from)
	}
	switch up.op {
	case opEvery, opDistinct:
		if up.spawning == from {
			up.came = true
			return
		}
		fresh := up.op == opEvery || m.fresh(up, tags)
		if from.op != opFilter {
			m.respawn(up)
		}
		if fresh {
			m.isTrue(up, tags, false)
		}
	case opFollowed:
		m.followed(up, index, tags)
	case opAnd:
		m.and(up, index, tags, quit)
	case opOr:
		m.hand(up, tags, quit)
	case opNot:
		if quit {
			m.isFalse(up)
		}
	case opUntil:
		m.until(up, from, index, tags, quit)
	case opWithin:
		if quit {
			m.rule.engine.timers.cancel(&up.timer)
		}
		m.hand(up, tags, quit)
	case opWithinMax, opWhile:
		if quit {
			m.rule.engine.timers.cancel(&up.timer)
		}
		pass := false
		if up.op == opWithinMax {
			up.n++
			pass = int(up.n) <= up.most
		} else {
			m.env.tags = tags
			v := up.test.v(&m.env)
			pass = v.kind != None && v.bits != 0
		}
		if pass {
			m.hand(up, tags, quit)
		} else {
			m.guarded(up)
		}
	}
}

// hand hands on what a kid of an or, a guard or a repeat came true with.
func (m *matcher) hand(s *state, tags []*held, quit bool) {
	if quit {
		s.active = false
		m.quitKids(s)
	}
	m.isTrue(s, tags, quit)
	if quit {
		m.bury(s)
	}
}

func (m *matcher) followed(s *state, index int, tags []*held) {
	if index == len(s.kids)-1 {
		quit := s.first == nil
		if quit {
			s.active = false
		}
		m.isTrue(s, tags, quit)
		if quit {
			m.bury(s)
		}
		return
	}
	if s.limits != nil && s.limits[index+1] > 0 {
		n := 0
		for k := s.first; k != nil; k = k.next {
			if k.index == index+1 {
				n++
			}
		}
		if n >= s.limits[index+1] {
			return
		}
	}
	if m.sow(s, index+1, tags) == nil && s.first == nil {
		m.isFalse(s)
	}
}

func (m *matcher) and(s *state, index int, tags []*held, quit bool) {
	all := true
	for i := range s.kids {
		all = all && (i == index || has(s, i))
	}
	ends := all && quit
	for k := s.first; k != nil; k = k.next {
		ends = ends && k.op == opNot
	}
	if !all {
		m.keep(s, index, tags)
		return
	}
	m.combine(s, index, tags, ends)
}

func has(s *state, kid int) bool {
	for d := s.store; d != nil; d = d.next {
		if d.kid == kid {
			return true
		}
	}
	return false
}

// keep stores that a kid came true, behind what is stored.
func (m *matcher) keep(s *state, kid int, tags []*held) {
	d := m.stores.get()
	if d == nil {
		m.overflow()
		return
	}
	d.kid = kid
	copy(d.tags, tags)
	m.retain(d.tags)
	at := &s.store
	for *at != nil {
		at = &(*at).next
	}
	*at = d
}

// combine hands on every way in which all kids came true, of which this is the last.
func (m *matcher) combine(s *state, index int, tags []*held, ends bool) {
	mark, floor := len(m.ways), len(m.scratch)
	base := m.push(tags)
	m.ways = append(m.ways, base)
	for i := range s.kids {
		if i == index {
			continue
		}
		from, to := len(m.ways), len(m.ways)
		for _, w := range m.ways[mark:to] {
			for d := s.store; d != nil; d = d.next {
				if d.kid != i {
					continue
				}
				if len(m.ways)-from >= m.rule.bounds.Rows {
					m.overflow()
					break
				}
				one := m.push(w)
				for t, h := range d.tags {
					if h != nil {
						one[t] = h
					}
				}
				m.ways = append(m.ways, one)
			}
		}
		m.ways = append(m.ways[:mark], m.ways[from:]...)
	}
	ways := m.ways[mark:]
	if ends {
		s.active = false
		m.quitKids(s)
	} else {
		m.keep(s, index, tags)
	}
	for _, w := range ways {
		m.retain(w) // what comes of one may let go of what is in the next
	}
	for i, w := range ways {
		if i == 0 || s.up != nil || s == m.top {
			m.isTrue(s, w, ends)
		}
	}
	for _, w := range ways {
		for _, h := range w {
			m.release(h)
		}
	}
	m.ways = m.ways[:mark]
	if ends {
		m.bury(s)
	}
	m.scratch = m.scratch[:floor]
}

func (m *matcher) until(s, from *state, index int, tags []*held, quit bool) {
	if index == 1 { // the end came
		m.closes(s, tags, int(s.n) >= s.lo)
		return
	}
	s.n++
	for t, h := range tags {
		if h == nil || h == s.begin[t] || t >= len(s.slots) || !s.slots[t] {
			continue
		}
		l := m.events.get()
		if l == nil {
			m.overflow()
			continue
		}
		*l = held{refs: 1, n: 1, item: h, prev: s.taken[t], vals: l.vals[:0]}
		h.refs++
		if l.prev != nil {
			l.n = l.prev.n + 1
		}
		s.taken[t] = l
	}
	switch more := s.hi < 0 || int(s.n) < s.hi; {
	case s.lo >= 0 && s.lo == s.hi && int(s.n) == s.lo:
		m.closes(s, tags, true)
	case quit && more:
		m.sow(s, 0, s.begin)
	case !quit && !more:
		m.quit(from)
	}
}

// closes ends a repeat with what it took.
func (m *matcher) closes(s *state, tags []*held, enough bool) {
	if !enough {
		m.isFalse(s)
		return
	}
	out := m.push(tags)
	for t := range out {
		if t < len(s.slots) && s.slots[t] {
			out[t] = s.taken[t]
		}
	}
	m.hand(s, out, true)
	m.pop(out)
}

// fresh reports whether an every-distinct has not seen what these tags make, and remembers it.
func (m *matcher) fresh(s *state, tags []*held) bool {
	m.env.tags = tags
	now := m.rule.engine.now
	for at := &s.seen; *at != nil; {
		k := *at
		if k.until != 0 && k.until <= now {
			*at = k.next
			k.next = nil
			m.keys.put(k)
			continue
		}
		at = &k.next
	}
	vals := m.values[:0]
	for i := range s.keys {
		vals = append(vals, s.keys[i].v(&m.env))
	}
	m.values = vals
search:
	for k := s.seen; k != nil; k = k.next {
		for i := range vals {
			if !same(k.vals[i], vals[i]) {
				continue search
			}
		}
		return false
	}
	k := m.keys.get()
	if k == nil { // the one that was seen first is forgotten
		m.rule.overflows++
		at := &s.seen
		if *at == nil {
			return true
		}
		for (*at).next != nil {
			at = &(*at).next
		}
		k, *at = *at, nil
	}
	k.vals = append(k.vals[:0], vals...)
	k.next, k.until = s.seen, 0
	if s.period > 0 {
		k.until = now + s.period.Milliseconds()
	}
	s.seen = k
	return true
}

// isFalse tells the parent of a state that it ended false, for good.
func (m *matcher) isFalse(from *state) {
	up := from.up
	if up == nil {
		if from == m.top {
			m.top = nil
		}
		m.quit(from)
		return
	}
	if m.depth++; m.depth > maxCalls {
		m.depth--
		m.overflow()
		return
	}
	defer func() { m.depth-- }()
	detach(from)
	m.quit(from)
	if !up.active {
		return
	}
	switch up.op {
	case opEvery, opDistinct:
		m.forget(&up.seen)
		if up.spawning != from {
			m.respawn(up)
		}
	case opFollowed, opOr:
		if up.first == nil {
			m.isFalse(up)
		}
	case opNot:
		m.sow(up, 0, up.begin)
	case opAnd, opUntil:
		m.isFalse(up)
	case opWithin, opWithinMax, opWhile:
		up.lingers = up.timer.at >= 0
		m.isFalse(up)
	}
}
