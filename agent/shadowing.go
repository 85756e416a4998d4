package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/agent/link"
	"holdfast/agent/shadow"
	"holdfast/board/strict"
	"holdfast/collectors"
)

// shadowDepth is the deepest a desired document may be (AWS allows six levels, security.md eight).
const shadowDepth = 8

// recall brings the last good desired state into force, before the first sample and without network.
func (c *core) recall() {
	d, rolled, err := openDesired(c.parts.Board.Files)
	c.desired = d
	if d.unsaved {
		c.log.Warn("desired state cannot be written; tried again")
	}
	if err != nil {
		c.log.Error("desired state is lost; the configuration file is in force", "err", err)
		c.event("shadow", map[string]any{"phase": "lost", "error": err.Error()})
	}
	if rolled != "" {
		c.log.Error("desired change rolled back: the agent did not survive it", "document", rolled)
		c.event("shadow", map[string]any{"phase": "rolled_back", "document": rolled, "reason": "crashed"})
	}
	if d.doc.Trial != nil {
		now := c.clock.Now()
		c.trial = trial{since: now, down: now}
	}
	c.apply()
	_ = c.load(c.parts.judgement()) // said and reported
}

// want takes a desired document.
func (c *core) want(in *link.Desired) {
	now := c.clock.Now()
	if c.link.seen.Stale(*in) {
		return
	}
	if in.Reported != nil {
		c.reported.holds(in.Reported)
	}
	if in.Absent {
		c.reported.dirty, c.reported.unreadable = true, ""
		if in.Reported == nil && c.parts.Dialect.Session().Limits.AnswersState {
			c.reported.held = nil
		}
		c.report(now)
		return
	}
	if in.Refused != "" {
		c.unreadable(now, in.Refused)
		return
	}
	tree, err := strict.Tree(in.State, strict.Limits{Bytes: c.parts.Policy.ShadowBytes, Depth: shadowDepth})
	state, isObject := tree.(map[string]any)
	if err != nil || !isObject {
		reason := "not an object"
		if err != nil {
			reason = err.Error()
		}
		c.unreadable(now, reason)
		return
	}
	doc := shadow.Document{Epoch: in.Epoch, Version: in.Version, State: state}
	c.reported.unreadable = ""
	if !c.desired.take(doc) {
		c.reported.dirty = true
		c.report(now)
		return
	}
	if err := c.desired.try(doc); err != nil { // a full disk keeps the change from surviving a restart, not from being obeyed
		c.log.Warn("desired state", "err", err)
	}
	c.apply()
	c.trial = trial{since: now}
	c.log.Info("desired state", "epoch", doc.Epoch, "version", doc.Version, "refused", len(c.refused))
	c.event("shadow", map[string]any{"phase": "applied", "epoch": doc.Epoch, "version": doc.Version, "refused": most(c.refused)})
	c.report(now)
}

// unreadable reports a document that could not be read at all; the one in force stays.
func (c *core) unreadable(now time.Time, reason string) {
	c.log.Warn("desired document refused", "err", reason)
	c.reported.unreadable = reason
	c.reported.dirty = true
	c.report(now)
}

// rollBack brings the last good document back.
func (c *core) rollBack(reason string) {
	document := c.desired.doc.Good.label()
	if c.desired.doc.Trial != nil {
		document = c.desired.doc.Trial.label()
	}
	c.trial = trial{}
	if err := c.desired.rollBack(reason); err != nil {
		c.log.Warn("desired state", "err", err)
	}
	c.apply()
	c.log.Error("desired change rolled back", "document", document, "reason", reason)
	c.event("shadow", map[string]any{"phase": "rolled_back", "document": document, "reason": reason})
	c.reported.dirty = true
}

// apply brings the settings in line with the document in force.
func (c *core) apply() {
	before, first := c.settings, !c.applied
	c.settings, c.refused = Resolve(c.base, c.desired.inForce().State, c.catalogue())
	c.applied = true
	if c.parts.Level != nil {
		c.parts.Level.Set(c.settings.LogLevel)
	}
	if c.parts.Watch != nil && (first || !slices.Equal(before.Watch, c.settings.Watch)) {
		c.parts.Watch(c.settings.Watch)
	}
	for _, s := range c.parts.Sources {
		_, was, _ := before.schedule(s.Name())
		if _, is, _ := c.settings.schedule(s.Name()); was != is {
			c.reducer.flush(c.gather) // windows of another length begin now
			break
		}
	}
	c.reschedule()
	if c.safety.on.Load() || c.safety.unknown { // outputs wait
		c.reported.dirty = true
		return
	}
	levels := maps.Clone(c.settings.Relays)
	for name, on := range levels {
		was, set := before.Relays[name]
		if _, waits := c.locked[name]; !first && set && was == on && !waits {
			delete(levels, name)
		}
	}
	c.locked = nil
	c.hold(levels)
	c.reported.dirty = true
}

// holdLimit is how long the core waits for all outputs together: who drives them may be another process, and hang.
const holdLimit = 2 * time.Second

// hold switches outputs to their desired levels. One whose interlock holds, whose line does not obey or whose process does
// not answer is tried again until it can be. In safe mode none is switched.
func (c *core) hold(levels map[string]bool) {
	if c.safety.on.Load() || c.safety.unknown { // outputs wait
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), holdLimit)
	defer stop()
	locked := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		path := strict.Join("relays", name)
		err := c.relays(ctx, name, levels[name])
		if err != nil && !errors.Is(err, actuators.ErrInvalid) && !errors.Is(err, actuators.ErrUnknown) && !errors.Is(err, actuators.ErrDenied) {
			locked[name] = levels[name]
		}
		if _, was := c.refused[path]; err != nil || was {
			c.reported.dirty = true
		}
		if err != nil {
			c.refused[path] = err.Error()
			continue
		}
		delete(c.refused, path)
	}
	c.locked = locked
}

func (c *core) catalogue() Catalogue {
	have := Catalogue{Relays: c.parts.Relays}
	for _, s := range c.parts.Sources {
		have.Sources = append(have.Sources, s.Name())
	}
	return have
}

// schedules says how often each source is read now.
func (c *core) schedules() []collectors.Schedule {
	out := make([]collectors.Schedule, 0, len(c.parts.Sources))
	for _, s := range c.parts.Sources {
		out = append(out, collectors.Schedule{Source: s, Period: c.period(s.Name())})
	}
	return out
}

// reschedule hands the runner the present periods; one that it has not yet taken is replaced.
func (c *core) reschedule() {
	select {
	case <-c.schedule:
	default:
	}
	c.schedule <- c.schedules()
}
