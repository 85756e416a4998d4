// Package updatetest is a driver for tests: it signs repositories of releases in memory, so that whoever applies them can
// be tried without the operator's tool. Every role has one key, the same for all.
package updatetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/update"
	"holdfast/update/bsdiff"
	"holdfast/update/trust"
)

// A Repository is the files of a repository by their paths.
type Repository struct {
	Files map[string][]byte

	key      ed25519.PrivateKey
	now      time.Time
	version  int
	targets  map[string]any
	releases map[string]*update.Manifest
}

// New returns a repository that was founded at the time given. The seed decides its key.
func New(now time.Time, seed byte) *Repository {
	r := &Repository{Files: map[string][]byte{}, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)), now: now.UTC().Truncate(time.Second),
		targets: map[string]any{}, releases: map[string]*update.Manifest{}}
	r.Files["metadata/1.root.json"] = r.Root(1, r.key)
	return r
}

// Anchor is what a device is given: the first root.
func (r *Repository) Anchor() []byte { return r.Files["metadata/1.root.json"] }

// Root signs a root of the version, in which key has every role, with this repository's key and with that one.
func (r *Repository) Root(version int, key ed25519.PrivateKey) []byte {
	public := key.Public().(ed25519.PublicKey)
	id := trust.KeyID(public)
	role := map[string]any{"keyids": []string{id}, "threshold": 1}
	return Sign(map[string]any{"_type": "root", "spec_version": "1.0.31", "version": version, "consistent_snapshot": true,
		"expires": r.now.AddDate(5, 0, 0).Format(time.RFC3339),
		"keys": map[string]any{id: map[string]any{"keytype": "ed25519", "scheme": "ed25519",
			"keyval": map[string]any{"public": hex.EncodeToString(public)}}},
		"roles": map[string]any{"root": role, "targets": role, "snapshot": role, "timestamp": role}}, r.key, key)
}

// Sign returns a metadata file: what is signed, in canonical form, and the signatures of the keys.
func Sign(signed any, keys ...ed25519.PrivateKey) []byte {
	text, err := json.Marshal(signed)
	if err == nil {
		text, err = trust.Canonical(text)
	}
	if err != nil {
		panic(err) // only what a test made up can be at fault
	}
	signatures, seen := []map[string]string{}, map[string]bool{}
	for _, key := range keys {
		if id := trust.KeyID(key.Public().(ed25519.PublicKey)); !seen[id] {
			seen[id] = true
			signatures = append(signatures, map[string]string{"keyid": id, "sig": hex.EncodeToString(ed25519.Sign(key, text))})
		}
	}
	out, _ := json.Marshal(map[string]any{"signatures": signatures, "signed": json.RawMessage(text)})
	return out
}

// A Release is what is added.
type Release struct {
	Name   string            // "pump/2"
	Custom map[string]any    // in place of, or beside, what is always said
	Parts  map[string][]byte // images by part
	From   []string          // releases that were added before, from which deltas are made
	Old    map[string][]byte // their images, or any other to make deltas from, by part
	Span   int64             // bytes of a segment; 0 means 64 KiB
}

// Add makes a release's payloads and manifest. Publish lists it.
func (r *Repository) Add(rel Release) *update.Manifest {
	m := &update.Manifest{Release: rel.Name}
	for _, name := range slices.Sorted(maps.Keys(rel.Parts)) {
		image := rel.Parts[name]
		p := update.Part{Name: name, Image: bsdiff.Image{Bytes: int64(len(image)), SHA256: sha256.Sum256(image)}}
		p.Full = r.payload(nil, image, rel.Span)
		if old := rel.Old[name]; old != nil {
			p.Deltas = append(p.Deltas, r.payload(old, image, rel.Span))
		}
		m.Parts = append(m.Parts, p)
	}
	r.AddManifest(m, rel.Custom)
	return m
}

// AddManifest lists a manifest that was made elsewhere.
func (r *Repository) AddManifest(m *update.Manifest, custom map[string]any) {
	text, err := m.Encode()
	if err != nil {
		panic(err)
	}
	r.AddTarget(m.Release+".json", text, r.custom(m.Release, custom))
	r.releases[m.Release] = m
}

// AddTarget lists any file.
func (r *Repository) AddTarget(name string, text []byte, custom any) {
	sum := sha256.Sum256(text)
	dir, base := "", name
	if i := bytes.LastIndexByte([]byte(name), '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	r.Files[fmt.Sprintf("targets/%s%x.%s", dir, sum, base)] = text
	r.targets[name] = map[string]any{"length": len(text), "hashes": map[string]string{"sha256": hex.EncodeToString(sum[:])}, "custom": custom}
}

func (r *Repository) custom(name string, more map[string]any) map[string]any {
	c := map[string]any{"compatible": []string{"bench"}, "seq": len(r.releases) + 1, "security_floor": 1, "release": name, "from": []string{},
		"wave": []any{map[string]any{"after": "2020-01-01T00:00:00Z", "permille": 1000}}, "min_agent": "0.0.0",
		"issued": r.now.Format(time.RFC3339)}
	for k, v := range more {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (r *Repository) payload(old, image []byte, span int64) update.Payload {
	if span == 0 {
		span = 64 << 10
	}
	var out file
	patch, err := bsdiff.Create(context.Background(), bsdiff.Reader{ReaderAt: bytes.NewReader(old), Bytes: int64(len(old))},
		bsdiff.Reader{ReaderAt: bytes.NewReader(image), Bytes: int64(len(image))}, &out, bsdiff.Options{SpanBytes: span, Workers: 1})
	if err != nil {
		panic(err)
	}
	p := update.Payload{File: update.PayloadName(sha256.Sum256(out)), Bytes: int64(len(out)), Patch: patch}
	r.Files[p.File] = out
	return p
}

type file []byte

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(*f) {
		*f = append(*f, make([]byte, end-len(*f))...)
	}
	return copy((*f)[at:], p), nil
}

// Publish signs what is listed, as of the time given.
func (r *Repository) Publish(now time.Time) {
	r.version++
	r.now = now.UTC().Truncate(time.Second)
	expires := r.now.AddDate(0, 1, 0).Format(time.RFC3339)
	put := func(kind string, body map[string]any) (name string, meta map[string]any) {
		body["_type"], body["spec_version"], body["version"], body["expires"] = kind, "1.0.31", r.version, expires
		text := Sign(body, r.key)
		sum := sha256.Sum256(text)
		name = fmt.Sprintf("metadata/%d.%s.json", r.version, kind)
		if kind == "timestamp" {
			name = "metadata/timestamp.json"
		}
		r.Files[name] = text
		return name, map[string]any{"version": r.version, "length": len(text), "hashes": map[string]string{"sha256": hex.EncodeToString(sum[:])}}
	}
	_, targets := put("targets", map[string]any{"targets": r.targets})
	_, snapshot := put("snapshot", map[string]any{"meta": map[string]any{"targets.json": targets}})
	put("timestamp", map[string]any{"meta": map[string]any{"snapshot.json": snapshot}})
}
