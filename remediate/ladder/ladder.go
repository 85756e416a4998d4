// Package ladder is a leaf: it reads playbooks, which say what is done about a fault, mildest first, and keeps the book of
// what was done, at which rung each fault stands, and how the last boots ended.
//
// It reads no clock and no disk. Its time is credited milliseconds, which never run faster than real time and which
// nobody can set; its documents are texts that somebody keeps whole.
package ladder

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/board/strict"
)

// Bounds of a playbook.
const (
	MaxBytes = 16 << 10 // the file
	MaxRungs = 8

	maxEPL      = 4 << 10 // of each statement
	maxHelp     = 200
	maxArgs     = 16
	maxText     = 256 // of an argument, and of a value
	maxList     = 16
	maxWindows  = 60
	maxPerHour  = 20
	maxPerDay   = 100
	maxTimeout  = 30 * time.Minute
	maxSettle   = time.Hour
	leastFresh  = time.Second
	oldestFresh = time.Hour
)

// A Playbook is what is done about one fault.
type Playbook struct {
	File  string // for errors
	Fault string // [a-z][a-z0-9_]{0,31}
	Help  string // one line for people
	// Precondition is one statement of EPL that must have matched within Fresh; its columns are values. Empty: none.
	Precondition string
	Fresh        time.Duration
	// Symptom is one statement of EPL that matches in each round as long as the fault is there. A repair has helped after
	// so many Windows, rounds in a row, without a match of it.
	Symptom string
	Windows int
	// Upstream: what is wrong is beyond this device. No rung restarts it then, or goes back to another system.
	Upstream        bool
	PerHour, PerDay int // rungs done for this fault, beside ask
	Rungs           []Rung
}

// A Rung is one deed, and how long it is given.
type Rung struct {
	Name string // [a-z0-9-]{1,32}
	Deed
	Timeout time.Duration // of the deed
	Settle  time.Duration // after the deed, before windows count
	Undo    *Deed         // done when the rung did not help; nil for nothing
}

// A Deed is a verb and its arguments: string, int64, float64, bool or []string. "{x}" in a text stands for the value x.
type Deed struct {
	Do   string
	Args map[string]any
}

// Deeds that are no verbs of a warden's.
const (
	ConfigRollback = "config.rollback" // the agent goes back to the last good desired document
	SafeEnter      = "safe.enter"      // telemetry and updates only, until somebody says otherwise
	Ask            = "ask"             // the agent tells a person, who is to do what is left
	UpdateRollback = "update.rollback"
	reboot         = "reboot"
)

// severities are how hard the deeds are; a ladder never goes down.
var severities = []struct {
	do   string
	hard int
}{
	{"clean", 1}, {"unit.restart", 2}, {"script", 2}, {"interface.cycle", 2}, {ConfigRollback, 3}, {UpdateRollback, 3}, {reboot, 4},
	{SafeEnter, 6}, {Ask, 7},
}

const (
	mild     = 2 // the hardest that may be an undo
	rollback = 5 // update.rollback of the system
)

// kinds are what update.rollback goes back.
var kinds = []string{"system", "content", "agent"}

// hardness is how hard a deed is, 0 when there is no such deed.
func (d Deed) hardness() int {
	for _, s := range severities {
		if s.do == d.Do {
			if d.Do == UpdateRollback && d.Args["kind"] != "content" && d.Args["kind"] != "agent" {
				return rollback
			}
			return s.hard
		}
	}
	return 0
}

// Local reports whether the agent does the deed itself, without power.
func (d Deed) Local() bool { return d.Do == ConfigRollback || d.Do == Ask }

// Restarts reports whether the deed takes the whole machine away for a while: what came of it is seen after the start.
func (d Deed) Restarts() bool { return d.Do == reboot || d.hardness() == rollback }

// Counted reports whether the deed counts against the limits. To ask a person does not.
func (d Deed) Counted() bool { return d.Do != Ask }

// Fill returns the arguments with values in place of "{x}". A value that is not there is an error, as is a text that
// becomes longer than 256 bytes.
func (d Deed) Fill(values map[string]string) (map[string]any, error) {
	filled := make(map[string]any, len(d.Args))
	for name, arg := range d.Args {
		switch arg := arg.(type) {
		case string:
			text, err := fill(arg, values)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			filled[name] = text
		case []string:
			list := make([]string, len(arg))
			for i, one := range arg {
				text, err := fill(one, values)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				list[i] = text
			}
			filled[name] = list
		default:
			filled[name] = arg
		}
	}
	return filled, nil
}

// Wants returns the names of the values that the arguments have places for, sorted.
func (d Deed) Wants() []string {
	var names []string
	look := func(text string) { // it was checked when it was read
		_ = places(text, func(_, name string) { names = append(names, name) })
	}
	for _, arg := range d.Args {
		switch arg := arg.(type) {
		case string:
			look(arg)
		case []string:
			for _, one := range arg {
				look(one)
			}
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

var placePattern = strict.Pattern(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// places goes through a text: what stands before each place, and the place's name; the name is empty after the last.
func places(text string, f func(before, name string)) error {
	for {
		open := strings.IndexAny(text, "{}")
		if open < 0 {
			f(text, "")
			return nil
		}
		name, rest, closed := strings.Cut(text[open+1:], "}")
		if text[open] == '}' || !closed || !placePattern(name) {
			return fmt.Errorf("%q: a brace stands for nothing but a value, as in {unit}", clip(text[open:]))
		}
		f(text[:open], name)
		text = rest
	}
}

func fill(text string, values map[string]string) (string, error) {
	var b strings.Builder
	var missing string
	err := places(text, func(before, name string) {
		value, known := values[name]
		if name != "" && !known {
			missing = name
		}
		if b.Len() <= maxText {
			b.WriteString(before)
			b.WriteString(value[:min(len(value), maxText+1)])
		}
	})
	switch {
	case err != nil:
		return "", err
	case missing != "":
		return "", fmt.Errorf("there is no value {%s}", missing)
	case b.Len() > maxText:
		return "", fmt.Errorf("with its values it is longer than %d bytes", maxText)
	}
	return b.String(), nil
}

// clip keeps what a stranger wrote short enough to quote.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
