package shadow

import "slices"

// refusalsKept bounds the memory of refused values; the oldest is forgotten first.
const refusalsKept = 256

// A Refusal is one desired value that was not taken, or that was rolled back because it did harm.
type Refusal struct {
	Path    string `json:"path"`
	Digest  string `json:"digest"` // of the value, so that a secret or a long value is not kept twice
	Epoch   string `json:"epoch"`
	Version int64  `json:"version"`
	Reason  string `json:"reason"`
}

// Refusals remembers, oldest first, what was refused, so that it is not tried again before the operator has written a
// newer version. The zero value is empty; as a slice it can be kept in a file as it is.
type Refusals []Refusal

// Add remembers that value was refused at path in document d. It takes the place of an earlier refusal at path.
func (r *Refusals) Add(path string, value any, d Document, reason string) {
	list := slices.DeleteFunc(*r, func(old Refusal) bool { return old.Path == path })
	list = append(list, Refusal{path, Digest(value), d.Epoch, d.Version, reason})
	if over := len(list) - refusalsKept; over > 0 {
		list = slices.Delete(list, 0, over)
	}
	*r = list
}

// Has reports whether value at path was refused before and d is no newer version, and why it was refused.
func (r Refusals) Has(path string, value any, d Document) (reason string, refused bool) {
	i := slices.IndexFunc(r, func(old Refusal) bool { return old.Path == path })
	if i < 0 || r[i].Digest != Digest(value) || d.Newer(Document{Epoch: r[i].Epoch, Version: r[i].Version}) {
		return "", false
	}
	return r[i].Reason, true
}

// Drop forgets what was refused at path: another value was accepted there, or none is desired any more.
func (r *Refusals) Drop(path string) {
	*r = slices.DeleteFunc(*r, func(old Refusal) bool { return old.Path == path })
}

// Reasons returns what the reported document says under "refused": path to reason.
func (r Refusals) Reasons() map[string]string {
	reasons := make(map[string]string, len(r))
	for _, old := range r {
		reasons[old.Path] = old.Reason
	}
	return reasons
}
