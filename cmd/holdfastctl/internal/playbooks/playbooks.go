// Package playbooks checks and tells files of playbooks as a device would take them.
package playbooks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"holdfast/remediate"
	"holdfast/remediate/epl"
	"holdfast/remediate/ladder"
)

// A Playbook is what is told of one.
type Playbook struct {
	File         string `json:"file"`
	Fault        string `json:"fault"`
	Help         string `json:"help"`
	Precondition string `json:"precondition,omitempty"`
	Fresh        string `json:"fresh"`
	Symptom      string `json:"symptom"`
	Windows      int    `json:"windows"`
	Upstream     bool   `json:"upstream"`
	PerHour      int    `json:"per_hour"`
	PerDay       int    `json:"per_day"`
	Rungs        []Rung `json:"rungs"`
}

// A Rung is what is told of one.
type Rung struct {
	Name    string         `json:"name"`
	Do      string         `json:"do"`
	Args    map[string]any `json:"args,omitempty"`
	Values  []string       `json:"values,omitempty"` // that the arguments, and those of the undo, have places for
	Timeout string         `json:"timeout"`
	Settle  string         `json:"settle"`
	Undo    *Deed          `json:"undo,omitempty"`
}

// A Deed is an undo.
type Deed struct {
	Do   string         `json:"do"`
	Args map[string]any `json:"args,omitempty"`
}

// A Problem is something wrong with a playbook, or likely not meant.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"`
}

func (p Problem) String() string {
	out := p.File
	if p.Line > 0 {
		out += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if out += ": "; p.Warning {
		out += "warning: "
	}
	if out += p.Problem; p.Hint != "" {
		out += " (" + p.Hint + ")"
	}
	return out
}

// A Report is what check found.
type Report struct {
	Playbooks []Playbook `json:"playbooks"` // that are right
	Problems  []Problem  `json:"problems"`
}

// Broken reports whether a playbook would not come into force.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Warning })
}

// Check reads files as a device does. What is not a problem of a playbook, such as a file that is not there, is an error.
func Check(files []string) (*Report, error) {
	r := &Report{Playbooks: []Playbook{}, Problems: []Problem{}}
	faults := map[string]string{}
	for _, path := range files {
		p, err := Read(path)
		if outside := (*os.PathError)(nil); errors.As(err, &outside) {
			return nil, err
		}
		if err == nil {
			err = remediate.CheckPlaybook(p)
		}
		if first := ""; err == nil {
			if first = faults[p.Fault]; first != "" {
				r.Playbooks = slices.DeleteFunc(r.Playbooks, func(o Playbook) bool { return o.File == first })
				err = &ladder.Error{File: path, Line: 1, Column: 1, Problem: fmt.Sprintf("%s is for %s, too: neither is in force", first, p.Fault)}
			}
			faults[p.Fault] = path
		}
		if err != nil {
			r.Problems = append(r.Problems, problems(err, path)...)
			continue
		}
		r.Problems = append(r.Problems, valuesOf(p)...)
		r.Playbooks = append(r.Playbooks, describe(p))
	}
	return r, nil
}

// Read reads one file.
func Read(path string) (*ladder.Playbook, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, ladder.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return ladder.Parse(path, text)
}

// problems takes joined errors apart.
func problems(err error, path string) (all []Problem) {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		var wrong *ladder.Error
		var statement *epl.Error
		switch {
		case errors.As(err, &wrong):
			all = append(all, Problem{File: wrong.File, Line: wrong.Line, Column: wrong.Column, Problem: wrong.Problem, Hint: wrong.Hint})
		case errors.As(err, &statement):
			all = append(all, Problem{File: statement.File, Line: statement.Line, Column: statement.Column, Problem: statement.Problem, Hint: statement.Hint})
		default:
			all = append(all, Problem{File: path, Problem: strings.TrimPrefix(err.Error(), path+": ")})
		}
	}
	return all
}

// valuesOf warns of values that the precondition does not have. The alert's rule may have them, which is not known here.
func valuesOf(p *ladder.Playbook) (all []Problem) {
	if p.Precondition == "" {
		return nil
	}
	engine := epl.New(epl.Options{Types: remediate.Types(remediate.Catalogue()), Limit: func(string) (float64, bool) { return 0, true }})
	statements, err := epl.Parse(p.File, p.Precondition)
	if err != nil {
		return nil // CheckPlaybook has said so
	}
	live, err := engine.Deploy(statements...)
	if err != nil || strings.Contains(p.Precondition, "*") {
		return nil // all properties of what it takes
	}
	columns := live[0].Columns()
	for i, rung := range p.Rungs {
		for _, name := range describeRung(rung).Values {
			if !slices.Contains(columns, name) {
				all = append(all, Problem{File: p.File, Warning: true, Problem: fmt.Sprintf("rung %d: there is no column %q in the precondition", i+1, name),
					Hint: "it has " + strings.Join(columns, ", ")})
			}
		}
	}
	return all
}

func describe(p *ladder.Playbook) Playbook {
	one := Playbook{File: p.File, Fault: p.Fault, Help: p.Help, Precondition: p.Precondition, Fresh: short(p.Fresh), Symptom: p.Symptom, Windows: p.Windows,
		Upstream: p.Upstream, PerHour: p.PerHour, PerDay: p.PerDay}
	for _, rung := range p.Rungs {
		one.Rungs = append(one.Rungs, describeRung(rung))
	}
	return one
}

func describeRung(r ladder.Rung) Rung {
	one := Rung{Name: r.Name, Do: r.Do, Args: r.Args, Values: r.Wants(), Timeout: short(r.Timeout), Settle: short(r.Settle)}
	if r.Undo != nil {
		one.Undo = &Deed{r.Undo.Do, r.Undo.Args}
		one.Values = append(one.Values, r.Undo.Wants()...)
		slices.Sort(one.Values)
		one.Values = slices.Compact(one.Values)
	}
	return one
}

// short is a duration without zeros at its end: 1m, 30s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
