// Package rules checks, tries and measures files of rules as a device would run them.
package rules

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/board/strict"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

// Options say what rules may name.
type Options struct {
	Types  string             // a file of event types to be had beside the device's own; empty for none
	Limits map[string]float64 // what limit('cpu') is, beside Limits
}

// Limits are what limit('cpu') and the others are on a device whose shadow and configuration say nothing of them.
func Limits() map[string]float64 { return map[string]float64{"cpu": 90, "memory": 90, "network": 90} }

func (o Options) limits() map[string]float64 {
	all := Limits()
	maps.Copy(all, o.Limits)
	return all
}

// ErrOptions is a file of types, or an option, that cannot be used.
var ErrOptions = errors.New("rules")

// A Problem is something wrong with a rule, or likely not meant.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"`
}

func (p Problem) String() string {
	out := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Warning {
		out += "warning: "
	}
	if out += p.Problem; p.Hint != "" {
		out += " (" + p.Hint + ")"
	}
	return out
}

func problem(err error, file string, warning bool) Problem {
	var e *epl.Error
	if errors.As(err, &e) {
		return Problem{e.File, e.Line, e.Column, e.Problem, e.Hint, warning}
	}
	return Problem{File: file, Line: 1, Column: 1, Problem: err.Error(), Warning: warning}
}

// ReadFile reads a text of rules, of at most epl.MaxText bytes.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, epl.MaxText+1))
	if err == nil && len(b) > epl.MaxText {
		err = fmt.Errorf("%s: more than %d KiB", path, epl.MaxText>>10)
	}
	return string(b), err
}

// engine makes one that has the device's event types and those of the options.
func (o Options) engine(e epl.Options) (*epl.Engine, error) {
	types := map[string]*epl.Type{}
	for _, t := range remediate.Catalogue() {
		types[t.Type.Name] = t.Type
	}
	if o.Types != "" {
		if err := readTypes(o.Types, types); err != nil {
			return nil, err
		}
	}
	e.Types = slices.SortedFunc(maps.Values(types), func(a, b *epl.Type) int { return cmp.Compare(a.Name, b.Name) })
	limits := o.limits()
	e.Limit = func(name string) (float64, bool) { v, ok := limits[name]; return v, ok }
	return epl.New(e), nil
}

// readTypes reads event types: {"D": {"id": "string", "cpu": "double"}}. The properties are in the order of their names.
func readTypes(path string, into map[string]*epl.Type) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	var read map[string]map[string]string
	if err := strict.Unmarshal(b, &read, strict.Limits{Bytes: 1 << 20, Members: 20_000}); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrOptions, path, err)
	}
	for name, props := range read {
		t := &epl.Type{Name: name}
		for _, p := range slices.Sorted(maps.Keys(props)) {
			k, ok := epl.ParseKind(props[p])
			if !ok {
				return fmt.Errorf("%w: %s: %s.%s: %q is no kind; there are string, int, long, double and boolean", ErrOptions, path, name, p, props[p])
			}
			t.Properties = append(t.Properties, epl.Property{Name: p, Kind: k})
		}
		into[name] = t
	}
	return nil
}

// load parses files and puts their statements on an engine, in order; what is wrong comes back in full, of each file.
func load(e *epl.Engine, files []string) (problems []Problem, err error) {
	for _, path := range files {
		text, err := ReadFile(path)
		if err != nil {
			return nil, err
		}
		all, err := epl.Parse(path, text)
		if err != nil {
			problems = append(problems, problem(err, path, false))
			continue
		}
		for i, s := range all {
			rules, err := e.Deploy(s)
			if err != nil {
				problems = append(problems, problem(err, path, false))
			} else if _, named := s.Annotation("name"); !named { // as on a device
				rules[0].Name = fmt.Sprintf("%s-%d", strings.TrimSuffix(filepath.Base(path), ".epl"), i+1)
			}
		}
	}
	return problems, nil
}

// Broken is rules that do not compile.
type Broken []Problem

func (b Broken) Error() string {
	var lines []string
	for _, p := range b {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// deploy is load for what needs all rules to be right.
func deploy(e *epl.Engine, files []string) error {
	problems, err := load(e, files)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return Broken(problems)
	}
	return nil
}

// values are a row's cells by their columns, as JSON has them; of events their properties.
func values(columns []string, r epl.Row) map[string]any {
	m := make(map[string]any, len(columns))
	for i, c := range r {
		if i == len(columns) { // order by
			break
		}
		all, many := c.Events()
		switch {
		case many:
			list := []any{}
			for _, e := range all {
				list = append(list, properties(e))
			}
			m[columns[i]] = list
		case len(all) == 1:
			m[columns[i]] = properties(all[0])
		default:
			m[columns[i]] = number(c.Value())
		}
	}
	return m
}

func properties(e epl.Event) map[string]any {
	m := map[string]any{}
	for i, p := range e.Type().Properties {
		if v := e.Value(i); !v.Null() {
			m[p.Name] = number(v)
		}
	}
	return m
}

// number is a value as JSON has it; infinities, which JSON has not, are texts.
func number(v epl.Value) any {
	if _, err := json.Marshal(v.Any()); err != nil {
		return v.String()
	}
	return v.Any()
}
