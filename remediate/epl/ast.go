package epl

import "time"

// A Statement is one statement as it was written. It does not change.
type Statement struct {
	File         string
	Line, Column int
	Text         string // without the semicolon
	Annotations  []Annotation

	insert  string // the type of insert into; empty for none
	stream  string // istream, rstream or irstream
	columns []column
	from    source
	where   expr
	group   []expr
	having  expr
	output  *output
	order   []order

	source string // the whole text it is from, for places
}

// An Annotation is @name, @name('text'), @name(5) or @name(1 hour).
type Annotation struct {
	Name   string
	Value  string        // what is in the parentheses; of a text, without its quotes
	Period time.Duration // when Value is one
	at     int
}

// Annotation returns the first of that name, without regard to case.
func (s *Statement) Annotation(name string) (a Annotation, ok bool) {
	for _, a := range s.Annotations {
		if equal(a.Name, name) {
			return a, true
		}
	}
	return Annotation{}, false
}

// Into is the event type that the statement inserts into, empty for none.
func (s *Statement) Into() string { return s.insert }

// A column is one of the select clause.
type column struct {
	all  bool   // *, or tag.*
	tag  string // of tag.*
	e    expr
	name string
	at   int
}

// A source is what stands behind from: a stream with filter and views, or a pattern.
type source struct {
	pattern *pattern
	filter  filter
	views   []view
	alias   string
	at      int
}

type filter struct {
	typ   string
	conds []expr
	at    int
}

type view struct {
	name string
	args []expr
	at   int
}

type output struct {
	which  string // all, first, last or snapshot; empty is all without repeating what did not change
	period time.Duration
	events int // when period is 0
	at     int
}

type order struct {
	e    expr
	desc bool
}

// A pattern is a node of a pattern expression.
type pattern struct {
	op   patternOp
	at   int
	kids []*pattern // of until: what is repeated, and the end where there is one
	tag  string
	filter
	keys   []expr        // of every-distinct
	period time.Duration // of interval, within, withinmax, and how long every-distinct remembers; 0 there is forever
	most   int           // of withinmax
	cond   expr          // of while
	lo, hi int           // of until; -1 where there is none
	limits []int         // of ->: how many may wait for each kid, 0 for any number; nil for no limits
	cron   *cron         // of timer:at
}

type patternOp uint8

const (
	opFilter patternOp = iota
	opEvery
	opDistinct
	opFollowed
	opAnd
	opOr
	opNot
	opUntil
	opWithin
	opWithinMax
	opWhile
	opInterval
	opAt
	// two that are made of others when a pattern is compiled, since they are what most rules wait with
	opAbsent // timer:interval(T) and not A
	opTimely // A where timer:within(T)
)

// An expr is an expression: one of the types below.
type expr interface{ pos() int }

type (
	literal struct {
		at int
		v  Value
	}
	// name is a property: id, a.id, a[0].id.
	name struct {
		at    int
		tag   string // empty for a property of the stream
		index int    // -1 for none
		prop  string
	}
	unary struct {
		at int
		op string // not, -
		e  expr
	}
	binary struct {
		at   int
		op   string // and or = != < <= > >= + - * / % ||
		l, r expr
	}
	isNull struct {
		at int
		e  expr
	}
	between struct {
		at        int
		e, lo, hi expr
		not       bool
	}
	in struct {
		at   int
		e    expr
		list []expr
	}
	match struct { // like, regexp
		at     int
		op     string
		e, arg expr
		escape string
	}
	call struct {
		at       int
		fn       string // in lower case
		distinct bool
		star     bool
		args     []expr
	}
	caseOf struct {
		at    int
		conds []expr
		thens []expr
		other expr // may be nil
	}
	period struct {
		at int
		d  time.Duration
	}
)

func (e *literal) pos() int { return e.at }
func (e *name) pos() int    { return e.at }
func (e *unary) pos() int   { return e.at }
func (e *binary) pos() int  { return e.at }
func (e *isNull) pos() int  { return e.at }
func (e *between) pos() int { return e.at }
func (e *in) pos() int      { return e.at }
func (e *match) pos() int   { return e.at }
func (e *call) pos() int    { return e.at }
func (e *caseOf) pos() int  { return e.at }
func (e *period) pos() int  { return e.at }
