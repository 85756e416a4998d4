package epl

import (
	"strings"
	"time"
)

// The precedence is Esper's (Esper Reference, 7.3): a guard binds tightest, then every, not and every-distinct, then a
// repeat and until, then and, or, and ->.

func (p *parser) pattern() *pattern {
	defer p.inside()()
	at := p.peek().at
	n := &pattern{op: opFollowed, at: at, kids: []*pattern{p.patternOr()}, limits: []int{0}}
	limited := false
	for {
		most := 0
		switch {
		case p.take("->"):
		case p.take("-["):
			most, limited = p.count(1, 1_000_000), true
			p.want("]")
			p.want(">")
		default:
			if len(n.kids) == 1 {
				return n.kids[0]
			}
			if !limited {
				n.limits = nil
			}
			return n
		}
		n.kids, n.limits = append(n.kids, p.patternOr()), append(n.limits, most)
	}
}

func (p *parser) patternOr() *pattern { return p.operands(opOr, "or", p.patternAnd) }

func (p *parser) patternAnd() *pattern { return p.operands(opAnd, "and", p.patternUntil) }

func (p *parser) operands(op patternOp, word string, operand func() *pattern) *pattern {
	n := &pattern{op: op, at: p.peek().at, kids: []*pattern{operand()}}
	for p.take(word) {
		n.kids = append(n.kids, operand())
	}
	if len(n.kids) == 1 {
		return n.kids[0]
	}
	return n
}

func (p *parser) patternUntil() *pattern {
	n := p.repeat()
	if n == nil {
		n = &pattern{op: opUntil, at: p.peek().at, lo: -1, hi: -1}
	}
	ranged := n.lo >= 0 || n.hi >= 0
	n.kids = []*pattern{p.qualified()}
	switch t := p.peek(); {
	case p.take("until"):
		n.kids = append(n.kids, p.qualified())
	case !ranged:
		return n.kids[0]
	case n.lo != n.hi:
		p.fail(t.at, "write until and what ends it", "a repeat with a range needs an end")
	}
	return n
}

// repeat reads [n], [n:m], [n:] and [:m]; nil when there is none.
func (p *parser) repeat() *pattern {
	t := p.peek()
	if !p.take("[") {
		return nil
	}
	n := &pattern{op: opUntil, at: t.at, lo: -1, hi: -1}
	if !p.peek().is(":") {
		n.lo = p.count(0, 10_000)
	}
	if p.take(":") {
		if !p.peek().is("]") {
			n.hi = p.count(1, 10_000)
		}
	} else {
		n.hi = n.lo
	}
	if n.lo < 0 && n.hi < 0 || n.hi == 0 {
		p.fail(t.at, "", "a repeat of nothing")
	}
	if n.hi >= 0 && n.lo > n.hi {
		p.fail(t.at, "", "a repeat of at least %d and at most %d", n.lo, n.hi)
	}
	p.want("]", ":")
	return n
}

func (p *parser) qualified() *pattern {
	defer p.inside()()
	t := p.peek()
	n := &pattern{at: t.at}
	switch {
	case t.is("every") && p.ahead(1).is("-") && p.ahead(2).is("distinct"):
		p.i += 3
		n.op = opDistinct
		p.want("(")
		for {
			if d, ok := p.period(); ok {
				n.period = d
				break
			}
			if n.keys = append(n.keys, p.expr()); !p.take(",") {
				break
			}
		}
		if p.want(")"); len(n.keys) == 0 {
			p.fail(t.at, "", "every-distinct wants an expression")
		}
	case p.take("every"):
		n.op = opEvery
	case p.take("not"):
		n.op = opNot
	default:
		return p.postfixed()
	}
	if r := p.repeat(); r != nil { // every [2] a
		if r.lo != r.hi {
			p.fail(r.at, "put it in parentheses, with until and what ends it", "a repeat with a range needs an end")
		}
		r.kids = []*pattern{p.postfixed()}
		n.kids = []*pattern{r}
		return n
	}
	n.kids = []*pattern{p.postfixed()}
	return n
}

func (p *parser) postfixed() *pattern {
	var n *pattern
	if p.take("(") {
		n = p.pattern()
		p.want(")", "->", "and", "or", "until", "where", "while")
	} else {
		n = p.atom()
	}
	t := p.peek()
	switch {
	case p.take("where"):
		p.want("timer")
		p.want(":")
		g := &pattern{op: opWithin, at: t.at, kids: []*pattern{n}}
		if p.want("within", "withinmax") == "withinmax" {
			g.op = opWithinMax
		}
		p.want("(")
		g.period = p.time()
		if g.op == opWithinMax {
			p.want(",")
			g.most = p.count(0, 1_000_000)
		}
		p.want(")")
		return g
	case p.take("while"):
		g := &pattern{op: opWhile, at: t.at, kids: []*pattern{n}}
		p.want("(")
		g.cond = p.expr()
		p.want(")")
		return g
	}
	return n
}

func (p *parser) atom() *pattern {
	t := p.peek()
	if t.is("timer") && p.ahead(1).is(":") {
		p.i += 2
		n := &pattern{op: opInterval, at: t.at}
		switch which := p.want("interval", "at", "schedule"); which {
		case "at":
			n.op = opAt
			p.want("(")
			n.cron = p.cron()
			p.want(")")
		case "schedule":
			p.fail(t.at, "timer:interval or timer:at", "timer:schedule is not part of this EPL")
		default:
			p.want("(")
			if n.period = p.time(); n.period < 0 {
				n.period = time.Duration(0)
			}
			p.want(")")
		}
		return n
	}
	n := &pattern{op: opFilter, at: t.at}
	if p.ahead(1).is("=") {
		n.tag = p.name("a tag").text
		p.next()
	}
	n.filter = p.filter()
	if t := p.peek(); t.is("@") {
		p.fail(t.at, "", "@consume is not part of this EPL")
	}
	return n
}

// cron reads the five or six fields of timer:at: minutes, hours, days of the month, months, days of the week, seconds.
func (p *parser) cron() *cron {
	c := &cron{}
	for i, f := range cronFields {
		if i > 0 && !p.take(",") {
			if i == 5 { // without seconds it is at second 0
				c.fields[5] = 1
				return c
			}
			p.missing("',' and "+f.name, nil)
		}
		c.fields[i] = p.cronField(f)
	}
	if p.peek().is(",") {
		p.fail(p.peek().at, "a device has one time zone", "a time zone is not part of this EPL")
	}
	return c
}

func (p *parser) cronField(f cronField) uint64 {
	if p.take("[") {
		var set uint64
		for {
			set |= p.cronRange(f)
			if !p.take(",") {
				break
			}
		}
		p.want("]", ",")
		return set
	}
	return p.cronRange(f)
}

func (p *parser) cronRange(f cronField) (set uint64) {
	t, lo, hi, step := p.peek(), f.lo, f.hi, 1
	switch {
	case p.take("*"):
	case t.kind == tokenInt:
		lo = p.count(f.lo, f.hi)
		hi = lo
		if p.take(":") {
			hi = p.count(lo, f.hi)
		}
	default:
		p.missing(f.name+": *, a number, "+`a range 1:5, */5 or a list [1, 2]`, nil)
	}
	if p.take("/") {
		step = p.count(1, f.hi+1)
	}
	for v := lo; v <= hi; v += step {
		set |= 1 << v
	}
	return set
}

// nearest returns the word that is at most two changes from name and nearest to it, or nothing.
func nearest(name string, words []string) string {
	best, at := 3, ""
	for _, w := range words {
		if d := distance(strings.ToLower(name), strings.ToLower(w)); d < best && d*2 < len(w) {
			best, at = d, w
		}
	}
	return at
}

// distance is Levenshtein's, of names that are not long.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = min(left, row[j], row[j+1]) + 1
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
