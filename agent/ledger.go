package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"

	"holdfast/board"
)

// ledgerName is the file the ledger is kept in.
const ledgerName = "commands.json"

// Bounds of the ledger. A command older than all of these is caught by its expiry.
const (
	maxSeen     = 512 // ids that are remembered as done
	maxOutcomes = 32  // answers that can be given again
	maxIssuers  = 16
	ledgerBytes = 96 << 10
	replaySpan  = 64 // how far behind an issuer's highest sequence number a late command may come
)

// A ledger remembers which commands were begun, so that none is done twice: also not across a restart, and not when the
// power went between the deed and the answer. It is written before the deed.
type ledger struct {
	files board.Files
	doc   ledgerDoc
}

// ledgerDoc is the file. Ids are kept as 64-bit FNV-1a digests: an accidental collision refuses a command, and never
// repeats one.
type ledgerDoc struct {
	Seen     []string          `json:"seen"` // digests, oldest first
	Outcomes []outcome         `json:"outcomes"`
	Issuers  map[string]*order `json:"issuers"`
}

// outcome is what became of one command.
type outcome struct {
	ID    string          `json:"id"`
	State string          `json:"state"` // "begun", "done", "failed"
	Body  json.RawMessage `json:"body,omitempty"`
}

// order is one issuer's sequence.
type order struct {
	Last uint64 `json:"last"`
	Seen uint64 `json:"seen"` // bit i: Last-i was begun
	Used uint64 `json:"used"` // for forgetting the issuer that has been silent longest
}

// openLedger reads the ledger. One that cannot be read is an error together with an empty ledger whose every issuer is
// unknown; the caller decides what may still be done.
func openLedger(files board.Files) (*ledger, error) {
	l := &ledger{files: files, doc: ledgerDoc{Issuers: map[string]*order{}}}
	b, err := files.ReadFile(ledgerName, ledgerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l.doc)
	}
	for name, o := range l.doc.Issuers {
		if o == nil {
			err = fmt.Errorf("issuer %.64q has no sequence", name)
		}
	}
	if err != nil {
		l.doc = ledgerDoc{Issuers: map[string]*order{}}
		return l, fmt.Errorf("command ledger: %w", err)
	}
	if l.doc.Issuers == nil {
		l.doc.Issuers = map[string]*order{}
	}
	return l, nil
}

func digestOf(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	return fmt.Sprintf("%016x", h.Sum64())
}

// seen reports whether a command of that id was begun, and its outcome where it is still known.
func (l *ledger) seen(id string) (outcome, bool) {
	if i := slices.IndexFunc(l.doc.Outcomes, func(o outcome) bool { return o.ID == id }); i >= 0 {
		return l.doc.Outcomes[i], true
	}
	return outcome{}, slices.Contains(l.doc.Seen, digestOf(id))
}

// inOrder reports whether seq was not used by issuer before and is not too old, and whether it is the very next one.
func (l *ledger) inOrder(issuer string, seq uint64) (fresh, next bool) {
	o := l.doc.Issuers[issuer]
	switch {
	case o == nil:
		return true, false
	case seq > o.Last:
		return true, seq == o.Last+1
	case o.Last-seq >= replaySpan:
		return false, false
	}
	return o.Seen&(1<<(o.Last-seq)) == 0, false
}

// begin writes down that a command is about to be done. When it returns an error, the command must not be done.
func (l *ledger) begin(e *envelope) error {
	l.doc.Seen = append(l.doc.Seen, digestOf(e.ID))
	if n := len(l.doc.Seen) - maxSeen; n > 0 {
		l.doc.Seen = slices.Delete(l.doc.Seen, 0, n)
	}
	l.doc.Outcomes = append(l.doc.Outcomes, outcome{ID: e.ID, State: "begun"})
	if n := len(l.doc.Outcomes) - maxOutcomes; n > 0 {
		l.doc.Outcomes = slices.Delete(l.doc.Outcomes, 0, n)
	}
	if e.Issuer != "" && e.Seq > 0 {
		l.advance(e.Issuer, e.Seq)
	}
	return l.save()
}

func (l *ledger) advance(issuer string, seq uint64) {
	var used uint64
	for _, o := range l.doc.Issuers {
		used = max(used, o.Used)
	}
	o := l.doc.Issuers[issuer]
	if o == nil {
		if len(l.doc.Issuers) >= maxIssuers {
			l.forget()
		}
		o = &order{Last: seq, Seen: 1}
		l.doc.Issuers[issuer] = o
	} else if seq > o.Last {
		o.Seen = o.Seen<<min(seq-o.Last, 64) | 1
		o.Last = seq
	} else if o.Last-seq < replaySpan {
		o.Seen |= 1 << (o.Last - seq)
	}
	o.Used = used + 1
}

// forget drops the issuer that has been silent longest.
func (l *ledger) forget() {
	var oldest string
	for name, o := range l.doc.Issuers {
		if oldest == "" || o.Used < l.doc.Issuers[oldest].Used {
			oldest = name
		}
	}
	delete(l.doc.Issuers, oldest)
}

// finish keeps what became of a command, so that the answer can be given again. durable says whether it must survive a
// restart, as a deed's must.
func (l *ledger) finish(id, state string, body json.RawMessage, durable bool) error {
	const keptBytes = 1 << 10 // a longer answer was given once, and is not given again
	if len(body) > keptBytes {
		body = nil
	}
	if i := slices.IndexFunc(l.doc.Outcomes, func(o outcome) bool { return o.ID == id }); i >= 0 {
		l.doc.Outcomes[i].State, l.doc.Outcomes[i].Body = state, body
	}
	if !durable {
		return nil
	}
	return l.save()
}

func (l *ledger) save() error {
	b, err := json.Marshal(&l.doc)
	if err != nil {
		return fmt.Errorf("command ledger: %w", err)
	}
	if err := l.files.WriteFile(ledgerName, b); err != nil {
		return fmt.Errorf("command ledger: %w", err)
	}
	return nil
}
