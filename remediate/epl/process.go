package epl

import "slices"

// A process makes rows of what comes and leaves, as the select clause says: for each event, for each group that changed, or
// one for all (Esper Reference, appendix "Event Representations and Output"). It also keeps to the output clause.
type process struct {
	rule    *Rule
	style   style
	cols    []fn
	names   []string
	kinds   []Kind
	tags    []int // of a column that is a pattern's event or events: the tag; -1 for others
	order   []fn
	desc    []bool
	where   fn
	having  fn
	aggs    *aggregates
	by      []fn
	needsEv bool
	ir, r   bool // irstream, rstream
	early   []*earlier

	groups pool[group]
	all    []*group // by number
	spare  []uint32
	index  table
	one    *group // without group by
	stamp  uint64
	touch  []*group
	keys   []Value

	env       env
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

// A Cell is what a row has in one column: a value, or of a pattern an event or the events of a repeat.
type Cell struct {
	v    Value
	held *held
	list bool
}

// Value is null for events.
func (c Cell) Value() Value { return c.v }

// Events returns the events; many says that the tag is a repeat's.
func (c Cell) Events() (all []Event, many bool) {
	if c.held == nil {
		return nil, c.list
	}
	if c.held.item == nil {
		return []Event{{c.held}}, false
	}
	all = make([]Event, c.held.n)
	for l := c.held; l != nil; l = l.prev {
		all[l.n-1] = Event{l.item}
	}
	return all, true
}

// An Event is one that a pattern held.
type Event struct{ h *held }

// Number is the event's, as Engine.Send returned it.
func (e Event) Number() uint64 { return e.h.id }

// Type is its type.
func (e Event) Type() *Type { return e.h.of.typ }

// Value is that of a property, by its index. Only the events of select * have all; what a statement does not use is null.
func (e Event) Value(property int) Value {
	if i := slices.Index(e.h.of.need, property); i >= 0 {
		return e.h.vals[i]
	}
	return Value{}
}

// A Row is the cells of Rule.Columns.
type Row []Cell

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
		v := f.v(&p.env)
		p.keys = append(p.keys, v)
		h = h*31 + hash(v)
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
		if v.kind == Text {
			v.text = string([]byte(cut(v.text)))
		}
		g.keys = append(g.keys, v)
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

// before makes the rows that say what was.
func (p *process) before() {
	if !p.ir && !p.r || p.style != total && p.style != perGroup {
		return
	}
	e := &p.env
	e.old = true
	defer func() { e.old = false }()
	which := ""
	if p.out != nil {
		which = p.out.which
	}
	for _, g := range p.touch {
		switch {
		case which == "", which == "first" && p.open(g) && (p.style == total || p.having.v == nil), which == "last" && p.style == perGroup && g.since != p.lap:
			p.row(g)
		case which == "all" && p.style == perGroup, which == "last" && p.style == total:
			p.told(g)
		case which == "all":
			p.row(g)
		}
	}
}

// told makes the row of what a group was, once between two outputs.
func (p *process) told(g *group) {
	if g.told != p.lap && p.row(g) {
		g.told = p.lap
	}
}

// open reports whether output first lets a group through now.
func (p *process) open(g *group) bool {
	if p.style == total || p.style == eachTotal {
		return !p.shut
	}
	if p.out.events > 0 {
		return g.quiet == 0
	}
	return g.quiet <= p.env.now
}

// after makes the rows that say what is.
func (p *process) after() {
	e := &p.env
	switch p.style {
	case total, perGroup:
		for _, g := range p.touch {
			switch {
			case p.out == nil, p.out.which == "":
				p.row(g)
			case p.out.which == "first":
				switch {
				case !p.open(g):
				case p.style == total:
					p.row(g)
				case p.row(g):
					if p.having.v != nil { // with it Esper tells what was as it is
						e.old = true
						p.row(g)
						e.old = false
					}
					p.close(g)
				}
			case p.out.which == "all" && p.style == total:
				p.row(g)
				g.since = p.lap
			default:
				g.since, g.shown = p.lap, p.out.which == "all"
			}
		}
	case eachTotal, eachGrouped:
		for i, id := range p.fresh {
			if g := p.mine[i]; g != nil {
				p.load(id)
				p.event(g)
			}
		}
		e.old = true
		for i, id := range p.left {
			if g := p.mine[len(p.fresh)+i]; g != nil {
				p.load(id)
				p.event(g)
			}
		}
		e.old = false
	}
}

// close makes output first keep quiet about a group for its time.
func (p *process) close(g *group) {
	g.quiet = p.env.now + max(1, p.out.period.Milliseconds())
}

// event makes the row of the event in env, by the output clause.
func (p *process) event(g *group) {
	if p.out == nil {
		p.row(g)
		return
	}
	switch p.out.which {
	case "first":
		if g == nil && !p.shut || g != nil && p.open(g) {
			if p.row(g) && !p.env.old && p.style == eachGrouped {
				p.close(g)
			}
		}
	case "last":
		p.last(g)
	case "snapshot":
	default:
		p.row(g)
		if g != nil && p.out.which == "all" {
			g.since, g.shown = p.lap, true
		}
	}
}

// last makes a row that takes the place of the one before.
func (p *process) last(g *group) {
	at := &p.newRows
	if p.env.old {
		at = &p.oldRows
	}
	n := len(*at)
	if !p.row(g) || len(*at) == n {
		return
	}
	for i := 0; i+p.stride <= n; i += p.stride {
		same := true
		if g != nil && p.style == eachGrouped {
			same = (*at)[i+p.stride-1].v.bits == uint64(g.number)
		}
		if same {
			p.letGo((*at)[i : i+p.stride])
			copy((*at)[i:], (*at)[n:n+p.stride])
			*at = (*at)[:n]
			return
		}
	}
}

// row appends a row to those that come or go, if having allows it; it reports whether.
func (p *process) row(g *group) bool {
	e := &p.env
	if e.old && !p.ir && !p.r {
		return false
	}
	if !e.old && p.r {
		return true
	}
	if e.g = g; !isTrue(p.having, e) {
		return false
	}
	at := &p.newRows
	if e.old {
		at = &p.oldRows
	}
	if len(*at) >= p.rule.bounds.Rows*p.stride {
		p.rule.overflows++
		return false
	}
	for i := range p.cols {
		if t := p.tags[i]; t >= 0 {
			h := e.tags[t]
			if h != nil {
				h.refs++
			}
			*at = append(*at, Cell{held: h, list: p.rule.matcher.tags[t].many})
			continue
		}
		*at = append(*at, Cell{v: as(p.cols[i].v(e), p.cols[i].kind)})
	}
	for i := range p.order {
		*at = append(*at, Cell{v: p.order[i].v(e)})
	}
	if p.bare {
		*at = append(*at, Cell{})
	}
	if p.style == eachGrouped {
		*at = append(*at, Cell{v: Value{bits: uint64(g.number)}})
	}
	return true
}

func (p *process) letGo(cells []Cell) {
	for i := range cells {
		if cells[i].held != nil {
			p.rule.matcher.release(cells[i].held)
		}
		cells[i] = Cell{}
	}
}

// condition counts events for the output clause, and outputs when it is time for it.
func (p *process) condition(came, went int) {
	if p.out != nil && p.out.which == "first" && len(p.newRows)+len(p.oldRows) > 0 && len(p.by) == 0 {
		p.shut = true
	}
	if p.out != nil && p.out.period > 0 && !p.started && came+went > 0 && (p.out.which != "first" || len(p.by) == 0) {
		p.started, p.begun = true, p.rule.engine.now
		p.rule.engine.timers.arm(&p.timer, p.begun+p.out.period.Milliseconds())
	}
	switch {
	case p.out == nil:
		p.ready()
	case p.out.which == "first":
		p.ready()
		if p.out.events > 0 {
			p.came, p.went = p.came+came, p.went+went
			if p.came >= p.out.events || p.went >= p.out.events {
				p.came, p.went, p.shut = 0, 0, false
				for _, g := range p.all {
					if g != nil {
						g.quiet = 0
					}
				}
			}
		}
	case p.out.events > 0:
		p.came, p.went = p.came+came, p.went+went
		if p.came >= p.out.events || p.went >= p.out.events {
			p.came, p.went = 0, 0
			p.tick()
		}
	}
}

// due is an output whose time has come.
func (p *process) due() {
	e := p.rule.engine
	period := p.out.period.Milliseconds()
	e.timers.arm(&p.timer, e.now+period-(e.now-p.begun)%period)
	p.forced = p.out.which != "first" // that there is nothing is told too
	p.tick()
}

// tick outputs what the clause says is due at regular times.
func (p *process) tick() {
	e := &p.env
	e.now, e.old = p.rule.engine.now, false
	switch p.out.which {
	case "first":
		p.shut = false
		return
	case "last", "all":
		switch p.style {
		case total:
			p.final(p.one)
		case perGroup:
			for _, g := range p.all {
				if g != nil && (g.since == p.lap || g.shown) {
					p.final(g)
				}
			}
		}
	case "snapshot":
		p.snapshot()
	}
	p.lap++
	p.ready()
	p.sweep()
}

// final makes the rows of a group for output last and all.
func (p *process) final(g *group) {
	e := &p.env
	if p.out.which == "all" || p.style == total {
		if p.style == total && p.out.which == "all" && g.since == p.lap {
			return // each change has its own
		}
		if g.since != p.lap { // nothing changed: it was what it is
			e.old = true
			p.told(g)
			e.old = false
		}
	}
	p.row(g)
}

// snapshot makes rows of what the window holds; of a batch, of what is coming together.
func (p *process) snapshot() {
	w, e := p.rule.window, &p.env
	if p.style == total {
		p.row(p.one)
		return
	}
	if w == nil {
		for _, g := range p.all {
			if g != nil {
				p.row(g)
			}
		}
		return
	}
	p.stamp++
	p.touch = p.touch[:0]
	for k := w.first(); k < w.rows.n; k++ {
		p.load(w.rows.slot(k))
		if !isTrue(p.where, e) {
			continue
		}
		switch g := p.one; p.style {
		case plain:
			p.row(nil)
		case eachTotal:
			p.row(g)
		default:
			if g = p.groupOf(); g == nil {
				continue
			}
			fresh := g.stamp != p.stamp
			if p.touched(g); fresh || p.style == eachGrouped {
				p.row(g)
			}
		}
	}
	for _, g := range p.touch { // groups of a batch that was not counted yet
		if p.all[g.number] == g {
			p.empty(g)
		}
	}
}

// scan gives do the numbers of a group's rows, the oldest first.
func (p *process) scan(a *aggregate, g *group, do func(float64)) {
	w := p.rule.window
	ev, row := p.env.ev, p.env.row
	inner := env{ev: p.second, now: p.env.now}
	for k := range w.rows.n {
		id := w.rows.slot(k)
		if w.rows.group[id] != g.number {
			continue
		}
		w.rows.load(id, p.second)
		if f, ok := a.arg.v(&inner).Float(); ok {
			do(f)
		}
	}
	p.env.ev, p.env.row = ev, row
}

// look is prev and prior of the row in e.
func (p *process) look(c *earlier, e *env) Value {
	w := p.rule.window
	if c.prior && e.row == p.live && !e.old {
		if c.n < len(c.ring) {
			return c.ring[c.n]
		}
		return Value{}
	}
	if w == nil || e.row < 0 || e.old {
		return Value{}
	}
	r := w.rows
	k := e.row - r.head
	if k < 0 {
		k += r.size
	}
	if k-c.n < w.first() {
		return Value{}
	}
	r.load(r.slot(k-c.n), p.second)
	return c.arg.v(&env{ev: p.second, now: e.now})
}

// arrived remembers of an event what prior looks back to.
func (p *process) arrived(vals []Value) {
	for _, c := range p.early {
		if c.prior {
			if len(c.ring) <= c.n {
				c.ring = append(c.ring, Value{})
			}
			copy(c.ring[1:], c.ring)
			e := env{ev: vals, now: p.rule.engine.now}
			if c.ring[0] = c.arg.v(&e); c.ring[0].kind == Text {
				c.ring[0].text = cut(c.ring[0].text)
			}
		}
	}
}

// flush gives the listener what has come together.
func (p *process) flush() {
	if len(p.outNew) == 0 && len(p.outOld) == 0 && !p.forced {
		return
	}
	told := p.forced
	p.forced = false
	fresh, old := p.outNew, p.outOld
	if p.r {
		fresh, old = old, nil
	}
	out := Output{Rule: p.rule, Time: p.rule.engine.now}
	p.rowsNew, p.rowsOld = p.cutRows(p.rowsNew[:0], fresh), p.cutRows(p.rowsOld[:0], old)
	out.New, out.Old = p.rowsNew, p.rowsOld
	p.rule.matches += uint64(len(out.New))
	e := p.rule.engine
	if e.Listener != nil && (told || len(out.New)+len(out.Old) > 0) {
		e.Listener(out)
	}
	if p.rule.into != nil {
		for _, r := range out.New {
			e.route(p.rule, r)
		}
	}
	p.letGo(p.outNew)
	p.letGo(p.outOld)
	p.outNew, p.outOld = p.outNew[:0], p.outOld[:0]
}

// ready makes all rows that were kept due.
func (p *process) ready() {
	move := func(from, to *[]Cell) {
		if len(*to) == 0 {
			*from, *to = *to, *from
			return
		}
		*to = append(*to, *from...)
		clear(*from)
		*from = (*from)[:0]
	}
	move(&p.newRows, &p.outNew)
	move(&p.oldRows, &p.outOld)
	p.rule.engine.dirty(p.rule)
}

func (p *process) cutRows(rows []Row, cells []Cell) []Row {
	n := len(p.cols)
	for i := 0; i < len(cells); i += p.stride {
		rows = append(rows, Row(cells[i:i+p.stride:i+p.stride]))
	}
	if len(p.order) > 0 {
		slices.SortStableFunc(rows, func(a, b Row) int {
			for i := range p.order {
				x, y := a[n+i].v, b[n+i].v
				c, ok := ordered(x, y, x.kind == Double || y.kind == Double)
				switch {
				case !ok && x.kind == None && y.kind != None: // null is the least
					c = -1
				case !ok && y.kind == None && x.kind != None:
					c = 1
				}
				if p.desc[i] {
					c = -c
				}
				if c != 0 {
					return c
				}
			}
			return 0
		})
	}
	for i := range rows {
		rows[i] = rows[i][:n:n]
	}
	return rows
}
