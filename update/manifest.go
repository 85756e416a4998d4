package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"holdfast/board/strict"
	"holdfast/update/bsdiff"
)

// A Manifest is the signed description of a release: what each part of a slot must become, and the files that make it.
// Its own bytes are vouched for by the metadata; every byte of the files is vouched for by it.
type Manifest struct {
	Release string
	Parts   []Part
}

// A Part is one image of a release.
type Part struct {
	Name   string
	Image  bsdiff.Image
	Full   Payload   // makes it from nothing
	Deltas []Payload // each makes it from another image
}

// A Payload is a file of the repository and the patch it holds.
type Payload struct {
	File  string // its path in the repository
	Bytes int64
	Patch *bsdiff.Manifest
}

// Bounds of a manifest. Segment tables are nearly all of it: 160 bytes for 4 MiB of an image.
const (
	ManifestBytes = 4 << 20
	mostParts     = 8
	mostDeltas    = 16
)

type manifestText struct {
	Format  int        `json:"format"`
	Release string     `json:"release"`
	Parts   []partText `json:"parts"`
}

type partText struct {
	Name   string        `json:"name"`
	Full   payloadText   `json:"full"`
	Deltas []payloadText `json:"deltas"`
}

type payloadText struct {
	File  string          `json:"file"`
	Patch json.RawMessage `json:"patch"`
}

var (
	partName    = strict.Pattern(`^[a-z0-9][a-z0-9_.-]{0,31}$`)
	payloadName = strict.Pattern(`^payload/[0-9a-f]{64}$`)
	releaseName = strict.Pattern(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,47}/[A-Za-z0-9][A-Za-z0-9_.+-]{0,47}$`)
)

// CheckRelease reports whether name is a release's: "name/version", each of 1 to 48 letters, digits and ._-, a version
// also +.
func CheckRelease(name string) error {
	if !releaseName(name) {
		return fmt.Errorf("release %.120q: wants name/version, of letters, digits, '.', '_' and '-'", name)
	}
	return nil
}

// PayloadName is the path of a payload in a repository: the SHA-256 of its bytes, in hex.
func PayloadName(sum [32]byte) string { return fmt.Sprintf("payload/%x", sum) }

// ParseManifest reads a manifest file. Whatever is missing, doubled, unknown, out of bounds or at odds with itself is an
// error.
func ParseManifest(file []byte) (*Manifest, error) {
	var text manifestText
	limits := strict.Limits{Bytes: ManifestBytes, Depth: 9, Members: 400_000}
	if err := strict.Unmarshal(file, &text, limits); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if text.Format != 1 {
		return nil, fmt.Errorf("manifest: format %d, this program knows 1", text.Format)
	}
	if len(text.Parts) == 0 || len(text.Parts) > mostParts {
		return nil, fmt.Errorf("manifest: %d parts, 1 to %d are taken", len(text.Parts), mostParts)
	}
	m := &Manifest{Release: text.Release}
	if err := CheckRelease(m.Release); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	for _, t := range text.Parts {
		p, err := t.part()
		if err != nil {
			return nil, fmt.Errorf("manifest: part %.40q: %w", t.Name, err)
		}
		if slices.ContainsFunc(m.Parts, func(o Part) bool { return o.Name == p.Name }) {
			return nil, fmt.Errorf("manifest: part %s comes twice", p.Name)
		}
		m.Parts = append(m.Parts, p)
	}
	return m, nil
}

func (t partText) part() (Part, error) {
	p := Part{Name: t.Name}
	if !partName(t.Name) {
		return p, errors.New("no name for a part")
	}
	if len(t.Deltas) > mostDeltas {
		return p, fmt.Errorf("%d deltas, at most %d", len(t.Deltas), mostDeltas)
	}
	var err error
	if p.Full, err = t.Full.payload(); err != nil {
		return p, fmt.Errorf("full image: %w", err)
	}
	p.Image = p.Full.Patch.New
	if p.Full.Patch.Old.Bytes != 0 || p.Image.Bytes == 0 {
		return p, errors.New("full image: it is made from something, or empty")
	}
	for _, d := range t.Deltas {
		payload, err := d.payload()
		if err == nil && (payload.Patch.New != p.Image || payload.Patch.Old.Bytes == 0 ||
			payload.Patch.SpanBytes() != p.Full.Patch.SpanBytes()) {
			err = errors.New("it makes another image, or in other segments")
		}
		if err != nil {
			return p, fmt.Errorf("delta %.80q: %w", d.File, err)
		}
		p.Deltas = append(p.Deltas, payload)
	}
	return p, nil
}

func (t payloadText) payload() (Payload, error) {
	if !payloadName(t.File) {
		return Payload{}, fmt.Errorf("file %.80q: wants payload/ and 64 hex digits", t.File)
	}
	patch, err := bsdiff.ParseManifest(t.Patch)
	if err != nil {
		return Payload{}, err
	}
	if patch.Codec != bsdiff.Zstd {
		return Payload{}, fmt.Errorf("codec %s: devices take zstd", patch.Codec)
	}
	return Payload{File: t.File, Bytes: patch.PatchBytes(), Patch: patch}, nil
}

// Encode returns the manifest as its file.
func (m *Manifest) Encode() ([]byte, error) {
	text := manifestText{Format: 1, Release: m.Release, Parts: []partText{}}
	for _, p := range m.Parts {
		t := partText{Name: p.Name, Deltas: []payloadText{}}
		var err error
		if t.Full, err = p.Full.text(); err != nil {
			return nil, err
		}
		for _, d := range p.Deltas {
			one, err := d.text()
			if err != nil {
				return nil, err
			}
			t.Deltas = append(t.Deltas, one)
		}
		text.Parts = append(text.Parts, t)
	}
	out, err := json.Marshal(text)
	if err == nil {
		_, err = ParseManifest(out) // what is refused by devices is not made
	}
	return out, err
}

func (p Payload) text() (payloadText, error) {
	patch, err := p.Patch.Encode()
	return payloadText{File: p.File, Patch: patch}, err
}
