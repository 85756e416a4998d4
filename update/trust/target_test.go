package trust_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/update/trust"
)

// tree is a repository in which targets delegates as it is told, and each role named has a file.
func tree(top []obj, files map[string]obj) *plan {
	p := newPlan()
	p.targets["delegations"] = delegations(keyNamed("co", "vendor"), top...)
	p.delegated = map[string]obj{}
	for role, o := range files {
		p.delegated[role] = o
		p.cast[role] = keyNamed("co")
	}
	return p
}

// says is the file of a role that vouches for names, each with a target that tells whose it is.
func says(role string, names ...string) obj {
	targets := obj{}
	for _, n := range names {
		targets[n] = targetOf(role, nil)
	}
	return with(head("targets", 1), "targets", targets)
}

func to(role string, paths ...any) obj { return delegate(role, paths, keyNamed("co")...) }

func last(o obj) obj { return with(o, "terminating", true) }

func TestTheFirstRoleThatVouchesIsTheOneThatCounts(t *testing.T) {
	deep := with(says("a"), "delegations", delegations(keyNamed("co"), to("b", "x/*"), to("targets-b", "x/*")))
	for _, tt := range []struct {
		name  string
		plan  *plan
		ask   string
		role  string
		wrong error
	}{
		{"in order", tree([]obj{to("a", "x/*"), to("b", "x/*")}, map[string]obj{"a": says("a", "x/1"), "b": says("b",
			"x/1")}), "x/1", "a", nil},
		{"the second", tree([]obj{to("a", "x/*"), to("b", "x/*")}, map[string]obj{"a": says("a"), "b": says("b",
			"x/1")}), "x/1", "b", nil},
		{"targets before all", tree([]obj{to("a", "operators.json")}, map[string]obj{"a": says("a",
			"operators.json")}), "operators.json",
			"targets", nil},
		{"terminating", tree([]obj{last(to("a", "x/*")), to("b", "x/*")}, map[string]obj{"a": says("a"), "b": says("b",
			"x/1")}), "x/1", "",
			trust.ErrNotFound},
		{"terminating for others", tree([]obj{last(to("a", "y/*")), to("b", "x/*")}, map[string]obj{"a": says("a"),
			"b": says("b", "x/1")}),
			"x/1", "b", nil},
		{"outside its paths", tree([]obj{to("a", "x/*")}, map[string]obj{"a": says("a", "y/1", "1", "x/y/1")}),
			"x/y/1", "", trust.ErrNotFound},
		{"a star is one segment", tree([]obj{to("a", "*")}, map[string]obj{"a": says("a", "x/1")}), "x/1", "",
			trust.ErrNotFound},
		{"a question mark is one letter", tree([]obj{to("a", "v?.json", "w")}, map[string]obj{"a": says("a",
			"v12.json", "w")}), "v12.json", "",
			trust.ErrNotFound},
		{"of several paths", tree([]obj{to("a", "v?.json", "w")}, map[string]obj{"a": says("a", "w")}), "w", "a", nil},
		{"two deep", tree([]obj{to("a", "x/*")}, map[string]obj{"a": deep, "b": says("b", "x/1"),
			"targets-b": says("t")}), "x/1", "b", nil},
		{"two deep, not let through above", tree([]obj{to("a", "y/*")}, map[string]obj{"a": deep, "b": says("b",
			"x/1"), "targets-b": says("t")}),
			"x/1", "", trust.ErrNotFound},
		{"under two, of the second", tree([]obj{to("a", "z"), to("b", "x/*")}, map[string]obj{"a": with(says("a"), "delegations",
			delegations(keyNamed("co"), to("b", "y/*"))), "b": says("b", "x/1")}), "x/1", "", trust.ErrNotFound},
		{"a circle", tree([]obj{to("a", "x/*")}, map[string]obj{"a": with(says("a"), "delegations",
			delegations(keyNamed("co"), to("b", "x/*"))), "b": with(says("b"), "delegations",
			delegations(keyNamed("co"), to("a", "x/*")))}), "x/1", "", trust.ErrNotFound},
	} {
		c := begin(t, tt.plan.start())
		if err := pull(c, tt.plan.files()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := c.Target(tt.ask)
		if got.Role != tt.role || !errors.Is(err, tt.wrong) {
			t.Errorf("%s: %s is vouched for by %q, %v; want %q, %v", tt.name, tt.ask, got.Role, err, tt.role, tt.wrong)
		}
	}
}

// What happens to the file of a delegated role is that role's affair.
func TestADelegatedRoleThatFailsHoldsUpNothingElse(t *testing.T) {
	two := []obj{to("a", "x/*"), to("b", "x/*", "y/*")}
	for name, tt := range map[string]struct {
		spoil func(p *plan) map[string][]byte
		want  error
	}{
		"missing": {func(p *plan) map[string][]byte { f := p.files(); delete(f, "1.a.json"); return f },
			trust.ErrNotFound},
		"not listed": {func(p *plan) map[string][]byte { delete(p.delegated, "a"); return p.files() }, trust.ErrNotFound},
		"expired": {func(p *plan) map[string][]byte { p.delegated["a"]["expires"] = past; return p.files() },
			trust.ErrExpired},
		"by others": {func(p *plan) map[string][]byte { p.cast["a"] = keyNamed("vendor"); return p.files() },
			trust.ErrSignature},
		"changed": {func(p *plan) map[string][]byte { f := p.files(); f["1.a.json"] = spoilt(f["1.a.json"]); return f },
			trust.ErrMismatch},
		"odd": {func(p *plan) map[string][]byte { p.delegated["a"] = says("a", "/etc/passwd"); return p.files() },
			trust.ErrFormat},
	} {
		p := tree(two, map[string]obj{"a": says("a", "x/1"), "b": says("b", "x/2", "y/1")})
		files := tt.spoil(p)
		c := begin(t, p.start())
		if err := pull(c, files); name != "not listed" && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		for ask, want := range map[string]error{"x/1": tt.want, "x/2": tt.want, "y/1": nil, "gateway/1.7.0.json": nil} {
			if _, err := c.Target(ask); !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", name, ask, err, want)
			}
		}
		c = begin(t, c.State()) // the same from what was kept
		for ask, want := range map[string]error{"x/1": trust.ErrNotFound, "y/1": nil, "gateway/1.7.0.json": nil} {
			if _, err := c.Target(ask); !errors.Is(err, want) {
				t.Errorf("%s, kept: %s: %v, want %v", name, ask, err, want)
			}
		}
	}
}

func TestDelegationsThatAreRefused(t *testing.T) {
	good := to("a", "x/*")
	many := []obj{}
	for i := range 17 {
		many = append(many, to(fmt.Sprint("r", i), "x/*"))
	}
	paths := list{}
	for range 65 {
		paths = append(paths, "x")
	}
	for name, roles := range map[string][]obj{
		"one name twice":         {good, to("a", "y/*")},
		"called targets":         {to("targets", "x/*")},
		"called root":            {to("root", "x/*")},
		"called by a path":       {to("../a", "x/*")},
		"called nothing":         {to("", "x/*")},
		"a name too long":        {to(strings.Repeat("a", 65), "x/*")},
		"no paths":               {with(good, "paths", nil)},
		"empty paths":            {to("a")},
		"hashed bins":            {with(good, "path_hash_prefixes", list{"00"})},
		"an absolute path":       {to("a", "/x/*")},
		"a path upwards":         {to("a", "x/../*")},
		"a class in a path":      {to("a", "[a-z]")},
		"a backslash in a path":  {to("a", `x\*`)},
		"no threshold":           {with(good, "threshold", 0)},
		"no keys":                {with(good, "keyids", list{})},
		"a key that is not here": {with(good, "keyids", list{"x"})},
		"too many paths":         {with(good, "paths", paths)},
		"too many roles":         many,
	} {
		p := tree(roles, nil)
		if _, err := update(t, p.start(), p.files()); !errors.Is(err, trust.ErrFormat) && !errors.Is(err, trust.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, d := range map[string]any{
		"null": nil, "a list": list{}, "empty": obj{}, "no roles": obj{"keys": obj{}}, "roles null": obj{"keys": obj{},
			"roles": nil},
		"succinct": obj{"keys": obj{}, "roles": list{}, "succinct_roles": obj{}},
	} {
		p := newPlan()
		p.targets["delegations"] = d
		if _, err := update(t, p.start(), p.files()); !errors.Is(err, trust.ErrFormat) {
			t.Errorf("delegations that are %s: %v", name, err)
		}
	}
}

func TestTheTreeIsNeitherDeepNorLarge(t *testing.T) {
	p := tree([]obj{to("d1", "x/*")}, nil)
	for i := 1; i <= 5; i++ {
		o := says(fmt.Sprint("d", i), fmt.Sprintf("x/%d", i))
		if i < 5 {
			o["delegations"] = delegations(keyNamed("co"), to(fmt.Sprint("d", i+1), "x/*"))
		}
		p.delegated[fmt.Sprint("d", i)], p.cast[fmt.Sprint("d", i)] = o, keyNamed("co")
	}
	c := begin(t, p.start())
	if err := pull(c, p.files()); !errors.Is(err, trust.ErrFormat) || !strings.HasPrefix(err.Error(), "1.d4.json") {
		t.Errorf("five deep: %v", err)
	}
	if _, err := c.Target("x/3"); err != nil {
		t.Error(err)
	}
	if _, err := c.Target("x/5"); !errors.Is(err, trust.ErrFormat) {
		t.Errorf("five deep: %v", err)
	}

	// 9 and 8 roles are 17, in two files that are each fine.
	var nine, eight []obj
	files := map[string]obj{}
	for i := range 9 {
		nine = append(nine, to(fmt.Sprint("n", i), "x/*"))
		files[fmt.Sprint("n", i)] = says("n")
	}
	for i := range 8 {
		eight = append(eight, to(fmt.Sprint("e", i), "x/*"))
		files[fmt.Sprint("e", i)] = says("e")
	}
	files["n0"]["delegations"] = delegations(keyNamed("co"), eight...)
	p = tree(nine, files)
	c = begin(t, p.start())
	if err := pull(c, p.files()); !errors.Is(err, trust.ErrFormat) || !strings.HasPrefix(err.Error(), "1.n0.json") {
		t.Errorf("17 roles: %v", err)
	}
	if n := len(c.State().Delegated); n != 8 {
		t.Errorf("%d delegated roles are kept, want the 8 others", n)
	}
}

func TestNamesThatCouldMislead(t *testing.T) {
	for _, name := range []string{"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".a", "a/.b", `a\b`,
		"a b", "a\x00", "a\n",
		"é", "a:b", "a*", "a?", "a%2f", "<a>", strings.Repeat("a", 201)} {
		p := newPlan()
		p.targets["targets"].(obj)[name] = targetOf("x", nil)
		if _, err := update(t, p.start(), p.files()); !errors.Is(err, trust.ErrFormat) {
			t.Errorf("a target called %q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "A-1_2.3~rc+4@x=y,z", "a/b/c.json", strings.Repeat("a", 200)} {
		p := newPlan()
		p.targets["targets"].(obj)[name] = targetOf("x", nil)
		updated(t, p.start(), p.files())
	}
}

func TestTargetsAreCheckedWhole(t *testing.T) {
	p := newPlan()
	c := begin(t, p.start())
	if err := pull(c, p.files()); err != nil {
		t.Fatal(err)
	}
	got, err := c.Target("gateway/1.7.0.json")
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]error{"manifest": nil, "manifesT": trust.ErrMismatch,
		"manifest\n": trust.ErrMismatch, "": trust.ErrMismatch} {
		if err := got.Check([]byte(raw)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", raw, err, want)
		}
	}
	for name, target := range map[string]any{
		"null": nil, "empty": obj{}, "without a length": with(targetOf("x", nil), "length", nil),
		"without hashes": with(targetOf("x", nil), "hashes", nil), "of no hashes": with(targetOf("x", nil), "hashes",
			obj{}),
		"of an empty hash":    with(targetOf("x", nil), "hashes", obj{"sha256": ""}),
		"of a long hash":      with(targetOf("x", nil), "hashes", obj{"sha256": strings.Repeat("0", 66)}),
		"of SHA-512 alone":    with(targetOf("x", nil), "hashes", obj{"sha512": strings.Repeat("0", 128)}),
		"of an unknown hash":  with(targetOf("x", nil), "hashes", obj{"sha256": strings.Repeat("0", 64), "md5": ""}),
		"of a negative size":  with(targetOf("x", nil), "length", -1),
		"with custom null":    with(obj{"custom": nil}, "length", 1, "hashes", obj{"sha256": strings.Repeat("0", 64)}),
		"with custom a list":  targetOf("x", list{}),
		"with custom a digit": targetOf("x", 1),
	} {
		p := newPlan()
		p.targets["targets"].(obj)["x"] = target
		if _, err := update(t, p.start(), p.files()); !errors.Is(err, trust.ErrFormat) {
			t.Errorf("a target %s: %v", name, err)
		}
	}
}
