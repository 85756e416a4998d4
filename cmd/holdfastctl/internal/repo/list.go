package repo

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"path"
	"slices"

	"holdfast/update"
	"holdfast/update/trust"
)

// Listed is a release of the repository.
type Listed struct {
	trust.Release
	Manifest *update.Manifest
	Staged   bool // not published yet
}

// releases lists the releases, published and staged, by kind and number.
func (r *Repo) releases(w *world) ([]Listed, error) {
	var all []Listed
	for _, role := range []string{"targets", Content} {
		m := w.latest(role)
		if m == nil {
			continue
		}
		for name, t := range m.Signed.Targets {
			if t.Custom == nil {
				continue
			}
			target := trust.Target{Name: name, Custom: *t.Custom, Role: role}
			rel, err := target.Release()
			if err != nil {
				return nil, err
			}
			at := path.Join(targetsDir, path.Dir(name), hex.EncodeToString(t.Hashes["sha256"])+"."+path.Base(name))
			if !r.has(at) {
				at = path.Join(stagingDir, at)
			}
			raw, err := r.read(at, update.ManifestBytes)
			if err != nil {
				return nil, err
			}
			manifest, err := update.ParseManifest(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			listed := w.listed[role]
			all = append(all, Listed{rel, manifest, listed == nil || listed.Signed.Targets[name] == nil})
		}
	}
	slices.SortFunc(all, func(a, b Listed) int {
		return cmp.Or(cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// Releases lists the releases, published and staged.
func (r *Repo) Releases() ([]Listed, error) {
	w, err := r.load()
	if err != nil {
		return nil, err
	}
	return r.releases(w)
}

// A Seat is a key that a role has.
type Seat struct {
	Role, ID  string
	Threshold int
	Of        int
}

// Seats lists the keys of each role as they will be in force once all that is staged is published.
func (r *Repo) Seats() ([]Seat, error) {
	w, err := r.load()
	if err != nil {
		return nil, err
	}
	var all []Seat
	for _, role := range append(slices.Clone(topRoles), Content) {
		d, err := w.keysOf(role)
		if err != nil {
			return nil, err
		}
		for _, id := range d.keys {
			all = append(all, Seat{role, id, d.threshold, len(d.keys)})
		}
	}
	return all, nil
}

// SetOperators stages the list of those whose signed commands devices obey.
func (r *Repo) SetOperators(text []byte) error {
	w, unlock, err := r.open()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := trust.ParseOperators(text); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	_, err = r.list(w, "targets", trust.OperatorsTarget, text, nil)
	return err
}
