package epl

// What a pattern holds while it runs is as in Esper: a tree of states that follows the tree of the expression. A state tells
// its parent that it became true (with what its tags are bound to, and whether it ended by that) or false. All that is held
// is in pools of the rule; a state that ended goes back to its pool after the event or the time that ended it, since until then
// a call that is under way may still look at it.

// A held is an event that a pattern holds, or a link of a list of them: what a repeat took, the last first. It is in use
// as long as refs is not 0, and does not change.
type held struct {
	refs int32
	n    int32   // of a link: how many it is the end of
	item *held   // of a link
	prev *held   // of a link, the one before; of a free one, the next free
	vals []Value // those properties that the rule needs
	id   uint64  // the event's number, as the engine counts them
	of   *holding
}

// A holding is what is held of the events of one type.
type holding struct {
	typ  *Type
	need []int // properties, in the order of held.vals
}

// A node is a compiled pattern.
type node struct {
	*pattern
	kids   []*node
	index  int   // among its parent's kids
	parent *node // for what depends on who asks
	slot   int   // of a tag; -1 for none
	conds  []fn
	key    fn // of a listener: what key of the event must be equal to; v is nil where there is none
	keyed  int
	keys   []fn   // of every-distinct
	test   fn     // of while
	slots  []bool // of until: the tags in what it repeats
	site   *site
}

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

const buckets = 64 // a power of two

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

// stored is one way in which a kid of an and came true.
type stored struct {
	kid  int
	tags []*held
	next *stored
}

// A key is what every-distinct saw.
type key struct {
	vals  []Value
	until int64 // when it is forgotten; 0 is never
	next  *key
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
}

// A pool hands out up to a number of things, and allocates them some at a time.
type pool[T any] struct {
	free []*T
	used int // handed out
	made int
	most int
	init func([]T)
}

func (p *pool[T]) get() *T {
	if len(p.free) == 0 {
		n := min(max(8, p.made), p.most-p.made, 256)
		if n <= 0 {
			return nil
		}
		slab := make([]T, n)
		if p.init != nil {
			p.init(slab)
		}
		p.made += n
		for i := n - 1; i >= 0; i-- {
			p.free = append(p.free, &slab[i])
		}
	}
	v := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.used++
	return v
}

func (p *pool[T]) put(v *T) {
	p.used--
	p.free = append(p.free, v)
}

// newMatcher makes a matcher that has not started.
func newMatcher(r *Rule, root *node, sites [][]*site, tags []tag, holds []holding, b Bounds) *matcher {
	m := &matcher{rule: r, root: root, sites: sites, tags: tags, holds: holds}
	m.states = pool[state]{most: b.Partials, init: func(s []state) {
		refs := make([]*held, len(s)*len(tags))
		lists := make([]*held, len(s)*len(tags)*repeats(root))
		for i := range s {
			s[i].begin, refs = refs[:len(tags):len(tags)], refs[len(tags):]
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
	var none []*held
	none = m.push(nil)
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
		v := m.env.ev[n.keyed]
		if v.kind == None {
			return
		}
		for l := s.buckets[hash(v)&(buckets-1)]; l != nil; l = l.link {
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

// hit is a filter whose event came.
func (m *matcher) hit(s *state, vals []Value, id uint64) {
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
	stays := s.up != nil && (s.up.op == opEvery || s.up.op == opDistinct)
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

// hold takes an event into the rule's memory; nil when there is no room. The caller has it once.
func (m *matcher) hold(vals []Value, id uint64) *held {
	h := m.events.get()
	if h == nil {
		m.overflow()
		return nil
	}
	of := &m.holds[m.kind]
	h.refs, h.n, h.id, h.of = 1, 0, id, of
	h.vals = h.vals[:len(of.need)]
	for i, p := range of.need {
		h.vals[i] = vals[p]
	}
	return h
}

func (m *matcher) overflow() {
	m.lost = true
	m.rule.overflows++
}

func (m *matcher) retain(tags []*held) {
	for _, h := range tags {
		if h != nil {
			h.refs++
		}
	}
}

func (m *matcher) release(h *held) {
	for h != nil {
		if h.refs--; h.refs > 0 {
			return
		}
		item, prev := h.item, h.prev
		h.item, h.prev = nil, nil
		clear(h.vals)
		h.vals = h.vals[:0]
		m.events.put(h)
		if item != nil {
			m.release(item)
		}
		h = prev
	}
}

// push copies tags to where they live for the length of a call; pop gives that back.
func (m *matcher) push(tags []*held) []*held {
	n := len(m.tags)
	at := len(m.scratch)
	if at+n > cap(m.scratch) { // what was handed out before stays where it is
		m.scratch = make([]*held, 0, max(4*n, 2*cap(m.scratch)))
		at = 0
	}
	m.scratch = m.scratch[: at+n : cap(m.scratch)]
	out := m.scratch[at : at+n : at+n]
	if tags == nil {
		clear(out)
	} else {
		copy(out, tags)
	}
	return out
}

func (m *matcher) pop(tags []*held) {
	m.scratch = m.scratch[:max(0, len(m.scratch)-len(tags))]
}

// spawn makes a state below another; nil when there is no room.
func (m *matcher) spawn(n *node, up *state) *state {
	s := m.states.get()
	if s == nil {
		m.overflow()
		return nil
	}
	begin, taken := s.begin, s.taken // both are all nil
	m.life++
	*s = state{node: n, up: up, active: true, begin: begin, taken: taken, life: m.life}
	s.timer.rule, s.timer.state, s.timer.at = m.rule, s, -1
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

func (m *matcher) unstore(at **stored) {
	d := *at
	*at = d.next
	for i, h := range d.tags {
		m.release(h)
		d.tags[i] = nil
	}
	d.next = nil
	m.stores.put(d)
}

func (m *matcher) forget(k **key) {
	for *k != nil {
		d := *k
		*k = d.next
		clear(d.vals)
		d.next = nil
		m.keys.put(d)
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
		m.lost = false
		if m.top == nil || m.hopeless(m.top) {
			m.restart()
		}
	}
}

// hopeless reports whether a state that should wait for something has nothing to wait for: it lost that to a full pool.
func (m *matcher) hopeless(s *state) bool {
	if s.op == opFilter || s.op == opInterval || s.op == opAt {
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
		s.hash = hash(s.value) & (buckets - 1)
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
