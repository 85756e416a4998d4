package update

import (
	"slices"
	"time"

	"holdfast/board"
)

// Bounds of what is kept.
const (
	mostHeld      = 32 // releases in quarantine or on the way there
	mostOutcomes  = 64
	recordsBytes  = 64 << 10
	errorBytes    = 400 // of an outcome's words
	verdictBytes  = 400
	mostSuspicion = 255
)

// A suspect is a release that did not come through a trial.
type suspect struct {
	Manifest string `json:"manifest"` // SHA-256 of its manifest: the same name with other content is another release
	Release  string `json:"release"`
	Failed   int    `json:"failed"` // trials that were judged, or that ended without a verdict and without a power cut known
	Trial    string `json:"trial"`  // that was counted last, so that none is counted twice
	Held     bool   `json:"held"`   // in quarantine: it is not tried again
}

// A quarantine keeps releases that failed from being tried over and over.
type quarantine struct {
	Suspects []suspect `json:"suspects"`
}

func (q *quarantine) find(manifest string) suspect {
	for _, s := range q.Suspects {
		if s.Manifest == manifest {
			return s
		}
	}
	return suspect{Manifest: manifest}
}

// blame counts a failed trial, once, and returns the release's record; at so many trials, it is held. The oldest that is
// not held makes room, and only then the oldest.
func (q *quarantine) blame(r Release, trial string, trials int) suspect {
	s := q.find(r.Manifest)
	if s.Trial == trial {
		return s
	}
	s.Release, s.Trial = r.Name, trial
	s.Failed = min(s.Failed+1, mostSuspicion)
	s.Held = s.Held || s.Failed >= trials
	q.Suspects = slices.DeleteFunc(q.Suspects, func(o suspect) bool { return o.Manifest == r.Manifest })
	if len(q.Suspects) >= mostHeld {
		i := max(0, slices.IndexFunc(q.Suspects, func(o suspect) bool { return !o.Held }))
		q.Suspects = slices.Delete(q.Suspects, i, i+1)
	}
	q.Suspects = append(q.Suspects, s)
	return s
}

// clear forgets what was held against a release that has come through, and reports whether there was anything.
func (q *quarantine) clear(manifest string) bool {
	n := len(q.Suspects)
	q.Suspects = slices.DeleteFunc(q.Suspects, func(s suspect) bool { return s.Manifest == manifest })
	return len(q.Suspects) < n
}

// Content is what one part of a slot is known to hold.
type content struct {
	Part   string `json:"part"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// A holding is what a slot was left with by a committed update.
type holding struct {
	Release Release   `json:"release"`
	Parts   []content `json:"parts"`
}

// holdings say what each slot holds. A slot that is being written has none.
type holdings map[board.SlotID]holding

// A history is bounded: what ran, when, and why it was given up. The newest comes last.
type history struct {
	Outcomes []Outcome `json:"outcomes"`
}

// add appends an outcome once, however often it is told.
func (h *history) add(o Outcome) {
	if n := len(h.Outcomes); n > 0 && h.Outcomes[n-1].same(o) {
		return
	}
	h.Outcomes = append(h.Outcomes, o)
	if n := len(h.Outcomes); n > mostOutcomes {
		h.Outcomes = slices.Clone(h.Outcomes[n-mostOutcomes:])
	}
}

// same reports whether two outcomes are of the same job as it began once: it may have been told, and the power gone
// before the journal said so.
func (o Outcome) same(p Outcome) bool {
	return o.Job == p.Job && o.Release == p.Release && o.Result == p.Result && o.Began.Equal(p.Began)
}

// clipped returns words short enough to keep.
func clipped(words string, most int) string {
	if len(words) > most {
		return words[:most]
	}
	return words
}

// backOff is how long after a failed trial the next one waits: an hour, four hours, and so on.
func backOff(first time.Duration, failed int) time.Duration {
	d := first
	for range min(failed, 8) - 1 {
		d *= 4
	}
	return min(d, 7*24*time.Hour)
}
