package epl

import (
	"math"
	"strconv"
	"strings"
)

func (p *parser) list() []expr {
	var out []expr
	for {
		if out = append(out, p.expr()); len(out) > 1000 {
			p.fail(p.peek().at, "", "more than 1000 in one list")
		}
		if !p.take(",") {
			return out
		}
	}
}

func (p *parser) expr() expr {
	defer p.inside()()
	return p.chain(p.exprAnd, "or")
}

func (p *parser) exprAnd() expr { return p.chain(p.exprNot, "and") }

// chain reads operands between operators of one precedence, which bind from the left.
func (p *parser) chain(operand func() expr, ops ...string) expr {
	l := operand()
	for n := 0; ; n++ {
		t := p.peek()
		op := ""
		for _, w := range ops {
			if t.is(w) {
				op = w
			}
		}
		if op == "" {
			return l
		}
		if n == 1000 {
			p.fail(t.at, "", "more than 1000 operands")
		}
		p.next()
		l = &binary{at: t.at, op: op, l: l, r: operand()}
	}
}

func (p *parser) exprNot() expr {
	defer p.inside()()
	if t := p.peek(); p.take("not") {
		return &unary{at: t.at, op: "not", e: p.exprNot()}
	}
	return p.equality()
}

func (p *parser) equality() expr {
	l := p.relation()
	for {
		t := p.peek()
		switch {
		case p.take("="):
			l = &binary{at: t.at, op: "=", l: l, r: p.relation()}
		case p.take("!="), p.take("<>"):
			l = &binary{at: t.at, op: "!=", l: l, r: p.relation()}
		case p.take("is"):
			not := p.take("not")
			if p.want("null"); not {
				l = &unary{at: t.at, op: "not", e: &isNull{at: t.at, e: l}}
			} else {
				l = &isNull{at: t.at, e: l}
			}
		default:
			return l
		}
	}
}

func (p *parser) relation() expr {
	l := p.chain(p.sum, "||")
	t := p.peek()
	for _, op := range []string{"<", "<=", ">", ">="} {
		if p.take(op) {
			return &binary{at: t.at, op: op, l: l, r: p.chain(p.sum, "||")}
		}
	}
	not := t.is("not")
	if not {
		if n := p.ahead(1); !n.is("in") && !n.is("between") && !n.is("like") && !n.is("regexp") {
			return l
		}
		p.next()
	}
	var e expr
	switch {
	case p.take("in"):
		open := p.want("(", "[")
		first := p.expr()
		if p.take(":") { // in [1:5), as in mathematics
			lo, hi := ">", "<"
			if open == "[" {
				lo = ">="
			}
			last := p.expr()
			if p.want(")", "]") == "]" {
				hi = "<="
			}
			e = &binary{at: t.at, op: "and", l: &binary{at: t.at, op: lo, l: l, r: first}, r: &binary{at: t.at, op: hi, l: l, r: last}}
			break
		}
		list := []expr{first}
		if p.take(",") {
			list = append(list, p.list()...)
		}
		p.want(")", ",")
		e = &in{at: t.at, e: l, list: list}
	case p.take("between"):
		lo := p.chain(p.sum, "||")
		p.want("and")
		return &between{at: t.at, e: l, lo: lo, hi: p.chain(p.sum, "||"), not: not}
	case p.take("like"):
		m := &match{at: t.at, op: "like", e: l, arg: p.chain(p.sum, "||")}
		if p.take("escape") {
			s := p.next()
			if m.escape = s.text; s.kind != tokenText || len(s.text) != 1 {
				p.fail(s.at, "", "escape wants one character in quotes")
			}
		}
		e = m
	case p.take("regexp"):
		e = &match{at: t.at, op: "regexp", e: l, arg: p.chain(p.sum, "||")}
	default:
		return l
	}
	if not {
		return &unary{at: t.at, op: "not", e: e}
	}
	return e
}

func (p *parser) sum() expr { return p.chain(p.product, "+", "-") }

func (p *parser) product() expr { return p.chain(p.unary, "*", "/", "%") }

func (p *parser) unary() expr {
	defer p.inside()()
	t := p.peek()
	if p.take("-") {
		e := p.unary()
		if l, ok := e.(*literal); ok && l.v.kind.number() {
			return &literal{at: t.at, v: negated(l.v)}
		}
		return &unary{at: t.at, op: "-", e: e}
	}
	if p.take("+") {
		return p.unary()
	}
	return p.primary()
}

func negated(v Value) Value {
	switch v.kind {
	case Double:
		f, _ := v.Float()
		return OfDouble(-f)
	case Int:
		return OfInt(-int32(int64(v.bits)))
	}
	return shortest(-int64(v.bits), v.kind)
}

// shortest is the Int of a number where it was written without L and fits: -2147483648 is one.
func shortest(n int64, k Kind) Value {
	if k == Long && n == math.MinInt32 {
		return OfInt(math.MinInt32)
	}
	return OfLong(n)
}

func (p *parser) primary() expr {
	t := p.peek()
	switch t.kind {
	case tokenText:
		p.next()
		return &literal{at: t.at, v: OfText(t.text)}
	case tokenInt, tokenLong, tokenDouble:
		if d, ok := p.period(); ok {
			return &period{at: t.at, d: d}
		}
		p.next()
		return &literal{at: t.at, v: p.number(t)}
	case tokenName:
		return p.named()
	}
	if p.take("(") {
		e := p.expr()
		p.want(")")
		return e
	}
	p.missing("an expression", nil)
	return nil
}

func (p *parser) number(t token) Value {
	if t.kind == tokenDouble {
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.fail(t.at, "", "%s is too large", t)
		}
		return OfDouble(f)
	}
	n, err := strconv.ParseInt(t.text, 10, 64)
	switch {
	case err != nil:
		p.fail(t.at, "a number with a point may be larger", "%s is too large", t)
	case t.kind == tokenInt && n <= math.MaxInt32:
		return OfInt(int32(n))
	}
	return OfLong(n)
}

func (p *parser) named() expr {
	t := p.peek()
	switch {
	case p.take("null"):
		return &literal{at: t.at}
	case p.take("true"), p.take("false"):
		return &literal{at: t.at, v: OfBool(equal(t.text, "true"))}
	case p.take("case"):
		return p.caseOf(t.at)
	case p.ahead(1).is("("):
		return p.call()
	}
	n := &name{at: t.at, index: -1, prop: p.name("an expression").text}
	if !t.quoted && equal(n.prop, "current_timestamp") {
		return &call{at: t.at, fn: "current_timestamp"}
	}
	if p.peek().is("[") {
		p.next()
		n.index = p.count(0, 10_000)
		p.want("]")
		if !p.peek().is(".") {
			p.missing("'.' and a property", nil)
		}
	}
	if p.take(".") {
		n.tag, n.prop = n.prop, p.propertyName()
	}
	return n
}

// propertyName takes any name: behind a point none is a keyword.
func (p *parser) propertyName() string {
	if t := p.peek(); t.kind != tokenName {
		p.missing("a property", nil)
	}
	return p.next().text
}

func (p *parser) call() expr {
	t := p.next()
	c := &call{at: t.at, fn: strings.ToLower(t.text)}
	p.want("(")
	if c.distinct = p.take("distinct"); !c.distinct && p.take("*") {
		c.star = true
	} else if !p.peek().is(")") {
		c.args = p.list()
	}
	p.want(")", ",")
	return c
}

// caseOf reads case when c then e … else e end, and case x when v then e … end.
func (p *parser) caseOf(at int) expr {
	c := &caseOf{at: at}
	var of expr
	if !p.peek().is("when") {
		of = p.expr()
	}
	for p.take("when") {
		cond := p.expr()
		if of != nil {
			cond = &binary{at: cond.pos(), op: "=", l: of, r: cond}
		}
		p.want("then")
		c.conds, c.thens = append(c.conds, cond), append(c.thens, p.expr())
		if len(c.conds) > 100 {
			p.fail(at, "", "more than 100 cases")
		}
	}
	if len(c.conds) == 0 {
		p.missing("'when'", nil)
	}
	if p.take("else") {
		c.other = p.expr()
	}
	p.want("end", "when", "else")
	return c
}
