package trust_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"holdfast/update/trust"
)

// now is when every test takes place unless it says otherwise.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	later = "2027-01-01T00:00:00Z"
	past  = "2026-01-01T00:00:00Z"
)

type (
	obj  = map[string]any
	list = []any
	key  = ed25519.PrivateKey
)

// newKey is the same for the same name.
func newKey(name string) key {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func keyNamed(names ...string) (keys []key) {
	for _, name := range names {
		keys = append(keys, newKey(name))
	}
	return keys
}

func public(k key) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func keyID(k key) string { return trust.KeyID(public(k)) }

func keyObj(k key) obj {
	return obj{"keytype": "ed25519", "scheme": "ed25519", "keyval": obj{"public": hex.EncodeToString(public(k))}}
}

func keyIDs(keys []key) list {
	ids := list{}
	for _, k := range keys {
		ids = append(ids, keyID(k))
	}
	return ids
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// sign makes a file of what is to be signed.
func sign(signed obj, by ...key) []byte {
	body, err := trust.Canonical(encode(signed))
	if err != nil {
		panic(err)
	}
	return signText(encode(signed), body, by...)
}

// signText makes a file of a text and its canonical form.
func signText(text, canonical []byte, by ...key) []byte {
	signatures := list{}
	for _, k := range by {
		signatures = append(signatures, obj{"keyid": keyID(k), "sig": hex.EncodeToString(ed25519.Sign(k, canonical))})
	}
	return encode(obj{"signed": json.RawMessage(text), "signatures": signatures})
}

func head(role string, version int) obj {
	return obj{"_type": role, "spec_version": "1.0.31", "version": version, "expires": later}
}

// with returns a copy of o with members set; nil takes a member away.
func with(o obj, pairs ...any) obj {
	o = maps.Clone(o)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(o, pairs[i].(string))
		} else {
			o[pairs[i].(string)] = pairs[i+1]
		}
	}
	return o
}

// A cast is who signs, by role.
type cast map[string][]key

func theCast() cast {
	return cast{"root": keyNamed("r1", "r2", "r3"), "timestamp": keyNamed("ts"), "snapshot": keyNamed("sn"),
		"targets": keyNamed("ta", "tb"), "content": keyNamed("co")}
}

var thresholds = map[string]int{"root": 2, "targets": 2}

// rootOf is the signed part of a root in which each role has its keys of the cast.
func rootOf(version int, c cast) obj {
	keys, roles := obj{}, obj{}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		for _, k := range c[role] {
			keys[keyID(k)] = keyObj(k)
		}
		roles[role] = obj{"keyids": keyIDs(c[role]), "threshold": max(1, thresholds[role])}
	}
	return with(head("root", version), "consistent_snapshot", true, "keys", keys, "roles", roles)
}

func delegate(role string, paths list, keys ...key) obj {
	return obj{"name": role, "keyids": keyIDs(keys), "threshold": 1, "terminating": false, "paths": paths}
}

func delegations(keys []key, roles ...obj) obj {
	by := obj{}
	for _, k := range keys {
		by[keyID(k)] = keyObj(k)
	}
	all := list{}
	for _, r := range roles {
		all = append(all, r)
	}
	return obj{"keys": by, "roles": all}
}

func targetOf(content string, custom any) obj {
	sum := sha256.Sum256([]byte(content))
	t := obj{"length": len(content), "hashes": obj{"sha256": hex.EncodeToString(sum[:])}}
	if custom != nil {
		t["custom"] = custom
	}
	return t
}

func system(seq int) obj {
	return obj{"compatible": list{"gateway-v2"}, "seq": seq, "security_floor": 1,
		"release": fmt.Sprintf("gateway/1.%d.0", seq),
		"from":    list{"gateway/1.0.0"}, "wave": list{obj{"after": past, "permille": 1000}}, "min_agent": "1.0.0",
		"issued": "2026-05-01T00:00:00Z"}
}

func rules(seq int) obj {
	return obj{"kind": "content", "compatible": list{"gateway-v2"}, "seq": seq, "release": fmt.Sprintf("rules/%d", seq),
		"issued": "2026-05-02T00:00:00Z"}
}

// A plan is a repository before it is signed.
type plan struct {
	cast      cast
	roots     [][]byte // from version 1 on
	timestamp obj
	snapshot  obj
	targets   obj
	delegated map[string]obj
	hashes    bool // timestamp and snapshot carry lengths and hashes
}

// newPlan is one root, a release, the operators, and a content role with one bundle.
func newPlan() *plan {
	c := theCast()
	p := &plan{cast: c, hashes: true, roots: [][]byte{sign(rootOf(1, c), c["root"][:2]...)},
		timestamp: head("timestamp", 1), snapshot: head("snapshot", 1), delegated: map[string]obj{}}
	p.targets = with(head("targets", 1),
		"targets", obj{"gateway/1.7.0.json": targetOf("manifest", system(7)), "operators.json": targetOf(operatorsFile,
			nil)},
		"delegations", delegations(c["content"], delegate("content", list{"content/*", "content/*/*"}, c["content"]...)))
	p.delegated["content"] = with(head("targets", 1), "targets", obj{"content/rules.json": targetOf("rules", rules(3))})
	return p
}

// metaOf is what is said of a file.
func (p *plan) metaOf(o obj, raw []byte) obj {
	m := obj{"version": o["version"]}
	if p.hashes {
		sum := sha256.Sum256(raw)
		m["length"], m["hashes"] = len(raw), obj{"sha256": hex.EncodeToString(sum[:])}
	}
	return m
}

// files signs all, from the bottom up, and returns the repository's metadata by name, as it is with consistent snapshots
// and without.
func (p *plan) files() map[string][]byte {
	files := map[string][]byte{}
	put := func(role string, o obj, raw []byte) {
		files[fmt.Sprintf("%v.%s.json", o["version"], role)], files[role+".json"] = raw, raw
	}
	for i, raw := range p.roots {
		files[fmt.Sprintf("%d.root.json", i+1)] = raw
	}
	listed := obj{}
	for role, o := range p.delegated {
		raw := sign(o, p.cast[role]...)
		put(role, o, raw)
		listed[role+".json"] = p.metaOf(o, raw)
	}
	raw := sign(p.targets, p.cast["targets"]...)
	put("targets", p.targets, raw)
	listed["targets.json"] = p.metaOf(p.targets, raw)
	snapshot := p.snapshot
	if snapshot["meta"] == nil {
		snapshot = with(snapshot, "meta", listed)
	}
	raw = sign(snapshot, p.cast["snapshot"]...)
	put("snapshot", snapshot, raw)
	timestamp := p.timestamp
	if timestamp["meta"] == nil {
		timestamp = with(timestamp, "meta", obj{"snapshot.json": p.metaOf(snapshot, raw)})
	}
	files["timestamp.json"] = sign(timestamp, p.cast["timestamp"]...)
	return files
}

// next counts every version up by one.
func (p *plan) next() *plan {
	up := func(o obj) obj { return with(o, "version", o["version"].(int)+1) }
	q := *p
	q.cast, q.roots = maps.Clone(p.cast), slices.Clone(p.roots)
	q.timestamp, q.snapshot, q.targets = up(p.timestamp), up(p.snapshot), up(p.targets)
	q.delegated = map[string]obj{}
	for role, o := range p.delegated {
		q.delegated[role] = up(o)
	}
	return &q
}

// rotate adds a root in which the cast is another one, signed by the old and the new.
func (p *plan) rotate(change func(cast)) *plan {
	old := p.cast["root"]
	p.cast = maps.Clone(p.cast)
	change(p.cast)
	by := slices.Concat(old[:2], p.cast["root"][:2])
	slices.SortFunc(by, func(a, b key) int { return slices.Compare(a, b) })
	by = slices.CompactFunc(by, func(a, b key) bool { return a.Equal(b) })
	p.roots = append(p.roots, sign(rootOf(len(p.roots)+1, p.cast), by...))
	return p
}

// start is a device that knows the first root and nothing else.
func (p *plan) start() trust.State { return trust.State{Root: p.roots[0]} }

// begin makes a client, at now.
func begin(t testing.TB, s trust.State) *trust.Client {
	t.Helper()
	c, err := trust.New(s, trust.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pull gives the client what it wants until it wants no more, or the same again. The error is the first.
func pull(c *trust.Client, files map[string][]byte) (first error) {
	for name, _, ok := c.Want(); ok; {
		var err error
		if raw, there := files[name]; there {
			err = c.Give(raw)
		} else {
			err = c.Absent()
		}
		if first == nil {
			first = err
		}
		before := name
		if name, _, ok = c.Want(); name == before {
			break
		}
	}
	return first
}

// update brings a device up to date, and returns what it trusts then.
func update(t testing.TB, s trust.State, files map[string][]byte) (trust.State, error) {
	t.Helper()
	c := begin(t, s)
	err := pull(c, files)
	return c.State(), err
}

// updated is update that must succeed.
func updated(t testing.TB, s trust.State, files map[string][]byte) trust.State {
	t.Helper()
	s, err := update(t, s, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reason is the class of a refusal.
func reason(err error) string {
	for name, class := range map[string]error{"format": trust.ErrFormat, "type": trust.ErrType, "key": trust.ErrKey,
		"signature": trust.ErrSignature, "rollback": trust.ErrRollback, "mismatch": trust.ErrMismatch, "expired": trust.ErrExpired,
		"notfound": trust.ErrNotFound} {
		if errors.Is(err, class) {
			return name
		}
	}
	return fmt.Sprint(err)
}

const operatorsFile = `{"format":1,"operators":[{"name":"alice","key":"` +
	`3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29","verbs":["unit.*","relay.set"]}]}`
