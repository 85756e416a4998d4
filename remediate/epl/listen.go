package epl

// A site is a filter of a pattern with all that listens at it.
type site struct {
	node        *node
	first, last *state   // all listeners, in order
	buckets     []*state // by key, where the filter has one
	index       *index   // nil without a condition
	bound       float64  // of an index of comparisons
	deeper      bool     // there is more than one condition
}

// An index stands for one of Esper's: the filters whose first condition compares the same property in the same way.
type index struct {
	what   string
	begun  uint64
	inside int
}

const buckets = 256 // a power of two

// inOrder sorts listeners as Esper finds them in its tree of filters, which is what decides when one event fits both sides
// of an or, or what a not waits for: filters without a condition come last; those with one by the index that it is in, the
// one that was begun first before others; within an index of comparisons the smaller bound first; the rest as they came.
func inOrder(s []*state) {
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && s[j].sooner(s[j-1]); j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

func (s *state) sooner(o *state) bool {
	a, b := s.site, o.site
	switch {
	case a.index == nil || b.index == nil:
		if (a.index == nil) != (b.index == nil) {
			return b.index == nil
		}
	case a.index != b.index:
		return a.index.begun < b.index.begun
	case a.bound != b.bound:
		return a.bound < b.bound
	case a.deeper != b.deeper:
		return a.deeper
	}
	return s.order < o.order
}

// collect finds the listeners of a site whose filter is true for the event.
func (m *matcher) collect(s *site) {
	n := s.node
	if n.key.v != nil {
		v := kept(m.env.ev[n.keyed])
		if v.kind == None {
			return
		}
		for l := s.buckets[m.rule.engine.texts.memo.of(v)&(buckets-1)]; l != nil; l = l.link {
			if same(l.value, v) && m.passes(l) {
				m.hits = append(m.hits, l)
			}
		}
		return
	}
	for l := s.first; l != nil; l = l.link {
		if m.passes(l) {
			m.hits = append(m.hits, l)
		}
	}
}

func (m *matcher) passes(s *state) bool {
	m.env.tags = s.begin
	for i := range s.conds {
		if v := s.conds[i].v(&m.env); v.kind == None || v.bits == 0 {
			return false
		}
	}
	return true
}

// listen and deaf enter a filter at its site, and take it out.
func (m *matcher) listen(s *state) {
	at := s.site
	m.order++
	s.order, s.listening = m.order, true
	if x := at.index; x != nil {
		if x.inside == 0 {
			x.begun = m.order
		}
		x.inside++
	}
	if s.key.v != nil {
		m.env.tags = s.begin
		s.value = s.key.v(&m.env)
		if s.value.kind == None { // nothing is equal to null
			return
		}
		s.hash = m.rule.engine.texts.memo.of(s.value) & (buckets - 1)
		if s.link = at.buckets[s.hash]; s.link != nil {
			s.link.back = s
		}
		at.buckets[s.hash] = s
		return
	}
	if s.back = at.last; s.back != nil {
		s.back.link = s
	} else {
		at.first = s
	}
	at.last = s
}

func (m *matcher) deaf(s *state) {
	if !s.listening {
		return
	}
	s.listening = false
	at := s.site
	if at.index != nil {
		at.index.inside--
	}
	if s.key.v != nil {
		if s.value.kind == None {
			return
		}
		if s.back != nil {
			s.back.link = s.link
		} else {
			at.buckets[s.hash] = s.link
		}
		if s.link != nil {
			s.link.back = s.back
		}
	} else {
		if s.back != nil {
			s.back.link = s.link
		} else {
			at.first = s.link
		}
		if s.link != nil {
			s.link.back = s.back
		} else {
			at.last = s.back
		}
	}
	s.link, s.back = nil, nil
}
