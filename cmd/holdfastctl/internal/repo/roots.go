package repo

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/cmd/holdfastctl/internal/keyring"
)

// A Ceremony says how many keys each role gets, and how many of them have to sign.
type Ceremony struct {
	Keys      map[string]int // by role; 0 means 1, and 2 for root
	Threshold map[string]int // 0 means 1
	Given     []keyring.Key  // made elsewhere; the rest is made here
}

var topRoles = []string{"root", "targets", "snapshot", "timestamp"}

// Init makes a repository: keys, and the first file of each role, staged and signed with the keys that are here.
func (r *Repo) Init(c Ceremony) ([]Signing, error) {
	if err := r.apart(); err != nil {
		return nil, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch _, err := r.load(); {
	case err == nil:
		return nil, fmt.Errorf("%w: %s is a repository already", ErrUsage, r.Dir)
	case !errors.Is(err, ErrNone):
		return nil, err
	}
	root := metadata.Root(r.expires("root"))
	root.Signed.ConsistentSnapshot = true
	targets := metadata.Targets(r.expires("targets"))
	for _, role := range keyring.Roles {
		n := c.Keys[role]
		if n == 0 && role == "root" {
			n = 2
		}
		keys, err := r.keysFor(role, max(n, 1), c.Given)
		if err != nil {
			return nil, err
		}
		if err := appoint(root, targets, role, keys, max(1, c.Threshold[role])); err != nil {
			return nil, err
		}
	}
	for role, m := range map[string]*targetsFile{"targets": targets, Content: metadata.Targets(r.expires(Content))} {
		if err := stage(r, role, 1, m); err != nil {
			return nil, err
		}
	}
	if err := stage(r, "root", 1, root); err != nil { // last: with it, it is a repository
		return nil, err
	}
	w, err := r.load()
	if err != nil {
		return nil, err
	}
	return r.sign(w, "")
}

// keysFor returns n keys for a role: those that were given, and as many new ones as are missing.
func (r *Repo) keysFor(role string, n int, given []keyring.Key) (all []keyring.Key, err error) {
	for _, k := range given {
		if k.Role != role {
			continue
		}
		if slices.ContainsFunc(all, func(o keyring.Key) bool { return o.ID == k.ID }) {
			return nil, fmt.Errorf("%w: key %.16s is given twice", ErrUsage, k.ID)
		}
		all = append(all, k)
	}
	for len(all) < n {
		k, err := r.Ring.New(role)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// mostKeys is how many keys a role may have here; a device reads 64 in a file.
const mostKeys = 12

// appoint gives a role its keys, in place of those it had: in the root, or, for a delegated role, in the file targets.
func appoint(root *rootFile, targets *targetsFile, role string, keys []keyring.Key, threshold int) error {
	if threshold < 1 || threshold > len(keys) || len(keys) > mostKeys {
		return fmt.Errorf("%w: role %s wants %d of %d keys; there may be 1 to %d", ErrUsage, role, threshold, len(keys), mostKeys)
	}
	ids, by := []string{}, map[string]*metadata.Key{}
	for _, k := range keys {
		key, err := metadata.KeyFromPublicKey(k.Public)
		if err != nil {
			return err
		}
		ids, by[k.ID] = append(ids, k.ID), key
	}
	if role != Content {
		maps.Copy(root.Signed.Keys, by)
		root.Signed.Roles[role] = &metadata.Role{KeyIDs: ids, Threshold: threshold}
		prune(root)
		return nil
	}
	targets.Signed.Delegations = &metadata.Delegations{Keys: by, Roles: []metadata.DelegatedRole{{Name: Content, KeyIDs: ids,
		Threshold: threshold, Paths: []string{Content + "/*"}}}}
	return nil
}

// prune drops keys that no role has any more.
func prune(root *rootFile) {
	maps.DeleteFunc(root.Signed.Keys, func(id string, _ *metadata.Key) bool {
		for _, role := range root.Signed.Roles {
			if slices.Contains(role.KeyIDs, id) {
				return false
			}
		}
		return true
	})
}

// stageRoot stages the next root. Where keys of the roles below it change, there are two: the first accepts the old keys
// and the new ones, so that a reader finds a repository that holds together before, between and after the renames that
// put it in force; the second the new ones alone. What was staged is made again, without its signatures.
func (r *Repo) stageRoot(w *world, change func(*rootFile) error) error {
	final, err := clone(w.next())
	if err != nil {
		return err
	}
	if err := change(final); err != nil {
		return err
	}
	final.ClearSignatures()
	final.Signed.Expires = r.expires("root")
	if w.root == nil {
		return r.restage(w, final)
	}
	final.Signed.Version = w.root.Signed.Version + 1
	bridge, err := clone(final)
	if err != nil {
		return err
	}
	changed := false
	for _, role := range topRoles[1:] {
		had, has := w.root.Signed.Roles[role], bridge.Signed.Roles[role]
		old := slices.DeleteFunc(slices.Clone(had.KeyIDs), func(id string) bool { return slices.Contains(has.KeyIDs, id) })
		if len(old) == 0 && had.Threshold == has.Threshold && len(had.KeyIDs) == len(has.KeyIDs) {
			continue
		}
		changed = true
		for _, id := range old {
			bridge.Signed.Keys[id] = w.root.Signed.Keys[id]
		}
		has.KeyIDs, has.Threshold = append(has.KeyIDs, old...), min(had.Threshold, has.Threshold)
	}
	if !changed {
		return r.restage(w, final)
	}
	final.Signed.Version++
	return r.restage(w, bridge, final)
}

// restage replaces the staged roots.
func (r *Repo) restage(w *world, roots ...*rootFile) error {
	for _, m := range w.roots[min(len(roots), len(w.roots)):] {
		if err := r.remove(path.Join(stagingDir, metadataDir, nameOf(m.Signed.Version, "root"))); err != nil {
			return err
		}
	}
	for _, m := range roots {
		if err := stage(r, "root", m.Signed.Version, m); err != nil {
			return err
		}
	}
	return nil
}

// A Rotation gives a role new keys.
type Rotation struct {
	Role      string
	Lost      []string      // only these go, by id or its beginning; none means all
	Given     []keyring.Key // made elsewhere; the rest is made here
	Number    int           // of keys afterwards; 0 means as many as before
	Threshold int           // 0 means as before
}

// Rotate stages new keys for a role, and signs with the keys that are here.
func (r *Repo) Rotate(c Rotation) ([]Signing, error) {
	if err := r.apart(); err != nil {
		return nil, err
	}
	w, unlock, err := r.open()
	if err != nil {
		return nil, err
	}
	defer unlock()
	had, err := w.keysOf(c.Role)
	if err != nil {
		return nil, err
	}
	keep, err := c.kept(w, had)
	if err != nil {
		return nil, err
	}
	n, threshold := c.Number, c.Threshold
	if n == 0 {
		n = max(len(had.keys), len(keep)+len(c.Given))
	}
	if threshold == 0 {
		threshold = had.threshold
	}
	if threshold > n || n > mostKeys { // before any key is made
		return nil, fmt.Errorf("%w: role %s wants %d of %d keys", ErrUsage, c.Role, threshold, n)
	}
	keys, err := r.keysFor(c.Role, n, append(keep, c.Given...))
	if err != nil {
		return nil, err
	}
	if err := r.reappoint(w, c.Role, keys, threshold); err != nil {
		return nil, err
	}
	if w, err = r.load(); err != nil {
		return nil, err
	}
	return r.sign(w, "")
}

// reappoint stages what gives a role its keys, and what these have to sign anew.
func (r *Repo) reappoint(w *world, role string, keys []keyring.Key, threshold int) error {
	if role != Content {
		if err := r.stageRoot(w, func(m *rootFile) error { return appoint(m, nil, role, keys, threshold) }); err != nil {
			return err
		}
	}
	if role != "targets" && role != Content {
		return nil
	}
	targets, err := r.edit(w, "targets")
	if err != nil {
		return err
	}
	if role == Content {
		if err := appoint(nil, targets, role, keys, threshold); err != nil {
			return err
		}
		content, err := r.edit(w, Content)
		if err != nil {
			return err
		}
		if err := stage(r, Content, content.Signed.Version, content); err != nil {
			return err
		}
	}
	return stage(r, "targets", targets.Signed.Version, targets)
}

// keysOf are a role's keys as they will be in force.
func (w *world) keysOf(role string) (demand, error) {
	if role == Content {
		return w.demands(Content, 0)[0], nil
	}
	if !slices.Contains(topRoles, role) {
		return demand{}, fmt.Errorf("%w: role %.40q", ErrUsage, role)
	}
	d := w.next().Signed.Roles[role]
	return demand{name: role, keys: d.KeyIDs, threshold: d.Threshold}, nil
}

// kept are the keys of a role that stay.
func (c Rotation) kept(w *world, had demand) (keep []keyring.Key, err error) {
	if len(c.Lost) == 0 {
		return nil, nil
	}
	lost := map[string]bool{}
	for _, l := range c.Lost {
		id, err := whole(l, had.keys)
		if err != nil {
			return nil, fmt.Errorf("%w: role %s: %w", ErrUsage, c.Role, err)
		}
		lost[id] = true
	}
	if left := len(had.keys) - len(lost); c.Role == "root" && left < had.threshold {
		return nil, fmt.Errorf("%w: %d keys of root are left and %d have to sign the next root: devices can only be given a new anchor by hand",
			ErrUsage, left, had.threshold)
	}
	for _, id := range had.keys {
		if lost[id] {
			continue
		}
		public, err := w.keyOf(id).ToPublicKey()
		if err != nil {
			return nil, err
		}
		keep = append(keep, keyring.Key{ID: id, Role: c.Role, Public: ed25519Of(public)})
	}
	return keep, nil
}

// whole finds the id that begins so.
func whole(begin string, ids []string) (string, error) {
	var found []string
	for _, id := range ids {
		if len(begin) >= 6 && len(begin) <= len(id) && id[:len(begin)] == begin {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("key %.70q: %d of its keys are called so; wants the id or its first 6 digits or more", begin, len(found))
	}
	return found[0], nil
}

func ed25519Of(public any) ed25519.PublicKey {
	k, _ := public.(ed25519.PublicKey)
	return k
}
