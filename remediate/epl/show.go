package epl

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How tightly an operator binds; what binds less stands in parentheses inside of what binds more.
var precedence = map[string]int{"or": 1, "and": 2, "not": 3, "=": 4, "!=": 4, "<": 5, "<=": 5, ">": 5, ">=": 5, "||": 6, "+": 7, "-": 7, "*": 8, "/": 8, "%": 8}

// show writes an expression as one would.
func show(e expr) string { return showIn(e, 0) }

func showIn(e expr, around int) string {
	out, binds := "", 9
	switch e := e.(type) {
	case *literal:
		if out = e.v.String(); e.v.kind == Text {
			out = quote(e.v.text)
		}
	case *period:
		out = showTime(e.d)
	case *name:
		if out = e.prop; e.tag != "" {
			out = e.tag + "." + e.prop
			if e.index >= 0 {
				out = fmt.Sprintf("%s[%d].%s", e.tag, e.index, e.prop)
			}
		}
	case *unary:
		out, binds = showUnary(e)
	case *binary:
		binds = precedence[e.op]
		out = showIn(e.l, binds) + " " + e.op + " " + showIn(e.r, binds+1)
	case *isNull:
		out, binds = showIn(e.e, 5)+" is null", 4
	case *between:
		not := ""
		if e.not {
			not = "not "
		}
		out, binds = showIn(e.e, 6)+" "+not+"between "+showIn(e.lo, 6)+" and "+showIn(e.hi, 6), 5
	case *in:
		out, binds = showIn(e.e, 6)+" in ("+showAll(e.list)+")", 5
	case *match:
		out, binds = showIn(e.e, 6)+" "+e.op+" "+showIn(e.arg, 6), 5
		if e.escape != "" {
			out += " escape " + quote(e.escape)
		}
	case *call:
		args := showAll(e.args)
		if e.star {
			args = "*"
		}
		out = e.fn + "(" + args + ")"
	case *caseOf:
		out = "case"
		for i := range e.conds {
			out += " when " + show(e.conds[i]) + " then " + show(e.thens[i])
		}
		if e.other != nil {
			out += " else " + show(e.other)
		}
		out += " end"
	}
	if binds < around {
		return "(" + out + ")"
	}
	return out
}

func showUnary(e *unary) (out string, binds int) {
	switch n, ok := e.e.(*isNull); {
	case ok && e.op == "not":
		return showIn(n.e, 5) + " is not null", 4
	case e.op == "not":
		return "not " + showIn(e.e, 3), 3
	}
	return e.op + showIn(e.e, 8), 8
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s) + "'"
}

func showAll(list []expr) string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = show(e)
	}
	return strings.Join(out, ", ")
}

func showTime(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "min"}, {time.Second, "sec"}} {
		if d != 0 && d%u.of == 0 {
			return fmt.Sprintf("%d %s", d/u.of, u.name)
		}
	}
	return fmt.Sprintf("%d msec", d.Milliseconds())
}

func (f *filter) show() string {
	if len(f.conds) == 0 {
		return f.typ
	}
	return f.typ + "(" + showAll(f.conds) + ")"
}

// How tightly what stands in a pattern binds.
var patternBinds = [...]int{opFilter: 6, opInterval: 6, opAt: 6, opWithin: 5, opWithinMax: 5, opWhile: 5,
	opEvery: 4, opDistinct: 4, opNot: 4, opUntil: 3, opAnd: 2, opOr: 1, opFollowed: 0}

func (p *pattern) show(around int) string {
	binds := patternBinds[p.op]
	kid := func(i, more int) string { return p.kids[i].show(binds + more) }
	out := ""
	switch p.op {
	case opFilter:
		if out = p.filter.show(); p.tag != "" {
			out = p.tag + "=" + out
		}
	case opInterval:
		out = "timer:interval(" + showTime(p.period) + ")"
	case opAt:
		out = "timer:at(…)"
	case opWithin:
		out = kid(0, 1) + " where timer:within(" + showTime(p.period) + ")"
	case opWithinMax:
		out = kid(0, 1) + " where timer:withinmax(" + showTime(p.period) + ", " + strconv.Itoa(p.most) + ")"
	case opWhile:
		out = kid(0, 1) + " while (" + show(p.cond) + ")"
	case opEvery:
		out = "every " + kid(0, 1)
	case opNot:
		out = "not " + kid(0, 1)
	case opDistinct:
		keys := showAll(p.keys)
		if p.period > 0 {
			keys += ", " + showTime(p.period)
		}
		out = "every-distinct(" + keys + ") " + kid(0, 1)
	case opUntil:
		out = showRepeat(p) + kid(0, 1)
		if len(p.kids) > 1 {
			out += " until " + kid(1, 1)
		}
	default:
		out = kid(0, 1)
		for i := 1; i < len(p.kids); i++ {
			out += " " + p.joint(i) + " " + kid(i, 1)
		}
	}
	if binds < around {
		return "(" + out + ")"
	}
	return out
}

// joint is what stands before the i-th part of and, or and ->.
func (p *pattern) joint(i int) string {
	switch {
	case p.op == opAnd:
		return "and"
	case p.op == opOr:
		return "or"
	case p.limits != nil && p.limits[i] > 0:
		return fmt.Sprintf("-[%d]>", p.limits[i])
	}
	return "->"
}

func showRepeat(p *pattern) string {
	lo, hi := "", ""
	if p.lo >= 0 {
		lo = strconv.Itoa(p.lo)
	}
	if p.hi >= 0 {
		hi = strconv.Itoa(p.hi)
	}
	switch {
	case lo == "" && hi == "":
		return ""
	case lo == hi:
		return "[" + lo + "] "
	}
	return "[" + lo + ":" + hi + "] "
}
