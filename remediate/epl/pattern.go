package epl

import "time"

// A node is a compiled pattern.
type node struct {
	*pattern
	op     patternOp
	period time.Duration
	kids   []*node
	index  int // among its parent's kids
	slot   int // of a tag; -1 for none
	conds  []fn
	key    fn // of a listener: what key of the event must be equal to; v is nil where there is none
	keyed  int
	keys   []fn   // of every-distinct
	test   fn     // of while
	slots  []bool // of until: the tags in what it repeats
	site   *site
}

// A state is a node that is active.
type state struct {
	*node
	up     *state
	active bool
	begin  []*held // what the tags were bound to when it was started
	first  *state  // kids
	last   *state
	prev   *state // among the parent's kids
	next   *state
	n      int32 // of until: how many it took; of withinmax: likewise

	buried   bool
	lingers  bool   // it ended, and its timer goes on (ghost)
	was      *state // the parent that it had
	life     uint64 // which use of this memory it is
	wasLife  uint64
	spawning *state  // of every: the kid that is being started
	came     bool    // and whether that came true at once
	taken    []*held // of until: for each tag in it, what it took
	store    *stored // of and: what came true so far
	seen     *key    // of every-distinct: what it saw

	timer // of interval, at, within and withinmax

	order     uint64 // of a listener: when it was started
	hash      uint64
	value     Value // what key is here
	link      *state
	back      *state
	listening bool
}

// A matcher runs one pattern.
type matcher struct {
	rule  *Rule
	root  *node
	top   *state
	sites [][]*site // by the number of the event type in the rule
	tags  []tag
	holds []holding // by the number of the event type

	states  pool[state]
	events  pool[held]
	stores  pool[stored]
	keys    pool[key]
	scratch []*held
	hits    []*state
	inner   []*held
	dead    *state // by next

	order   uint64
	life    uint64
	stopped bool
	current *held // of the event that is being offered
	kind    int
	env     env
	ways    [][]*held
	values  []Value
	depth   int
	lost    bool // something did not fit since the last end of an event
	failed  bool // and what waited for it ended
}

// newMatcher makes a matcher that has not started.
func newMatcher(r *Rule, root *node, sites [][]*site, tags []tag, holds []holding, b Bounds) *matcher {
	m := &matcher{rule: r, root: root, sites: sites, tags: tags, holds: holds}
	m.states = pool[state]{most: b.Partials, init: func(s []state) {
		refs := make([]*held, len(s)*len(tags))
		lists := make([]*held, len(s)*len(tags)*repeats(root))
		for i := range s {
			s[i].begin, refs = refs[:len(tags):len(tags)], refs[len(tags):]
			s[i].timer = timer{at: -1, rule: r, state: &s[i]}
			if len(lists) > 0 {
				s[i].taken, lists = lists[:len(tags):len(tags)], lists[len(tags):]
			}
		}
	}}
	widest := 0
	for _, n := range holds {
		widest = max(widest, len(n.need))
	}
	m.events = pool[held]{most: b.Partials, init: func(h []held) {
		vals := make([]Value, len(h)*widest)
		for i := range h {
			h[i].vals, vals = vals[:0:widest], vals[widest:]
		}
	}}
	m.stores = pool[stored]{most: b.Partials, init: func(s []stored) {
		refs := make([]*held, len(s)*len(tags))
		for i := range s {
			s[i].tags, refs = refs[:len(tags):len(tags)], refs[len(tags):]
		}
	}}
	m.keys = pool[key]{most: b.Keys}
	m.env.now = r.engine.now
	return m
}

// run starts the pattern from its beginning.
func (m *matcher) run() {
	none := m.push(nil)
	m.top = m.spawn(m.root, nil)
	if m.top != nil {
		m.start(m.top, none)
	}
	m.pop(none)
	m.end()
}

// stop ends the pattern for good.
func (m *matcher) stop() {
	m.stopped = true
	if m.top != nil {
		m.quit(m.top)
		m.top = nil
	}
}

// offer gives the pattern an event.
func (m *matcher) offer(kind int, vals []Value, id uint64) {
	m.hits = m.hits[:0]
	m.env.ev = vals
	if t := m.rule.engine.Trace; t != nil {
		t.offer(m, kind)
	}
	for _, s := range m.sites[kind] {
		m.collect(s)
	}
	if len(m.hits) == 0 {
		m.env.ev = nil
		return
	}
	if len(m.hits) > 1 {
		inOrder(m.hits)
	}
	m.kind = kind
	for _, s := range m.hits {
		if s.active && s.listening {
			m.hit(s, vals, id)
		}
	}
	m.env.ev = nil
	if m.current != nil {
		m.release(m.current)
		m.current = nil
	}
	m.end()
}

// hit is a filter whose event came.
func (m *matcher) hit(s *state, vals []Value, id uint64) {
	if s.op == opAbsent {
		m.isFalse(s)
		return
	}
	tags := m.push(s.begin)
	if s.slot >= 0 {
		if m.current == nil {
			if m.current = m.hold(vals, id); m.current == nil {
				m.pop(tags)
				return
			}
		}
		tags[s.slot] = m.current
	}
	// An every goes on with the same filter; for all others it ends.
	stays := s.op == opFilter && s.up != nil && (s.up.op == opEvery || s.up.op == opDistinct)
	if !stays {
		m.deaf(s)
		s.active = false
	}
	m.isTrue(s, tags, !stays)
	if !stays {
		m.bury(s)
	}
	m.pop(tags)
}

func (m *matcher) overflow() {
	m.lost = true
	m.rule.overflows++
	if m.top != nil {
		m.tell(m.top, NoRoom)
	}
}

// spawn makes a state below another; nil when there is no room.
func (m *matcher) spawn(n *node, up *state) *state {
	s := m.states.get()
	if s == nil {
		m.overflow()
		return nil
	}
	m.life++
	s.node, s.up, s.active, s.buried, s.came, s.n, s.life = n, up, true, false, false, 0, m.life
	s.prev, s.next, s.was = nil, nil, nil // all else was left empty when it was buried
	if up != nil {
		if s.prev = up.last; s.prev != nil {
			s.prev.next = s
		} else {
			up.first = s
		}
		up.last = s
	}
	return s
}

// detach takes a state from its parent's kids.
func detach(s *state) {
	if s.up == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		s.up.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		s.up.last = s.prev
	}
	s.was, s.wasLife = s.up, s.up.life
	s.up, s.prev, s.next = nil, nil, nil
}

// quit ends a state and all below it, without telling anybody.
func (m *matcher) quit(s *state) {
	if !s.active {
		return
	}
	m.tell(s, Ends)
	s.active = false
	m.bury(s)
}

// quitKids ends all below a state.
func (m *matcher) quitKids(s *state) {
	for s.first != nil {
		k := s.first
		m.quit(k)
		if s.first == k { // it was ending already
			detach(k)
		}
	}
}

func (m *matcher) tell(s *state, deed Deed) {
	if t := m.rule.engine.Trace; t != nil {
		t.state(s, deed)
	}
}

// bury takes what a state that is not active any more had.
func (m *matcher) bury(s *state) {
	if s.buried {
		return
	}
	s.buried = true
	detach(s)
	m.deaf(s)
	if !s.lingers {
		m.rule.engine.timers.cancel(&s.timer)
	}
	m.quitKids(s)
	for i, h := range s.begin {
		m.release(h)
		s.begin[i] = nil
	}
	for i, h := range s.taken {
		m.release(h)
		s.taken[i] = nil
	}
	for s.store != nil {
		m.unstore(&s.store)
	}
	m.forget(&s.seen)
	if !s.lingers {
		s.next, m.dead = m.dead, s
	}
}

// end is called when an event or a time has been dealt with.
func (m *matcher) end() {
	for m.dead != nil {
		s := m.dead
		m.dead, s.next = s.next, nil
		m.states.put(s)
	}
	if m.lost {
		again := m.top == nil && m.failed || m.top != nil && m.hopeless(m.top)
		if m.lost, m.failed = false, false; again {
			m.restart()
		}
	}
}

// hopeless reports whether a state that should wait for something has nothing to wait for: it lost that to a full pool.
func (m *matcher) hopeless(s *state) bool {
	switch s.op {
	case opFilter, opInterval, opAt, opAbsent, opTimely:
		return false
	}
	for k := s.first; k != nil; k = k.next {
		if !m.hopeless(k) {
			return false
		}
	}
	return true
}

// restart lets everything go and begins anew, so that a pattern that ran out of room is not dumb for ever.
func (m *matcher) restart() {
	m.rule.restarts++
	if m.top != nil {
		m.tell(m.top, Anew)
		m.quit(m.top)
		m.top = nil
	}
	for m.dead != nil {
		s := m.dead
		m.dead, s.next = s.next, nil
		m.states.put(s)
	}
	m.run()
}
