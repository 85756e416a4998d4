package link

import (
	"fmt"

	"holdfast/agent/shadow"
	"holdfast/board/strict"
)

// members bounds how much a document from outside may hold: a state and the metadata that mirrors it.
const members = 4096

// readObject reads a JSON object from outside: at most limitBytes long, nested at most depth deep, no name twice.
func readObject(payload []byte, limitBytes, depth int) (map[string]any, error) {
	v, err := strict.Tree(payload, strict.Limits{Bytes: limitBytes, Depth: depth, Members: members})
	if err != nil {
		return nil, err
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("not an object")
	}
	return tree, nil
}

// digest names the lineage of a document whose writer does not count versions.
func digest(state map[string]any) string { return "sha256:" + shadow.Digest(state)[:16] }

// object returns member name of tree as an object; ok is false when it is absent or null.
func object(tree map[string]any, name string) (o map[string]any, ok bool, err error) {
	switch v := tree[name].(type) {
	case nil:
		return nil, false, nil
	case map[string]any:
		return v, true, nil
	default:
		return nil, false, fmt.Errorf("%s is not an object", name)
	}
}

// counter returns member name of tree as a whole number from 0 to 2^53, 0 when it is absent.
func counter(tree map[string]any, name string) (int64, error) {
	v, there := tree[name]
	if !there {
		return 0, nil
	}
	if n, ok := whole(v); ok {
		return n, nil
	}
	return 0, fmt.Errorf("%s is not a whole number from 0 to 2^53", name)
}

func whole(v any) (n int64, ok bool) {
	f, ok := v.(float64)
	if !ok || f < 0 || f > 1<<53 || f != float64(int64(f)) {
		return 0, false
	}
	return int64(f), true
}

// text returns member name of tree if it is a string of at most limitBytes, else nothing.
func text(tree map[string]any, name string, limitBytes int) string {
	if s, _ := tree[name].(string); len(s) <= limitBytes {
		return s
	}
	return ""
}

// finish puts state into d, within limits.
func finish(d Desired, state map[string]any, limits Limits) (Desired, error) {
	if shadow.Depth(state) > limits.StateDepth {
		return d, fmt.Errorf("state is nested deeper than %d", limits.StateDepth)
	}
	raw := shadow.Canonical(state)
	if len(raw) > limits.StateBytes {
		return d, fmt.Errorf("state has %d bytes, more than the %d allowed", len(raw), limits.StateBytes)
	}
	d.State = raw
	return d, nil
}
