// Package ledger keeps account of records: whether any (session, seq) of any device is missing or came twice.
//
// It is exact, and its memory grows with the number of sessions and of gaps, not of records: each session is a sorted
// list of ranges.
package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFull means that the ledger holds as many ranges as it may; the record was counted, but not entered.
var ErrFull = errors.New("ledger is full")

// A Key is one start of one device's agent.
type Key struct {
	Device  string `json:"device"`
	Session string `json:"session"`
}

// A Range is first to last, both included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Len returns how many numbers are in the range.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// A Ledger has one owner.
type Ledger struct {
	limit    int
	ranges   int
	sessions map[Key]*account
	order    []Key
	unkept   uint64
}

type account struct {
	seen       ranges
	declared   ranges // the device has said that it dropped these
	expected   []Range
	duplicates uint64
	records    uint64
}

// New returns a ledger of at most limit ranges; 0 means 100000, about 3 MB.
func New(limit int) *Ledger {
	if limit <= 0 {
		limit = 100_000
	}
	return &Ledger{limit: limit, sessions: map[Key]*account{}}
}

// Add enters one record. fresh is false for one that was entered before. On ErrFull the record is fresh as far as the
// ledger can tell.
func (l *Ledger) Add(k Key, seq uint64) (fresh bool, err error) {
	a, err := l.account(k)
	if err != nil {
		l.unkept++
		return true, err
	}
	fresh, grown := a.seen.add(seq, l.ranges < l.limit)
	if !fresh {
		a.duplicates++
		return false, nil
	}
	if grown > 1 { // refused
		l.unkept++
		return true, ErrFull
	}
	l.ranges += grown
	a.records++
	return true, nil
}

// Declare enters that the device itself said it dropped the range, or some of it: what is missing there is no loss on
// the way.
func (l *Ledger) Declare(k Key, r Range) error {
	return l.note(k, r, func(a *account) { a.declared.cover(r) })
}

// Expect enters that the device is known to have sent the whole range; what of it was not seen counts as missing.
func (l *Ledger) Expect(k Key, r Range) error {
	return l.note(k, r, func(a *account) { a.expected = append(a.expected, r) })
}

func (l *Ledger) note(k Key, r Range, f func(*account)) error {
	if r.Last < r.First {
		return fmt.Errorf("range %d-%d is upside down", r.First, r.Last)
	}
	a, err := l.account(k)
	if err != nil {
		return err
	}
	if l.ranges >= l.limit {
		return ErrFull
	}
	l.ranges++
	f(a)
	return nil
}

func (l *Ledger) account(k Key) (*account, error) {
	if a, ok := l.sessions[k]; ok {
		return a, nil
	}
	if l.ranges >= l.limit {
		return nil, ErrFull
	}
	l.ranges++ // a session costs as much as a range, empty or not
	a := &account{}
	l.sessions[k] = a
	l.order = append(l.order, k)
	return a, nil
}

// A Session is the account of one.
type Session struct {
	Key
	First      uint64  `json:"first"`
	Last       uint64  `json:"last"`
	Records    uint64  `json:"records"`
	Duplicates uint64  `json:"duplicates"`
	Missing    []Range `json:"missing,omitempty"`  // between First and Last, or expected
	Declared   []Range `json:"declared,omitempty"` // missing too, but the device said so
}

// A Report is the account of all sessions, in the order they were first seen.
type Report struct {
	Records    uint64    `json:"records"`
	Duplicates uint64    `json:"duplicates"`
	Missing    uint64    `json:"missing"`
	Declared   uint64    `json:"declared"`
	Unkept     uint64    `json:"unkept,omitempty"` // came when the ledger was full: above that, Missing is too high
	Sessions   []Session `json:"sessions"`
}

// Complete reports whether every record is known to have come.
func (r *Report) Complete() bool { return r.Missing == 0 && r.Unkept == 0 }

// Report sums up what was entered so far.
func (l *Ledger) Report() Report {
	r := Report{Unkept: l.unkept, Sessions: make([]Session, 0, len(l.order))}
	for _, k := range l.order {
		s := l.sessions[k].session(k)
		r.Records += s.Records
		r.Duplicates += s.Duplicates
		for _, m := range s.Missing {
			r.Missing += m.Len()
		}
		for _, m := range s.Declared {
			r.Declared += m.Len()
		}
		r.Sessions = append(r.Sessions, s)
	}
	return r
}

func (a *account) session(k Key) Session {
	s := Session{Key: k, Records: a.records, Duplicates: a.duplicates}
	want := ranges(slices.Clone(a.expected))
	if n := len(a.seen); n > 0 {
		s.First, s.Last = a.seen[0].First, a.seen[n-1].Last
		want = append(want, Range{s.First, s.Last})
	}
	all := ranges{}
	for _, r := range want {
		all.cover(r)
	}
	gone := all.minus(a.seen)
	s.Missing = gone.minus(a.declared)
	s.Declared = gone.minus(s.Missing)
	return s
}

// String is a line of text for people: what is missing, at most eight ranges of it.
func (s *Session) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s session %s: %d-%d, %d records, %d duplicates", s.Device, s.Session, s.First, s.Last, s.Records, s.Duplicates)
	list := func(what string, rs []Range) {
		if len(rs) == 0 {
			return
		}
		b.WriteString(", " + what + " ")
		for i, r := range rs {
			if i == 8 {
				fmt.Fprintf(&b, " and %d more ranges", len(rs)-i)
				break
			}
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(r.String())
		}
	}
	list("missing", s.Missing)
	list("dropped by the device", s.Declared)
	return b.String()
}
