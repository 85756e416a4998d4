package shadow_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"holdfast/agent/shadow"
	"holdfast/board/strict"
)

func tree(t testing.TB, text string) map[string]any {
	t.Helper()
	v, err := strict.Tree([]byte(text), strict.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	doc, _ := v.(map[string]any)
	return doc
}

// The examples are those of RFC 7396, appendix A, whose document and result are objects.
func TestMergeAfterRFC7396(t *testing.T) {
	for _, tt := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":1}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`},
	} {
		doc := tree(t, tt[0])
		if got := shadow.Merge(doc, tree(t, tt[1])); !reflect.DeepEqual(got, tree(t, tt[2])) {
			t.Errorf("Merge(%s, %s) = %v, want %s", tt[0], tt[1], got, tt[2])
		}
		if !reflect.DeepEqual(doc, tree(t, tt[0])) {
			t.Errorf("Merge changed the document it was given: %v", doc)
		}
	}
}

func TestDiffIsTheSmallestPatch(t *testing.T) {
	for _, tt := range [][3]string{
		{`{"a":1,"b":{"c":[1],"d":2}}`, `{"a":1,"b":{"c":[1],"d":3}}`, `{"b":{"d":3}}`},
		{`{"a":1,"b":2}`, `{"a":1}`, `{"b":null}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":null}}`},
		{`{"a":1}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{`{"a":{"b":1}}`, `{"a":[]}`, `{"a":[]}`},
		{`{}`, `{"a":{}}`, `{"a":{}}`},
		{`{"a":1}`, `{"a":null}`, `{"a":null}`},
		{`{"a":0}`, `{"a":-0.0}`, `{}`},
		{`{}`, `{"a":null}`, `{}`},
	} {
		if got := shadow.Diff(tree(t, tt[0]), tree(t, tt[1])); !reflect.DeepEqual(got, tree(t, tt[2])) {
			t.Errorf("Diff(%s, %s) = %v, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestDeltaNamesLeaves(t *testing.T) {
	applied := tree(t, `{"cpu":70,"relay":{"pump":{"on":true},"old":1},"mode":"x","list":[1,2],"labels":{}}`)
	desired := tree(t, `{"cpu":70,"relay":{"pump":{"on":false}},"mode":{"a.b":1,"c\\":2},"list":[1,2,3],"none":null,"empty":{}}`)
	want := []shadow.Change{
		{Path: "mode", Removed: true},
		{Path: "relay.old", Removed: true},
		{Path: "list", Value: []any{1.0, 2.0, 3.0}},
		{Path: `mode.a\.b`, Value: 1.0},
		{Path: `mode.c\\`, Value: 2.0},
		{Path: "relay.pump.on", Value: false},
	}
	for range 20 { // the order does not depend on the order of maps
		if got := shadow.Delta(applied, desired); !reflect.DeepEqual(got, want) {
			t.Fatalf("Delta = %+v, want %+v", got, want)
		}
	}
	if v, ok := shadow.Lookup(desired, `mode.a\.b`); !ok || v != 1.0 {
		t.Errorf("Lookup = %v, %v", v, ok)
	}
	if v, ok := shadow.Lookup(desired, "relay.pump.on.more"); ok {
		t.Errorf("Lookup found %v below a leaf", v)
	}
}

// randomTree grows a document from few keys, so that two of them have much in common. Some keys need escapes.
func randomTree(r *rand.Rand, depth int, nulls bool) map[string]any {
	keys := []string{"a", "b", "a.b", `c\`, "", "é", `\.`}
	doc := map[string]any{}
	for range r.IntN(5) {
		key := keys[r.IntN(len(keys))]
		switch n := r.IntN(8); {
		case n < 3 && depth > 0:
			doc[key] = randomTree(r, depth-1, nulls)
		case n == 3:
			doc[key] = []any{float64(r.IntN(2)), nil, map[string]any{"x": nil}}
		case n == 4 && nulls:
			doc[key] = nil
		case n == 5:
			doc[key] = fmt.Sprint(r.IntN(2))
		case n == 6:
			doc[key] = r.IntN(2) == 0
		default:
			doc[key] = float64(r.IntN(3))
		}
	}
	return doc
}

func TestPropertiesOfRandomTrees(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 4_000 {
		from, to := randomTree(r, 3, true), randomTree(r, 3, true)
		if got := checkPair(from, to); got != "" {
			t.Fatalf("from %s to %s: %s", shadow.Canonical(from), shadow.Canonical(to), got)
		}
	}
}

// checkPair returns which property of two trees does not hold.
func checkPair(from, to map[string]any) string {
	before := [2]string{string(shadow.Canonical(from)), string(shadow.Canonical(to))}
	patch := shadow.Diff(from, to)
	if got := shadow.Merge(from, patch); len(shadow.Diff(shadow.Prune(from), shadow.Prune(to))) == 0 != shadow.Equal(shadow.Prune(from), shadow.Prune(to)) {
		return "an empty patch between different trees"
	} else if !reflect.DeepEqual(got, shadow.Prune(to)) {
		return fmt.Sprintf("patch %v makes %v", patch, got)
	}
	applied := from
	for _, c := range shadow.Delta(from, to) {
		applied = shadow.Apply(applied, c)
	}
	if rest := shadow.Delta(applied, to); len(rest) > 0 {
		return fmt.Sprintf("after all changes there remain %v", rest)
	}
	if !reflect.DeepEqual(shadow.Leaves(applied), shadow.Leaves(to)) {
		return fmt.Sprintf("changes make %v", applied)
	}
	for path, v := range shadow.Leaves(to) {
		if got, ok := shadow.Lookup(to, path); !ok || !shadow.Equal(got, v) {
			return fmt.Sprintf("Lookup(%q) = %v, %v", path, got, ok)
		}
		if keys := shadow.Split(path); path != joined(keys) {
			return fmt.Sprintf("Split(%q) = %q", path, keys)
		}
	}
	if shadow.Equal(from, to) != (shadow.Digest(from) == shadow.Digest(to)) {
		return "digests and equality differ"
	}
	if before != [2]string{string(shadow.Canonical(from)), string(shadow.Canonical(to))} {
		return "a tree was changed"
	}
	return ""
}

func joined(keys []string) string {
	path := ""
	for i, key := range keys {
		if i == 0 {
			path = strict.Join("", key)
		} else {
			path = strict.Join(path, key)
		}
	}
	return path
}

func TestDepthCountsAsStrictDoes(t *testing.T) {
	for text, want := range map[string]int{`1`: 0, `{}`: 1, `[]`: 1, `{"a":1}`: 1, `{"a":[{}],"b":{}}`: 3} {
		v, err := strict.Tree([]byte(text), strict.Limits{})
		if got := shadow.Depth(v); err != nil || got != want {
			t.Errorf("Depth(%s) = %d, %v; want %d", text, got, err, want)
		}
		if _, err := strict.Tree([]byte(text), strict.Limits{Depth: max(want, 1)}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	doc := map[string]any{"b": []any{1.0, 1e21, math.Copysign(0, -1)}, "a": "<é&\u2028>", "c": map[string]any{"z": nil, "y": true}, "n": 3}
	want := `{"a":"<é&\u2028>","b":[1,1e+21,0],"c":{"y":true,"z":null},"n":3}`
	if got := string(shadow.Canonical(doc)); got != want {
		t.Errorf("Canonical = %s, want %s", got, want)
	}
	if got := shadow.Digest(map[string]any{}); got != "44136fa355b3678a1146ad16f7e8649e" { // printf '{}' | sha256sum
		t.Errorf("Digest({}) = %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"epoch":"e1","version":7,"state":{"cpu":70,"relay":{"pump":true}}}`,
		`{"state":{"desired":{"cpu":70,"memory":50,"network":20}}}`,
		`{"state":{"a.b":{"\\":[null]}}}`,
		`{"version":1,"state":{},"state":{}}`,
	} {
		f.Add([]byte(seed), []byte(`{"state":{"cpu":1,"relay":null}}`))
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		a, err := shadow.Parse(one, strict.Limits{})
		if err != nil {
			return
		}
		text := a.Encode()
		if !json.Valid(text) {
			t.Fatalf("Encode wrote %s", text)
		}
		if b, err := shadow.Parse(text, strict.Limits{Bytes: 1 << 20}); err != nil && !strings.Contains(err.Error(), "2^53") ||
			err == nil && !shadow.Equal(a.State, b.State) && a.State["desired"] == nil {
			t.Fatalf("%s read back: %v, %v", text, b, err)
		}
		b, err := shadow.Parse(two, strict.Limits{})
		if err != nil {
			return
		}
		if got := checkPair(a.State, b.State); got != "" {
			t.Fatal(got)
		}
		if !slices.IsSortedFunc(shadow.Delta(nil, b.State), func(x, y shadow.Change) int { return strings.Compare(x.Path, y.Path) }) {
			t.Fatal("the delta is not sorted")
		}
	})
}
