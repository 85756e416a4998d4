package rules

import (
	"cmp"
	"slices"
	"strings"

	"holdfast/remediate"
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

// Check compiles files as a device does, and says what it thinks of the rules in them. With types of its own, which no device
// has, annotations are not looked at.
func Check(o Options, files []string) (*Report, error) {
	e, err := o.engine(epl.Options{})
	if err != nil {
		return nil, err
	}
	r := &Report{Rules: []Rule{}, Problems: []Problem{}}
	problems, err := load(e, files)
	if err != nil {
		return nil, err
	}
	if o.Types == "" {
		if problems, err = asDevice(files); err != nil {
			return nil, err
		}
	}
	r.Problems = append(r.Problems, problems...)
	held := map[string]bool{} // rules whose alerts others end
	for _, rule := range e.Rules() {
		if a, ok := rule.Statement.Annotation("clear"); ok {
			held[a.Value] = true
		}
	}
	instances := map[string]string{}
	for _, t := range remediate.Catalogue() {
		instances[t.Type.Name] = t.Instance
	}
	for _, rule := range e.Rules() {
		one := describe(rule)
		r.Rules = append(r.Rules, one)
		r.MaxBytes += one.MaxBytes
		if unknown := rule.Statement.Limit(keys(o.limits())); unknown != nil {
			r.Problems = append(r.Problems, problem(unknown, "", true))
		}
		if _, quiet := rule.Statement.Annotation("quiet"); quiet || held[rule.Name] {
			continue // its alert is one from the first match to its end
		}
		if trap := rule.Statement.Trap(func(t string) string { return instances[t] }); trap != nil {
			r.Problems = append(r.Problems, problem(trap, "", true))
		}
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		if a.File != b.File {
			return slices.Index(files, a.File) - slices.Index(files, b.File)
		}
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	return r, nil
}

// asDevice is what a device says is wrong with rules.
func asDevice(files []string) (problems []Problem, err error) {
	var all []remediate.File
	for _, path := range files {
		text, err := ReadFile(path)
		if err != nil {
			return nil, err
		}
		all = append(all, remediate.File{Name: path, Text: text})
	}
	list := []error{remediate.Check(all)}
	if joined, ok := list[0].(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if err != nil {
			problems = append(problems, problem(err, files[0], false))
		}
	}
	return problems, nil
}

func describe(rule *epl.Rule) Rule {
	s, p := rule.Statement, rule.Plan()
	one := Rule{Name: rule.Name, File: s.File, Line: s.Line, Types: p.Types, Kind: p.Kind, From: p.From, Rows: p.Rows, Columns: rule.Columns(),
		Output: p.Output, Into: p.Into, MaxBytes: rule.Standing().MaxBytes}
	for _, a := range s.Annotations {
		if one.Annotations == nil {
			one.Annotations = map[string]string{}
		}
		one.Annotations[strings.ToLower(a.Name)] = a.Value
	}
	return one
}
