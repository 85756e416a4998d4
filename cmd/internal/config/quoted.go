package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// units finds durations and speeds that are not texts: go-toml would put a bare number into them as nanoseconds or bits,
// and says of other types neither line nor key. What cannot be read at all is left to the strict reader.
func units(name string, text []byte) []error {
	var tree map[string]any
	if toml.Unmarshal(text, &tree) != nil {
		return nil
	}
	var errs []error
	for _, k := range Keys() {
		example, ok := map[string]string{"duration": "10s or 1m30s", "speed": "100Mbit or 250kbit"}[k.Type]
		if !ok {
			continue
		}
		visit(tree, strings.Split(k.Path, "."), nil, func(path string, v any) {
			if _, ok := v.(string); !ok {
				line, column := place(text, path)
				errs = append(errs, &Error{File: name, Line: line, Column: column,
					Problem: fmt.Sprintf("%s: %v is not a %s such as %s, in quotes", path, v, k.Type, example)})
			}
		})
	}
	return errs
}

// visit calls f with each value that path leads to; NAME in it is every key there is.
func visit(tree map[string]any, path, before []string, f func(path string, v any)) {
	names := []string{path[0]}
	if path[0] == "NAME" {
		names = slices.Sorted(maps.Keys(tree))
	}
	for _, n := range names {
		v, ok := tree[n]
		if !ok {
			continue
		}
		at := append(slices.Clone(before), n)
		if len(path) == 1 {
			f(strings.Join(at, "."), v)
		} else if below, ok := v.(map[string]any); ok {
			visit(below, path[1:], at, f)
		}
	}
}
