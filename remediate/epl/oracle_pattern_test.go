package epl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An oState is a node of a pattern that is active. It is never changed: what happens to one makes another.
type oState struct {
	*pattern
	id    int // which one it is, through all its changes; it grows in the order of their start
	begin oBound
	due   int64 // of what waits for a time; 0 for nothing
	kids  []oKid
	n     int // of a repeat and of withinmax: how often it came true
	taken oBound
	store [][]oBound      // of and: what each kid came true with
	seen  map[int][]oSeen // of every-distinct: what each kid came true with
	dead  bool
}

type oKid struct {
	index int
	*oState
}

type oSeen struct {
	key   string
	until int64
}

// An oSign is what a state tells its parent: that it came true, and whether it ended by that, or that it ended false.
type oSign struct {
	isTrue bool
	tags   oBound
	quit   bool
}

// An oMatcher runs a pattern: it has no state but the tree.
type oMatcher struct {
	top    *oState
	last   int // the last id given
	now    int64
	limit  func(string) (float64, bool)
	size   int  // of the tree, when it was looked at last
	most   int  // states; more are not waited for
	turned bool // those that began to listen last are told first
	vague  bool // something came about of which nothing was observed

	path   oDue   // of the state that is being dealt with
	ghosts []oDue // guards that ended false by what they guard: their time still comes (as observed)
}

var oFalse = []oSign{{}}

// errTooLarge is the panic of an oracle that has too much to do.
var errTooLarge = errors.New("too many states")

func (m *oMatcher) begin(p *pattern) []oBound {
	var signs []oSign
	m.top, signs = m.start(p, oBound{})
	return m.matches(signs)
}

// matches are those that the top tells of.
func (m *oMatcher) matches(signs []oSign) (out []oBound) {
	for _, s := range signs {
		if s.isTrue {
			out = append(out, s.tags)
		}
	}
	if m.top != nil && m.top.dead {
		m.top = nil
	}
	return out
}

// each visits all states, the parents first.
func (s *oState) each(do func(*oState)) {
	if s == nil || s.dead {
		return
	}
	do(s)
	for _, k := range s.kids {
		k.each(do)
	}
}

func (s *oState) has(id int) bool {
	if s == nil || s.dead {
		return false
	}
	if s.id == id {
		return true
	}
	for _, k := range s.kids {
		if k.has(id) {
			return true
		}
	}
	return false
}

// event offers an event to those that listened before it came, in the order in which they began to.
func (m *oMatcher) event(e *oEvent) (out []oBound) {
	var hear, last []int // a filter without conditions is told behind those with some
	m.size = 0
	m.top.each(func(s *oState) {
		if m.size++; s.op != opFilter || s.filter.typ != e.typ {
			return
		}
		scope := oScope{self: e, names: []string{s.tag, s.filter.typ}, tags: s.begin, now: m.now, limit: m.limit}
		for _, c := range s.conds {
			if scope.eval(c) != true {
				return
			}
		}
		if len(s.conds) == 0 {
			last = append(last, s.id)
			return
		}
		hear = append(hear, s.id)
	})
	if m.size > m.most {
		panic(errTooLarge)
	}
	slices.Sort(hear)
	slices.Sort(last)
	if m.turned { // to find out whether the order matters
		slices.Reverse(hear)
		slices.Reverse(last)
	}
	return m.tell(append(hear, last...), e)
}

// An oDue is a state whose time has come, behind all it is below.
type oDue []*oState

// times are those that are due, in that order.
func (m *oMatcher) times(now int64) (due []oDue) {
	var look func(s *oState, above oDue)
	look = func(s *oState, above oDue) {
		if s == nil || s.dead {
			return
		}
		path := append(slices.Clone(above), s)
		if s.due > 0 && s.due <= now {
			due = append(due, path)
		}
		for _, k := range s.kids {
			look(k.oState, path)
		}
	}
	look(m.top, nil)
	for _, g := range m.ghosts {
		if g[len(g)-1].due <= now {
			due = append(due, g)
		}
	}
	m.ghosts = slices.DeleteFunc(m.ghosts, func(g oDue) bool { return g[len(g)-1].due <= now })
	slices.SortFunc(due, func(a, b oDue) int {
		x, y := a[len(a)-1], b[len(b)-1]
		if x.due != y.due {
			return int(x.due - y.due)
		}
		return x.id - y.id
	})
	return due
}

// time lets all that is due have its time, also that which ended by what was due before it: it has been woken already. Of
// such a one its parents hear, the first that is still active as of any other.
func (m *oMatcher) time(now int64) (out []oBound) {
	due := m.times(now)
	if len(due) > m.most {
		panic(errTooLarge)
	}
	for _, path := range due {
		leaf := path[len(path)-1]
		if m.top.has(leaf.id) {
			out = append(out, m.tell([]int{leaf.id}, nil)...)
			continue
		}
		signs := oFalse
		if leaf.op == opInterval || leaf.op == opAt {
			signs = []oSign{{true, leaf.begin, true}}
		}
		out = append(out, m.late(path[:len(path)-1], leaf, signs)...)
	}
	return out
}

func (m *oMatcher) late(above oDue, kid *oState, signs []oSign) []oBound {
	for i := len(above) - 1; i >= 0 && len(signs) > 0; i-- {
		s := above[i]
		if m.top.has(s.id) {
			m.vague = m.vague || s.op != opEvery
			m.top, signs = m.inject(m.top, s.id, kid, signs)
			return m.matches(signs)
		}
		if s.op == opEvery || s.op == opDistinct {
			m.vague = true
			return nil
		}
		m.vague = m.vague || s.op != opOr || signs[0].isTrue
		m.path = slices.Clone(above[:i+1])
		s = s.copy()
		s.end()
		s.due = 0
		s, signs = m.signs(s, kid, signs)
		kid = s
	}
	m.vague = m.vague || len(signs) > 0
	return m.matches(signs)
}

// inject has the state with that id deal with signs of a kid that it does not have any more.
func (m *oMatcher) inject(s *oState, id int, kid *oState, signs []oSign) (*oState, []oSign) {
	after, up, _ := m.reach(s, nil, id, func(s *oState) (*oState, []oSign) { return m.signs(s.copy(), kid, signs) })
	return after, up
}

// tell gives an event, or with nil its time, to states one after the other, if they are still there.
func (m *oMatcher) tell(ids []int, e *oEvent) (out []oBound) {
	for _, id := range ids {
		after, signs, ok := m.reach(m.top, nil, id, func(s *oState) (*oState, []oSign) { return m.deliver(s, e) })
		if ok {
			m.top = after
			out = append(out, m.matches(signs)...)
		}
	}
	return out
}

// reach lets do happen to the state with that id, and those above it hear of it. It returns what becomes of the tree and
// what the top says.
func (m *oMatcher) reach(s *oState, above oDue, id int, do func(*oState) (*oState, []oSign)) (*oState, []oSign, bool) {
	if s == nil || s.dead {
		return s, nil, false
	}
	path := append(above[:len(above):len(above)], s)
	if s.id == id {
		m.path = path
		after, signs := do(s)
		return after, signs, true
	}
	for i, k := range s.kids {
		after, signs, ok := m.reach(k.oState, path, id, do)
		if !ok {
			continue
		}
		if k.op == opFilter && (s.op == opEvery || s.op == opDistinct) { // it goes on
			after, signs[0].quit = k.oState, false
		}
		c := s.copy()
		c.kids[i].oState = after
		m.path = path
		after, signs = m.signs(c, after, signs)
		return after, signs, true
	}
	return s, nil, false
}

// deliver hands an event or its time to a state that waits for it.
func (m *oMatcher) deliver(s *oState, e *oEvent) (*oState, []oSign) {
	c := *s
	c.dead = true // of a filter, its parent may know better
	switch s.op {
	case opFilter:
		tags := s.begin
		if s.tag != "" {
			tags = tags.with(oBound{s.tag: e})
		}
		return &c, []oSign{{true, tags, true}}
	case opInterval, opAt:
		return &c, []oSign{{true, s.begin, true}}
	}
	return &c, oFalse // a guard
}

func (s *oState) copy() *oState {
	c := *s
	c.kids = slices.Clone(s.kids)
	c.store = slices.Clone(s.store)
	c.taken = s.taken.with(nil)
	if s.seen != nil {
		c.seen = map[int][]oSeen{}
		for id, keys := range s.seen {
			c.seen[id] = keys
		}
	}
	return &c
}

// signs deals with what a kid says, one after the other. The state is a copy that may be changed.
func (m *oMatcher) signs(s, kid *oState, signs []oSign) (*oState, []oSign) {
	var up []oSign
	for i, sign := range signs {
		m.vague = m.vague || s.dead && i > 0 && s.op != opFollowed && s.op != opAnd // it has ended by the one before
		up = append(up, m.sign(s, kid, sign)...)
	}
	return s, up
}

// without takes a kid out, and reports whether it was there.
func (s *oState) without(id int) (index int, ok bool) {
	for i, k := range s.kids {
		if k.id == id {
			s.kids = slices.Delete(s.kids, i, i+1)
			return k.index, true
		}
	}
	return -1, false
}

func (s *oState) indexOf(id int) (int, bool) {
	for _, k := range s.kids {
		if k.id == id {
			return k.index, true
		}
	}
	return -1, false
}

func (s *oState) end() { s.dead, s.kids = true, nil }

func (m *oMatcher) sign(s, kid *oState, sign oSign) []oSign {
	switch s.op {
	case opEvery:
		return m.every(s, kid, sign)
	case opDistinct:
		return m.distinct(s, kid, sign)
	case opFollowed:
		return m.followed(s, kid, sign)
	case opAnd:
		return m.and(s, kid, sign)
	case opOr:
		if !sign.isTrue {
			if s.without(kid.id); len(s.kids) == 0 {
				s.end()
				return oFalse
			}
			return nil
		}
		if sign.quit {
			s.end()
		}
		return []oSign{sign}
	case opNot:
		if sign.isTrue && !sign.quit {
			return nil
		}
		s.without(kid.id)
		if sign.isTrue {
			s.end()
			return oFalse
		}
		return m.sow(s, 0, s.begin)
	case opUntil:
		return m.until(s, kid, sign)
	}
	return m.guard(s, kid, sign)
}

// sow starts a kid, and deals with what that says at once.
func (m *oMatcher) sow(s *oState, index int, tags oBound) []oSign {
	kid, signs := m.start(s.pattern.kids[index], tags)
	s.kids = append(s.kids, oKid{index, kid})
	_, up := m.signs(s, kid, signs)
	return up
}

// start makes a state of a node. Its kids' signs are dealt with while it starts.
func (m *oMatcher) start(p *pattern, begin oBound) (*oState, []oSign) {
	m.last++
	s := &oState{pattern: p, id: m.last, begin: begin}
	switch p.op {
	case opFilter:
		return s, nil
	case opInterval:
		if p.period <= 0 {
			s.dead = true
			return s, []oSign{{true, begin, true}}
		}
		s.due = m.now + p.period.Milliseconds()
		return s, nil
	case opAt:
		s.due = oNext(p.cron, m.now)
		return s, nil
	case opEvery, opDistinct:
		if p.op == opDistinct {
			s.seen = map[int][]oSeen{}
		}
		m.again(s, nil)
		return s, nil
	case opFollowed:
		return s, m.sow(s, 0, begin)
	case opNot:
		up := m.sow(s, 0, begin)
		if !s.dead {
			up = append(up, oSign{true, begin, false})
		}
		return s, up
	case opAnd, opOr:
		s.store = make([][]oBound, len(p.kids))
		var up []oSign
		for i := range p.kids {
			if !s.dead {
				up = append(up, m.sow(s, i, begin)...)
			}
		}
		return s, up
	case opUntil:
		s.taken = oBound{}
		var up []oSign
		if len(p.kids) > 1 {
			up = m.sow(s, 1, begin)
		}
		if !s.dead {
			up = append(up, m.sow(s, 0, begin)...)
		}
		return s, up
	case opWithin, opWithinMax:
		s.due = m.now + p.period.Milliseconds()
	case opWhile:
	default:
		panic(fmt.Sprintf("oracle: pattern %d", p.op))
	}
	return s, m.sow(s, 0, begin)
}

// again starts the kid of an every. One that says something while it starts is let go: it would do so for ever.
func (m *oMatcher) again(s *oState, seen []oSeen) {
	kid, signs := m.start(s.pattern.kids[0], s.begin)
	if len(signs) > 0 {
		return
	}
	s.kids = append(s.kids, oKid{0, kid})
	if s.op == opDistinct {
		s.seen[kid.id] = seen
	}
}

func (m *oMatcher) every(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		s.without(kid.id)
		m.again(s, nil)
		return nil
	}
	if sign.quit {
		s.without(kid.id)
	}
	if kid.op != opFilter {
		m.again(s, nil)
	}
	return []oSign{{true, sign.tags, false}}
}

func (m *oMatcher) distinct(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		s.without(kid.id)
		m.again(s, nil)
		return nil
	}
	m.vague = m.vague || len(s.kids) > 1 // each with what it saw
	scope := oScope{tags: sign.tags, now: m.now, limit: m.limit}
	var keys []string
	for _, k := range s.pattern.keys {
		keys = append(keys, oKey(scope.eval(k)))
	}
	key := strings.Join(keys, "|")
	var known []oSeen
	fresh := true
	for _, k := range s.seen[kid.id] {
		if k.until != 0 && k.until <= m.now {
			continue
		}
		known = append(known, k)
		fresh = fresh && k.key != key
	}
	if fresh {
		k := oSeen{key: key}
		if s.pattern.period > 0 {
			k.until = m.now + s.pattern.period.Milliseconds()
		}
		known = append(known, k)
	}
	s.seen[kid.id] = known
	if sign.quit {
		s.without(kid.id)
	}
	if kid.op != opFilter {
		m.again(s, slices.Clone(known))
	}
	if !fresh {
		return nil
	}
	return []oSign{{true, sign.tags, false}}
}

// oKey is equal for values that are the same.
func oKey(v any) string {
	if f, ok := oFloat(v); ok {
		return fmt.Sprintf("%v", f+0)
	}
	return fmt.Sprintf("%T %q", v, fmt.Sprint(v))
}

func (m *oMatcher) followed(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		if s.without(kid.id); len(s.kids) == 0 {
			s.end()
			return oFalse
		}
		return nil
	}
	index, ok := s.indexOf(kid.id)
	if !ok {
		return nil
	}
	if sign.quit {
		s.without(kid.id)
	}
	next := index + 1
	if next == len(s.pattern.kids) {
		quit := len(s.kids) == 0
		if quit {
			s.end()
		}
		return []oSign{{true, sign.tags, quit}}
	}
	if s.limits != nil && s.limits[next] > 0 {
		waiting := 0
		for _, k := range s.kids {
			if k.index == next {
				waiting++
			}
		}
		if waiting >= s.limits[next] {
			return nil
		}
	}
	return m.sow(s, next, sign.tags)
}

func (m *oMatcher) and(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		s.end()
		return oFalse
	}
	index, ok := s.indexOf(kid.id)
	if !ok {
		return nil
	}
	if sign.quit {
		s.without(kid.id)
	}
	ways := []oBound{sign.tags}
	for i, stored := range s.store {
		if i == index {
			continue
		}
		var more []oBound
		for _, w := range ways {
			for _, t := range stored {
				more = append(more, w.with(t))
			}
		}
		ways = more
	}
	quit := len(ways) > 0
	for _, k := range s.kids {
		quit = quit && k.op == opNot
	}
	s.store[index] = append(slices.Clone(s.store[index]), sign.tags)
	if len(ways) > m.most {
		panic(errTooLarge)
	}
	if quit {
		s.end()
	}
	var up []oSign
	for _, w := range ways {
		up = append(up, oSign{true, w, quit})
	}
	return up
}

func (m *oMatcher) until(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		s.end()
		return oFalse
	}
	index, ok := s.indexOf(kid.id)
	if !ok {
		return nil
	}
	if sign.quit {
		s.without(kid.id)
	}
	if index == 1 {
		s.end()
		if s.lo >= 0 && s.n < s.lo {
			return oFalse
		}
		return []oSign{{true, sign.tags.with(s.taken), true}}
	}
	s.n++
	for _, tag := range oTags(s.pattern.kids[0]) {
		have, _ := s.taken[tag].([]*oEvent)
		switch e := sign.tags[tag].(type) {
		case *oEvent:
			s.taken[tag] = append(slices.Clone(have), e)
		case []*oEvent:
			s.taken[tag] = append(slices.Clone(have), e...)
		}
	}
	more := s.hi < 0 || s.n < s.hi
	switch {
	case s.lo >= 0 && s.lo == s.hi && s.n == s.lo:
		s.end()
		return []oSign{{true, sign.tags.with(s.taken), true}}
	case sign.quit && more:
		return m.sow(s, 0, s.begin)
	case !sign.quit && !more:
		s.without(kid.id)
	}
	return nil
}

// oTags are the tags of a pattern, in the order in which they are written.
func oTags(p *pattern) (out []string) {
	if p.op == opFilter && p.tag != "" {
		out = append(out, p.tag)
	}
	for _, k := range p.kids {
		out = append(out, oTags(k)...)
	}
	return out
}

func (m *oMatcher) guard(s, kid *oState, sign oSign) []oSign {
	if !sign.isTrue {
		if s.due > m.now && len(m.path) > 0 && m.path[len(m.path)-1].id == s.id {
			m.ghosts = append(m.ghosts, slices.Clone(m.path))
		}
		s.end()
		return oFalse
	}
	if _, ok := s.indexOf(kid.id); !ok {
		return nil
	}
	if sign.quit {
		s.without(kid.id)
		s.due = 0
	}
	pass := true
	switch s.op {
	case opWithinMax:
		s.n++
		pass = s.n <= s.most
	case opWhile:
		scope := oScope{tags: sign.tags, now: m.now, limit: m.limit}
		v := scope.eval(s.cond)
		m.vague = m.vague || v == nil
		pass = v == true
	}
	if !pass {
		s.end()
		return oFalse
	}
	if sign.quit {
		s.end()
	}
	return []oSign{sign}
}

// oNext is the next second that timer:at names, looked for second by second; the time is since 1970 in UTC.
func oNext(c *cron, now int64) int64 {
	for t := now/1000 + 1; t < now/1000+40*24*3600; t++ {
		at := time.Unix(t, 0).UTC()
		is := [6]int{at.Minute(), at.Hour(), at.Day(), int(at.Month()), int(at.Weekday()), at.Second()}
		due := true
		for i, v := range is {
			due = due && c.fields[i]>>v&1 == 1
		}
		if due {
			return t * 1000
		}
	}
	return 0
}
