package epl

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
		m.failed = true
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
		if h.item == nil {
			m.take(s, t, h)
			continue
		}
		m.inner = m.inner[:0] // of a repeat in this one, all that it took
		for l := h; l != nil; l = l.prev {
			m.inner = append(m.inner, l.item)
		}
		for i := len(m.inner) - 1; i >= 0; i-- {
			m.take(s, t, m.inner[i])
		}
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

// take adds an event to what a repeat took for a tag.
func (m *matcher) take(s *state, tag int, h *held) {
	l := m.events.get()
	if l == nil {
		m.overflow()
		return
	}
	*l = held{refs: 1, n: 1, item: h, prev: s.taken[tag], vals: l.vals[:0]}
	h.refs++
	if l.prev != nil {
		l.n = l.prev.n + 1
	}
	s.taken[tag] = l
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
	vals, h := m.values[:0], uint64(0)
	for i := range s.keys {
		v := kept(s.keys[i].v(&m.env))
		vals, h = append(vals, v), h*31+hash(v)
	}
	m.values = vals
search:
	for k := s.seen; k != nil; k = k.next {
		if k.hash != h {
			continue
		}
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
	k.vals = k.vals[:0]
	for _, v := range vals {
		k.vals = append(k.vals, m.rule.engine.texts.own(v))
	}
	k.next, k.until, k.hash = s.seen, 0, h
	if s.period > 0 {
		k.until = now + s.period.Milliseconds()
	}
	s.seen = k
	return true
}
