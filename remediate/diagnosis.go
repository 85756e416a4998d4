package remediate

import (
	"slices"
	"time"
)

// Who can name a fault.
const (
	ByRule   = "rule"
	ByForest = "forest"
	ByHabit  = "habit"
)

// Unknown is what a fault is called that nobody can name. It is told, and never repaired.
const Unknown = "unknown"

// Bounds of the diagnoses that are open at a time: one for each fault of a board is plenty, and one fault of many units or mounts leaves
// room for the others.
const (
	maxDiagnoses = 32
	maxOfFault   = 8
)

// A Diagnosis names a fault, and says by what.
type Diagnosis struct {
	Fault      string            `json:"fault"`
	By         string            `json:"by"`
	Rule       string            `json:"rule,omitempty"` // whose alert names it
	Key        map[string]string `json:"key,omitempty"`  // of that alert
	Confidence float64           `json:"confidence,omitempty"`
	Model      string            `json:"model,omitempty"` // the first 12 digits of its id
	Reasons    []Reason          `json:"reasons,omitempty"`
	Since      time.Time         `json:"since"`

	values  map[string]any // of the match that named it
	from    *alert
	opened  time.Time // by the clock that intervals are measured with
	told    bool      // what would be done, or that a person is to do what is left
	asked   bool      // the latter
	refused string    // why it is not repaired now
	vain    int       // times in a row that a deed was begun and refused

	refusal  string // that was told last
	refusals int    // that were told
	toldAt   time.Time
}

// A Reason is a measure that speaks for a diagnosis: its value, what it usually is, and by how much the fault would be less
// likely were it as usual (of a forest), or how many times farther off it is than is tolerated (of a habit).
type Reason struct {
	Measure string  `json:"measure"`
	Stat    string  `json:"stat,omitempty"` // of a forest: the mean, std or slope (a row) of its window that is farthest from usual
	Value   float64 `json:"value"`
	Usual   float64 `json:"usual"`
	Weight  float64 `json:"weight"`
}

// A chart is the diagnoses that are open, oldest first.
type chart struct {
	open []*Diagnosis
	tell func(kind string, body map[string]any)
}

// named opens a diagnosis. quiet says nothing of it: its alert was not told either, or it was open before the agent ended.
func (c *chart) named(now time.Time, d *Diagnosis, quiet bool) {
	if !c.room(d.Fault) {
		return
	}
	d.Since, d.opened = now.Round(0).UTC(), now
	c.open = append(c.open, d)
	if !quiet {
		c.tell("diagnosis", d.body("named"))
	}
}

// room reports whether one more diagnosis of a fault is opened.
func (c *chart) room(fault string) bool {
	of := 0
	for _, d := range c.open {
		if d.Fault == fault {
			of++
		}
	}
	return len(c.open) < maxDiagnoses && of < maxOfFault
}

// over closes the diagnoses that a test picks.
func (c *chart) over(why string, quiet bool, pick func(*Diagnosis) bool) {
	c.open = slices.DeleteFunc(c.open, func(d *Diagnosis) bool {
		if !pick(d) {
			return false
		}
		if !quiet {
			body := d.body("over")
			body["reason"] = why
			c.tell("diagnosis", body)
		}
		return true
	})
}

func (c *chart) has(pick func(*Diagnosis) bool) bool { return slices.ContainsFunc(c.open, pick) }

func (d *Diagnosis) ruled() bool { return d.By == ByRule }

// body is what is told of a diagnosis: its evidence with it.
func (d *Diagnosis) body(phase string) map[string]any {
	body := map[string]any{"phase": phase, "fault": d.Fault, "since": d.Since}
	if phase == "named" {
		d.evidence(body)
	} else {
		body["by"] = d.By
	}
	return body
}

// evidence adds what a diagnosis rests on.
func (d *Diagnosis) evidence(body map[string]any) {
	body["by"] = d.By
	if d.Rule != "" {
		body["rule"] = d.Rule
	}
	if d.Key != nil {
		body["key"] = d.Key
	}
	if len(d.values) > 0 {
		body["values"] = d.values
	}
	if d.Model != "" {
		body["model"], body["confidence"] = d.Model, rounded(d.Confidence)
	}
	if len(d.Reasons) > 0 {
		body["reasons"] = d.Reasons
	}
}

// names are the faults of the open diagnoses, each once, oldest first.
func (c *chart) names() []string {
	var names []string
	for _, d := range c.open {
		if !slices.Contains(names, d.Fault) {
			names = append(names, d.Fault)
		}
	}
	return names
}

func (c *chart) standing() []Diagnosis {
	var all []Diagnosis
	for _, d := range c.open {
		all = append(all, *d)
	}
	return all
}
