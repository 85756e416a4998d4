package trust

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"
)

// below returns what is missing under the timestamp in force: its snapshot, the targets, then the delegated roles in the
// order in which they are searched, but for those that were passed over.
func (c *Client) below(passed map[string]bool) want {
	switch {
	case c.timestamp == nil:
		return want{}
	case !c.current:
		m := c.timestamp.Meta["snapshot.json"]
		return c.named(want{role: "snapshot", most: snapshotBytes, meta: m, by: c.root.snapshot})
	case c.roles["targets"] == nil:
		m := c.snapshot.Meta["targets.json"]
		return c.named(want{role: "targets", most: targetsBytes, meta: m, by: c.root.targets})
	}
	for _, d := range c.tree() {
		if passed[d.role] || c.roles[d.role] != nil {
			continue
		}
		m, listed := c.snapshot.Meta[d.role+".json"]
		if !listed {
			c.why[d.role] = fmt.Errorf("role %s: %w: the snapshot does not list it", d.role, ErrNotFound)
			continue
		}
		return c.named(want{role: d.role, most: targetsBytes, meta: m, by: d.signers, parent: d.parent, depth: d.depth})
	}
	return want{}
}

// named fills in the file's name and how long it can be.
func (c *Client) named(w want) want {
	w.file = w.role + ".json"
	if c.root.Consistent {
		w.file = fmt.Sprintf("%d.%s", w.meta.Version, w.file)
	}
	if w.meta.Length.given {
		w.most = w.meta.Length.bytes
	}
	return w
}

// A branch is a delegation and the role that made it.
type branch struct {
	delegation
	parent string
	depth  int
}

// tree lists the delegated roles in pre-order, each under the first role that names it: another that names it too has no
// part in it, since the file was verified with the keys of the first.
func (c *Client) tree() []branch {
	var found []branch
	seen := map[string]bool{"targets": true}
	var walk func(parent string)
	walk = func(parent string) {
		r := c.roles[parent]
		if r == nil {
			return
		}
		for _, d := range r.delegations {
			if !seen[d.role] {
				seen[d.role] = true
				found = append(found, branch{d, parent, r.depth + 1})
				walk(d.role)
			}
		}
	}
	walk("targets")
	return found
}

// takeRole takes the file of targets or of a delegated role (TUF 5.6).
func (c *Client) takeRole(w want, raw []byte) error {
	next, err := verified(w, raw, parseTargets)
	if err != nil {
		return err
	}
	if next.Version != w.meta.Version {
		return fmt.Errorf("%w: version %d, the snapshot lists %d", ErrMismatch, next.Version, w.meta.Version)
	}
	if err := next.expired(c.now); err != nil {
		return err
	}
	if len(next.delegations) > 0 && w.depth == mostDepth {
		return fmt.Errorf("%w: it delegates, and is %d deep itself", ErrFormat, w.depth)
	}
	c.roles[w.role] = &role{next, w.parent, w.depth}
	if n := len(c.tree()); n > mostRoles {
		delete(c.roles, w.role)
		return fmt.Errorf("%w: with it %d roles are delegated, at most %d", ErrFormat, n, mostRoles)
	}
	delete(c.why, w.role)
	if w.role == "targets" {
		c.state.Targets = raw
	} else {
		if c.state.Delegated == nil {
			c.state.Delegated = map[string][]byte{}
		}
		c.state.Delegated[w.role] = raw
	}
	c.tick(w.role, next)
	return nil
}

// tick moves the clock to the newest time at which a release says it was issued. One that is said to be issued after
// its own file expires is a slip, and would stop every later update for good.
func (c *Client) tick(role string, t *targets) {
	for _, target := range t.Targets {
		r, err := (&Target{Role: role, Custom: target.Custom}).Release()
		if err == nil && r.Issued.After(c.state.Clock) && !r.Issued.After(t.Expires.at) {
			c.state.Clock = r.Issued
		}
	}
}

// A Standing is how far a role is trusted.
type Standing struct {
	Role    string
	Version int64
	Expires time.Time
}

// Standing lists root, timestamp, snapshot, targets and the delegated roles, as far as they are trusted, so that it can be
// told before one expires that it will.
func (c *Client) Standing() []Standing {
	var list []Standing
	add := func(role string, h *header) { list = append(list, Standing{role, h.Version, h.Expires.at}) }
	add("root", &c.root.header)
	if c.timestamp != nil {
		add("timestamp", &c.timestamp.header)
	}
	if c.current {
		add("snapshot", &c.snapshot.header)
	}
	if r := c.roles["targets"]; r != nil {
		add("targets", &r.header)
	}
	for _, b := range c.tree() {
		if r := c.roles[b.role]; r != nil {
			add(b.role, &r.header)
		}
	}
	return list
}

// A Target is a file of the repository that a role vouches for.
type Target struct {
	Name   string
	File   string // its name below the repository's directory of targets
	Length int64
	SHA256 [32]byte
	Custom json.RawMessage // what the signers say about it, nil where they say nothing; read it with Release
	Role   string          // that vouches for it: "targets", or a delegated one
}

// Target finds what is vouched for under the name, in the order of delegations (TUF 5.6.7). It answers from what is
// verified so far; when something on the way there is missing, expired or was refused, the error is that.
func (c *Client) Target(name string) (Target, error) {
	if err := c.ready(); err != nil {
		return Target{}, fmt.Errorf("target %.200q: %w", name, err)
	}
	r, found, err := c.search("targets", name)
	if err == nil && !found {
		err = fmt.Errorf("%w: no role vouches for it", ErrNotFound)
	}
	if err != nil {
		return Target{}, fmt.Errorf("target %.200q: %w", name, err)
	}
	text := c.roles[r].Targets[name]
	t := Target{Name: name, File: name, Length: text.Length.bytes, SHA256: text.Hashes.sha256, Custom: text.Custom, Role: r}
	if c.root.Consistent {
		dir, base := path.Split(name)
		t.File = dir + hex.EncodeToString(t.SHA256[:]) + "." + base
	}
	return t, nil
}

// ready says what keeps every target from being answered.
func (c *Client) ready() error {
	if err := c.root.expired(c.now); err != nil {
		return fmt.Errorf("%d.root.json: %w", c.root.Version, err)
	}
	if c.timestamp == nil {
		return fmt.Errorf("timestamp.json: %w: it was not fetched yet", ErrNotFound)
	}
	if err := c.timestamp.expired(c.now); err != nil {
		return fmt.Errorf("timestamp.json: %w", err)
	}
	if !c.current {
		return c.why["snapshot"]
	}
	if c.roles["targets"] == nil {
		return c.why["targets"]
	}
	return nil
}

// search looks into a role and then, as long as none is terminating, into those it delegates the name to. A role that
// could not be verified ends the search: what comes after it is trusted less.
func (c *Client) search(in, name string) (role string, found bool, err error) {
	r := c.roles[in]
	if r == nil {
		return "", false, cmp.Or(c.why[in], ErrNotFound)
	}
	if _, here := r.Targets[name]; here {
		return in, true, nil
	}
	tree := c.tree()
	for _, d := range r.delegations {
		if !d.covers(name) {
			continue
		}
		if !slices.ContainsFunc(tree, func(b branch) bool { return b.role == d.role && b.parent == in }) {
			continue
		}
		role, found, err = c.search(d.role, name)
		if found || err != nil {
			return role, found, err
		}
		if d.terminating {
			return "", false, fmt.Errorf("%w: role %s has the last word, and does not vouch for it", ErrNotFound, d.role)
		}
	}
	return "", false, nil
}

// Check compares a target that was read whole with what is vouched for.
func (t *Target) Check(raw []byte) error {
	if int64(len(raw)) != t.Length {
		return fmt.Errorf("%s: %w: %d bytes, not %d", t.Name, ErrMismatch, len(raw), t.Length)
	}
	if sha256.Sum256(raw) != t.SHA256 {
		return fmt.Errorf("%s: %w: its SHA-256 is another", t.Name, ErrMismatch)
	}
	return nil
}
