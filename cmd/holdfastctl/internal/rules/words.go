package rules

import (
	"maps"
	"slices"
	"strings"

	"holdfast/board/strict"
)

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// suggest is a hint for a word that is none of those there are.
func suggest(word string, there []string, before string) string {
	if near := strict.Nearest(word, there); near != "" {
		return "did you mean " + before + near + "?"
	}
	if len(there) == 0 || len(there) > 12 {
		return ""
	}
	return "there are " + before + strings.Join(there, ", "+before)
}
