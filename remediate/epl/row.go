package epl

import "slices"

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
	n := len(*at)
	*at = slices.Grow(*at, p.stride)[:n+len(p.cols)]
	cells := (*at)[n:]
	for i := range cells {
		if t := p.tags[i]; t >= 0 {
			h := e.tags[t]
			if h != nil {
				h.refs++
			}
			cells[i] = Cell{held: h, list: p.rule.matcher.tags[t].many}
			continue
		}
		c := &p.cols[i]
		v := c.v(e)
		if v.kind != c.kind {
			v = as(v, c.kind)
		}
		if p.out != nil { // the row waits
			v = p.rule.engine.texts.own(v)
		}
		cells[i].v = v
	}
	for i := range p.order {
		*at = append(*at, Cell{v: p.rule.engine.texts.own(p.order[i].v(e))})
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
	if !p.events {
		return
	}
	for i := range cells {
		if cells[i].held != nil {
			p.rule.matcher.release(cells[i].held)
		}
		cells[i] = Cell{}
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
