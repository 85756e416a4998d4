package remediate

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/actuators"
)

// RepairStanding is how repairs do, for people.
type RepairStanding struct {
	Playbooks int    `json:"playbooks"`
	Fault     string `json:"fault,omitempty"`  // why not all are in force
	Repair    string `json:"repair,omitempty"` // of which fault one is under way
	Rung      string `json:"rung,omitempty"`
	Step      string `json:"step,omitempty"`    // asked, doing, settling or watching
	Refused   string `json:"refused,omitempty"` // why the last one was not begun
}

// brief keeps of a long text, such as what a script printed, the end: an event has to fit into a record.
func brief(said map[string]any) map[string]any {
	short := maps.Clone(said)
	for name, v := range said {
		if text, ok := v.(string); ok && len(text) > memoTexts {
			short[name] = "…" + strings.ToValidUTF8(text[len(text)-memoTexts:], "")
		}
	}
	return short
}

func (r *Rules) repairBody(phase string) map[string]any {
	c := &r.climb
	return map[string]any{"phase": phase, "fault": c.Fault, "rung": c.Rung, "name": c.Name, "do": c.Do}
}

// measures are the present numbers of DeviceStatus, to four digits.
func (r *Rules) measures() map[string]float64 {
	all := map[string]float64{}
	for i := range statusMeasures {
		if n, ok := r.feed.status.vals[1+i].Float(); ok {
			all[statusMeasures[i].name] = digits(n)
		}
	}
	return all
}

func digits(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// evidenceText is a diagnosis in a kilobyte.
func evidenceText(d *Diagnosis) string {
	body := map[string]any{"since": d.Since}
	d.evidence(body)
	delete(body, "values")
	text, err := json.Marshal(body)
	if err != nil || len(text) > memoTexts {
		text, _ = json.Marshal(map[string]any{"by": d.By, "rule": d.Rule, "model": d.Model}) // texts always marshal
	}
	return string(text)
}

// fitting leaves out the largest values until the others are at most a kilobyte as JSON.
func fitting(values map[string]string) map[string]string {
	names := slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		if d := len(values[a]) - len(values[b]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for ; len(texts(values)) > memoTexts; names = names[:len(names)-1] {
		delete(values, names[len(names)-1])
	}
	return values
}

func texts(values map[string]string) string {
	text, _ := json.Marshal(values) // texts always marshal
	return string(text)
}

func textOfResult(result actuators.Result, name string) string {
	s, _ := result[name].(string)
	return s
}

func numberOfResult(result actuators.Result, name string) float64 {
	n, _ := result[name].(float64)
	return n
}

func seconds(result actuators.Result, name string) time.Duration {
	return time.Duration(min(max(numberOfResult(result, name), 0), 86400) * float64(time.Second))
}

// Repairs is what is reported of them: how many playbooks are in force, why not all, and the faults that a person was asked about.
func (r *Rules) Repairs() (playbooks int, fault string, asked []string) {
	for _, d := range r.chart.open {
		if d.asked && !slices.Contains(asked, d.Fault) {
			asked = append(asked, d.Fault)
		}
	}
	return len(r.plans), r.planFault, asked
}

func (r *Rules) repairing() *RepairStanding {
	c := &r.climb
	if r.o.Ask == nil {
		return nil
	}
	s := &RepairStanding{Playbooks: len(r.plans), Fault: r.planFault}
	if c.step != resting {
		s.Repair, s.Rung = c.Fault, c.Name
		s.Step = [...]string{"", "asked", "doing", "settling", "watching", "ending", "ending", "recalled"}[c.step]
	}
	for _, d := range r.chart.open {
		switch {
		case d.asked:
			s.Refused = d.Fault + ": a person was asked"
		case d.told:
			s.Refused = d.Fault + ": it is not armed"
		case d.refused != "":
			s.Refused = d.Fault + ": " + d.refused
		}
	}
	return s
}
