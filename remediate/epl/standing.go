package epl

import (
	"slices"
	"unsafe"
)

// A Standing is what a rule did and holds.
type Standing struct {
	Matches   uint64 // rows that were put out
	Overflows uint64 // things that did not fit into what the rule may hold
	Restarts  uint64 // how often a pattern began anew, since it had nothing left to wait for
	Unusable  uint64 // events that could not be used, as without the time of ext_timed
	Holds     int    // states, events and rows that are held now
	MaxBytes  int    // what it holds at most
}

// Standing returns what the rule did since it was deployed.
func (r *Rule) Standing() Standing {
	s := Standing{Matches: r.matches, Overflows: r.overflows, Restarts: r.restarts, Unusable: r.unusable, MaxBytes: r.maxBytes()}
	if r.matcher != nil {
		s.Holds = r.matcher.states.used + r.matcher.events.used
	}
	if r.window != nil {
		s.Holds = r.window.rows.n
	}
	return s
}

const pointer = int(unsafe.Sizeof(uintptr(0)))

// maxBytes is what the rule's pools and rows may grow to, with every text of the length to which it is cut.
func (r *Rule) maxBytes() int {
	b, p := r.bounds, r.process
	value := int(unsafe.Sizeof(Value{}))
	n := 2 * b.Rows * p.stride * int(unsafe.Sizeof(Cell{}))
	for _, k := range p.kinds {
		if k == Text && p.out != nil {
			n += 2 * b.Rows * maxKept
		}
	}
	if m := r.matcher; m != nil {
		widest, texts := 0, 0
		for _, of := range m.holds {
			widest = max(widest, len(of.need))
			t := 0
			for _, p := range of.need {
				if of.typ.Properties[p].Kind == Text {
					t++
				}
			}
			texts = max(texts, t)
		}
		tags := len(m.tags) * pointer
		n += b.Partials * (int(unsafe.Sizeof(state{})) + tags*(1+repeats(m.root)))
		n += b.Partials * (int(unsafe.Sizeof(held{})) + widest*value + texts*maxKept)
		for _, sites := range m.sites {
			for _, at := range sites {
				n += len(at.buckets) * pointer
			}
		}
		if uses(m.root, opAnd) {
			n += b.Partials * (int(unsafe.Sizeof(stored{})) + tags)
		}
		if uses(m.root, opDistinct) {
			n += b.Keys * (int(unsafe.Sizeof(key{})) + value + maxKept)
		}
	}
	if w := r.window; w != nil {
		n += w.rows.most * w.rows.bytes()
		if w.kind == "unique" {
			n += w.rows.most * 8
		}
	}
	if len(p.by) > 0 {
		n += b.Groups * (int(unsafe.Sizeof(group{})) + len(p.by)*(value+maxKept) + p.aggs.size*8 + 16)
	}
	return n
}

func uses(n *node, op patternOp) bool {
	return n.op == op || slices.ContainsFunc(n.kids, func(k *node) bool { return uses(k, op) })
}
