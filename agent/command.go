package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/board/strict"
)

// envelope is a command as it comes (docs/topics.md). The signature is carried for operators' keys, which a board
// without trust anchors has not.
type envelope struct {
	ID        string          `json:"id"`
	Issuer    string          `json:"issuer"`
	Seq       uint64          `json:"seq"`
	Expires   string          `json:"expires"` // RFC 3339
	Name      string          `json:"name"`
	Args      json.RawMessage `json:"args"`
	Signature string          `json:"signature"`
}

// Bounds of an envelope.
const (
	commandBytes = 8 << 10
	commandDepth = 6
	idBytes      = 64
	issuerBytes  = 64
	// longestLife is how far ahead a destructive command may expire: after it the ledger may have forgotten its id.
	longestLife = 24 * time.Hour
)

// answer is what command/result carries.
type answer struct {
	ID     string           `json:"id"`
	OK     bool             `json:"ok"`
	Result actuators.Result `json:"result,omitempty"`
	Error  string           `json:"error,omitempty"`
}

// errQuiet means that a command gets no answer: there is no id to answer to.
var errQuiet = errors.New("no id to answer to")

// commander owns the ledger and does commands one after the other; what interrupts the machine's work goes to a lane of
// its own, so that a slow restart does not hold up a relay.
type commander struct {
	verbs  *actuators.Set
	admits func(name string) bool // in the present mode
	clock  board.Clock
	log    *slog.Logger
	ledger *ledger
	broken error // the ledger cannot be trusted: nothing destructive is done
	record func(ctx context.Context, kind string, body map[string]any) error
	answer func(ctx context.Context, body json.RawMessage)

	in   chan json.RawMessage // room for a burst; more is refused by the core
	lane chan deed            // room for a few restarts
	done chan deed
}

// deed is a command that was checked and written down.
type deed struct {
	envelope envelope
	args     actuators.Args
	answer   answer
}

func (c *commander) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			c.stop(context.WithoutCancel(ctx))
			return context.Cause(ctx)
		case raw := <-c.in:
			c.take(ctx, raw)
		case d := <-c.done:
			c.finish(ctx, d, true)
		}
	}
}

// slow runs the lane of destructive deeds. run takes what it says until it has returned.
func (c *commander) slow(ctx context.Context) error {
	defer close(c.done)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d := <-c.lane:
			d.answer = answer{ID: d.envelope.ID, Error: "not done: " + errStopped.Error()}
			if ctx.Err() == nil {
				d.answer = c.do(ctx, &d)
			}
			c.done <- d
		}
	}
}

// stop writes down what became of the last deeds, and that the rest was not done.
func (c *commander) stop(ctx context.Context) {
	for d := range c.done {
		c.finish(ctx, d, true)
	}
	for {
		select {
		case d := <-c.lane:
			d.answer = answer{ID: d.envelope.ID, Error: "not done: " + errStopped.Error()}
			c.finish(ctx, d, true)
		default:
			return
		}
	}
}

// take handles one envelope as it came.
func (c *commander) take(ctx context.Context, raw json.RawMessage) {
	e, args, verb, err := c.check(raw)
	switch {
	case errors.Is(err, errQuiet):
		c.log.Warn("command dropped", "err", err)
		return
	case err != nil:
		c.log.Warn("command refused", "id", e.ID, "name", e.Name, "err", err)
		c.reply(ctx, answer{ID: e.ID, Error: err.Error()})
		return
	}
	if o, again := c.ledger.seen(e.ID); again {
		c.again(ctx, e.ID, o)
		return
	}
	if err := c.ledger.begin(&e); err != nil {
		if verb.Destructive {
			body, _ := json.Marshal(answer{ID: e.ID, Error: err.Error() + "; not done, because it could not be remembered"})
			_ = c.ledger.finish(e.ID, "failed", body, false) // in memory: it is what it will answer if asked again
			c.answer(ctx, body)
			return
		}
		c.log.Warn("command not remembered", "id", e.ID, "err", err)
	}
	d := deed{envelope: e, args: args}
	if !verb.Destructive {
		d.answer = c.do(ctx, &d)
		c.finish(ctx, d, false)
		return
	}
	err = c.record(ctx, "command", map[string]any{"id": e.ID, "issuer": e.Issuer, "name": e.Name, "args": args, "phase": "begun"})
	if err != nil {
		c.log.Warn("audit", "id", e.ID, "err", err)
	}
	select {
	case c.lane <- d:
	default:
		d.answer = answer{ID: e.ID, Error: "busy with other commands; try again"}
		c.finish(ctx, d, true)
	}
}

// check reads the envelope and decides whether it may be done. The envelope is returned as far as it was read.
func (c *commander) check(raw json.RawMessage) (e envelope, args actuators.Args, verb actuators.Verb, err error) {
	if err := strict.Unmarshal(raw, &e, strict.Limits{Bytes: commandBytes, Depth: commandDepth}); err != nil {
		if e.ID = idOf(raw); e.ID == "" {
			return e, nil, verb, fmt.Errorf("%w: %w", errQuiet, err)
		}
		return e, nil, verb, err
	}
	if e.ID == "" || len(e.ID) > idBytes || len(e.Issuer) > issuerBytes {
		return e, nil, verb, fmt.Errorf("%w: id or issuer missing or too long", errQuiet)
	}
	if verb, err = c.verbs.Lookup(e.Name); err != nil {
		return e, nil, verb, err
	}
	if !c.admits(e.Name) {
		return e, nil, verb, fmt.Errorf("%s: %w: the device is in safe mode; safe.leave ends it", e.Name, actuators.ErrLocked)
	}
	if args, err = verb.Check(e.Args); err != nil {
		return e, nil, verb, err
	}
	return e, args, verb, c.timely(&e, verb.Destructive)
}

// idOf finds the id of an envelope that is wrong elsewhere, so that its sender can be told.
func idOf(raw json.RawMessage) string {
	var only struct {
		ID string `json:"id"`
	}
	if len(raw) > commandBytes || json.Unmarshal(raw, &only) != nil || len(only.ID) > idBytes {
		return ""
	}
	return only.ID
}

// timely refuses what is too late, and what could be a replay that would do harm. A command that was seen before passes:
// it is answered from the ledger.
func (c *commander) timely(e *envelope, destructive bool) error {
	if _, again := c.ledger.seen(e.ID); again {
		return nil
	}
	var left time.Duration
	if e.Expires != "" {
		at, err := time.Parse(time.RFC3339, e.Expires)
		if err != nil {
			return fmt.Errorf("expires %.40q is not a time such as 2026-01-02T15:04:05Z", e.Expires)
		}
		if left = at.Sub(c.clock.Now()); left <= 0 && c.clock.Trusted() {
			return fmt.Errorf("expired %s ago", (-left).Round(time.Second))
		}
	}
	if !destructive {
		return nil
	}
	fresh, next := c.ledger.inOrder(e.Issuer, e.Seq)
	switch {
	case c.broken != nil:
		return fmt.Errorf("%w: which commands were done is not known", c.broken)
	case e.Issuer == "" || e.Seq == 0:
		return errors.New("needs an issuer and a sequence number")
	case !fresh:
		return fmt.Errorf("sequence number %d of %.64q was used before", e.Seq, e.Issuer)
	case c.clock.Trusted() && e.Expires == "":
		return errors.New("needs a time at which it expires")
	case c.clock.Trusted() && left > longestLife:
		return fmt.Errorf("expires more than %s ahead", longestLife)
	case !c.clock.Trusted() && !next:
		return errors.New("the clock is not set and the issuer's sequence is broken, so it may be a replay")
	}
	return nil
}

// again answers a command that was begun before.
func (c *commander) again(ctx context.Context, id string, o outcome) {
	switch {
	case o.Body != nil:
		c.answer(ctx, o.Body)
	case o.State == "begun":
		c.reply(ctx, answer{ID: id, Error: "begun before, its outcome is not known; it is not done again"})
	case o.State == "failed":
		c.reply(ctx, answer{ID: id, Error: "tried before, without success; it is not done again"})
	default:
		c.reply(ctx, answer{ID: id, Error: "done before; it is not done again"})
	}
}

// do does the deed.
func (c *commander) do(ctx context.Context, d *deed) answer {
	reason := "command " + d.envelope.ID
	if d.envelope.Issuer != "" {
		reason += " of " + d.envelope.Issuer
	}
	result, err := c.verbs.Do(actuators.WithReason(ctx, reason), d.envelope.Name, d.args)
	if err != nil {
		return answer{ID: d.envelope.ID, Error: err.Error()}
	}
	return answer{ID: d.envelope.ID, OK: true, Result: result}
}

// finish writes the outcome down and answers.
func (c *commander) finish(ctx context.Context, d deed, durable bool) {
	body, err := json.Marshal(d.answer)
	if err != nil {
		body, _ = json.Marshal(answer{ID: d.envelope.ID, Error: "the result cannot be written as JSON"})
	}
	state := "done"
	if !d.answer.OK {
		state = "failed"
	}
	if err := c.ledger.finish(d.envelope.ID, state, body, durable); err != nil {
		c.log.Warn("command outcome", "id", d.envelope.ID, "err", err)
	}
	if durable {
		err := c.record(ctx, "command", map[string]any{"id": d.envelope.ID, "name": d.envelope.Name, "phase": state,
			"error": d.answer.Error})
		if err != nil {
			c.log.Warn("audit", "id", d.envelope.ID, "err", err)
		}
	}
	c.log.Info("command", "id", d.envelope.ID, "name", d.envelope.Name, "ok", d.answer.OK, "err", d.answer.Error)
	c.answer(ctx, body)
}

func (c *commander) reply(ctx context.Context, a answer) {
	body, err := json.Marshal(a)
	if err != nil { // an answer without a result always marshals
		c.log.Warn("answer", "id", a.ID, "err", err)
		return
	}
	c.answer(ctx, body)
}
