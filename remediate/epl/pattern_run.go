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
	m.begin(s, tags)
	m.depth--
}

func (m *matcher) begin(s *state, tags []*held) {
	for i, h := range tags {
		if s.begin[i] = h; h != nil {
			h.refs++
		}
	}
	m.tell(s, Begins)
	switch s.op {
	case opFilter:
		m.listen(s)
	case opAbsent, opTimely:
		m.arm(s, s.period.Milliseconds())
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
	case s.op == opInterval || s.op == opAt || s.op == opAbsent:
		m.tell(s, Due)
		m.ends(s)
	case s.op == opTimely:
		m.tell(s, Due)
		m.isFalse(s)
	default:
		m.tell(s, Due)
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
	if s.op == opAbsent { // an and hears nothing any more
		return
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
	m.tell(from, True)
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
	m.heard(up, from, tags, quit)
	m.depth--
}

// heard is a state of which a kid came true.
func (m *matcher) heard(up, from *state, tags []*held, quit bool) {
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

// isFalse tells the parent of a state that it ended false, for good.
func (m *matcher) isFalse(from *state) {
	m.tell(from, False)
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
	detach(from)
	m.quit(from)
	if up.active {
		m.refused(up, from)
	}
	m.depth--
}

// refused is a state of which a kid ended false.
func (m *matcher) refused(up, from *state) {
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
