package trust_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"holdfast/update/trust"
)

// A refusal is a change to the second version of a repository that a device with the first must not follow.
type refusal struct {
	name   string
	change func(p *plan)                      // before it is signed
	files  func(p *plan, f map[string][]byte) // after it
	want   error
	file   string // is named in the error
}

// refuses runs the table, and sees that nothing was given up.
func refuses(t *testing.T, table []refusal) {
	t.Helper()
	for _, tt := range table {
		p := newPlan()
		s := updated(t, p.start(), p.files())
		p = p.next()
		if tt.change != nil {
			tt.change(p)
		}
		files := p.files()
		if tt.files != nil {
			tt.files(p, files)
		}
		got, err := update(t, s, files)
		if err == nil || !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), tt.file+": ") {
			t.Errorf("%s: %v; want %s: … %v", tt.name, err, tt.file, tt.want)
			continue
		}
		right := newPlan().next().next().files()
		if a, b := updated(t, got, right), updated(t, s, right); !bytes.Equal(a.Timestamp, b.Timestamp) ||
			!bytes.Equal(a.Targets, b.Targets) {
			t.Errorf("%s: afterwards the right files are not taken", tt.name)
		}
	}
}

func one(name string, raw []byte) func(*plan, map[string][]byte) {
	return func(_ *plan, f map[string][]byte) { f[name] = raw }
}

func TestRootsThatAreRefused(t *testing.T) {
	c := theCast()
	new := theCast()
	new["root"] = keyNamed("r4", "r5", "r6")
	all := append(keyNamed("r1", "r2", "r3"), new["root"]...)
	root := func(o obj, by ...key) func(*plan, map[string][]byte) { return one("2.root.json", sign(o, by...)) }
	weak := keyObj(newKey("r1"))
	weak["keyval"] = obj{"public": strings.Repeat("0", 64)}
	refuses(t, []refusal{
		{"by the old keys alone", nil, root(rootOf(2, new), c["root"]...), trust.ErrSignature, "2.root.json"},
		{"by the new keys alone", nil, root(rootOf(2, new), new["root"]...), trust.ErrSignature, "2.root.json"},
		{"one of two old keys", nil, root(rootOf(2, new), append(keyNamed("r1"), new["root"]...)...),
			trust.ErrSignature, "2.root.json"},
		{"one of two new keys", nil, root(rootOf(2, new), append(keyNamed("r1", "r2"), newKey("r4"))...),
			trust.ErrSignature, "2.root.json"},
		{"by others", nil, root(rootOf(2, c), keyNamed("x", "y", "z")...), trust.ErrSignature, "2.root.json"},
		{"the same again", nil, root(rootOf(1, c), all...), trust.ErrRollback, "2.root.json"},
		{"one left out", nil, root(rootOf(3, c), all...), trust.ErrMismatch, "2.root.json"},
		{"version at the limit", nil, root(with(rootOf(2, c), "version", int64(1)<<53), all...), trust.ErrMismatch,
			"2.root.json"},
		{"version beyond it", nil, one("2.root.json", []byte(strings.Replace(string(sign(rootOf(2, c), all...)),
			`"version":2`,
			`"version":9007199254740993`, 1))), trust.ErrFormat, "2.root.json"},
		{"a threshold beyond the keys", nil, root(with(rootOf(2, c), "roles", with(rootOf(2, c)["roles"].(obj),
			"snapshot",
			obj{"keyids": keyIDs(c["snapshot"]), "threshold": 2})), all...), trust.ErrFormat, "2.root.json"},
		{"a threshold of none", nil, root(with(rootOf(2, c), "roles", with(rootOf(2, c)["roles"].(obj), "targets",
			obj{"keyids": keyIDs(c["targets"]), "threshold": 0})), all...), trust.ErrFormat, "2.root.json"},
		{"a key that is not listed", nil, root(with(rootOf(2, c), "roles", with(rootOf(2, c)["roles"].(obj), "targets",
			obj{"keyids": list{"none"}, "threshold": 1})), all...), trust.ErrKey, "2.root.json"},
		{"a key of another type", nil, root(with(rootOf(2, c), "keys", with(rootOf(2, c)["keys"].(obj), "rsa",
			obj{"keytype": "rsa", "scheme": "rsassa-pss-sha256",
				"keyval": obj{"public": "…"}})), all...), trust.ErrKey, "2.root.json"},
		{"another scheme", nil, root(with(rootOf(2, c), "keys", with(rootOf(2, c)["keys"].(obj), keyID(newKey("r1")),
			with(keyObj(newKey("r1")), "scheme", "ed25519ph"))), all...), trust.ErrKey, "2.root.json"},
		{"a key anybody can sign for", nil, root(with(rootOf(2, c), "keys", with(rootOf(2, c)["keys"].(obj), "weak",
			weak)), all...),
			trust.ErrKey, "2.root.json"},
		{"no role timestamp", nil, root(with(rootOf(2, c), "roles", with(rootOf(2, c)["roles"].(obj), "timestamp",
			nil)), all...),
			trust.ErrFormat, "2.root.json"},
		{"another file", nil, root(with(newPlan().targets, "version", 2), all...), trust.ErrType, "2.root.json"},
		{"a spec to come", nil, root(with(rootOf(2, c), "spec_version", "2.0.0"), all...), trust.ErrFormat,
			"2.root.json"},
		{"65 keys", nil, root(with(rootOf(2, c), "keys", manyKeys(62)), all...), trust.ErrFormat, "2.root.json"},
		{"too long", nil, one("2.root.json", append(sign(rootOf(2, c), all...), make([]byte, 64<<10)...)),
			trust.ErrFormat, "2.root.json"},
	})
}

// manyKeys are those of the cast and n more.
func manyKeys(n int) obj {
	keys := maps.Clone(rootOf(1, theCast())["keys"].(obj))
	for i := range n {
		keys[fmt.Sprint("k", i)] = keyObj(newKey("r1"))
	}
	return keys
}

// A key that goes by two ids signs twice and counts once, in either place.
func TestOneKeyUnderTwoIDsIsOneKey(t *testing.T) {
	c := theCast()
	twice := rootOf(2, c)
	twice["keys"].(obj)["alias"] = keyObj(newKey("ta"))
	twice["roles"].(obj)["targets"] = obj{"keyids": list{keyID(newKey("ta")), "alias", keyID(newKey("tb"))},
		"threshold": 2}
	double := func(p *plan, f map[string][]byte) {
		f["2.root.json"] = sign(twice, c["root"]...)
		var file obj
		if err := json.Unmarshal(sign(with(p.targets, "version", 2), newKey("ta")), &file); err != nil {
			t.Fatal(err)
		}
		first := file["signatures"].(list)[0].(obj)
		file["signatures"] = list{first, with(first, "keyid", "alias")}
		f["2.targets.json"] = encode(file)
	}
	refuses(t, []refusal{{"two signatures of one key", func(p *plan) { p.hashes = false }, double, trust.ErrSignature,
		"2.targets.json"},
		{"a threshold two ids would reach", nil, func(p *plan, f map[string][]byte) {
			two := rootOf(2, c)
			two["keys"].(obj)["alias"] = keyObj(newKey("sn"))
			two["roles"].(obj)["snapshot"] = obj{"keyids": list{keyID(newKey("sn")), "alias"}, "threshold": 2}
			f["2.root.json"] = sign(two, c["root"]...)
		}, trust.ErrFormat, "2.root.json"},
		{"one id twice in a role", nil, func(p *plan, f map[string][]byte) {
			two := rootOf(2, c)
			two["roles"].(obj)["snapshot"] = obj{"keyids": list{keyID(newKey("sn")), keyID(newKey("sn"))}, "threshold": 1}
			f["2.root.json"] = sign(two, c["root"]...)
		}, trust.ErrFormat, "2.root.json"},
	})

	// The same with the second key's own signature is fine, under whatever id.
	p := newPlan()
	s := updated(t, p.start(), p.files())
	p = p.next()
	files := p.files()
	files["2.root.json"] = sign(twice, c["root"]...)
	updated(t, s, files)
}

func TestOtherFilesThatAreRefused(t *testing.T) {
	swap := func(role string, o func(p *plan) obj, by ...string) func(*plan, map[string][]byte) {
		return func(p *plan, f map[string][]byte) { f["2."+role+".json"] = sign(o(p), keyNamed(by...)...) }
	}
	loose := func(p *plan) { p.hashes = false }
	meta := func(version int) obj { return obj{"snapshot.json": obj{"version": version}} }
	refuses(t, []refusal{
		{"timestamp by the snapshot's key", func(p *plan) { p.cast["timestamp"] = keyNamed("sn") }, nil,
			trust.ErrSignature, "timestamp.json"},
		{"timestamp names an older snapshot", func(p *plan) { p.timestamp["meta"] = meta(0) }, nil, trust.ErrFormat,
			"timestamp.json"},
		{"timestamp that says it is a snapshot", func(p *plan) { p.timestamp["_type"] = "snapshot" }, nil,
			trust.ErrType, "timestamp.json"},
		{"timestamp names two files", func(p *plan) {
			p.timestamp["meta"] = with(meta(2), "targets.json",
				obj{"version": 1})
		}, nil,
			trust.ErrFormat, "timestamp.json"},
		{"timestamp names nothing", func(p *plan) { p.timestamp["meta"] = obj{} }, nil, trust.ErrFormat,
			"timestamp.json"},
		{"timestamp promises too long a snapshot", func(p *plan) {
			p.timestamp["meta"] = obj{"snapshot.json": obj{"version": 2, "length": 256<<10 + 1}}
		}, nil, trust.ErrFormat, "timestamp.json"},
		{"timestamp is missing", nil, func(_ *plan, f map[string][]byte) { delete(f, "timestamp.json") },
			trust.ErrNotFound, "timestamp.json"},

		{"snapshot of the last time", nil, func(_ *plan,
			f map[string][]byte) {
			f["2.snapshot.json"] = newPlan().files()["1.snapshot.json"]
		},
			trust.ErrMismatch, "2.snapshot.json"},
		{"snapshot of the last time, no hashes", loose, func(_ *plan, f map[string][]byte) {
			f["2.snapshot.json"] = newPlan().files()["1.snapshot.json"]
		}, trust.ErrMismatch, "2.snapshot.json"},
		{"snapshot by another key", loose, swap("snapshot", func(p *plan) obj { return p.snapshot }, "ts"),
			trust.ErrSignature, "2.snapshot.json"},
		{"snapshot forgets a role", func(p *plan) { delete(p.delegated, "content") }, nil, trust.ErrRollback,
			"2.snapshot.json"},
		{"snapshot takes targets back", func(p *plan) { p.targets["version"] = 0 }, nil, trust.ErrFormat,
			"2.snapshot.json"},
		{"snapshot lists no targets", func(p *plan) { p.snapshot["meta"] = obj{"content.json": obj{"version": 2}} }, nil,
			trust.ErrFormat, "2.snapshot.json"},
		{"snapshot lists a path", func(p *plan) {
			p.snapshot["meta"] = obj{"targets.json": obj{"version": 2}, "../root.json": obj{"version": 1}}
		}, nil, trust.ErrFormat, "2.snapshot.json"},
		{"snapshot of another SHA-512", func(p *plan) {
			p.snapshot["meta"] = obj{"targets.json": obj{"version": 2}, "content.json": obj{"version": 2}}
			sum := sha256.Sum256(sign(p.snapshot, newKey("sn")))
			p.timestamp["meta"] = obj{"snapshot.json": obj{"version": 2,
				"hashes": obj{"sha256": hex.EncodeToString(sum[:]),
					"sha512": strings.Repeat("0", 128)}}}
		}, nil, trust.ErrMismatch, "2.snapshot.json"},
		{"snapshot is missing", nil, func(_ *plan, f map[string][]byte) { delete(f, "2.snapshot.json") },
			trust.ErrNotFound, "2.snapshot.json"},

		{"targets of the last time", loose, func(_ *plan,
			f map[string][]byte) {
			f["2.targets.json"] = newPlan().files()["1.targets.json"]
		},
			trust.ErrMismatch, "2.targets.json"},
		{"targets by one of two", loose, swap("targets", func(p *plan) obj { return p.targets }, "ta"),
			trust.ErrSignature, "2.targets.json"},
		{"targets by the content's key", loose, swap("targets", func(p *plan) obj { return p.targets }, "co", "ta"),
			trust.ErrSignature,
			"2.targets.json"},
		{"targets one byte longer", nil, func(_ *plan,
			f map[string][]byte) {
			f["2.targets.json"] = append(f["2.targets.json"], ' ')
		},
			trust.ErrMismatch, "2.targets.json"},
		{"targets with a changed byte", nil, func(_ *plan, f map[string][]byte) {
			f["2.targets.json"] = []byte(strings.Replace(string(f["2.targets.json"]), "gateway-v2", "gateway-v3", 1))
		}, trust.ErrMismatch, "2.targets.json"},
		{"targets is missing", nil, func(_ *plan, f map[string][]byte) { delete(f, "2.targets.json") },
			trust.ErrNotFound, "2.targets.json"},

		{"content by the targets' keys", loose, swap("content", func(p *plan) obj { return p.delegated["content"] },
			"ta", "tb"),
			trust.ErrSignature, "2.content.json"},
		{"content of the last time", loose, func(_ *plan,
			f map[string][]byte) {
			f["2.content.json"] = newPlan().files()["1.content.json"]
		},
			trust.ErrMismatch, "2.content.json"},
		{"content is the targets file", loose, func(_ *plan,
			f map[string][]byte) {
			f["2.content.json"] = f["2.targets.json"]
		},
			trust.ErrSignature, "2.content.json"},
	})
}

func TestUnknownMembersAreToleratedOutsideCustom(t *testing.T) {
	p := newPlan()
	for _, o := range []obj{p.timestamp, p.snapshot, p.targets, p.delegated["content"]} {
		o["x-vendor"] = obj{"a": list{1, "é\"\\\n\u2028", nil, true, obj{}}, "😀": "<&>"}
	}
	target := p.targets["targets"].(obj)["gateway/1.7.0.json"].(obj)
	target["x"] = 1
	updated(t, p.start(), p.files())

	target["custom"].(obj)["x"] = 1
	c := begin(t, p.start())
	if err := pull(c, p.files()); err != nil {
		t.Fatalf("one odd target spoils the file: %v", err)
	}
	odd, err := c.Target("gateway/1.7.0.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := odd.Release(); !errors.Is(err, trust.ErrFormat) {
		t.Errorf("an unknown member inside custom: %v", err)
	}
}

func TestSurplusSignaturesDoNoHarm(t *testing.T) {
	p := newPlan()
	files := p.files()
	var file obj
	if err := json.Unmarshal(files["1.targets.json"], &file); err != nil {
		t.Fatal(err)
	}
	good := file["signatures"].(list)
	add := func(more ...any) map[string][]byte {
		p.hashes = false
		f := p.files()
		f["1.targets.json"] = encode(obj{"signed": file["signed"], "signatures": append(more, good...)})
		return f
	}
	for name, tt := range map[string]struct {
		more any
		want error
	}{
		"by somebody":         {obj{"keyid": "somebody", "sig": "00"}, nil},
		"of another kind":     {obj{"keyid": "somebody", "sig": "MEUCIQ=="}, nil},
		"with more members":   {obj{"keyid": "x", "sig": "", "method": "y"}, nil},
		"a second of one key": {good[0], trust.ErrFormat},
		"a null":              {nil, trust.ErrFormat},
		"without text":        {obj{"keyid": 1, "sig": ""}, trust.ErrFormat},
	} {
		if _, err := update(t, p.start(), add(tt.more)); !errors.Is(err, tt.want) {
			t.Errorf("a signature %s: %v, want %v", name, err, tt.want)
		}
	}
	many := list{}
	for i := range 63 {
		many = append(many, obj{"keyid": fmt.Sprint(i), "sig": ""})
	}
	if _, err := update(t, p.start(), add(many...)); !errors.Is(err, trust.ErrFormat) {
		t.Errorf("65 signatures: %v", err)
	}
}
