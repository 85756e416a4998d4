package agent

import (
	"context"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate"
)

// Rules reads the files of rules. What could be read comes with the error of what could not.
type Rules = func() ([]remediate.File, error)

// How long a reading counts in DeviceStatus: for so many periods of its source, and at least for so long.
const (
	stalePeriods = 3
	staleLeast   = 30 * time.Second
)

// alertsTold bounds the names of open alerts in a report.
const alertsTold = 16

// newRules makes the core's rules, where there are any.
func (c *core) newRules() {
	if c.parts.Rules == nil {
		return
	}
	c.rules = remediate.New(remediate.Options{
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
	})
}

// loadRules puts in force what the files say now; what is wrong is logged, told and reported by the rules themselves.
func (c *core) loadRules(files []remediate.File, read error) error {
	if c.rules == nil {
		return nil
	}
	err := c.rules.Load(files, read)
	if err == nil {
		count, hash, _ := c.rules.Reported()
		c.log.Info("rules in force", "count", count, "hash", hash)
	}
	return err
}

// ReloadRules reads the files of rules again. When they are not right the old rules stay in force, and the error says why.
func (a *Agent) ReloadRules(ctx context.Context) error {
	if a.parts.Rules == nil {
		return nil
	}
	files, read := a.parts.Rules()
	var wrong error
	err := a.core.look(ctx, func(c *core) {
		wrong = c.loadRules(files, read)
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
	case c.rules == nil:
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
}
