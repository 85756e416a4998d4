package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/update"
	"holdfast/update/bsdiff"
	"holdfast/update/trust"
)

// A Release is what is added.
type Release struct {
	Name       string // name/version
	Kind       trust.Kind
	Arch       string
	Compatible []string
	Images     []Image
	Seq        int64    // 0: one above the highest of its kind
	Floor      int64    // 0: as the newest of its kind has it
	From       []string // releases to make deltas from
	FromNewest int      // where From is empty: so many of the newest that have the same parts
	Wave       []trust.Wave
	MinAgent   string
	Downgrade  int64 // downgrade_max_seq

	// Progress is told of each long piece of work. May be nil.
	Progress func(what string) (step func(done, total int64), end func())
}

// An Image is a file or block device that becomes a part.
type Image struct{ Part, Path string }

// Added is what came of it.
type Added struct {
	Release string   `json:"release"`
	Seq     int64    `json:"seq"`
	Floor   int64    `json:"security_floor,omitempty"`
	From    []string `json:"from"`
	Parts   []Sizes  `json:"parts"`
	File    string   `json:"file"` // where it is staged
}

// Sizes are those of a part, in bytes.
type Sizes struct {
	Part   string  `json:"part"`
	Image  int64   `json:"image_bytes"`
	Full   int64   `json:"full_bytes"`
	Deltas []Delta `json:"deltas"`
}

// A Delta is the size of a patch from another release.
type Delta struct {
	From  string `json:"from"`
	Bytes int64  `json:"bytes"`
}

// Add makes the payloads and the manifest of a release and stages it.
func (r *Repo) Add(ctx context.Context, rel Release) (*Added, error) {
	w, unlock, err := r.open()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if rel.Progress == nil {
		rel.Progress = func(string) (func(int64, int64), func()) { return func(int64, int64) {}, func() {} }
	}
	if err := rel.check(); err != nil {
		return nil, err
	}
	have, err := r.releases(w)
	if err != nil {
		return nil, err
	}
	from, err := rel.settle(have)
	if err != nil {
		return nil, err
	}
	custom, err := rel.custom(r.now(), from)
	if err != nil {
		return nil, err
	}
	m := &update.Manifest{Release: rel.Name}
	out := &Added{Release: rel.Name, Seq: rel.Seq, Floor: rel.Floor, From: namesOf(from)}
	for _, image := range rel.Images {
		part, sizes, err := r.part(ctx, rel, image, from)
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", image.Part, err)
		}
		m.Parts, out.Parts = append(m.Parts, part), append(out.Parts, sizes)
	}
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	out.File, err = r.list(w, rel.role(), rel.Name+".json", text, custom)
	return out, err
}

// check looks at what can be looked at before anything is read.
func (rel *Release) check() error {
	if err := update.CheckRelease(rel.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	rel.Kind = cmp.Or(rel.Kind, trust.System)
	if isContent := strings.HasPrefix(rel.Name, Content+"/"); isContent != (rel.Kind == trust.Content) {
		return fmt.Errorf("%w: releases of kind content are called %s/VERSION, and others are not", ErrUsage, Content)
	}
	var parts []string
	for _, i := range rel.Images {
		if slices.Contains(parts, i.Part) {
			return fmt.Errorf("%w: part %s is given twice", ErrUsage, i.Part)
		}
		parts = append(parts, i.Part)
	}
	if len(parts) == 0 {
		return fmt.Errorf("%w: a release without an image", ErrUsage)
	}
	slices.SortFunc(rel.Images, func(a, b Image) int { return strings.Compare(a.Part, b.Part) })
	return nil
}

func (rel *Release) role() string {
	if rel.Kind == trust.Content {
		return Content
	}
	return "targets"
}

// like reports whether some device may take either.
func (rel *Release) like(o Listed) bool {
	return o.Kind == rel.Kind && o.Arch == rel.Arch && slices.ContainsFunc(rel.Compatible, func(c string) bool { return slices.Contains(o.Compatible, c) })
}

// settle fills in what was left open and finds the releases to make deltas from.
func (rel *Release) settle(have []Listed) (from []Listed, err error) {
	var top, floorOf, floor int64
	for _, o := range have {
		if o.Name == rel.Name {
			return nil, fmt.Errorf("%w: there is a release %s already; devices would not take another one of the same name and number", ErrUsage, rel.Name)
		}
		if !rel.like(o) {
			continue
		}
		if o.Seq == rel.Seq {
			return nil, fmt.Errorf("%w: %s has the number %d already", ErrUsage, o.Name, o.Seq)
		}
		if top = max(top, o.Seq); o.Seq > floorOf {
			floorOf, floor = o.Seq, o.Floor
		}
	}
	rel.Seq = cmp.Or(rel.Seq, top+1)
	if rel.Kind != trust.Content {
		rel.Floor = cmp.Or(rel.Floor, min(max(floor, 1), rel.Seq))
	}
	if len(rel.From) > 0 {
		for _, name := range rel.From {
			i := slices.IndexFunc(have, func(o Listed) bool { return o.Name == name })
			if i < 0 {
				return nil, fmt.Errorf("%w: --from %s: there is no such release", ErrUsage, name)
			}
			from = append(from, have[i])
		}
		return from, nil
	}
	slices.SortFunc(have, func(a, b Listed) int { return cmp.Compare(b.Seq, a.Seq) })
	for _, o := range have {
		if len(from) < rel.FromNewest && rel.like(o) && slices.EqualFunc(o.Manifest.Parts, rel.Images, func(p update.Part, i Image) bool { return p.Name == i.Part }) {
			from = append(from, o)
		}
	}
	return from, nil
}

func namesOf(from []Listed) []string {
	names := []string{}
	for _, o := range from {
		names = append(names, o.Name)
	}
	return names
}

type customText struct {
	Kind       string     `json:"kind,omitempty"`
	Compatible []string   `json:"compatible"`
	Seq        int64      `json:"seq"`
	Floor      int64      `json:"security_floor,omitempty"`
	Release    string     `json:"release"`
	From       []string   `json:"from,omitempty"`
	Wave       []waveText `json:"wave,omitempty"`
	MinAgent   string     `json:"min_agent,omitempty"`
	Issued     string     `json:"issued"`
	Arch       string     `json:"arch,omitempty"`
	Downgrade  int64      `json:"downgrade_max_seq,omitempty"`
}

type waveText struct {
	After    string `json:"after"`
	Permille int    `json:"permille"`
}

// custom is what the release says to devices, held to what they take.
func (rel *Release) custom(now time.Time, from []Listed) (json.RawMessage, error) {
	c := customText{Compatible: rel.Compatible, Seq: rel.Seq, Floor: rel.Floor, Release: rel.Name, Issued: now.Format(time.RFC3339),
		MinAgent: rel.MinAgent, Arch: rel.Arch, Downgrade: rel.Downgrade}
	if rel.Kind != trust.System {
		c.Kind = string(rel.Kind)
	}
	wave := rel.Wave
	if rel.Kind != trust.Content {
		c.From = namesOf(from)
		if len(wave) == 0 {
			wave = []trust.Wave{{After: now, Permille: 1000}}
		}
	}
	for _, s := range wave {
		c.Wave = append(c.Wave, waveText{s.After.UTC().Format(time.RFC3339), s.Permille})
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	t := trust.Target{Name: rel.Name + ".json", Custom: raw, Role: rel.role()}
	if _, err := t.Release(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return raw, nil
}

// part makes the payloads of an image.
func (r *Repo) part(ctx context.Context, rel Release, image Image, from []Listed) (update.Part, Sizes, error) {
	p, sizes := update.Part{Name: image.Part}, Sizes{Part: image.Part, Deltas: []Delta{}}
	f, err := os.Open(image.Path)
	if err != nil {
		return p, sizes, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size in its inode
	if err != nil {
		return p, sizes, err
	}
	if size == 0 {
		return p, sizes, fmt.Errorf("%w: %s is empty", ErrUsage, image.Path)
	}
	neu := bsdiff.Reader{ReaderAt: f, Bytes: size}
	if p.Full, err = r.payload(ctx, rel, "full image of "+image.Part, bsdiff.Reader{ReaderAt: strings.NewReader("")}, neu); err != nil {
		return p, sizes, err
	}
	p.Image = p.Full.Patch.New
	sizes.Image, sizes.Full = size, p.Full.Bytes
	for _, o := range from {
		i := slices.IndexFunc(o.Manifest.Parts, func(q update.Part) bool { return q.Name == image.Part })
		if i < 0 || slices.ContainsFunc(p.Deltas, func(d update.Payload) bool { return d.Patch.Old == o.Manifest.Parts[i].Image }) {
			continue
		}
		d, err := r.delta(ctx, rel, image.Part, o, o.Manifest.Parts[i], neu)
		if err != nil {
			return p, sizes, fmt.Errorf("delta from %s: %w", o.Name, err)
		}
		p.Deltas = append(p.Deltas, d)
		sizes.Deltas = append(sizes.Deltas, Delta{o.Name, d.Bytes})
	}
	return p, sizes, nil
}

func (r *Repo) delta(ctx context.Context, rel Release, part string, o Listed, old update.Part, neu bsdiff.Reader) (update.Payload, error) {
	f, err := r.temp()
	if err != nil {
		return update.Payload{}, err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	if err := r.restore(ctx, old, f); err != nil {
		return update.Payload{}, err
	}
	return r.payload(ctx, rel, fmt.Sprintf("delta of %s from %s", part, o.Name), bsdiff.Reader{ReaderAt: f, Bytes: old.Image.Bytes}, neu)
}

// restore makes the image of a part again from its full payload.
func (r *Repo) restore(ctx context.Context, p update.Part, to *os.File) error {
	full, err := os.Open(r.find(p.Full.File))
	if err != nil {
		return err
	}
	defer full.Close()
	if err := to.Truncate(p.Image.Bytes); err != nil {
		return err
	}
	a := &bsdiff.Applier{Manifest: p.Full.Patch, Old: strings.NewReader(""), New: to, Blank: true}
	return a.Run(ctx, 0, bsdiff.RangeOf(full), nil, nil)
}

// find is where a file is: published, or staged.
func (r *Repo) find(name string) string {
	if r.has(name) {
		return r.at(name)
	}
	return r.at(stagingDir, name)
}

// payload makes a patch and stages it under its name.
func (r *Repo) payload(ctx context.Context, rel Release, what string, old, neu bsdiff.Reader) (update.Payload, error) {
	f, err := r.temp()
	if err != nil {
		return update.Payload{}, err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	step, end := rel.Progress(what)
	patch, err := bsdiff.Create(ctx, old, neu, f, bsdiff.Options{Progress: step})
	end()
	if err != nil {
		return update.Payload{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, patch.PatchBytes())); err != nil {
		return update.Payload{}, err
	}
	p := update.Payload{File: update.PayloadName([32]byte(sum.Sum(nil))), Bytes: patch.PatchBytes(), Patch: patch}
	if r.has(p.File) {
		return p, nil
	}
	if err := f.Close(); err != nil {
		return p, err
	}
	return p, r.adopt(f.Name(), path.Join(stagingDir, p.File))
}

// list stages a target of a role.
func (r *Repo) list(w *world, role, name string, text []byte, custom json.RawMessage) (string, error) {
	sum := sha256.Sum256(text)
	at := path.Join(targetsDir, path.Dir(name), hex.EncodeToString(sum[:])+"."+path.Base(name))
	if !r.has(at) {
		if err := r.put(path.Join(stagingDir, at), text); err != nil {
			return "", err
		}
	}
	m, err := r.edit(w, role)
	if err != nil {
		return "", err
	}
	t := &metadata.TargetFiles{Length: int64(len(text)), Hashes: metadata.Hashes{"sha256": sum[:]}, Path: name}
	if custom != nil {
		t.Custom = &custom
	}
	m.Signed.Targets[name] = t
	raw, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	if len(raw) > fileBytes*9/10 {
		return "", errors.New("the list of releases has become longer than devices read: it has to lose some")
	}
	return path.Join(stagingDir, metadataDir, nameOf(m.Signed.Version, role)), stage(r, role, m.Signed.Version, m)
}
