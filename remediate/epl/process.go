package epl

// A process makes rows of what comes and leaves, as the select clause says: for each event, for each group that changed, or
// one for all (Esper Reference, appendix "Event Representations and Output"). It also keeps to the output clause.
type process struct {
	rule   *Rule
	style  style
	cols   []fn
	names  []string
	kinds  []Kind
	tags   []int // of a column that is a pattern's event or events: the tag; -1 for others
	order  []fn
	desc   []bool
	where  fn
	having fn
	aggs   *aggregates
	by     []fn
	ir, r  bool // irstream, rstream
	early  []*earlier

	groups pool[group]
	all    []*group // by number
	spare  []uint32
	index  table
	one    *group // without group by
	stamp  uint64
	touch  []*group
	keys   []Value

	env       env
	aside     env   // for a row other than that in env
	fresh     []int // rows that came
	left      []int // and those that leave
	live      int   // the row whose values are at hand
	vals      []Value
	goneGroup uint32
	buffer    []Value
	second    []Value
	mine      []*group // of the rows in fresh, then of those in left

	out     *output
	timer   timer
	begun   int64 // when the first event came, if started
	started bool
	came    int // events since the last output
	went    int
	shut    bool   // of output first: one was let through
	lap     uint64 // how often there was output

	newRows, oldRows []Cell // each as wide as stride
	outNew, outOld   []Cell // those that are due
	rowsNew, rowsOld []Row
	stride           int
	events           bool // some column is an event
	bare             bool // a row without columns has a cell nevertheless
	forced           bool // the listener is called without rows
}

type style uint8

const (
	plain       style = iota // a row for each event
	total                    // one row for all
	eachTotal                // a row for each event, with what all come to
	perGroup                 // a row for each group that changed
	eachGrouped              // a row for each event, with what its group comes to
)

// load puts a row's values where expressions look for them.
func (p *process) load(id int) {
	p.env.row = id
	switch {
	case id == p.live:
		p.env.ev = p.vals
	case id == gone:
		p.env.ev = p.rule.window.scratch
	default:
		p.rule.window.rows.load(id, p.buffer)
		p.env.ev = p.buffer
	}
}

func isTrue(f fn, e *env) bool {
	if f.v == nil {
		return true
	}
	v := f.v(e)
	return v.kind != None && v.bits != 0
}

// groupOf returns the group that the row in env belongs to; nil when there is no room for another.
func (p *process) groupOf() *group {
	if len(p.by) == 0 {
		return p.one
	}
	p.keys = p.keys[:0]
	h := uint64(0)
	for _, f := range p.by {
		v := kept(f.v(&p.env))
		p.keys = append(p.keys, v)
		h = h*31 + p.rule.engine.texts.memo.of(v)
	}
	n := p.index.find(h, func(n int32) bool {
		g := p.all[n]
		for i := range p.keys {
			if !same(g.keys[i], p.keys[i]) {
				return false
			}
		}
		return true
	})
	if n >= 0 {
		return p.all[n]
	}
	g := p.groups.get()
	if g == nil {
		p.sweep()
		g = p.groups.get()
	}
	if g == nil {
		p.rule.overflows++
		return nil
	}
	g.keys = g.keys[:0]
	for _, v := range p.keys {
		g.keys = append(g.keys, p.rule.engine.texts.own(v))
	}
	g.hash, g.refs, g.since, g.quiet, g.shown, g.stamp, g.told = h, 0, 0, 0, false, 0, 0
	if k := len(p.spare); k > 0 {
		g.number, p.spare = p.spare[k-1], p.spare[:k-1]
		p.all[g.number] = g
	} else {
		g.number = uint32(len(p.all))
		p.all = append(p.all, g)
	}
	p.aggs.begin(g)
	p.index.put(h, int32(g.number), func(n int32) uint64 { return p.all[n].hash })
	return g
}

// drop lets a group go that no row is in.
func (p *process) drop(g *group) {
	p.index.drop(g.hash, int32(g.number))
	p.spare = append(p.spare, g.number)
	p.all[g.number] = nil
	clear(g.keys)
	p.groups.put(g)
}

// run deals with the rows in fresh and left.
func (p *process) run() {
	e := &p.env
	e.now, e.old = p.rule.engine.now, false
	p.stamp++
	p.touch = p.touch[:0]
	came, went := 0, 0
	counted := len(p.aggs.all) > 0 || len(p.by) > 0
	if !counted {
		for _, id := range p.fresh {
			if p.load(id); isTrue(p.where, e) {
				came++
				p.event(nil)
			}
		}
		e.old = true
		for _, id := range p.left {
			if p.load(id); isTrue(p.where, e) {
				went++
				p.event(nil)
			}
		}
		p.condition(came, went)
		return
	}
	// which groups there are
	p.mine = p.mine[:0]
	for _, id := range p.fresh {
		p.load(id)
		var g *group
		if isTrue(p.where, e) {
			g = p.groupOf()
		}
		p.mine = append(p.mine, g)
		if g != nil {
			came++
			p.touched(g)
		}
	}
	for _, id := range p.left {
		if g := p.counts(id); g != nil {
			went++
			p.touched(g)
		}
	}
	if came+went == 0 {
		return
	}
	p.before()
	// what they come to
	for i, id := range p.fresh {
		if g := p.mine[i]; g != nil {
			if len(p.fresh) > 1 {
				p.load(id)
			}
			g.refs++
			if p.aggs.enter(g, e, p.rule.bounds) {
				p.rule.overflows++
			}
			if w := p.rule.window; w != nil && id >= 0 {
				w.rows.group[id] = g.number
			}
		}
	}
	for _, id := range p.left {
		if g := p.counts(id); g != nil {
			p.load(id)
			g.refs--
			p.aggs.leave(g, e)
			p.mine = append(p.mine, g)
			if id >= 0 {
				p.rule.window.rows.group[id] = none
			} else {
				p.goneGroup = none
			}
		} else {
			p.mine = append(p.mine, nil)
		}
	}
	p.after()
	p.condition(came, went)
	if p.rule.window != nil && len(p.by) > 0 {
		for _, g := range p.touch {
			if p.all[g.number] == g { // an output may have dropped it
				p.empty(g)
			}
		}
	}
}

// empty drops a group without rows, unless the output clause still needs to know of it.
func (p *process) empty(g *group) {
	if g.refs == 0 && !g.shown && g.since != p.lap && g.quiet <= p.env.now {
		p.drop(g)
	}
}

// sweep drops what has become empty.
func (p *process) sweep() {
	if p.rule.window == nil {
		return
	}
	for _, g := range p.all {
		if g != nil {
			p.empty(g)
		}
	}
}

// counts returns the group that counts a row; nil for none.
func (p *process) counts(id int) *group {
	n := p.goneGroup
	if id != gone {
		n = p.rule.window.rows.group[id]
	}
	switch {
	case n == none:
		return nil
	case len(p.by) == 0:
		return p.one
	}
	return p.all[n]
}

func (p *process) touched(g *group) {
	if g.stamp != p.stamp {
		g.stamp = p.stamp
		p.touch = append(p.touch, g)
	}
}

// scan gives do the numbers of a group's rows.
func (p *process) scan(a *aggregate, g *group, do func(float64)) {
	w := p.rule.window
	ev, row := p.env.ev, p.env.row
	if len(p.left) > 0 && p.left[0] == gone && p.goneGroup == g.number { // it is counted still
		p.aside = env{ev: w.scratch, now: p.env.now}
		if f, ok := a.arg.v(&p.aside).Float(); ok {
			do(f)
		}
	}
	p.aside = env{ev: p.second, now: p.env.now}
	for k := range w.rows.n {
		id := w.rows.slot(k)
		if w.rows.group[id] != g.number {
			continue
		}
		w.rows.load(id, p.second)
		if f, ok := a.arg.v(&p.aside).Float(); ok {
			do(f)
		}
	}
	p.env.ev, p.env.row = ev, row
}
