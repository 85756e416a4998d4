package epl

import "slices"

// An oRule is a statement of the oracle.
type oRule struct {
	*Statement
	name    string
	oracle  *oracle
	names   []string
	columns []oColumn
	style   style
	window  *oWindow
	matcher *oMatcher
	arrived []*oRow          // all that passed the filter
	bag     []*oRow          // what aggregates are over
	known   map[string]*oRow // a row of each group there ever was
	order   []string         // of known

	calls   bool // the listener is to be called
	newRows []orow
	oldRows []orow

	ref         int64 // of output: when it was begun
	due         int64 // 0 for not yet
	came        int
	went        int
	shown       bool // of output first: one was
	first       map[string]*oPolled
	news        []orow
	olds        []orow
	groups      []string // of output last and all: which there are, in order
	reps        map[string]*oRow
	before      map[string]orow // what they were
	beforeOrder []string
	had         bool
}

// An orow is what a listener is given: the values of columns, or *oEvent, or []*oEvent.
type orow map[string]any

type oColumn struct {
	name string
	e    expr
	tag  string // an event or a repeat's
}

type oPolled struct {
	at         int64
	came, went int
}

func (r *oRule) rstream() bool { return r.stream != "istream" }

func (r *oRule) key(row *oRow) string {
	key := ""
	s := r.scope(row)
	for _, g := range r.group {
		key += oKey(s.eval(g)) + "|"
	}
	return key
}

func (r *oRule) scope(row *oRow) *oScope {
	s := &oScope{names: r.names, now: r.oracle.now, limit: r.oracle.limit}
	if row != nil {
		s.self, s.tags = row.ev, row.tags
	}
	return s
}

// make makes the row of an event, a group or all; nil when having does not let it through.
func (r *oRule) make(row *oRow, isNew bool) orow {
	s := r.scope(row)
	s.rows = r.bag
	if len(r.group) > 0 && row != nil {
		s.rows = nil
		for _, b := range r.bag {
			if r.key(b) == r.key(row) {
				s.rows = append(s.rows, b)
			}
		}
	}
	if row != nil && isNew {
		s.prior = upTo(r.arrived, row)
		if r.window != nil {
			s.prev = upTo(r.window.content, row)
		}
	}
	if r.having != nil && s.eval(r.having) != true {
		return nil
	}
	out := orow{}
	if r.style == eachGrouped {
		out[groupKey] = r.key(row)
	}
	for _, c := range r.columns {
		if c.tag != "" {
			out[c.name] = row.tags[c.tag]
		} else {
			out[c.name] = s.eval(c.e)
		}
	}
	return out
}

func upTo(all []*oRow, row *oRow) []*oRow {
	return all[:slices.Index(all, row)+1]
}

func add(to *[]orow, row orow) {
	if row != nil {
		*to = append(*to, row)
	}
}

func (r *oRule) enter(row *oRow) {
	r.bag = append(r.bag, row)
	if k := r.key(row); r.known[k] == nil {
		r.known[k] = row
		r.order = append(r.order, k)
	}
}

func (r *oRule) leave(row *oRow) {
	if i := slices.Index(r.bag, row); i >= 0 {
		r.bag = slices.Delete(slices.Clone(r.bag), i, i+1)
	}
}

func (r *oRule) apply(fresh, gone []*oRow) {
	for _, row := range fresh {
		r.enter(row)
	}
	for _, row := range gone {
		r.leave(row)
	}
}

// keys are the groups that rows are in, each once.
func (r *oRule) keys(lists ...[]*oRow) (out []string, of map[string]*oRow) {
	of = map[string]*oRow{}
	for _, l := range lists {
		for _, row := range l {
			k := r.key(row)
			if of[k] == nil {
				out = append(out, k)
				of[k] = row
			}
		}
	}
	return out, of
}

// view is what a statement makes of what comes and goes at once, when there is no output clause.
func (r *oRule) view(fresh, gone []*oRow) (news, olds []orow) {
	switch r.style {
	case total:
		if r.rstream() {
			add(&olds, r.make(nil, false))
		}
		r.apply(fresh, gone)
		add(&news, r.make(nil, true))
	case perGroup:
		keys, of := r.keys(fresh, gone)
		if r.rstream() {
			for _, k := range keys {
				add(&olds, r.make(of[k], false))
			}
		}
		r.apply(fresh, gone)
		for _, k := range keys {
			add(&news, r.make(of[k], true))
		}
	default:
		r.apply(fresh, gone)
		for _, row := range fresh {
			add(&news, r.make(row, true))
		}
		if r.rstream() {
			for _, row := range gone {
				add(&olds, r.make(row, false))
			}
		}
	}
	return news, olds
}

// feed takes what comes and goes.
func (r *oRule) feed(fresh, gone []*oRow) {
	if r.where != nil {
		pass := func(row *oRow) bool { return r.scope(row).eval(r.where) != true }
		fresh = slices.DeleteFunc(slices.Clone(fresh), pass)
		gone = slices.DeleteFunc(slices.Clone(gone), pass)
	}
	if len(fresh)+len(gone) == 0 {
		return
	}
	switch {
	case r.output == nil:
		news, olds := r.view(fresh, gone)
		r.tell(news, olds, false)
	case r.output.which == "first" && len(r.group) > 0:
		r.firstOfGroup(fresh, gone)
	case r.output.which == "first":
		news, olds := r.view(fresh, gone)
		if !r.shown {
			if len(news)+len(olds) == 0 {
				return
			}
			r.shown = true
			r.tell(news, olds, false)
		}
		r.condition(len(fresh), len(gone))
	default:
		r.collect(fresh, gone)
		r.condition(len(fresh), len(gone))
	}
}

// tell gives rows to the listener, with force even none.
func (r *oRule) tell(news, olds []orow, force bool) {
	if r.stream == "rstream" {
		news, olds = olds, nil
	}
	if len(news)+len(olds) == 0 && !force {
		return
	}
	for _, row := range append(slices.Clone(news), olds...) {
		delete(row, groupKey)
	}
	r.calls = true
	r.newRows = append(r.newRows, news...)
	r.oldRows = append(r.oldRows, olds...)
}

// collect keeps what an output clause is to show later.
func (r *oRule) collect(fresh, gone []*oRow) {
	which := r.output.which
	switch {
	case which == "snapshot":
		r.apply(fresh, gone)
	case r.style == total && which == "last":
		if r.rstream() && !r.had {
			add(&r.olds, r.make(nil, false))
			r.had = len(r.olds) > 0
		}
		r.apply(fresh, gone)
	case r.style == perGroup && (which == "last" || which == "all"):
		r.collectGroups(fresh, gone)
	default:
		news, olds := r.view(fresh, gone)
		r.news, r.olds = append(r.news, news...), append(r.olds, olds...)
		if which == "last" {
			r.news, r.olds = r.latest(r.news), r.latest(r.olds)
		}
	}
}

// latest keeps the last row, or that of each group.
func (r *oRule) latest(rows []orow) (out []orow) {
	for i, row := range rows {
		if !slices.ContainsFunc(rows[i+1:], func(o orow) bool { return o[groupKey] == row[groupKey] }) {
			out = append(out, row)
		}
	}
	return out
}

// groupKey is a column of rows that are one of a group's events; it is taken out before they are told.
const groupKey = "\x00group"

func (r *oRule) collectGroups(fresh, gone []*oRow) {
	one := func(row *oRow, do func(*oRow)) {
		k := r.key(row)
		if r.reps[k] == nil {
			r.groups = append(r.groups, k)
		}
		r.reps[k] = row
		was, ok := r.before[k] // of output last null counts too, when having did not let it through
		if r.rstream() && (!ok || was == nil && r.output.which == "all") {
			if r.before[k] = r.make(row, false); !ok {
				r.beforeOrder = append(r.beforeOrder, k)
			}
		}
		do(row)
	}
	for _, row := range fresh {
		one(row, r.enter)
	}
	for _, row := range gone {
		one(row, r.leave)
	}
}

// firstOfGroup is output first with group by: each group has its own quiet time, which its first row begins.
func (r *oRule) firstOfGroup(fresh, gone []*oRow) {
	var news, olds []orow
	show := map[string]*oRow{}
	var order []string
	if r.having != nil {
		r.apply(fresh, gone)
	}
	one := func(row *oRow, came, went int, do func(*oRow)) {
		k := r.key(row)
		if r.having == nil || r.make(row, true) != nil {
			if r.polled(k, came, went) {
				if show[k] == nil {
					order = append(order, k)
					if r.rstream() && r.style == perGroup {
						add(&olds, r.make(row, false))
					}
				}
				show[k] = row
			}
		}
		if r.having == nil {
			do(row)
		}
	}
	for _, row := range fresh {
		one(row, 1, 0, r.enter)
	}
	for _, row := range gone {
		one(row, 0, 1, r.leave)
	}
	for _, k := range order {
		add(&news, r.make(show[k], true))
	}
	r.tell(news, olds, false)
}

func (r *oRule) polled(k string, came, went int) bool {
	p := r.first[k]
	now := r.oracle.now
	if p == nil {
		r.first[k] = &oPolled{at: now}
		return true
	}
	if r.output.events > 0 {
		p.came, p.went = p.came+came, p.went+went
		if p.came < r.output.events && p.went < r.output.events {
			return false
		}
		p.came, p.went = 0, 0
		return true
	}
	if now-p.at < r.output.period.Milliseconds() {
		return false
	}
	p.at = now
	return true
}

// condition counts what came, or begins to count the time.
func (r *oRule) condition(came, went int) {
	if r.output.events == 0 {
		if r.due == 0 {
			r.ref = r.oracle.now
			r.due = r.ref + r.output.period.Milliseconds()
		}
		return
	}
	r.came, r.went = r.came+came, r.went+went
	if r.came >= r.output.events || r.went >= r.output.events {
		r.came, r.went = 0, 0
		r.show(false)
	}
}

// tick is the time of an output having come.
func (r *oRule) tick() {
	now, period := r.oracle.now, r.output.period.Milliseconds()
	r.due = now + period - (now-r.ref)%period
	r.show(r.output.which != "first")
}

// show puts out what was collected.
func (r *oRule) show(force bool) {
	news, olds := r.news, r.olds
	r.news, r.olds, r.had = nil, nil, false
	switch which := r.output.which; {
	case which == "first":
		r.shown = false
		return
	case which == "snapshot":
		news, olds = r.snapshot(), nil
	case r.style == total && (which == "last" || which == "all"):
		if len(news) == 0 {
			add(&news, r.make(nil, true))
		}
		if len(olds) == 0 && r.rstream() {
			add(&olds, r.make(nil, false))
		}
	case r.style == perGroup && (which == "last" || which == "all"):
		for _, k := range r.groups {
			add(&news, r.make(r.reps[k], true))
		}
		if which == "all" && r.rstream() {
			for _, k := range r.groups {
				if _, ok := r.before[k]; !ok {
					r.before[k] = r.make(r.reps[k], false)
					r.beforeOrder = append(r.beforeOrder, k)
				}
			}
		}
		for _, k := range r.beforeOrder {
			add(&olds, r.before[k])
		}
		r.before, r.beforeOrder = map[string]orow{}, nil
		if which == "last" {
			r.groups, r.reps = nil, map[string]*oRow{}
		}
	}
	r.tell(news, olds, force)
}

// snapshot is what the window holds now.
func (r *oRule) snapshot() (out []orow) {
	switch {
	case r.style == total:
		add(&out, r.make(nil, true))
		return out
	case r.style == perGroup && r.window == nil:
		for _, k := range r.order {
			add(&out, r.make(r.known[k], true))
		}
		return out
	}
	listed := r.arrived // without a window, the last event
	if r.window != nil {
		listed = r.window.listed()
	} else if len(listed) > 0 {
		listed = listed[len(listed)-1:]
	}
	var rows []*oRow
	for _, row := range listed {
		if r.where == nil || r.scope(row).eval(r.where) == true {
			rows = append(rows, row)
		}
	}
	if r.style == perGroup {
		keys, of := r.keys(rows)
		for _, k := range keys {
			add(&out, r.make(of[k], true))
		}
		return out
	}
	for _, row := range rows {
		add(&out, r.make(row, true))
	}
	return out
}
