package shadow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Equal reports whether two trees say the same. Numbers are equal by value, objects regardless of order.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case float64:
		b, ok := b.(float64)
		return ok && a == b
	}
	return reflect.DeepEqual(a, b)
}

// Canonical returns v as JSON that is the same for equal trees: sorted names, no spaces, no HTML escapes. It panics on
// a value that no JSON text has, such as a channel or NaN, since no tree from outside can hold one.
func Canonical(v any) []byte { return canonical(nil, v) }

func canonical(to []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		to = append(to, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(plain(to, key), ':')
			to = canonical(to, v[key])
		}
		return append(to, '}')
	case []any:
		to = append(to, '[')
		for i, element := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = canonical(to, element)
		}
		return append(to, ']')
	case float64:
		return plain(to, v+0) // -0 is 0
	}
	return plain(to, v)
}

// plain appends one value as encoding/json writes it.
func plain(to []byte, v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("shadow: no JSON for %T: %v", v, err))
	}
	return append(to, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// Digest returns 32 hex digits that are the same for equal trees: the head of the SHA-256 of Canonical.
func Digest(v any) string {
	sum := sha256.Sum256(Canonical(v))
	return hex.EncodeToString(sum[:16])
}
