package trust_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"holdfast/update/trust"
)

func operators(list ...any) obj { return obj{"format": 1, "operators": list} }

func operator(name string, k key, verbs ...any) obj {
	return obj{"name": name, "key": hex.EncodeToString(public(k)), "verbs": verbs}
}

func TestOperatorsSignWhatTheyMay(t *testing.T) {
	alice, bob := newKey("alice"), newKey("bob")
	o, err := trust.ParseOperators(encode(operators(operator("alice", alice, "unit.*", "relay.set"), operator("bob",
		bob, "*"))))
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(`{"device":"gw-1","name":"unit.restart","seq":7}`)
	for _, tt := range []struct {
		name, verb string
		by         key
		want       error
	}{
		{"alice", "unit.restart", alice, nil},
		{"alice", "relay.set", alice, nil},
		{"alice", "relay.set.all", alice, trust.ErrVerb},
		{"alice", "relay", alice, trust.ErrVerb},
		{"alice", "unit", alice, trust.ErrVerb},
		{"alice", "", alice, trust.ErrVerb},
		{"alice", "reboot", alice, trust.ErrVerb},
		{"bob", "reboot", bob, nil},
		{"bob", "", bob, trust.ErrVerb},
		{"alice", "unit.restart", bob, trust.ErrSignature},
		{"carol", "unit.restart", alice, trust.ErrKey},
		{"", "unit.restart", alice, trust.ErrKey},
		{"Alice", "unit.restart", alice, trust.ErrKey},
	} {
		if err := o.Verify(tt.name, tt.verb, message, ed25519.Sign(tt.by, message)); !errors.Is(err, tt.want) {
			t.Errorf("%s %s: %v, want %v", tt.name, tt.verb, err, tt.want)
		}
	}
	sig := ed25519.Sign(bob, message)
	for name, bad := range map[string][]byte{"none": nil, "short": sig[:63], "long": append(sig[:64:64], 0),
		"zeros": make([]byte, 64),
		"a bit": append([]byte{sig[0] ^ 1}, sig[1:]...)} {
		if err := o.Verify("bob", "x", message, bad); !errors.Is(err, trust.ErrSignature) {
			t.Errorf("a signature of %s: %v", name, err)
		}
	}
	if err := o.Verify("bob", "x", append(message, ' '), sig); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("another message: %v", err)
	}
	long := make([]byte, 64<<10+1)
	if err := o.Verify("bob", "x", long, ed25519.Sign(bob, long)); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("a message of 64 KiB and a byte: %v", err)
	}
}

func TestOperatorsThatAreRefused(t *testing.T) {
	a := newKey("a")
	good := operator("a", a, "x")
	many := func(n int) (l []any) {
		for i := range n {
			l = append(l, operator(strings.Repeat("n", i+1), newKey(strings.Repeat("n", i+1)), "x"))
		}
		return l
	}
	verbs := func(v ...any) obj { return operators(with(good, "verbs", v)) }
	for name, tt := range map[string]struct {
		doc  any
		want error
	}{
		"empty":               {obj{}, trust.ErrFormat},
		"a list":              {list{}, trust.ErrFormat},
		"no format":           {with(operators(good), "format", nil), trust.ErrFormat},
		"format 2":            {with(operators(good), "format", 2), trust.ErrFormat},
		"unknown":             {with(operators(good), "x", 1), trust.ErrFormat},
		"no operators":        {obj{"format": 1}, trust.ErrFormat},
		"a null":              {operators(nil), trust.ErrFormat},
		"65":                  {operators(many(65)...), trust.ErrFormat},
		"a name twice":        {operators(good, operator("a", newKey("b"), "x")), trust.ErrFormat},
		"a key twice":         {operators(good, operator("b", a, "x")), trust.ErrFormat},
		"no name":             {operators(with(good, "name", nil)), trust.ErrFormat},
		"an empty name":       {operators(with(good, "name", "")), trust.ErrFormat},
		"a name too long":     {operators(with(good, "name", strings.Repeat("n", 65))), trust.ErrFormat},
		"a name with a space": {operators(with(good, "name", "a b")), trust.ErrFormat},
		"no key":              {operators(with(good, "key", nil)), trust.ErrKey},
		"an empty key":        {operators(with(good, "key", "")), trust.ErrKey},
		"a short key":         {operators(with(good, "key", good["key"].(string)[:62])), trust.ErrKey},
		"a key in capitals":   {operators(with(good, "key", strings.ToUpper(good["key"].(string)))), trust.ErrKey},
		"a key of zeros":      {operators(with(good, "key", strings.Repeat("0", 64))), trust.ErrKey},
		"no verbs":            {operators(with(good, "verbs", nil)), trust.ErrFormat},
		"empty verbs":         {verbs(), trust.ErrFormat},
		"an empty verb":       {verbs(""), trust.ErrFormat},
		"a star in a word":    {verbs("unit*"), trust.ErrFormat},
		"a star before":       {verbs("*.set"), trust.ErrFormat},
		"two stars":           {verbs("**"), trust.ErrFormat},
		"more of one":         {operators(with(good, "admin", true)), trust.ErrFormat},
	} {
		if _, err := trust.ParseOperators(encode(tt.doc)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	for name, list := range map[string]obj{"none": operators(), "64": operators(many(64)...)} {
		if name == "none" {
			list["operators"] = []any{}
		}
		if _, err := trust.ParseOperators(encode(list)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheTargetsRoleAloneNamesOperators(t *testing.T) {
	p := newPlan()
	c := begin(t, p.start())
	if err := pull(c, p.files()); err != nil {
		t.Fatal(err)
	}
	got, err := c.Target(trust.OperatorsTarget)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Operators([]byte(operatorsFile)); err != nil {
		t.Error(err)
	}
	if _, err := got.Operators([]byte(strings.Replace(operatorsFile, "alice", "malic", 1))); !errors.Is(err,
		trust.ErrMismatch) {
		t.Errorf("a changed file: %v", err)
	}
	other := got
	other.Role = "content"
	if _, err := other.Operators([]byte(operatorsFile)); !errors.Is(err, trust.ErrType) {
		t.Errorf("by a delegated role: %v", err)
	}
	other = got
	other.Name = "content/operators.json"
	if _, err := other.Operators([]byte(operatorsFile)); !errors.Is(err, trust.ErrType) {
		t.Errorf("under another name: %v", err)
	}
}
