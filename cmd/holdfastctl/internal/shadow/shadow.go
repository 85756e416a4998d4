// Package shadow is the operator's side of a device's two documents: what is desired of it, and what it reports.
package shadow

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"holdfast/cmd/holdfastctl/internal/args"
)

// documentBytes bounds a document that is read; devices take at most 32 KiB.
const documentBytes = 256 << 10

// A Document is either half. Numbers in State are json.Number, so that they come out as they went in.
type Document struct {
	Epoch   string            `json:"epoch,omitempty"`
	Version int64             `json:"version"`
	State   map[string]any    `json:"state"`
	Refused map[string]string `json:"refused,omitempty"` // path to reason, in the reported half only
}

// Parse reads a retained document. A state that holds nothing but "desired", as other clouds write it, stands for what
// is in there.
func Parse(b []byte) (Document, error) {
	var d Document
	if len(b) > documentBytes {
		return d, fmt.Errorf("document has %d bytes, more than %d", len(b), documentBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("document: %w", err)
	}
	if d.State == nil {
		return d, errors.New("document: no state in it")
	}
	d.State = unwrap(d.State)
	return d, nil
}

func unwrap(state map[string]any) map[string]any {
	desired, ok := state["desired"].(map[string]any)
	_, reported := state["reported"].(map[string]any)
	if ok && (len(state) == 1 || len(state) == 2 && reported) {
		return desired
	}
	return state
}

// ParseState reads what a person wrote in a file: the state alone, or a whole document.
func ParseState(b []byte) (map[string]any, error) {
	if len(b) > documentBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), documentBytes)
	}
	v, err := args.JSON(b)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if state, ok := m["state"].(map[string]any); ok {
		m = state
	}
	return unwrap(m), nil
}

// Next returns the document that follows d with another state: the version after it, or a new lineage where d has
// none. The zero Document stands for none at all.
func (d Document) Next(state map[string]any) Document {
	if d.Epoch == "" || d.Version <= 0 || d.Version >= 1<<53 {
		return Document{Epoch: rand.Text()[:16], Version: 1, State: state}
	}
	return Document{Epoch: d.Epoch, Version: d.Version + 1, State: state}
}

// Encode returns the document as it is published.
func (d Document) Encode() ([]byte, error) {
	if d.State == nil {
		d.State = map[string]any{}
	}
	return json.Marshal(d)
}

// Merge returns state with change put over it: objects are merged, null deletes, all else replaces. Neither is changed.
func Merge(state, change map[string]any) map[string]any {
	out := maps.Clone(state)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range change {
		below, object := v.(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case object:
			old, _ := out[k].(map[string]any)
			out[k] = Merge(old, below)
		default:
			out[k] = v
		}
	}
	return out
}

// A Difference is one path where two states differ. A side that has nothing there is nil and not present.
type Difference struct {
	Path        string `json:"path"`
	Desired     any    `json:"desired"`
	Reported    any    `json:"reported"`
	HasDesired  bool   `json:"-"`
	HasReported bool   `json:"-"`
	Refused     string `json:"refused,omitempty"`
}

// Diff returns where reported is not what is desired, by path. What is only reported is left out unless all is set: a
// device reports a lot that nobody asked for.
func Diff(desired, reported Document, all bool) []Difference {
	var list []Difference
	diff(desired.State, limitsInPlace(reported.State), "", all, &list)
	for i := range list {
		list[i].Refused = reported.refusal(list[i].Path)
	}
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// limitsInPlace returns a reported state in which cpu, memory and network stand for what they stand for in desired: the
// limits in force, which a device reports under limits, and not its present figures.
func limitsInPlace(reported map[string]any) map[string]any {
	limits, ok := reported["limits"].(map[string]any)
	if !ok {
		return reported
	}
	state := maps.Clone(reported)
	for _, name := range []string{"cpu", "memory", "network"} {
		if limit, ok := limits[name]; ok {
			state[name] = limit
		}
	}
	return state
}

func diff(desired, reported map[string]any, prefix string, all bool, list *[]Difference) {
	keys := map[string]any{}
	maps.Copy(keys, desired)
	if all {
		maps.Copy(keys, reported)
	}
	for k := range keys {
		d, hasD := desired[k]
		r, hasR := reported[k]
		path := prefix + k
		dm, dObject := d.(map[string]any)
		rm, rObject := r.(map[string]any)
		switch {
		case dObject && (rObject || !hasR), rObject && !hasD:
			diff(dm, rm, path+".", all, list)
		case !hasD || !hasR || !Equal(d, r):
			*list = append(*list, Difference{Path: path, Desired: d, Reported: r, HasDesired: hasD, HasReported: hasR})
		}
	}
}

// Equal compares two values as JSON means them: 1 and 1.0 are the same number.
func Equal(a, b any) bool {
	x, okX := a.(json.Number)
	y, okY := b.(json.Number)
	if okX && okY {
		f, errF := x.Float64()
		g, errG := y.Float64()
		return x == y || errF == nil && errG == nil && f == g
	}
	m, okM := a.(map[string]any)
	n, okN := b.(map[string]any)
	if okM && okN {
		return len(m) == len(n) && !slices.ContainsFunc(slices.Collect(maps.Keys(m)), func(k string) bool {
			v, there := n[k]
			return !there || !Equal(m[k], v)
		})
	}
	s, okS := a.([]any)
	u, okU := b.([]any)
	if okS && okU {
		return slices.EqualFunc(s, u, Equal)
	}
	return reflect.DeepEqual(a, b)
}

// refusal returns why the device refused the path, or one above or below it.
func (d Document) refusal(path string) string {
	for _, p := range slices.Sorted(maps.Keys(d.Refused)) {
		if p == "" || p == path || strings.HasPrefix(path, p+".") || strings.HasPrefix(p, path+".") {
			return d.Refused[p]
		}
	}
	return ""
}

// Answers reports whether the reported document is the device's answer to the desired one, or to a later one of its
// lineage.
func (d Document) Answers(desired Document) bool {
	return d.Epoch == desired.Epoch && d.Version >= desired.Version
}
