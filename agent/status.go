package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/remediate"
)

// Status is what holdfast status shows: the present view of a running agent.
type Status struct {
	Version  string            `json:"version"`
	Session  string            `json:"session"`
	Board    board.Identity    `json:"board"`
	Facts    board.Facts       `json:"facts"`
	Uptime   float64           `json:"uptime_seconds"`
	Time     time.Time         `json:"time"`
	Trusted  bool              `json:"clock_trusted"`
	Link     LinkStatus        `json:"link"`
	Shadow   ShadowStatus      `json:"shadow"`
	Spool    SpoolStatus       `json:"spool"`
	Sources  []SourceStatus    `json:"sources"`
	Rules    *RulesStatus      `json:"rules,omitempty"`    // nil where nothing is judged
	Problems map[string]string `json:"problems,omitempty"` // what is wrong, by part
}

// LinkStatus is the connection.
type LinkStatus struct {
	Up         bool      `json:"up"`
	Since      time.Time `json:"since"`
	Broker     string    `json:"broker,omitempty"`
	Error      string    `json:"error,omitempty"` // why it is down
	Retry      time.Time `json:"retry,omitzero"`
	Reconnects uint64    `json:"reconnects"`
}

// ShadowStatus is the desired document in force.
type ShadowStatus struct {
	Epoch   string            `json:"epoch,omitempty"`
	Version int64             `json:"version"`
	Trial   bool              `json:"trial"`
	Refused map[string]string `json:"refused,omitempty"`
}

// SpoolStatus is what is not yet delivered.
type SpoolStatus struct {
	Waiting    int    `json:"waiting_count"`
	FlashBytes int64  `json:"flash_bytes"`
	RAMBytes   int64  `json:"ram_bytes"`
	Dropped    uint64 `json:"dropped_count"`
	Degraded   string `json:"degraded,omitempty"` // why it runs from memory alone
}

// RulesStatus is how the rules do, and which alerts are open.
type RulesStatus = remediate.Standing

// AlertStatus is one alert that is open.
type AlertStatus = remediate.AlertStatus

// Diagnosis is a fault that has a name, ModelStatus how the model does that names some, RepairStatus how repairs do.
type (
	Diagnosis   = remediate.Diagnosis
	ModelStatus = remediate.ModelStanding

	RepairStatus = remediate.RepairStanding
)

// SourceStatus is one series' latest reading.
type SourceStatus struct {
	Source   string             `json:"source"`
	Instance string             `json:"instance,omitempty"`
	Age      float64            `json:"age_seconds"`
	Numbers  map[string]float64 `json:"numbers,omitempty"`
	Texts    map[string]string  `json:"texts,omitempty"`
}

// Status looks at the running agent. It answers even while the link is down; it is an error only when the agent is not
// running or ctx ends.
func (a *Agent) Status(ctx context.Context) (Status, error) {
	var s Status
	err := a.core.look(ctx, func(c *core) { s = c.status() })
	return s, err
}

func (c *core) status() Status {
	now := c.clock.Now()
	doc := c.desired.inForce()
	s := Status{
		Version: c.parts.Version, Session: c.recorder.session, Board: c.parts.Board.Identity, Facts: c.parts.Board.Facts, Time: now.UTC(),
		Uptime: now.Sub(c.parts.Policy.StartUp).Seconds(), Trusted: c.clock.Trusted(),
		Link: LinkStatus{Up: c.link.up, Since: c.link.since.UTC(), Broker: c.link.broker, Reconnects: max(c.link.reconnects, 1) - 1},
		Shadow: ShadowStatus{Epoch: doc.Epoch, Version: doc.Version, Trial: c.desired.doc.Trial != nil,
			Refused: c.refusals()},
		Spool: SpoolStatus{Waiting: c.spool.Waiting[0] + c.spool.Waiting[1], FlashBytes: c.spool.FlashBytes, RAMBytes: int64(c.spool.RAMBytes),
			Dropped: c.dropped(), Degraded: c.spool.Degraded},
		Problems: map[string]string{},
	}
	if !c.link.up && c.link.err != nil {
		s.Link.Error, s.Link.Retry = c.link.err.Error(), c.link.retry.UTC()
		s.Problems["link"] = s.Link.Error
	}
	if s.Spool.Degraded != "" {
		s.Problems["spool"] = s.Spool.Degraded
	}
	if c.desired.unsaved {
		s.Problems["shadow"] = "what is desired is in force and cannot be written to the disk; tried again"
	}
	if c.tooLarge > 0 {
		s.Problems["telemetry"] = fmt.Sprintf("%d samples were larger than a record may be", c.tooLarge)
	}
	if c.broken != nil {
		s.Problems["commands"] = c.broken.Error()
	}
	if c.rules != nil {
		if s.Rules = new(c.rules.Standing()); s.Rules.Fault != "" {
			s.Problems["rules"] = s.Rules.Fault
		}
		if p := s.Rules.Repairs; p != nil && p.Fault != "" {
			s.Problems["playbooks"] = p.Fault
		}
		if m := s.Rules.Model; m != nil && m.Fault != "" {
			s.Problems["model"] = m.Fault
		}
	}
	if c.safety.on.Load() {
		s.Problems["safe mode"] = "telemetry and updates only, since " + c.safety.why + "; the command safe.leave ends it"
	}
	if c.parts.Faults != nil {
		maps.Copy(s.Problems, c.parts.Faults())
	}
	keys := slices.SortedFunc(maps.Keys(c.latest), compareSeries)
	for _, key := range keys {
		sample := c.latest[key]
		one := SourceStatus{Source: key.source, Instance: key.instance, Age: now.Sub(sample.Time).Seconds()}
		for _, f := range sample.Fields {
			if text, ok := f.Value.Text(); ok {
				if one.Texts == nil {
					one.Texts = map[string]string{}
				}
				one.Texts[f.Name] = text
			} else if n, ok := f.Value.Number(); ok {
				if one.Numbers == nil {
					one.Numbers = map[string]float64{}
				}
				one.Numbers[f.Name] = n
			}
		}
		if key.source == "collector" && one.Texts["state"] != "ok" && one.Texts["state"] != "absent" {
			s.Problems["collector "+key.instance] = one.Texts["state"] + ": " + one.Texts["error"]
		}
		s.Sources = append(s.Sources, one)
	}
	return s
}
