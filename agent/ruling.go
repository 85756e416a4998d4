package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate"
)

// Rules reads the files of rules. What could be read comes with the error of what could not.
type Rules = func() ([]remediate.File, error)

// Model reads the model that names faults; nil without an error where there is none.
type Model = func() ([]byte, error)

// How long a reading counts in DeviceStatus: for so many periods of its source, and at least for so long.
const (
	stalePeriods = 3
	staleLeast   = 30 * time.Second
)

// alertsTold bounds the names of open alerts in a report.
const alertsTold = 16

// newRules makes the core's rules, where there are any, or something else that judges.
func (c *core) newRules() {
	if c.parts.Rules == nil && c.parts.Model == nil && c.parts.Repairs == nil {
		return
	}
	o := remediate.Options{
		Device: c.parts.Board.Identity.ID, CapacityBits: c.parts.Policy.CapacityBits, Clock: c.clock, Files: c.parts.Board.Files, Log: c.log,
		Stale: func(source string) time.Duration {
			period, _, _ := c.settings.schedule(source)
			return max(staleLeast, stalePeriods*period)
		},
		Limit: func(name string) (float64, bool) {
			t := c.settings.Thresholds
			switch name {
			case "cpu":
				return t.CPU, true
			case "memory":
				return t.Memory, true
			case "network":
				return t.Network, true
			}
			return 0, false
		},
		Event: c.event,
	}
	if c.parts.Repairs != nil {
		o.Hold, o.Local = c.holds, c.local
		o.Ask = func(a remediate.Ask) { c.asks <- a } // there is room: one is under way at a time
	}
	c.rules = remediate.New(o)
}

// judgement is what the core judges by, as it was read.
type judgement struct {
	files     []remediate.File
	filesErr  error
	model     []byte
	modelErr  error
	hasRules  bool // where there is a reader, as of models
	hasModels bool
	books     remediate.Playbooks
	booksErr  error
	hasBooks  bool
}

// judgement reads all that the core judges by.
func (p *Parts) judgement() (j judgement) {
	if j.hasRules = p.Rules != nil; j.hasRules {
		j.files, j.filesErr = p.Rules()
	}
	if j.hasModels = p.Model != nil; j.hasModels {
		j.model, j.modelErr = p.Model()
	}
	if j.hasBooks = p.Repairs != nil; j.hasBooks {
		j.books, j.booksErr = p.Repairs.Playbooks()
	}
	return j
}

// load puts in force what was read; what is wrong is logged, told and reported by the rules themselves.
func (c *core) load(j judgement) error {
	if c.rules == nil {
		return nil
	}
	var wrong, unfit, odd error
	if j.hasRules {
		if wrong = c.rules.Load(j.files, j.filesErr); wrong == nil {
			count, hash, _ := c.rules.Reported()
			c.log.Info("rules in force", "count", count, "hash", hash)
		}
	}
	if j.hasModels {
		unfit = c.rules.Model(j.model, j.modelErr)
		c.paced, c.sent = map[string]bool{}, map[series]time.Time{}
		step, sources := c.rules.Pace()
		for _, name := range sources {
			c.paced[name] = true
		}
		c.pace = step
		c.reschedule()
	}
	if j.hasBooks {
		odd = c.rules.Playbooks(j.books, j.booksErr)
	}
	return errors.Join(wrong, unfit, odd)
}

// ReloadRules reads again what is judged by. What is not right leaves what was in force, and the error says why.
func (a *Agent) ReloadRules(ctx context.Context) error {
	read := a.parts.judgement()
	var wrong error
	err := a.core.look(ctx, func(c *core) {
		wrong = c.load(read)
		c.report(c.clock.Now())
	})
	if err != nil {
		return err
	}
	return wrong
}

// judge gives the rules a sample; one without a source is the end of a round.
func (c *core) judge(s *collectors.Sample) {
	switch {
	case c.rules == nil || c.safety.on.Load():
	case s.Source == "":
		c.rules.Round()
	default:
		c.rules.Sample(s)
	}
}

// round says that the readings that began together are over, behind their samples.
func (c *core) round() { c.feel(collectors.Sample{}) }

// crashed gives the rules a crash that was told of.
func (a *Agent) crashed(ctx context.Context, crash board.Crash) {
	_ = a.core.look(ctx, func(c *core) { // an agent that ends has no rules
		if c.rules != nil {
			c.rules.Crash(crash, string(c.parts.Board.Facts.Reset))
		}
	})
}

// linkChanged gives the rules what became of the connection.
func (c *core) linkChanged(up bool, down time.Duration, reason string) {
	if c.rules != nil {
		c.rules.Link(up, down, reason)
	}
}

// An alarm is when the rules have something to do without any event.
type alarm struct {
	fired <-chan time.Time
	at    time.Time // zero when none is set
	stop  func()
}

// set has the alarm fire when the rules say. One that is set for earlier stays: a tick too many costs less than a timer.
func (w *alarm) set(c *core) {
	if c.rules == nil {
		return
	}
	at := c.rules.Next()
	if at.IsZero() || !w.at.IsZero() && !at.Before(w.at) {
		return
	}
	w.off()
	w.at = at
	w.fired, w.stop = c.clock.Timer(at.Sub(c.clock.Now()))
}

func (w *alarm) off() {
	if w.stop != nil {
		w.stop()
	}
	w.fired, w.stop, w.at = nil, nil, time.Time{}
}

// reportRules adds to the reported state which rules are in force and what they found.
func (c *core) reportRules(t map[string]any) {
	if c.rules == nil {
		return
	}
	count, hash, fault := c.rules.Reported()
	rules := map[string]any{"count": count, "hash": hash}
	if fault != "" {
		rules["error"] = fault
	}
	open, names := c.rules.OpenNames(alertsTold)
	slices.Sort(names)
	t["rules"], t["alerts"] = rules, map[string]any{"open": open, "names": names}
	faults, model, unfit := c.rules.Named()
	diagnosis := map[string]any{"faults": append([]string{}, faults...)}
	if model != "" {
		diagnosis["model"] = model
	}
	if unfit != "" {
		diagnosis["error"] = unfit
	}
	t["diagnosis"] = diagnosis
	c.reportRepairs(t)
}

// period is how often a source is read: at the pace of the model where that asks for it, and the source is read at all.
func (c *core) period(source string) time.Duration {
	period, _, _ := c.settings.schedule(source)
	if c.paced[source] && period > c.pace {
		period = c.pace
	}
	return period
}

// sooner reports whether a reading came for the model alone: the others are sent at the source's own period. Where readings are
// reduced over windows all of them are.
func (c *core) sooner(key series, at time.Time, period, window time.Duration) bool {
	if !c.paced[key.source] || period <= c.pace || window > 0 {
		return false
	}
	last, known := c.sent[key]
	switch {
	case known && at.Sub(last) < period-c.pace/2:
		return true
	case known || len(c.sent) < maxLatest:
		c.sent[key] = at
	}
	return false
}
