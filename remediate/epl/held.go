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

// stored is one way in which a kid of an and came true.
type stored struct {
	kid  int
	tags []*held
	next *stored
}

// A key is what every-distinct saw.
type key struct {
	hash  uint64
	vals  []Value
	until int64 // when it is forgotten; 0 is never
	next  *key
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
		h.vals[i] = m.rule.engine.texts.own(vals[p])
	}
	return h
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
