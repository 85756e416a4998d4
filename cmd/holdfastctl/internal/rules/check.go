package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/remediate/epl"
)

// A Rule is what check tells of one.
type Rule struct {
	Name        string            `json:"name"`
	File        string            `json:"file"`
	Line        int               `json:"line"`
	Types       []string          `json:"types"`
	Kind        string            `json:"kind"` // pattern, window or stream
	From        string            `json:"from"`
	Rows        string            `json:"rows"`
	Columns     []string          `json:"columns"`
	Output      string            `json:"output,omitempty"`
	Into        string            `json:"into,omitempty"`
	MaxBytes    int               `json:"max_bytes"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A Report is what check found.
type Report struct {
	Rules    []Rule    `json:"rules"`
	Problems []Problem `json:"problems"`
	MaxBytes int       `json:"max_bytes"` // of all rules
}

// Broken reports whether a rule does not compile.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Warning })
}

// annotations are those that mean something, and what is in their parentheses.
var annotations = map[string]string{
	"name": "text", "description": "text", "severity": "severity", "clear": "text", "remind": "time", "repair": "text",
	"partials": "number", "rows": "number", "groups": "number", "keys": "number",
}

var severities = []string{"critical", "warning", "info"}

// Check compiles files and says what it thinks of the rules in them.
func Check(o Options, files []string) (*Report, error) {
	e, err := o.engine(epl.Options{})
	if err != nil {
		return nil, err
	}
	r := &Report{Rules: []Rule{}}
	if r.Problems, err = load(e, files); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, rule := range e.Rules() {
		s := rule.Statement
		p := rule.Plan()
		one := Rule{Name: rule.Name, File: s.File, Line: s.Line, Types: p.Types, Kind: p.Kind, From: p.From, Rows: p.Rows, Columns: rule.Columns(),
			Output: p.Output, Into: p.Into, MaxBytes: rule.Standing().MaxBytes}
		for _, a := range s.Annotations {
			if one.Annotations == nil {
				one.Annotations = map[string]string{}
			}
			one.Annotations[strings.ToLower(a.Name)] = a.Value
		}
		if a, ok := s.Annotation("name"); ok && names[rule.Name] {
			r.warn(s, a, fmt.Sprintf("another rule is called %s, too", rule.Name), "")
		}
		names[rule.Name] = true
		r.Rules = append(r.Rules, one)
		r.MaxBytes += one.MaxBytes
	}
	for _, rule := range e.Rules() {
		r.annotated(rule.Statement, names)
		if trap := rule.Statement.Trap(); trap != nil {
			r.Problems = append(r.Problems, problem(trap, "", true))
		}
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		if a.File != b.File {
			return slices.Index(files, a.File) - slices.Index(files, b.File)
		}
		return (a.Line-b.Line)*10_000 + a.Column - b.Column
	})
	return r, nil
}

func (r *Report) warn(s *epl.Statement, a epl.Annotation, what, hint string) {
	r.Problems = append(r.Problems, problem(s.At(a, what, hint), "", true))
}

// annotated looks at a statement's annotations. A device takes any; what it does not know means nothing to it.
func (r *Report) annotated(s *epl.Statement, names map[string]bool) {
	for _, a := range s.Annotations {
		known := strings.ToLower(a.Name)
		kind, ok := annotations[known]
		switch {
		case !ok:
			r.warn(s, a, fmt.Sprintf("@%s means nothing", a.Name), suggest(known, keys(annotations), "@"))
		case kind == "severity" && !slices.Contains(severities, a.Value):
			r.warn(s, a, fmt.Sprintf("there is no severity %q", a.Value), "there are "+strings.Join(severities, ", "))
		case kind == "time" && (a.Period < time.Second):
			r.warn(s, a, fmt.Sprintf("@%s wants a time of a second or more", a.Name), "@"+known+"(1 hour)")
		case kind == "text" && a.Value == "":
			r.warn(s, a, fmt.Sprintf("@%s wants a text", a.Name), "@"+known+"('…')")
		case known == "clear" && !names[a.Value]:
			r.warn(s, a, fmt.Sprintf("there is no rule %q to be cleared", a.Value), suggest(a.Value, keys(names), ""))
		}
	}
}
