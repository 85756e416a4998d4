package playbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast/remediate/ladder"
)

// words are what the deeds are, for people.
var words = map[string]string{
	"clean": "delete old files", "unit.restart": "restart a unit", "script": "run a script", "interface.cycle": "take an interface down and up",
	ladder.ConfigRollback: "go back to the last good desired state", ladder.UpdateRollback: "go back to what ran before the last update",
	"reboot": "restart the machine", ladder.SafeEnter: "enter safe mode: telemetry and updates only, until somebody leaves it", ladder.Ask: "ask a person",
}

// Explain says in words what a device would do.
func Explain(p *ladder.Playbook) []string {
	lines := []string{fmt.Sprintf("%s: %s", p.Fault, p.Help), ""}
	when := fmt.Sprintf("When %s is diagnosed", p.Fault)
	if p.Precondition != "" {
		when += fmt.Sprintf(", and this has matched in the last %s:", short(p.Fresh))
		lines = append(lines, when, "    "+oneLine(p.Precondition))
	} else {
		lines = append(lines, when+":")
	}
	lines = append(lines, "")
	for i, r := range p.Rungs {
		lines = append(lines, fmt.Sprintf("  %d. %s: %s", i+1, r.Name, deed(r.Deed)))
		if r.Do == ladder.Ask {
			continue
		}
		lines = append(lines, fmt.Sprintf("     It may take %s. %s later the symptom must stay away for %s in a row.", short(r.Timeout), short(r.Settle), rounds(p.Windows)))
		if r.Restarts() {
			lines = append(lines, "     That is looked at after the start.")
		}
		if r.Undo != nil {
			lines = append(lines, "     If it did not help: "+deed(*r.Undo)+".")
		}
	}
	lines = append(lines, "", "The symptom, in each round in which it matches:", "    "+oneLine(p.Symptom), "",
		fmt.Sprintf("At most %d rungs an hour and %d a day are done for it, beside asking, within the device's own limits.", p.PerHour, p.PerDay),
		"After each there is a pause of random length, up to a minute at first, then up to two, to four, and at last to an hour.",
		"A rung that did not help leads to the next. So does a fault that comes again within the hour; each hour without it leads one down.")
	if p.Upstream {
		lines = append(lines, "What is wrong is beyond the device: no rung restarts it.")
	}
	return append(lines, fmt.Sprintf("It is only told what would be done, unless repairs.armed names %q on the device.", p.Fault))
}

func deed(d ladder.Deed) string {
	text := words[d.Do]
	if len(d.Args) == 0 {
		return text
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(d.Args)) {
		value := fmt.Sprint(d.Args[name])
		if list, ok := d.Args[name].([]string); ok {
			value = strings.Join(list, " ")
		}
		args = append(args, name+" "+value)
	}
	return text + " (" + strings.Join(args, ", ") + ")"
}

func rounds(n int) string {
	if n == 1 {
		return "one round"
	}
	return fmt.Sprintf("%d rounds", n)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
