// Package shadow is a leaf: it merges, compares and versions the desired and reported halves of a device's document.
//
// State is a tree as strict.Tree makes it: map[string]any, []any, string, float64, bool, nil. Trees are values: nothing
// here changes one it was given, and what it returns may share parts with it. A member that is null is a member that is
// not there, as in a merge patch (RFC 7396). Paths are in the form of strict.Join.
package shadow

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"holdfast/board/strict"
)

// Merge returns doc changed by a merge patch (RFC 7396): objects merge, null removes, everything else replaces.
func Merge(doc, patch map[string]any) map[string]any {
	out := maps.Clone(doc)
	if out == nil {
		out = map[string]any{}
	}
	for key, p := range patch {
		switch p := p.(type) {
		case nil:
			delete(out, key)
		case map[string]any:
			inner, _ := out[key].(map[string]any)
			out[key] = Merge(inner, p)
		default:
			out[key] = p
		}
	}
	return out
}

// Diff returns the smallest merge patch that turns from into to. Since a patch cannot say null, Merge(from, Diff(from,
// to)) equals Prune(to).
func Diff(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range from {
		if to[key] == nil {
			patch[key] = nil
		}
	}
	for key, t := range to {
		f, had := from[key]
		inner, isObject := t.(map[string]any)
		if old, wasObject := f.(map[string]any); isObject && wasObject {
			if d := Diff(old, inner); len(d) > 0 {
				patch[key] = d
			}
			continue
		}
		if t == nil || had && Equal(f, t) {
			continue
		}
		if isObject {
			t = Prune(inner)
		}
		patch[key] = t
	}
	return patch
}

// Prune returns doc without members that are null. Arrays stay as they are.
func Prune(doc map[string]any) map[string]any { return Merge(nil, doc) }

// A Change is one leaf of the desired state that differs from what is applied.
type Change struct {
	Path    string
	Value   any  // never an object, never nil unless Removed
	Removed bool // the leaf is applied and no longer desired
}

// Delta returns what has to be done to applied to reach desired, leaf by leaf: removals first, then settings, both
// sorted by path. Arrays are leaves. An empty object has no leaves and is therefore never a change.
func Delta(applied, desired map[string]any) []Change {
	have, wish := Leaves(applied), Leaves(desired)
	var changes []Change
	for path := range have {
		if _, still := wish[path]; !still {
			changes = append(changes, Change{Path: path, Removed: true})
		}
	}
	for path, v := range wish {
		if old, had := have[path]; !had || !Equal(old, v) {
			changes = append(changes, Change{Path: path, Value: v})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int {
		if a.Removed != b.Removed {
			if a.Removed {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Path, b.Path)
	})
	return changes
}

// Apply returns doc after one change. An object that becomes empty by a removal goes too.
func Apply(doc map[string]any, c Change) map[string]any { return apply(doc, Split(c.Path), c) }

func apply(doc map[string]any, keys []string, c Change) map[string]any {
	out := maps.Clone(doc)
	if out == nil {
		out = map[string]any{}
	}
	key := keys[0]
	inner, isObject := out[key].(map[string]any)
	switch {
	case len(keys) == 1 && c.Removed:
		delete(out, key)
	case len(keys) == 1:
		out[key] = c.Value
	case c.Removed && !isObject:
		// Nothing lies below a leaf.
	default:
		if rest := apply(inner, keys[1:], c); len(rest) > 0 {
			out[key] = rest
		} else {
			delete(out, key)
		}
	}
	return out
}

// Leaves returns every value of doc that is not an object, by path, without nulls.
func Leaves(doc map[string]any) map[string]any {
	leaves := map[string]any{}
	collect(leaves, "", doc)
	return leaves
}

func collect(leaves map[string]any, path string, doc map[string]any) {
	for key, v := range doc {
		at := strict.Join(path, key)
		if inner, isObject := v.(map[string]any); isObject {
			collect(leaves, at, inner)
		} else if v != nil {
			leaves[at] = v
		}
	}
}

// Lookup returns the value at path, and whether there is one.
func Lookup(doc map[string]any, path string) (any, bool) {
	var v any = doc
	for _, key := range Split(path) {
		inner, _ := v.(map[string]any)
		if v = inner[key]; v == nil {
			return nil, false
		}
	}
	return v, true
}

// Split returns the keys of a path that strict.Join made.
func Split(path string) []string {
	var keys []string
	var key strings.Builder
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path):
			if i++; path[i] != 'e' { // \e is an empty key
				key.WriteByte(path[i])
			}
		case path[i] == '.':
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteByte(path[i])
		}
	}
	return append(keys, key.String())
}

// Depth returns how many objects and arrays lie inside one another: 0 for a leaf, 1 for {}.
func Depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			deepest = max(deepest, Depth(inner))
		}
	case []any:
		for _, inner := range v {
			deepest = max(deepest, Depth(inner))
		}
	default:
		return 0
	}
	return 1 + deepest
}
