package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/agent/link"
	"holdfast/agent/shadow"
	"holdfast/board"
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
	document := ""
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
// not answer is tried again until it can be.
func (c *core) hold(levels map[string]bool) {
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
		period, _, _ := c.settings.schedule(s.Name())
		out = append(out, collectors.Schedule{Source: s, Period: period})
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

// reportedState is what the cloud is told of the device, and what it is known to hold.
type reportedState struct {
	dirty      bool            // something besides the present figures changed
	held       json.RawMessage // the state the cloud holds, nil when that is not known
	sent       json.RawMessage // the state under way
	token      string          // of the report under way; "" for none
	at         time.Time       // of the last report
	figures    [3]float64      // cpu, memory, network as last reported
	unreadable string          // why the last desired document could not be read
	count      uint64
}

// Pauses between reports.
const (
	reportPause  = 2 * time.Second  // two changes of state
	figuresPause = time.Minute      // two reports of nothing but present figures
	figuresStep  = 5                // in percent: a smaller move is not reported by itself
	answerWait   = 10 * time.Second // for the cloud's answer to a report
)

// unsure forgets what the cloud holds: the link was away.
func (r *reportedState) unsure() { r.token, r.dirty = "", true }

// holds notes what the cloud says it holds.
func (r *reportedState) holds(state json.RawMessage) { r.held, r.dirty = state, true }

// published closes the publication of a report; where the cloud answers reports the answer is still to come.
func (r *reportedState) published(token string, err error, answers bool) {
	switch {
	case token != r.token:
	case err != nil:
		r.token, r.dirty = "", true
	case !answers:
		r.token, r.held = "", r.sent
	}
}

// answered closes a report that the cloud answers.
func (r *reportedState) answered(token string, err error) {
	if token != r.token {
		return
	}
	r.token = ""
	if err == nil {
		r.held = r.sent
		return
	}
	r.dirty = true
}

// report sends the reported half, if there is something to say, one at a time and not too often.
func (c *core) report(now time.Time) {
	r := &c.reported
	limits := c.parts.Dialect.Session().Limits
	pause := now.Sub(r.at)
	if !c.link.up || r.token != "" && pause < answerWait || r.count > 0 && pause < max(limits.StateMinPause, 0) {
		return
	}
	figures, shown := c.figures(), r.figures
	for i := range figures {
		if math.Abs(figures[i]-shown[i]) >= figuresStep && pause >= figuresPause || r.count == 0 {
			shown = figures
		}
	}
	if !r.dirty {
		state, err := json.Marshal(c.stateTree(shown))
		if err != nil || bytes.Equal(state, r.held) || pause < reportPause {
			return
		}
	}
	state, err := json.Marshal(c.stateTree(figures))
	if err != nil {
		c.log.Warn("reported state", "err", err)
		return
	}
	r.count++
	r.sent, r.at, r.figures, r.dirty = state, now, figures, false
	r.token = token(c.recorder.session, r.count)
	epoch, version := c.desired.answered()
	m, err := c.parts.Dialect.Encode(link.Outbound{Reported: &link.Reported{Epoch: epoch, Version: version, State: state,
		Refused: c.refusals(), Previous: r.held, Token: r.token}})
	if err != nil {
		c.log.Warn("reported state", "err", err)
		r.token = ""
		return
	}
	c.publish(m, settled{report: r.token})
}

// refusals is every path that was not taken, and why: the document as a whole under the empty path.
func (c *core) refusals() map[string]string {
	all := most(c.refused)
	for _, r := range c.desired.doc.Refused {
		if r.Path == "" {
			all[""] = r.Reason
		}
	}
	if c.reported.unreadable != "" {
		all[""] = c.reported.unreadable
	}
	return all
}

// most is as much of the refused paths as a report tells of.
func most(refused map[string]string) map[string]string {
	some := map[string]string{}
	for i, path := range slices.Sorted(maps.Keys(refused)) {
		if i >= refusedTold {
			break
		}
		some[path] = refused[path]
	}
	return some
}

// refusedTold bounds the reasons in a report: one document may be wrong in many places.
const refusedTold = 64

// stateTree is the state the device reports: what of the desired document it took, in the words it was written in, over
// its settings; and who it is and how it does.
func (c *core) stateTree(figures [3]float64) map[string]any {
	t := c.settings.Tree()
	accepted := shadow.Merge(nil, c.desired.inForce().State)
	for path := range c.refused {
		accepted = shadow.Apply(accepted, shadow.Change{Path: path, Removed: true})
	}
	for _, name := range []string{"cpu", "memory", "network"} { // in desired these are limits, in reported the present figures
		delete(accepted, name)
	}
	t = shadow.Merge(t, accepted)
	t["cpu"], t["memory"], t["network"] = figures[0], figures[1], figures[2]
	th := c.settings.Thresholds
	t["limits"] = map[string]any{"cpu": th.CPU, "memory": th.Memory, "network": th.Network}
	t["agent"] = map[string]any{"version": c.parts.Version, "session": c.recorder.session}
	id := c.parts.Board.Identity
	who := map[string]any{}
	for k, v := range map[string]string{"model": id.Model, "serial": id.Serial, "kernel": id.Kernel, "arch": id.Arch} {
		if v != "" {
			who[k] = v
		}
	}
	maps.Copy(who, c.facts)
	t["board"] = who
	if relays := c.relayLevels(); len(relays) > 0 {
		t["relays"] = relays
	}
	return t
}

// factsTold bounds the facts in a report, which shares the shadow's room with everything else.
const factsTold = 1 << 10

// factsTree is what the board says of itself, as the reported state has it. What is told at length is in the status of
// the device only: of watchdogs the reported state has the identity of each that somebody feeds.
func factsTree(f board.Facts) map[string]any {
	t := map[string]any{}
	for k, v := range map[string]string{"revision": f.Revision, "profile": f.Profile, "reset": string(f.Reset), "reset_words": f.ResetWords, "root": f.Root} {
		if v != "" && len(v) <= factsTold/8 {
			t[k] = v
		}
	}
	if len(f.Compatible) > 0 && len(f.Compatible[0]) <= factsTold/8 {
		t["compatible"] = f.Compatible[0]
	}
	if f.Profile != "" {
		t["profile_verified"] = f.Verified
	}
	for _, w := range f.Watchdogs {
		if w.Active && len(w.Identity) <= factsTold/8 {
			t["watchdog"] = w.Identity
		}
	}
	return t
}

// relayLevels is how the outputs stand, whoever switched them.
func (c *core) relayLevels() map[string]any {
	levels := map[string]any{}
	for _, name := range c.parts.Relays {
		if line := c.parts.Board.Lines[name]; line != nil {
			if high, err := line.Read(); err == nil {
				levels[name] = high
			}
		}
	}
	return levels
}

// figures are the three numbers of the seed's shadow, in whole percent: how busy, how full, and how much of the network's
// capacity is used by the busiest interface.
func (c *core) figures() [3]float64 {
	number := func(source, instance, field string) float64 {
		s := c.latest[series{source, instance}]
		v, _ := s.Field(field)
		n, _ := v.Number()
		return n
	}
	network := 0.0
	for key := range c.latest {
		if key.source != "network" {
			continue
		}
		capacity := number("network", key.instance, "speed_bits_per_second")
		if capacity <= 0 {
			capacity = c.parts.Policy.CapacityBits
		}
		busiest := max(number("network", key.instance, "rx_bytes_per_second"), number("network", key.instance, "tx_bytes_per_second"))
		network = max(network, 100*8*busiest/capacity)
	}
	return [3]float64{percent(100 * number("cpu", "", "busy_ratio")), percent(100 * number("memory", "", "used_ratio")),
		percent(network)}
}

// percent rounds a figure; what is no number is 0, since JSON has no word for it.
func percent(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return math.Round(max(v, 0))
}
