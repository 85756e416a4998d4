package trust_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"holdfast/update/trust"
)

func TestCanonicalForm(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{}`, `{}`},
		{` [ ] `, `[]`},
		{`{"b":1,"a":[true,false,null,{"z":-5,"y":"x"}]}`, `{"a":[true,false,null,{"y":"x","z":-5}],"b":1}`},
		{"{\"a\" :\t1 ,\n\"a b\":2,\r\"\":3}", `{"":3,"a":1,"a b":2}`},
		{`"\u0041\n\/\"\\\u2028<&>😀\ud83d\ude00"`, "\"A\n/\\\"\\\\\u2028<&>😀😀\""},
		{`{"\u0062":1,"a":2,"B":3,"é":4,"😀":5,"\uffff":6}`, "{\"B\":3,\"a\":2,\"b\":1,\"é\":4,\"\uffff\":6,\"😀\":5}"},
		{`9007199254740992`, `9007199254740992`},
		{`{"a,b":",","c":"]}"}`, `{"a,b":",","c":"]}"}`},
	} {
		got, err := trust.Canonical([]byte(tt.text))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.text, got, err, tt.want)
		}
		if again, err := trust.Canonical(got); !strings.Contains(tt.text, `\n`) && (err != nil || !bytes.Equal(again,
			got)) {
			t.Errorf("%s again: %s, %v", got, again, err)
		}
	}
	for _, text := range []string{``, ` `, `1.0`, `1e3`, `-0`, `[1.5]`, `{"a":-0}`, `9007199254740993`,
		`{"a":1,"a":1}`, `{"a":1}x`, "\"\xff\"",
		`"\ud800"`, `{"a":1,}`, `[1,]`, `01`, strings.Repeat("[", 17) + strings.Repeat("]",
			17), `"` + strings.Repeat("x", 1<<20) + `"`} {
		if got, err := trust.Canonical([]byte(text)); !errors.Is(err, trust.ErrFormat) {
			t.Errorf("%.40s: %s, %v", text, got, err)
		}
	}
}

// securesystemslib is the oracle: what has a canonical form here has the same one there.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"b":[1,-2,"x\"\\\u00e9",null,true],"a":{"z":{},"y":[]}}`, `[[],[[]],{"":""}]`,
		`-0`, `"\ud83d\ude00"`,
		" {\t\"a\" :\n1 } ", string(sign(newPlan().targets, newKey("ta")))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := trust.Canonical(text)
		if err != nil {
			if !errors.Is(err, trust.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		want, err := cjson.EncodeCanonical(json.RawMessage(text))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: %q; securesystemslib says %q, %v", text, got, want, err)
		}
	})
}
