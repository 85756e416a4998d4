package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"holdfast/agent/shadow"
	"holdfast/board"
	"holdfast/collectors"
)

// Ledger is the commander's memory, for tests of its own.
type Ledger struct{ l *ledger }

// OpenLedger reads it.
func OpenLedger(files board.Files) (Ledger, error) {
	l, err := openLedger(files)
	return Ledger{l}, err
}

// Begin writes a command down.
func (l Ledger) Begin(id, issuer string, seq uint64) error {
	return l.l.begin(&envelope{ID: id, Issuer: issuer, Seq: seq})
}

// Finish writes its outcome down.
func (l Ledger) Finish(id, state, body string) error {
	return l.l.finish(id, state, json.RawMessage(body), true)
}

// Seen looks for it.
func (l Ledger) Seen(id string) (state, body string, seen bool) {
	o, seen := l.l.seen(id)
	return o.State, string(o.Body), seen
}

// InOrder judges a sequence number.
func (l Ledger) InOrder(issuer string, seq uint64) (fresh, next bool) {
	return l.l.inOrder(issuer, seq)
}

// Check reads an envelope as the agent does, with nothing done.
func (a *Agent) Check(raw []byte) (id, name string, err error) {
	e, _, _, err := a.commands.check(raw)
	return e.ID, e.Name, err
}

// Reducer reduces samples.
type Reducer struct{ r reducer }

// Pass is one reading.
func (r *Reducer) Pass(s collectors.Sample, window time.Duration, deadband float64) (collectors.Sample, bool) {
	return r.r.pass(s, window, deadband, 10*time.Hour)
}

// Flush ends every window.
func (r *Reducer) Flush(emit func(collectors.Sample)) { r.r.flush(emit) }

// Desired is what is kept of the desired half.
type Desired struct{ d *desired }

// OpenDesired reads it.
func OpenDesired(files board.Files) (d Desired, rolled string, err error) {
	inner, rolled, err := openDesired(files)
	return Desired{inner}, rolled, err
}

// Take and the rest are its deeds.
func (d Desired) Take(doc shadow.Document) bool { return d.d.take(doc) }

// Try puts a document on trial.
func (d Desired) Try(doc shadow.Document) error { return d.d.try(doc) }

// Commit makes it the last good one.
func (d Desired) Commit() error { return d.d.commit() }

// RollBack goes back to the last good one.
func (d Desired) RollBack(reason string) error { return d.d.rollBack(reason) }

// Rest is an orderly stop.
func (d Desired) Rest() error { return d.d.rest() }

// InForce is the document the settings follow.
func (d Desired) InForce() shadow.Document { return d.d.inForce() }

// Verdict judges a trial that began at since, with the link down from down on (zero: it is up).
func Verdict(since, down, now time.Time, hold, grace time.Duration) (commit bool, rollBack string) {
	return trial{since, down}.verdict(now, hold, grace)
}

// FactsTree is what the reported state has of a board's facts.
var FactsTree = factsTree

// TellCrashes tells of what is new among crashes.
func TellCrashes(ctx context.Context, files board.Files, facts board.Facts, read func(context.Context) ([]board.Crash, error),
	record func(context.Context, string, map[string]any) error) error {
	c := crashes{read: read, files: files, log: slog.New(slog.DiscardHandler), facts: facts, record: record}
	return c.tell(ctx)
}
