package remediate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/board/strict"
	"holdfast/remediate/epl"
)

// A File is one file of rules. The name is for errors, and for the names of rules that have none.
type File struct{ Name, Text string }

// Bounds of a set of rules.
const (
	MaxFiles      = 64
	maxStatements = 256
	maxNameBytes  = 64
	maxTextBytes  = 256                // of a description, and of a text in an alert
	maxProblems   = 8                  // told of a set that does not compile
	leastPeriod   = time.Second        // of @remind and @quiet
	defaultQuiet  = 15 * time.Minute   // without @quiet and without a rule that clears it
	forgotten     = 7 * 24 * time.Hour // with such a rule
)

// A set is rules that compiled together.
type set struct {
	rules []*rule
	hash  string // of its files, 12 hexadecimal digits
}

// A rule is a statement, and what it means for alerts.
type rule struct {
	name, severity, description, repair string

	raises    bool          // what it matches is an alert
	clears    []string      // rules whose alerts end when it matches
	keys      []string      // columns that tell its alerts apart; nil for those of the catalogue
	remind    time.Duration // 0 for never
	quiet     time.Duration // an alert ends when nothing matched for so long
	statement *epl.Statement
	live      *epl.Rule // nil until it is deployed
	told      uint64    // overflows that were told of
}

var annotations = []string{"name", "description", "severity", "clear", "remind", "quiet", "key", "repair", "partials", "rows", "groups", "keys"}

// Annotations that Esper has, and that mean nothing here.
var esperAnnotations = []string{"tag", "hint", "hook", "audit", "priority", "drop", "nolock", "eventrepresentation", "iterableunbound", "buseventtype", "public", "private", "protected"}

// Severities are what @severity takes.
func Severities() []string { return []string{"critical", "warning", "info"} }

// Check compiles rules as an agent would, and returns what is wrong with them: of type *epl.Error each, joined.
func Check(files []File) error {
	_, err := compile(files)
	return err
}

// compile makes a set of files, on an engine that is thrown away. The error joins those of all statements, at most eight.
func compile(files []File) (*set, error) {
	var problems []error
	bad := func(e error) {
		if len(problems) < maxProblems {
			problems = append(problems, e)
		}
	}
	if len(files) > MaxFiles {
		return nil, fmt.Errorf("%d files of rules: at most %d", len(files), MaxFiles)
	}
	engine := epl.New(epl.Options{Types: Types(Catalogue()), Limit: func(string) (float64, bool) { return 0, false }})
	s := &set{hash: Hash(files)}
	for _, f := range files {
		statements, err := epl.Parse(f.Name, f.Text)
		if err != nil {
			bad(err)
			continue
		}
		for i, st := range statements {
			r, err := describe(st, i+1)
			if err == nil {
				_, err = engine.Deploy(st)
			}
			if err == nil && slices.ContainsFunc(s.rules, func(o *rule) bool { return o.name == r.name }) {
				err = wrong(st, "another rule is called "+r.name, "each has a @name of its own")
			}
			if err == nil && len(s.rules) >= maxStatements {
				return nil, wrong(st, fmt.Sprintf("more than %d rules", maxStatements), "")
			}
			if err != nil {
				bad(err)
				continue
			}
			s.rules = append(s.rules, r)
		}
	}
	if len(problems) == 0 {
		s.link(bad)
	}
	return s, errors.Join(problems...)
}

// Hash names files of rules by what is in them: 12 hexadecimal digits.
func Hash(files []File) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%s\x00%d\x00%s", f.Name, len(f.Text), f.Text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

// link gives every rule that is cleared by another a long time to wait for it.
func (s *set) link(bad func(error)) {
	for _, r := range s.rules {
		for _, name := range r.clears {
			of := s.named(name)
			switch {
			case of == nil || !of.raises:
				hint := ""
				if near := strict.Nearest(name, s.raising()); near != "" {
					hint = "did you mean " + near + "?"
				}
				bad(wrong(r.statement, fmt.Sprintf("@clear names %.64q, and no rule of this name raises an alert", name), hint))
			case of.quiet == 0:
				of.quiet = forgotten
			}
		}
	}
	for _, r := range s.rules {
		if r.quiet == 0 {
			r.quiet = defaultQuiet
		}
	}
}

func (s *set) named(name string) *rule {
	if i := slices.IndexFunc(s.rules, func(r *rule) bool { return r.name == name }); i >= 0 {
		return s.rules[i]
	}
	return nil
}

func (s *set) raising() (names []string) {
	for _, r := range s.rules {
		if r.raises {
			names = append(names, r.name)
		}
	}
	return names
}

// describe reads a statement's annotations. A statement raises alerts unless it only feeds other statements or only
// clears other rules' alerts; with @severity it does in any case.
func describe(st *epl.Statement, number int) (*rule, error) {
	r := &rule{statement: st, severity: "warning", raises: st.Into() == ""}
	base := st.File[strings.LastIndexByte(st.File, '/')+1:]
	r.name = strings.TrimSuffix(base, ".epl") + "-" + strconv.Itoa(number)
	severe := false
	for _, a := range st.Annotations {
		switch name := strings.ToLower(a.Name); name {
		case "name":
			r.name = a.Value
		case "description":
			r.description = a.Value
		case "severity":
			r.severity, severe = a.Value, true
		case "repair":
			r.repair = a.Value
		case "partials", "rows", "groups", "keys": // how much the rule may hold: the engine reads them
		case "clear":
			r.clears = append(r.clears, a.Value)
		case "key":
			for column := range strings.SplitSeq(a.Value, ",") {
				r.keys = append(r.keys, strings.TrimSpace(column))
			}
		case "remind", "quiet":
			if a.Period < leastPeriod {
				return nil, wrong(st, "@"+name+" wants a time of at least 1 sec", "as @"+name+"(1 hour)")
			}
			if name == "remind" {
				r.remind = a.Period
			} else {
				r.quiet = a.Period
			}
		default:
			near := strict.Nearest(name, annotations)
			if near != "" {
				return nil, wrong(st, "there is no annotation @"+a.Name, "did you mean @"+near+"?")
			}
			if !slices.Contains(esperAnnotations, name) {
				return nil, wrong(st, "there is no annotation @"+a.Name, "they are @"+strings.Join(annotations, ", @"))
			}
		}
	}
	r.raises = r.raises && len(r.clears) == 0 || severe
	switch {
	case !slices.Contains(Severities(), r.severity):
		return nil, wrong(st, fmt.Sprintf("@severity(%.40q)", r.severity), "it is 'critical', 'warning' or 'info'")
	case r.name == "" || len(r.name) > maxNameBytes || strings.ContainsFunc(r.name, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return nil, wrong(st, fmt.Sprintf("@name(%.80q)", r.name), "1 to 64 bytes without control characters")
	case len(r.description) > maxTextBytes || len(r.repair) > maxNameBytes || len(r.clears) > 16:
		return nil, wrong(st, "its annotations are too long", "a description has at most 256 bytes, a playbook 64, and 16 rules are cleared")
	}
	return r, nil
}

// wrong is an error at the beginning of a statement.
func wrong(st *epl.Statement, problem, hint string) error {
	return &epl.Error{File: st.File, Line: st.Line, Column: st.Column, Problem: problem, Hint: hint}
}
