package repo

import (
	"cmp"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/cmd/holdfastctl/internal/keyring"
)

// A Signing is how far a staged file is signed.
type Signing struct {
	File   string   `json:"file"`
	Role   string   `json:"role"`
	Signed []string `json:"signed"` // ids of keys
	Wants  []Want   `json:"wants,omitempty"`
	New    int      `json:"new"` // signatures that were added now
	What   []string `json:"what,omitempty"`
}

// A Want is signatures that are missing, of which the keys listed can give one each.
type Want struct {
	For  string   `json:"for"` // the role, or the root before
	More int      `json:"more"`
	Keys []string `json:"keys"`
}

// A demand is a set of keys of which some must have signed, or, where it is a courtesy, may.
type demand struct {
	name      string
	keys      []string
	threshold int
	courtesy  bool
}

// demands says who has to sign a staged file.
func (w *world) demands(role string, rootAt int) []demand {
	of := func(m *rootFile, role string) demand {
		d := m.Signed.Roles[role]
		return demand{name: role, keys: d.KeyIDs, threshold: d.Threshold}
	}
	switch role {
	case "root":
		all := []demand{of(w.roots[rootAt], "root")}
		before := w.root
		if rootAt > 0 {
			before = w.roots[rootAt-1]
		}
		if before != nil {
			d := of(before, "root")
			d.name = fmt.Sprintf("root %d", before.Signed.Version)
			all = append(all, d)
		}
		return all
	case "targets":
		all := []demand{of(w.next(), "targets")}
		if w.root != nil { // for who has asked for the next root just before it was published
			d := of(w.root, "targets")
			d.courtesy = true
			all = append(all, d)
		}
		return all
	}
	if top := w.latest("targets"); top != nil && top.Signed.Delegations != nil {
		for _, d := range top.Signed.Delegations.Roles {
			if d.Name == role {
				return []demand{{name: role, keys: d.KeyIDs, threshold: d.Threshold}}
			}
		}
	}
	return []demand{{name: role, threshold: 1}}
}

// each calls do with every staged file.
func (w *world) each(do func(role string, rootAt int, f signable) error) error {
	for i, m := range w.roots {
		if err := do("root", i, file[metadata.RootType]{m, m.Signed.Version}); err != nil {
			return err
		}
	}
	for _, role := range []string{"targets", Content} {
		if m := w.staged[role]; m != nil {
			if err := do(role, 0, file[metadata.TargetsType]{m, m.Signed.Version}); err != nil {
				return err
			}
		}
	}
	return nil
}

// A signable is a file of any role.
type signable interface {
	number() int64
	signatures() []metadata.Signature
	sign(key ed25519.PrivateKey) error
	checked(id string, key *metadata.Key) bool
	stage(r *Repo, role string) error
}

type file[T metadata.Roles] struct {
	m       *metadata.Metadata[T]
	version int64
}

func (f file[T]) number() int64                    { return f.version }
func (f file[T]) signatures() []metadata.Signature { return f.m.Signatures }
func (f file[T]) stage(r *Repo, role string) error { return stage(r, role, f.version, f.m) }

func (f file[T]) sign(key ed25519.PrivateKey) error {
	s, err := signature.LoadSigner(key, crypto.Hash(0))
	if err == nil {
		_, err = f.m.Sign(s)
	}
	return err
}

// checked reports whether the signature of one key is there and right.
func (f file[T]) checked(id string, key *metadata.Key) bool {
	alone := metadata.Root()
	alone.Signed.Keys = map[string]*metadata.Key{id: key}
	alone.Signed.Roles = map[string]*metadata.Role{"one": {KeyIDs: []string{id}, Threshold: 1}}
	return alone.VerifyDelegate("one", f.m) == nil
}

// keyOf finds a public key by its id in all that is in force or staged.
func (w *world) keyOf(id string) *metadata.Key {
	roots := w.roots
	if w.root != nil {
		roots = append(slices.Clone(roots), w.root)
	}
	for _, m := range roots {
		if k := m.Signed.Keys[id]; k != nil {
			return k
		}
	}
	for _, m := range []*targetsFile{w.staged["targets"], w.listed["targets"]} {
		if m != nil && m.Signed.Delegations != nil && m.Signed.Delegations.Keys[id] != nil {
			return m.Signed.Delegations.Keys[id]
		}
	}
	return nil
}

// signing says how far a file is signed.
func (w *world) signing(role string, rootAt int, f signable) Signing {
	s := Signing{File: nameOf(f.number(), role), Role: role, Signed: []string{}}
	for _, d := range w.demands(role, rootAt) {
		if d.courtesy {
			continue
		}
		have, missing := 0, []string{}
		for _, id := range d.keys {
			if k := w.keyOf(id); k != nil && f.checked(id, k) {
				have++
				if !slices.Contains(s.Signed, id) {
					s.Signed = append(s.Signed, id)
				}
			} else {
				missing = append(missing, id)
			}
		}
		if have < d.threshold {
			s.Wants = append(s.Wants, Want{For: d.name, More: d.threshold - have, Keys: missing})
		}
	}
	return s
}

// Staged lists what is to be signed or published, and how far it is.
func (r *Repo) Staged() ([]Signing, error) {
	w, err := r.load()
	if err != nil {
		return nil, err
	}
	return w.stagedSignings(), nil
}

func (w *world) stagedSignings() []Signing {
	all := []Signing{}
	_ = w.each(func(role string, rootAt int, f signable) error {
		s := w.signing(role, rootAt, f)
		s.What = w.changes(role, rootAt)
		all = append(all, s)
		return nil
	})
	return all
}

// Sign adds the signatures of all keys that are here and wanted to what is staged, of one role or, with "", of all. With
// renew, a file of the role is staged anew for the sake of its date alone.
func (r *Repo) Sign(role string, renew bool) ([]Signing, error) {
	w, unlock, err := r.open()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if renew {
		if err := r.renew(w, role); err != nil {
			return nil, err
		}
		if w, err = r.load(); err != nil {
			return nil, err
		}
	}
	return r.sign(w, role)
}

func (r *Repo) renew(w *world, role string) error {
	switch role {
	case "root":
		return r.stageRoot(w, func(*rootFile) error { return nil })
	case "targets", Content:
		m, err := r.edit(w, role)
		if err != nil {
			return err
		}
		return stage(r, role, m.Signed.Version, m)
	}
	return fmt.Errorf("%w: role %q is not signed by hand; publish signs snapshot and timestamp anew", ErrUsage, role)
}

func (r *Repo) sign(w *world, only string) ([]Signing, error) {
	keys, err := r.Ring.List()
	if err != nil {
		return nil, err
	}
	all := []Signing{}
	err = w.each(func(role string, rootAt int, f signable) error {
		if only != "" && role != only {
			return nil
		}
		added := 0
		for _, d := range w.demands(role, rootAt) {
			for _, k := range keys {
				if !slices.Contains(d.keys, k.ID) || signedBy(f, k) {
					continue
				}
				private, err := r.Ring.Private(k)
				if err != nil {
					return err
				}
				if err := f.sign(private); err != nil {
					return fmt.Errorf("sign %s: %w", nameOf(f.number(), role), err)
				}
				added++
			}
		}
		if added > 0 {
			if err := f.stage(r, role); err != nil {
				return err
			}
		}
		s := w.signing(role, rootAt, f)
		s.New, s.What = added, w.changes(role, rootAt)
		all = append(all, s)
		return nil
	})
	return all, err
}

// signedBy reports whether there is a good signature of the key.
func signedBy(f signable, k keyring.Key) bool {
	key, err := metadata.KeyFromPublicKey(k.Public)
	return err == nil && slices.ContainsFunc(f.signatures(), func(s metadata.Signature) bool { return s.KeyID == k.ID }) && f.checked(k.ID, key)
}

// changes says in words what a staged file changes, for whoever is to sign it.
func (w *world) changes(role string, rootAt int) (all []string) {
	if role == "root" {
		before := w.root
		if rootAt > 0 {
			before = w.roots[rootAt-1]
		}
		return rootChanges(before, w.roots[rootAt])
	}
	had, has := w.listed[role], w.staged[role]
	for _, name := range sortedKeys(has.Signed.Targets) {
		if had == nil || had.Signed.Targets[name] == nil {
			all = append(all, fmt.Sprintf("adds %s, SHA-256 %.16s", name, has.Signed.Targets[name].Hashes["sha256"].String()))
		} else if !had.Signed.Targets[name].Equal(*has.Signed.Targets[name]) || customOf(had, name) != customOf(has, name) {
			all = append(all, "changes "+name)
		}
	}
	if had != nil {
		for _, name := range sortedKeys(had.Signed.Targets) {
			if has.Signed.Targets[name] == nil {
				all = append(all, "removes "+name)
			}
		}
	}
	all = append(all, delegationChanges(had, has)...)
	return append(all, "is good until "+has.Signed.Expires.Format("2006-01-02"))
}

// delegationChanges says whom a file of targets hands names to, where that is not as it was.
func delegationChanges(had, has *targetsFile) (all []string) {
	roles := func(m *targetsFile) map[string]string {
		said := map[string]string{}
		if m == nil || m.Signed.Delegations == nil {
			return said
		}
		for _, d := range m.Signed.Delegations.Roles {
			ids := make([]string, len(d.KeyIDs))
			for i, id := range d.KeyIDs {
				ids[i] = fmt.Sprintf("%.16s", id)
			}
			said[d.Name] = fmt.Sprintf("%s wants %d of %s", strings.Join(d.Paths, ", "), d.Threshold, strings.Join(ids, ", "))
		}
		return said
	}
	before, after := roles(had), roles(has)
	for _, name := range sortedKeys(after) {
		if before[name] != after[name] {
			all = append(all, "role "+name+": "+after[name])
		}
	}
	for _, name := range sortedKeys(before) {
		if after[name] == "" {
			all = append(all, "removes role "+name)
		}
	}
	return all
}

func customOf(m *targetsFile, name string) string {
	if c := m.Signed.Targets[name].Custom; c != nil {
		return string(*c)
	}
	return ""
}

func rootChanges(before, after *rootFile) (all []string) {
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		has := after.Signed.Roles[role]
		var had metadata.Role
		if before != nil {
			had = *before.Signed.Roles[role]
		}
		for _, id := range has.KeyIDs {
			if !slices.Contains(had.KeyIDs, id) {
				all = append(all, fmt.Sprintf("%s: adds key %.16s", role, id))
			}
		}
		for _, id := range had.KeyIDs {
			if !slices.Contains(has.KeyIDs, id) {
				all = append(all, fmt.Sprintf("%s: removes key %.16s", role, id))
			}
		}
		if had.Threshold != has.Threshold {
			all = append(all, fmt.Sprintf("%s: wants %d of %d", role, has.Threshold, len(has.KeyIDs)))
		}
	}
	return append(all, "is good until "+after.Signed.Expires.Format("2006-01-02"))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// unsigned is the error of files that are not signed by enough.
func unsigned(all []Signing) error {
	var parts []string
	for _, s := range all {
		for _, w := range s.Wants {
			ids := make([]string, len(w.Keys))
			for i, id := range w.Keys {
				ids[i] = id[:min(16, len(id))]
			}
			parts = append(parts, fmt.Sprintf("%s wants %d more of %s (%s)", s.File, w.More, strings.Join(ids, ", "), w.For))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnsigned, strings.Join(parts, "; "))
}
