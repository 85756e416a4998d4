package shadow

import (
	"holdfast/board/strict"
)

const epochBytes = 64 // longest epoch

// A Document is one half of the shadow, whole, with its lineage.
type Document struct {
	Epoch   string // names the lineage: random where the writer counts versions, else Digest(State); at most 64 printable ASCII characters
	Version int64  // counts within the epoch, from 1 to 2^53; 0 where the writer does not count
	State   map[string]any
}

// Parse reads a document strictly. Without a version, or with version 0, the epoch becomes the digest of the state, so
// that every different state is a new lineage. A state that holds nothing but "desired" (and perhaps "reported"), as
// shadows of other clouds are written, stands for what is in its "desired". The error is a *strict.Error.
func Parse(data []byte, l strict.Limits) (Document, error) {
	var wire struct {
		Epoch   string          `json:"epoch"`
		Version int64           `json:"version"`
		State   *map[string]any `json:"state"`
	}
	if err := strict.Unmarshal(data, &wire, l); err != nil {
		return Document{}, err
	}
	refuse := func(path, problem string) (Document, error) {
		return Document{}, &strict.Error{Path: path, Problem: problem}
	}
	if wire.State == nil || *wire.State == nil {
		return refuse("state", "missing")
	}
	if wire.Version < 0 {
		return refuse("version", "negative")
	}
	if len(wire.Epoch) > epochBytes {
		return refuse("epoch", "longer than 64 characters")
	}
	for _, c := range []byte(wire.Epoch) {
		if c <= ' ' || c > '~' {
			return refuse("epoch", "not printable ASCII")
		}
	}
	d := Document{wire.Epoch, wire.Version, unwrap(*wire.State)}
	if d.Version == 0 {
		d.Epoch = Digest(d.State)
	}
	return d, nil
}

func unwrap(state map[string]any) map[string]any {
	desired, ok := state["desired"].(map[string]any)
	if !ok {
		return state
	}
	others := len(state) - 1
	if _, isObject := state["reported"].(map[string]any); isObject {
		others--
	}
	if others > 0 {
		return state
	}
	return desired
}

// Encode returns the document as Parse reads it, the same bytes for equal documents.
func (d Document) Encode() []byte {
	state := d.State
	if state == nil {
		state = map[string]any{}
	}
	// float64 keeps every version up to 2^53, and prints it as JSON does: no version gets near 1e21.
	return Canonical(map[string]any{"epoch": d.Epoch, "version": float64(d.Version), "state": state})
}

// Newer reports whether d takes the place of the document in force: another epoch is a new lineage and always does,
// within one epoch the version must rise.
func (d Document) Newer(inForce Document) bool {
	return d.Epoch != inForce.Epoch || d.Version > inForce.Version
}
