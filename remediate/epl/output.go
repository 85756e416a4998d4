package epl

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
		if p.last(g); g != nil {
			g.since = p.lap // its number is its own as long as there is a row of it
		}
	case "snapshot":
	default:
		p.row(g)
		if g != nil && p.out.which == "all" {
			g.since, g.shown = p.lap, true
		}
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
	first := w.first()
	if !w.batch && (len(p.left) == 0 || p.left[0] != gone) {
		first = len(p.left) // these are about to go
	}
	for k := first; k < w.rows.n; k++ {
		id := w.rows.slot(k)
		p.load(id)
		var g *group
		switch {
		case !w.batch && p.style != plain:
			if g = p.counts(id); g == nil {
				continue
			}
		case !isTrue(p.where, e):
			continue
		case p.style != plain:
			if g = p.groupOf(); g == nil {
				continue
			}
		}
		switch p.style {
		case plain, eachTotal:
			p.row(g)
		default:
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
