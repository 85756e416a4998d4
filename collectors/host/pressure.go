package host

import (
	"bytes"
	"context"

	"holdfast/collectors"
)

// Pressure measures how much of the last ten seconds tasks were held up for want of processors or of disks. That of
// memory is in the memory source.
type Pressure struct {
	Root string // empty is "/"

	r reader
}

// Name is "pressure".
func (*Pressure) Name() string { return "pressure" }

// Collect emits a sample for "cpu" and one for "io". A kernel without PSI (CONFIG_PSI, 4.20) is ErrNoData.
func (p *Pressure) Collect(_ context.Context, emit collectors.Emit) error {
	var t tally
	for _, what := range [...]string{"cpu", "io"} {
		st, err := readStall(&p.r, p.Root+"/proc/pressure/"+what)
		if t.count(err); err != nil {
			continue
		}
		s := fieldsOf("pressure", what, 2)
		s.Num("some_ratio", st.some).Num("full_ratio", st.full)
		emit(s)
	}
	return t.verdict()
}

// stall is the share of the last ten seconds in which some task, or every task, waited.
type stall struct{ some, full float64 }

func readStall(r *reader, path string) (stall, error) {
	b, err := r.read(path, smallBytes)
	if err != nil {
		return stall{}, err
	}
	s, ok := parseStall(b)
	if !ok {
		return s, odd(path, b)
	}
	return s, nil
}

// parseStall reads lines like "some avg10=3.90 avg60=1.76 avg300=1.12 total=10812312" (Documentation/accounting/psi.rst
// of Linux). The line "full" came to cpu with 5.13 only, and is 0 before.
func parseStall(b []byte) (s stall, ok bool) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		kind, l := word(l)
		if string(kind) != "some" && string(kind) != "full" {
			continue
		}
		avg, _ := word(l)
		digits, is := bytes.CutPrefix(avg, []byte("avg10="))
		percent, good := decimal(digits)
		if !is || !good {
			return s, false
		}
		if string(kind) == "some" {
			s.some, ok = ratio(percent, 100), true
		} else {
			s.full = ratio(percent, 100)
		}
	}
	return s, ok
}
