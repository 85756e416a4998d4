package epl

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

func equal(a, b string) bool { return strings.EqualFold(a, b) }

// Parse reads the statements of a text, which are divided by semicolons. The file is for errors, which are of type *Error.
func Parse(file, text string) ([]*Statement, error) {
	tokens, m := lex(text, false)
	if m != nil {
		return nil, m.in(file, text)
	}
	var out []*Statement
	p := &parser{tokens: tokens, text: text}
	for {
		for p.take(";") {
		}
		if p.peek().kind == tokenEnd {
			return out, nil
		}
		s, m := p.guarded()
		if m != nil {
			return nil, m.in(file, text)
		}
		s.File = file
		out = append(out, s)
	}
}

// A parser goes over tokens by recursive descent. A mistake is thrown as a panic of type *mistake and caught by guarded.
type parser struct {
	tokens []token
	text   string
	i      int
	depth  int
}

func (p *parser) guarded() (s *Statement, m *mistake) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *mistake:
			m = v
		default:
			panic(v)
		}
	}()
	return p.statement(), nil
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) ahead(n int) token { return p.tokens[min(p.i+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tokenEnd {
		p.i++
	}
	return t
}

func (p *parser) take(word string) bool {
	if p.peek().is(word) {
		p.i++
		return true
	}
	return false
}

func (p *parser) fail(at int, hint, problem string, args ...any) {
	panic(&mistake{at: at, problem: fmt.Sprintf(problem, args...), hint: hint})
}

// want takes one of the words, and otherwise says what was expected.
func (p *parser) want(words ...string) string {
	for _, w := range words {
		if p.take(w) {
			return w
		}
	}
	p.missing("'"+strings.Join(words, "', '")+"'", words)
	return ""
}

func (p *parser) missing(what string, words []string) {
	t, hint := p.peek(), ""
	if t.kind == tokenName {
		if near := nearest(t.text, words); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	p.fail(t.at, hint, "%s where %s was expected", t, what)
}

func (p *parser) inside() func() {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek().at, "", "more than %d things inside one another", maxDepth)
	}
	return func() { p.depth-- }
}

// reserved are the words that no name is, unless it stands in backquotes.
var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "between": true, "like": true, "regexp": true, "is": true,
	"null": true, "true": true, "false": true, "every": true, "where": true, "as": true, "select": true,
	"from": true, "group": true, "by": true, "having": true, "order": true, "output": true, "until": true,
	"while": true, "pattern": true, "insert": true, "into": true, "case": true, "when": true, "then": true,
	"else": true, "end": true,
}

// name takes a name that is no keyword.
func (p *parser) name(what string) token {
	t := p.peek()
	if t.kind != tokenName || !t.quoted && reserved[strings.ToLower(t.text)] {
		p.missing(what, nil)
	}
	return p.next()
}

func (p *parser) statement() *Statement {
	first := p.peek()
	s := &Statement{source: p.text, stream: "istream"}
	for p.take("@") {
		s.Annotations = append(s.Annotations, p.annotation())
		if len(s.Annotations) > 20 {
			p.fail(p.peek().at, "", "more than 20 annotations")
		}
	}
	if p.take("insert") {
		p.want("into")
		s.insert = p.name("the name of an event type").text
	}
	p.want("select", "insert", "@")
	if t := p.peek(); t.is("istream") || t.is("rstream") || t.is("irstream") {
		s.stream = strings.ToLower(p.next().text)
	}
	if t := p.peek(); t.is("distinct") {
		p.fail(t.at, "group by does that", "select distinct is not part of this EPL")
	}
	for {
		s.columns = append(s.columns, p.column())
		if len(s.columns) > 100 {
			p.fail(p.peek().at, "", "more than 100 columns")
		}
		if !p.take(",") {
			break
		}
	}
	p.want("from", ",")
	s.from = p.source()
	if t := p.peek(); t.is(",") || t.is("join") || t.is("left") || t.is("inner") {
		p.fail(t.at, "a pattern with -> or and brings events of two types together", "joins are not part of this EPL")
	}
	if p.take("where") {
		s.where = p.expr()
	}
	if p.take("group") {
		p.want("by")
		s.group = p.list()
	}
	if p.take("having") {
		s.having = p.expr()
	}
	if t := p.peek(); p.take("output") {
		s.output = p.output(t.at)
	}
	if p.take("order") {
		p.want("by")
		for {
			o := order{e: p.expr()}
			if !p.take("asc") {
				o.desc = p.take("desc")
			}
			s.order = append(s.order, o)
			if !p.take(",") {
				break
			}
		}
	}
	last := p.peek()
	if last.kind != tokenEnd && !last.is(";") {
		p.missing("the end of the statement", strings.Fields("where group having output order"))
	}
	here := (&mistake{at: first.at}).in("", p.text)
	s.Line, s.Column = here.Line, here.Column
	s.Text = strings.TrimSpace(p.text[first.at:last.at])
	return s
}

func (p *parser) annotation() Annotation {
	n := p.name("the name of an annotation")
	a := Annotation{Name: n.text, at: n.at}
	if !p.take("(") {
		return a
	}
	t := p.peek()
	switch {
	case t.kind == tokenText:
		a.Value = p.next().text
	case t.kind == tokenInt || t.kind == tokenDouble:
		if d, ok := p.period(); ok {
			a.Period, a.Value = d, strings.TrimSpace(p.text[t.at:p.peek().at])
		} else {
			a.Value = p.next().text
		}
	case t.kind == tokenName:
		a.Value = p.next().text
	case !t.is(")"):
		p.missing("a text, a number or a time", nil)
	}
	p.want(")")
	return a
}

func (p *parser) column() column {
	t := p.peek()
	if p.take("*") {
		return column{all: true, at: t.at}
	}
	if t.kind == tokenName && p.ahead(1).is(".") && p.ahead(2).is("*") {
		p.i += 3
		return column{all: true, tag: t.text, at: t.at}
	}
	c := column{e: p.expr(), at: t.at}
	c.name = strings.TrimSpace(p.text[t.at:p.tokens[p.i-1].end])
	if p.take("as") {
		c.name = p.next().text
		if c.name == "" {
			p.missing("a name", nil)
		}
	} else if n := p.peek(); n.kind == tokenName && !reserved[strings.ToLower(n.text)] {
		c.name = p.next().text
	}
	return c
}

func (p *parser) source() source {
	s := source{at: p.peek().at}
	if p.take("pattern") {
		p.want("[")
		s.pattern = p.pattern()
		p.want("]")
	} else {
		s.filter = p.filter()
	}
	for {
		t := p.peek()
		old := p.take(".") // D.win:time(…), as before Esper 6
		if !old && !p.take("#") {
			break
		}
		n := p.name("the name of a view")
		if p.take(":") {
			n = p.name("the name of a view")
		} else if old {
			p.fail(t.at, "", "a property cannot stand here")
		}
		v := view{name: strings.ToLower(n.text), at: n.at}
		if p.take("(") && !p.take(")") {
			v.args = p.list()
			p.want(")")
		}
		s.views = append(s.views, v)
	}
	if p.take("as") {
		s.alias = p.name("a name for the stream").text
	} else if t := p.peek(); t.kind == tokenName && !reserved[strings.ToLower(t.text)] && !t.is("join") && !t.is("left") && !t.is("inner") {
		s.alias = p.next().text
	}
	return s
}

func (p *parser) filter() filter {
	n := p.name("an event type")
	f := filter{typ: n.text, at: n.at}
	if p.take("(") && !p.take(")") {
		f.conds = p.list()
		p.want(")")
	}
	return f
}

func (p *parser) output(at int) *output {
	o := &output{at: at}
	for _, w := range []string{"all", "first", "last", "snapshot"} {
		if p.take(w) {
			o.which = w
			break
		}
	}
	p.want("every", "all", "first", "last", "snapshot")
	if d, ok := p.period(); ok {
		if o.period = d; d <= 0 {
			p.fail(at, "", "an output is every millisecond or less often")
		}
		return o
	}
	o.events = p.count(1, 1_000_000)
	p.want("events")
	return o
}

// count reads a whole number between lo and hi.
func (p *parser) count(lo, hi int) int {
	t := p.peek()
	n, err := strconv.Atoi(t.text)
	if t.kind != tokenInt || err != nil || n < lo || n > hi {
		p.missing(fmt.Sprintf("a number from %d to %d", lo, hi), nil)
	}
	p.next()
	return n
}

// units are the words of a time, with Esper's spellings.
var units = map[string]time.Duration{
	"weeks": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "days": 24 * time.Hour, "day": 24 * time.Hour,
	"hours": time.Hour, "hour": time.Hour, "minutes": time.Minute, "minute": time.Minute, "min": time.Minute,
	"seconds": time.Second, "second": time.Second, "sec": time.Second,
	"milliseconds": time.Millisecond, "millisecond": time.Millisecond, "msec": time.Millisecond,
}

const maxPeriod = 366 * 24 * time.Hour

// period reads a time such as 1 min 30 sec, if there is one.
func (p *parser) period() (sum time.Duration, ok bool) {
	for {
		t, u := p.peek(), p.ahead(1)
		unit, known := units[strings.ToLower(u.text)]
		if t.kind != tokenInt && t.kind != tokenDouble && t.kind != tokenLong || u.kind != tokenName || u.quoted || !known {
			return sum, ok
		}
		sum += p.duration(t, unit)
		if sum > maxPeriod {
			p.fail(t.at, "", "more than a year")
		}
		p.i += 2
		ok = true
	}
}

func (p *parser) duration(t token, unit time.Duration) time.Duration {
	n, err := strconv.ParseFloat(t.text, 64)
	if err != nil || n*float64(unit) > float64(maxPeriod) {
		p.fail(t.at, "", "more than a year")
	}
	return time.Duration(math.Round(n*float64(unit)/float64(time.Millisecond))) * time.Millisecond
}

// time reads a time, or a number of seconds.
func (p *parser) time() time.Duration {
	if d, ok := p.period(); ok {
		return d
	}
	t := p.peek()
	if t.kind != tokenInt && t.kind != tokenDouble && t.kind != tokenLong {
		p.missing("a time such as 10 sec", nil)
	}
	p.next()
	if u := p.peek(); u.kind == tokenName && !reserved[strings.ToLower(u.text)] {
		names := make([]string, 0, len(units))
		for n := range units {
			names = append(names, n)
		}
		p.missing("a unit of time", names)
	}
	return p.duration(t, time.Second)
}
