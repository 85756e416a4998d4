package update

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Health is how a system is, as the gate compares it: before an update, and on trial.
type Health struct {
	Link    bool            `json:"link"`             // the broker can be spoken to
	Sources []string        `json:"sources"`          // collectors that gave data
	Alerts  []string        `json:"alerts,omitempty"` // critical ones that are open
	Units   map[string]bool `json:"units,omitempty"`  // watched units, and whether each is active
}

// Bounds of a report.
const (
	mostNames = 64
	nameBytes = 100
)

func (h *Health) valid() error {
	for what, n := range map[string]int{"sources": len(h.Sources), "alerts": len(h.Alerts), "units": len(h.Units)} {
		if n > mostNames {
			return fmt.Errorf("health: %d %s, at most %d", n, what, mostNames)
		}
	}
	for _, name := range slices.Concat(h.Sources, h.Alerts, slices.Collect(maps.Keys(h.Units))) {
		if name == "" || len(name) > nameBytes {
			return fmt.Errorf("health: a name of %d bytes", len(name))
		}
	}
	return nil
}

// Missing says what was in order before and is not now, in words; nothing when all is. A nil before asks only for what
// any system must have: that it reports, and that its watched units are active.
func Missing(before, now *Health) []string {
	if now == nil {
		return []string{"the agent does not report"}
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(now.Units)) {
		if was, known := before.unit(name); !now.Units[name] && (was || !known) {
			missing = append(missing, "unit "+name+" is not active")
		}
	}
	if before == nil {
		return missing
	}
	if before.Link && !now.Link {
		missing = append(missing, "no link to the broker")
	}
	var silent []string
	for _, name := range before.Sources {
		if !slices.Contains(now.Sources, name) {
			silent = append(silent, name)
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		missing = append(missing, "no data from "+strings.Join(silent, ", "))
	}
	for _, name := range now.Alerts {
		if !slices.Contains(before.Alerts, name) {
			missing = append(missing, "critical alert "+name)
		}
	}
	return missing
}

func (h *Health) unit(name string) (active, known bool) {
	if h == nil {
		return false, false
	}
	active, known = h.Units[name]
	return active, known
}
