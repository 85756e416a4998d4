package trust

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// root says who signs for the four roles, itself among them (TUF 4.3).
type root struct {
	header
	Consistent bool               `json:"consistent_snapshot"`
	KeyTexts   map[string]keyText `json:"keys"`
	RoleTexts  struct {
		Root      quorumText `json:"root"`
		Timestamp quorumText `json:"timestamp"`
		Snapshot  quorumText `json:"snapshot"`
		Targets   quorumText `json:"targets"`
	} `json:"roles"`

	self, timestamp, snapshot, targets quorum
}

func parseRoot(d *document) (*root, error) {
	r := new(root)
	if err := d.decode("root", r, &r.header); err != nil {
		return nil, err
	}
	keys, err := parseRing(r.KeyTexts)
	if err != nil {
		return nil, err
	}
	for _, role := range []struct {
		name string
		text quorumText
		to   *quorum
	}{
		{"root", r.RoleTexts.Root, &r.self},
		{"timestamp", r.RoleTexts.Timestamp, &r.timestamp},
		{"snapshot", r.RoleTexts.Snapshot, &r.snapshot},
		{"targets", r.RoleTexts.Targets, &r.targets},
	} {
		if *role.to, err = keys.quorum(role.name, role.text); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// listing is what timestamp and snapshot are: files and their versions (TUF 4.4, 4.6).
type listing struct {
	header
	Meta map[string]meta `json:"meta"`
}

func parseTimestamp(d *document) (*listing, error) {
	t := new(listing)
	if err := d.decode("timestamp", t, &t.header); err != nil {
		return nil, err
	}
	m, ok := t.Meta["snapshot.json"]
	if !ok || len(t.Meta) != 1 {
		return nil, fmt.Errorf("%w: meta lists %d files, and snapshot.json alone is wanted", ErrFormat, len(t.Meta))
	}
	return t, m.valid("snapshot.json", snapshotBytes)
}

func parseSnapshot(d *document) (*listing, error) {
	s := new(listing)
	if err := d.decode("snapshot", s, &s.header); err != nil {
		return nil, err
	}
	if _, ok := s.Meta["targets.json"]; !ok {
		return nil, fmt.Errorf("%w: meta does not list targets.json", ErrFormat)
	}
	for name, m := range s.Meta {
		if role, ok := strings.CutSuffix(name, ".json"); !ok || !roleName(role) {
			return nil, fmt.Errorf("%w: meta lists %.80q, which is no file of a role", ErrFormat, name)
		}
		if err := m.valid(name, targetsBytes); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// targets is the file of the role targets, and of each role it delegates to (TUF 4.5).
type targets struct {
	header
	Targets         map[string]targetText `json:"targets"`
	DelegationsText json.RawMessage       `json:"delegations"`

	delegations []delegation
}

type targetText struct {
	Length size            `json:"length"`
	Hashes sums            `json:"hashes"`
	Custom json.RawMessage `json:"custom"`
}

// A delegation hands a part of the names to another role.
type delegation struct {
	role        string
	signers     quorum
	patterns    []string
	terminating bool
}

func parseTargets(d *document) (*targets, error) {
	t := new(targets)
	if err := d.decode("targets", t, &t.header); err != nil {
		return nil, err
	}
	if t.Targets == nil || len(t.Targets) > mostTargets {
		return nil, fmt.Errorf("%w: wants 0 to %d targets, has %d", ErrFormat, mostTargets, len(t.Targets))
	}
	for name, target := range t.Targets {
		if !targetName(name) {
			return nil, fmt.Errorf("%w: a target is called %.80q", ErrFormat, name)
		}
		if !target.Length.given || !target.Hashes.given {
			return nil, fmt.Errorf("%w: target %s wants a length and hashes", ErrFormat, name)
		}
		if target.Custom != nil && target.Custom[0] != '{' {
			return nil, fmt.Errorf("%w: custom of target %s is no object", ErrFormat, name)
		}
	}
	return t, t.parseDelegations()
}

func (t *targets) parseDelegations() error {
	if t.DelegationsText == nil {
		return nil
	}
	var text struct {
		Keys  map[string]keyText `json:"keys"`
		Roles []struct {
			quorumText
			Name        string          `json:"name"`
			Paths       []string        `json:"paths"`
			Prefixes    json.RawMessage `json:"path_hash_prefixes"`
			Terminating bool            `json:"terminating"`
		} `json:"roles"`
		Succinct json.RawMessage `json:"succinct_roles"`
	}
	if t.DelegationsText[0] != '{' {
		return fmt.Errorf("%w: delegations are no object", ErrFormat)
	}
	if err := read(t.DelegationsText, &text, targetsBytes); err != nil {
		return err
	}
	if text.Roles == nil || text.Succinct != nil || len(text.Roles) > mostRoles {
		return fmt.Errorf("%w: delegations want 0 to %d roles, each with its paths", ErrFormat, mostRoles)
	}
	keys, err := parseRing(text.Keys)
	if err != nil {
		return err
	}
	seen := map[string]bool{"root": true, "timestamp": true, "snapshot": true, "targets": true}
	for _, r := range text.Roles {
		if !roleName(r.Name) || seen[r.Name] {
			return fmt.Errorf("%w: a role called %.80q, which cannot be or is there already", ErrFormat, r.Name)
		}
		seen[r.Name] = true
		if len(r.Paths) == 0 || len(r.Paths) > mostPatterns || r.Prefixes != nil {
			return fmt.Errorf("%w: role %s wants 1 to %d paths", ErrFormat, r.Name, mostPatterns)
		}
		for _, p := range r.Paths {
			if !pattern(p) {
				return fmt.Errorf("%w: role %s has the path %.80q", ErrFormat, r.Name, p)
			}
		}
		signers, err := keys.quorum(r.Name, r.quorumText)
		if err != nil {
			return err
		}
		t.delegations = append(t.delegations, delegation{r.Name, signers, r.Paths, r.Terminating})
	}
	return nil
}

// covers reports whether the name is among those the role may speak of. A star does not match a slash.
func (d *delegation) covers(name string) bool {
	for _, p := range d.patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// The names below are parts of file names and of addresses on the operator's server, on FAT and on the device: nothing
// that is special anywhere is in them.

func letters(s, more string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

func roleName(s string) bool {
	return s != "" && len(s) <= roleBytes && s[0] != '.' && letters(s, "._-")
}

func targetName(s string) bool { return len(s) <= nameBytes && segments(s, "._-+~@=,") }

func pattern(s string) bool { return len(s) <= patternBytes && segments(s, "._-+~@=,*?") }

// segments reports whether s is a relative path of segments, none of which is empty or begins with a dot.
func segments(s, more string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || !letters(part, more) {
			return false
		}
	}
	return true
}
