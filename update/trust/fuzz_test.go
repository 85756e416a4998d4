package trust_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"holdfast/update/trust"
)

// at returns a client that wants the file.
func at(t testing.TB, p *plan, files map[string][]byte, file string) *trust.Client {
	t.Helper()
	c := begin(t, p.start())
	for name, _, ok := c.Want(); ok && name != file; name, _, ok = c.Want() {
		var err error
		if files[name] == nil {
			err = c.Absent()
		} else {
			err = c.Give(files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// fuzzRole signs whatever comes as the right keys would, so that it gets as far as the reader of the role: it is refused
// for a known reason, without a trace, or taken, and then every question is answered.
func fuzzRole(f *testing.F, file string, seed obj, by ...key) {
	f.Helper()
	p := newPlan()
	p.hashes = false
	files := p.files()
	f.Add(encode(seed))
	f.Fuzz(func(t *testing.T, body []byte) {
		signed, err := trust.Canonical(body)
		if err != nil || signed[0] != '{' {
			return
		}
		c := at(t, p, files, file)
		before := c.State()
		err = c.Give(signText(body, signed, by...))
		if err != nil && (!equal(before, c.State()) || len(reason(err)) > 9) {
			t.Fatalf("%v", err)
		}
		_ = pull(c, files)
		for name := range maps.Clone(files) {
			got, err := c.Target(name)
			if err == nil {
				_, _ = got.Release()
				_, _ = got.Operators(files[name])
			}
		}
	})
}

func FuzzRoot(f *testing.F) {
	fuzzRole(f, "2.root.json", rootOf(2, theCast()), theCast()["root"]...)
}

func FuzzTimestamp(f *testing.F) {
	fuzzRole(f, "timestamp.json", with(head("timestamp", 1), "meta", obj{"snapshot.json": obj{"version": 1, "length": 300,
		"hashes": obj{"sha256": "00", "sha512": ""}}}), newKey("ts"))
}

func FuzzSnapshot(f *testing.F) {
	fuzzRole(f, "1.snapshot.json", with(head("snapshot", 1), "meta", obj{"targets.json": obj{"version": 1},
		"content.json": obj{"version": 1}}),
		newKey("sn"))
}

func FuzzTargets(f *testing.F) {
	fuzzRole(f, "1.targets.json", newPlan().targets, keyNamed("ta", "tb")...)
}

func FuzzContent(f *testing.F) {
	fuzzRole(f, "1.content.json", newPlan().delegated["content"], newKey("co"))
}

// What nobody signed is refused, whatever it is. What is accepted was signed, and only its dress is another.
func FuzzFiles(f *testing.F) {
	p := newPlan()
	p.rotate(func(c cast) { c["root"] = keyNamed("r2", "r3", "r4") })
	p.hashes = false
	files := p.files()
	names := []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", "1.content.json"}
	for i, name := range names {
		f.Add(uint8(i), files[name])
	}
	f.Fuzz(func(t *testing.T, i uint8, raw []byte) {
		name := names[int(i)%len(names)]
		c := at(t, p, files, name)
		if err := c.Give(raw); err != nil {
			return
		}
		if a, b := signedPart(t, raw), signedPart(t, files[name]); !bytes.Equal(a, b) {
			t.Fatalf("%s: %s was taken for %s", name, a, b)
		}
	})
}

func signedPart(t *testing.T, raw []byte) []byte {
	t.Helper()
	var file struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	signed, err := trust.Canonical(file.Signed)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func FuzzCustom(f *testing.F) {
	f.Add(encode(system(7)))
	f.Add(encode(rules(3)))
	f.Add(encode(with(system(7), "kind", "agent", "arch", "armv7", "downgrade_max_seq", 9)))
	f.Fuzz(func(t *testing.T, custom []byte) {
		for _, role := range []string{"targets", "content"} {
			target := trust.Target{Name: "x", Role: role, Custom: custom}
			r, err := target.Release()
			if err != nil {
				if !errors.Is(err, trust.ErrFormat) && !errors.Is(err, trust.ErrType) {
					t.Fatal(err)
				}
				continue
			}
			if r.Seq < 1 || r.Name == "" || len(r.Compatible) == 0 || r.Issued.IsZero() || role == "content" &&
				r.Kind != trust.Content ||
				r.Kind != trust.Content && (r.Floor < 1 || len(r.Wave) == 0) {
				t.Fatalf("%s is read as %+v", custom, r)
			}
			trust.Open("device", r.Name, r.Wave, now)
		}
	})
}

func FuzzOperators(f *testing.F) {
	f.Add([]byte(operatorsFile))
	f.Add(encode(operators(operator("a", newKey("a"), "*"), operator("b", newKey("b"), "unit.*", "x"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := trust.ParseOperators(raw)
		if err != nil {
			if !errors.Is(err, trust.ErrFormat) && !errors.Is(err, trust.ErrKey) {
				t.Fatal(err)
			}
			return
		}
		if o.Verify("", "x", nil, make([]byte, 64)) == nil || o.Verify("alice", "unit.x", raw, make([]byte, 64)) == nil {
			t.Fatal("a signature of zeros is good")
		}
	})
}
