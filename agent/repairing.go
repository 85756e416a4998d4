package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/remediate"
)

// Repairs is how an agent has faults repaired, by a process that keeps the limits.
type Repairs struct {
	// Playbooks reads what is done about which fault. What could be read comes with the error of what could not.
	Playbooks func() (remediate.Playbooks, error)
	// Ask has a verb of the warden's done: repair.plan, repair.step, repair.end, boot.began and the like.
	Ask func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error)
	// Interlocked are outputs that must be low while something is repaired: what they drive must not be left alone.
	Interlocked []string
}

// Pauses of the lane of repairs.
const (
	bootRetry   = 30 * time.Second // after nobody answered; doubled each time, to bootMost
	bootMost    = time.Hour        // between two questions about the boot
	endingLimit = 2 * time.Second
)

// safety is whether the agent is in safe mode: telemetry and updates only. The core changes it, anybody may look.
type safety struct {
	on      atomic.Bool
	unknown bool   // until the warden has answered, or has not: outputs wait; the core's own, as the next
	why     string // it is on
}

// repairer is the goroutine that asks for repairs, one at a time, and tells how the machine boots.
type repairer struct {
	ask   func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error)
	asks  chan remediate.Ask // room for the one that is under way
	agent *Agent
	pause time.Duration // before a warden that did not answer is asked about the boot again
	heard bool          // it has answered
	id    string        // of this boot, as it said
	ended string        // the boot that the agent before ended in order, where that was not heard
}

func (r *repairer) run(ctx context.Context) error {
	var again <-chan time.Time
	stop := func() {}
	defer func() { stop() }()
	r.recall()
	boot := func(verb string) {
		stop()
		again, stop = r.agent.parts.Board.Clock.Timer(r.boot(ctx, verb))
	}
	boot("boot.began")
	for {
		select {
		case <-ctx.Done():
			r.leave(context.WithoutCancel(ctx))
			return context.Cause(ctx)
		case <-again:
			boot("boot.lasted")
		case a := <-r.asks:
			result, err := r.do(ctx, a)
			_ = r.agent.core.look(ctx, func(c *core) { // an agent that ends goes on with the repair when it starts
				c.rules.Answered(result, err)
				c.report(c.clock.Now())
			})
		}
	}
}

// do tells what is about to be done, until it is on flash, and has it done.
func (r *repairer) do(ctx context.Context, a remediate.Ask) (actuators.Result, error) {
	if a.Tell != nil {
		if err := r.agent.keep(ctx, "repair", a.Tell); err != nil {
			return nil, fmt.Errorf("%w: the record of it cannot be written: %w", remediate.ErrNotAsked, err)
		}
	}
	limit, stop := context.WithTimeout(ctx, a.Limit)
	defer stop()
	reason := a.Verb
	if fault := a.Args.Text("fault"); fault != "" {
		reason = "fault " + fault
	}
	result, err := r.ask(actuators.WithReason(limit, reason), a.Verb, a.Args)
	if err == nil && a.Verb == "repair.step" && result["do"] == "safe.enter" && result["would"] != true && result["failed"] == nil {
		_ = r.agent.core.look(ctx, func(c *core) { c.enterSafe("the ladder of " + a.Args.Text("fault") + " ended there") })
	}
	return result, err
}

// boot says something of the machine's start, takes whether it is in safe mode, and returns when to say more.
func (r *repairer) boot(ctx context.Context, verb string) time.Duration {
	limit, stop := context.WithTimeout(ctx, bootRetry)
	defer stop()
	var args actuators.Args
	if r.ended != "" {
		args = actuators.Args{"ended": r.ended}
	}
	result, err := r.ask(limit, verb, args)
	if err != nil {
		r.agent.parts.Log.Debug("boot", "said", verb, "err", err)
		_ = r.agent.core.look(ctx, (*core).settleSafe)
		r.pause = min(max(2*r.pause, bootRetry), bootMost)
		return r.pause
	}
	r.pause, r.heard = 0, true
	r.id, _ = result["boot"].(string)
	if r.ended != "" { // it counts once
		r.ended = ""
		if err := r.agent.parts.Board.Files.Remove(orderlyName); err != nil {
			r.agent.parts.Log.Warn("boot", "err", err)
		}
	}
	_ = r.agent.core.look(ctx, func(c *core) { c.takeSafe(result) })
	seconds, _ := result["again_seconds"].(float64)
	if seconds <= 0 {
		return bootMost
	}
	return min(max(time.Duration(seconds*float64(time.Second)), time.Second), bootMost)
}

// leave says that the agent ends in order, to a warden that is there. One that was idle is not started any more where the machine shuts
// down; it is told at the next start.
func (r *repairer) leave(ctx context.Context) {
	if !r.heard {
		return
	}
	limit, stop := context.WithTimeout(ctx, endingLimit)
	defer stop()
	if _, err := r.ask(limit, "boot.ended", nil); err != nil {
		r.agent.parts.Log.Debug("boot", "said", "boot.ended", "err", err)
		r.keep(r.id)
	}
}

// orderlyName is the document of a boot that ended in order. Where it is lost the boot counts as one that did not.
const (
	orderlyName  = "boot.ended"
	orderlyBytes = 128
)

func (r *repairer) recall() {
	doc, err := r.agent.parts.Board.Files.ReadFile(orderlyName, orderlyBytes)
	if err == nil {
		doc, err = board.Unseal(doc)
	}
	if err == nil && len(doc) <= orderlyBytes/2 {
		r.ended = string(doc)
	}
}

func (r *repairer) keep(boot string) {
	if err := r.agent.parts.Board.Files.WriteFile(orderlyName, board.Seal([]byte(boot))); err != nil {
		r.agent.parts.Log.Warn("boot", "err", fmt.Errorf("write %s: %w", orderlyName, err))
	}
}

// newRepairer makes the lane where something can be repaired. The verb by which people leave safe mode tells the core.
func (a *Agent) newRepairer() {
	p := a.parts.Repairs
	if p == nil {
		return
	}
	a.repairs = &repairer{ask: p.Ask, asks: make(chan remediate.Ask, 1), agent: a}
	a.core.asks, a.core.safety.unknown = a.repairs.asks, true
	for i, v := range a.parts.Verbs {
		if v.Name != "safe.leave" {
			continue
		}
		a.parts.Verbs = slices.Clone(a.parts.Verbs)
		a.parts.Verbs[i].Do = func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			result, err := v.Do(ctx, args)
			if err == nil {
				_ = a.core.look(ctx, func(c *core) { c.takeSafe(result) })
			}
			return result, err
		}
	}
}

// takeSafe takes what the warden says of safe mode.
func (c *core) takeSafe(result actuators.Result) {
	defer c.settleSafe()
	switch safe, _ := result["safe"].(bool); {
	case safe && !c.safety.on.Load():
		why, _ := result["why"].(string)
		c.enterSafe(why)
	case !safe && c.safety.on.Load():
		c.safety.on.Store(false)
		c.log.Warn("safe mode is over")
		c.event("safe_mode", map[string]any{"phase": "left"})
		c.safety.unknown = true
	}
}

// settleSafe has the outputs follow the desired state once it is known that this is no safe mode.
func (c *core) settleSafe() {
	if !c.safety.unknown {
		return
	}
	c.safety.unknown = false
	if !c.safety.on.Load() {
		c.hold(maps.Clone(c.settings.Relays))
	}
	c.reported.dirty = true
	c.report(c.clock.Now())
}

// enterSafe has nothing go on but telemetry and updates: no rules, no repairs, no commands but those that look, update, or leave it;
// and what the shadow desires of outputs waits.
func (c *core) enterSafe(why string) {
	if c.safety.on.Swap(true) {
		return
	}
	c.safety.why = why
	c.log.Error("safe mode: telemetry and updates only", "why", why, "hint", "holdfastctl command DEVICE safe.leave")
	c.event("safe_mode", map[string]any{"phase": "entered", "reason": why})
	c.reported.dirty = true
	c.report(c.clock.Now())
}

// safeVerbs may be done in safe mode, beside those of updates.
var safeVerbs = []string{"ping", "sample", "log.tail", "reboot", "safe.leave"}

// admits reports whether a command may be done in the present mode.
func (s *safety) admits(name string) bool {
	return !s.on.Load() || slices.Contains(safeVerbs, name) || strings.HasPrefix(name, "update.")
}

// holds says why nothing may be repaired now, empty when it may.
func (c *core) holds() string {
	if c.settings.HoldRepairs {
		return "the desired state holds repairs"
	}
	for _, name := range c.parts.Repairs.Interlocked {
		line := c.parts.Board.Lines[name] // and not the last reading: it may have been switched since
		if line == nil {
			return "the level of output " + name + " is not known"
		}
		switch high, err := line.Read(); {
		case err != nil:
			return "the level of output " + name + " is not known"
		case high:
			return "output " + name + " is active"
		}
	}
	return ""
}

// local does a rung that needs no power.
func (c *core) local(do string) error {
	if do != "config.rollback" {
		return fmt.Errorf("%s: %w", do, actuators.ErrUnknown)
	}
	if !c.desired.canGoBack() {
		return fmt.Errorf("%s: there is no desired document to go back to", do)
	}
	c.rollBack("rolled back: by a repair")
	return nil
}

// reportRepairs adds to the reported state how repairs stand.
func (c *core) reportRepairs(t map[string]any) {
	if c.parts.Repairs == nil {
		return
	}
	playbooks, fault, asked := c.rules.Repairs()
	repairs := map[string]any{"hold": c.settings.HoldRepairs, "safe_mode": c.safety.on.Load(), "playbooks": playbooks}
	if fault != "" {
		repairs["error"] = fault
	}
	if len(asked) > 0 {
		repairs["asks"] = asked
	}
	t["repairs"] = repairs
}
