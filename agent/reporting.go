package agent

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/shadow"
	"holdfast/board"
)

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
	c.reportRules(t)
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
