package strict_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/board/strict"
)

func TestTreeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", ``, "line 1 column 1: unexpected end"},
		{"byte order mark", "\ufeff{}", `line 1 column 1: unexpected '\ufeff', a value is wanted`},
		{"duplicate", "{\"a\":1,\n \"b\":{\"c\":1,\"c\":2}}", `line 2 column 13: b: member "c" stands twice`},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, `line 1 column 8: member "a" stands twice`},
		{"trailing bytes", `{} x`, "line 1 column 4: unexpected 'x' after the end of the document"},
		{"second document", `{}{}`, "unexpected '{' after the end"},
		{"trailing NUL", "{}\x00", `unexpected '\x00' after the end`},
		{"comma before end", `{"a":1,}`, "line 1 column 8: unexpected '}' after a comma"},
		{"comma before end of array", `[1,]`, "line 1 column 4: 1: unexpected ']', a value is wanted"},
		{"missing colon", `{"a" 1}`, "line 1 column 6: unexpected '1', ':' is wanted"},
		{"missing comma", `[1 2]`, "line 1 column 4: unexpected '2', ',' or ']' is wanted"},
		{"missing comma in object", `{"a":1 "b":2}`, "unexpected '\"', ',' or '}' is wanted"},
		{"open object", `{"a":1`, "unexpected end, ',' or '}' is wanted"},
		{"name without quotes", `{a:1}`, "unexpected 'a', a member's name is wanted"},
		{"comment", `{/**/}`, "unexpected '/', a member's name is wanted"},
		{"too deep", strings.Repeat("[", 9) + strings.Repeat("]", 9), "0.0.0.0.0.0.0.0: nested deeper than 8"},
		{"too long", `"` + strings.Repeat("x", 8191) + `"`, "8193 bytes, more than the 8192 allowed"},
		{"too many", "[" + strings.Repeat("1,", 1024) + "1]", "1024: more than 1024 members"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "line 1 column 7: a: byte 0xff is not UTF-8"},
		{"overlong UTF-8", "[\"\xc0\xaf\"]", "byte 0xc0 is not UTF-8"},
		{"surrogate in UTF-8", "[\"\xed\xa0\x80\"]", "byte 0xed is not UTF-8"},
		{"lone high surrogate", `["\ud800"]`, "half of a surrogate pair"},
		{"lone low surrogate", `["\udc00"]`, "half of a surrogate pair"},
		{"surrogates in wrong order", `["\udc00\ud800"]`, "half of a surrogate pair"},
		{"high surrogate and letter", `["\ud800\u0041"]`, "half of a surrogate pair"},
		{"lone surrogate in a name", `{"\ud800":1}`, "half of a surrogate pair"},
		{"newline in a string", "[\"a\nb\"]", "control character 0x0a"},
		{"unknown escape", `["\x"]`, "unknown escape sequence"},
		{"short escape", `["\u12"]`, "unknown escape sequence"},
		{"open string", `["a`, "unexpected end in a string"},
		{"open escape", `["\`, "unknown escape sequence"},
		{"integer beyond 2^53", `[9007199254740993]`, "0: integer beyond ±2^53"},
		{"negative beyond 2^53", `[-9007199254740993]`, "0: integer beyond ±2^53"},
		{"integer beyond 2^64", `[99999999999999999999]`, "integer beyond ±2^53"},
		{"long number", `[1.` + strings.Repeat("0", 31) + `]`, "a number of 33 characters, more than 32"},
		{"float out of range", `[1e999]`, "number out of range"},
		{"leading zero", `[01]`, "a number with a leading zero"},
		{"plus", `[+1]`, "unexpected '+', a value is wanted"},
		{"lone minus", `[-]`, "unexpected ']' in a number"},
		{"no fraction", `[1.]`, "digits are wanted"},
		{"no exponent", `[1e+]`, "digits are wanted"},
		{"NaN", `[NaN]`, "unexpected 'N', a value is wanted"},
		{"wrong case of true", `[True]`, "unexpected 'T', a value is wanted"},
		{"path with dots", `{"a.b":{"c\\":[0,x]}}`, `a\.b.c\\\\.1: unexpected 'x'`},
		{"path with an empty name", `{"":{"":x}}`, `\e.\e: unexpected 'x'`},
		{"control characters in a name are not printed", `{"\u001b[2J":x}`, `\\x1b[2J: unexpected 'x'`},
	} {
		tree, err := strict.Tree([]byte(tt.data), strict.Limits{})
		var e *strict.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Tree(%.60s) = %v, %v; want an error with %q", tt.name, tt.data, tree, err, tt.want)
		}
	}
}

func TestTreeAccepts(t *testing.T) {
	for _, tt := range []struct {
		data string
		want any
	}{
		{`{}`, map[string]any{}},
		{" [ ] \n", []any{}},
		{`null`, nil},
		{`{"a":[true,false,null],"A":-0.5e1}`, map[string]any{"a": []any{true, false, nil}, "A": -5.0}},
		{`[9007199254740992,-9007199254740992]`, []any{float64(1 << 53), -float64(1 << 53)}},
		{`"\ud83d\ude00\n\/é"`, "😀\n/é"},
		{strings.Repeat("[", 8) + strings.Repeat("]", 8), []any{[]any{[]any{[]any{[]any{[]any{[]any{[]any{}}}}}}}}},
	} {
		if got, err := strict.Tree([]byte(tt.data), strict.Limits{}); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Tree(%s) = %#v, %v; want %#v", tt.data, got, err, tt.want)
		}
	}
}

type inner struct {
	Level int8 `json:"level"`
	Name  string
}

type document struct {
	inner
	Version  int64           `json:"version"`
	Epoch    *string         `json:"epoch,omitempty"`
	Ratio    float64         `json:"ratio"`
	On       bool            `json:"on"`
	Digest   [2]uint8        `json:"digest"`
	Key      []byte          `json:"key"`
	Raw      json.RawMessage `json:"raw"`
	Any      any             `json:"any"`
	At       time.Time       `json:"at"`
	Children []inner         `json:"children"`
	ByName   map[string]int  `json:"by_name"`
	Quoted   int             `json:"quoted,string"`
	Hidden   string          `json:"-"`
}

func TestUnmarshalComparesWithTheType(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"all well", `{"level":1,"Name":"x","version":9007199254740992,"epoch":"e","ratio":1,"on":true,"digest":[1,2],
			"key":"AAE=","raw":{"Any":[1]},"any":{"x":null},"at":"2026-01-02T03:04:05Z","children":[{"level":-128}],
			"by_name":{"Version":1},"quoted":"5"}`, ""},
		{"nullable nulls", `{"epoch":null,"raw":null,"any":null,"children":null,"by_name":null,"key":null}`, ""},
		{"upper case", `{"Version":1}`, `line 1 column 2: unknown member "Version": names are spelled exactly, did you mean "version"?`},
		{"case by Kelvin sign", `{"\u212aey":""}`, `did you mean "key"?`},
		{"case of a field without a tag", `{"name":1}`, `did you mean "Name"?`},
		{"misspelt", `{"versoin":1}`, `unknown member "versoin", did you mean "version"?`},
		{"unknown", `{"zzzzzz":1}`, `unknown member "zzzzzz"`},
		{"field that is no member", `{"Hidden":"x"}`, `unknown member "Hidden"`},
		{"unknown inside", `{"children":[{"levle":1}]}`, `line 1 column 15: children.0: unknown member "levle", did you mean "level"?`},
		{"null", `{"version":null}`, "version: null where an integer is wanted"},
		{"null time", `{"at":null}`, "at: null where a value is wanted"},
		{"null element", `{"children":[null]}`, "children.0: null where an object is wanted"},
		{"fraction", `{"version":1.0}`, "version: the number 1.0 where an integer is wanted"},
		{"exponent", `{"version":1e3}`, "version: the number 1e3 where an integer is wanted"},
		{"number in a string", `{"version":"1"}`, "version: a string where an integer is wanted"},
		{"too large for the type", `{"children":[{"level":300}]}`, "does not fit int8"},
		{"bool", `{"on":1}`, "on: the number 1 where true or false is wanted"},
		{"bool for text", `{"Name":true}`, "Name: true where a string is wanted"},
		{"short array", `{"digest":[1]}`, "line 1 column 11: digest: 1 elements where 2 are wanted"},
		{"long array", `{"digest":[1,2,3]}`, "digest: 3 elements where 2 are wanted"},
		{"object for array", `{"children":{}}`, "children: an object where an array is wanted"},
		{"array for object", `[]`, "line 1 column 1: an array where an object is wanted"},
		{"bad time", `{"at":"yesterday"}`, "yesterday"},
		{"bad base64", `{"key":"!"}`, "illegal base64"},
		{"duplicate inside raw", `{"raw":{"a":1,"a":2}}`, `raw: member "a" stands twice`},
	} {
		var d document
		err := strict.Unmarshal([]byte(tt.data), &d, strict.Limits{})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: Unmarshal = %v, want %q", tt.name, err, tt.want)
		}
		var e *strict.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %T is no *strict.Error", tt.name, err)
		}
	}
	if err := strict.Unmarshal([]byte(`{}`), document{}, strict.Limits{}); err == nil {
		t.Error("Unmarshal took a value that is no pointer")
	}
	if err := strict.Unmarshal([]byte(`{"1":2,"01":3}`), &map[int]int{}, strict.Limits{}); err == nil {
		t.Error("Unmarshal took a map whose keys are no strings")
	}
}

func TestUnknownMembersAreSkippedOnWishButNotOtherCases(t *testing.T) {
	l := strict.Limits{AllowUnknown: true}
	var d document
	if err := strict.Unmarshal([]byte(`{"extra":{"x":[1]},"version":3}`), &d, l); err != nil || d.Version != 3 {
		t.Errorf("version %d, %v", d.Version, err)
	}
	for _, data := range []string{`{"version":1,"VERSION":2}`, `{"extra":{"x":1,"x":2}}`, `{"extra":"\ud800"}`} {
		if err := strict.Unmarshal([]byte(data), &d, l); err == nil {
			t.Errorf("accepted %s", data)
		}
	}
}

func TestTheOutermostOfTwoFieldsOfOneNameCounts(t *testing.T) {
	type deep struct {
		Same  string `json:"same"`
		Twice int
	}
	type other struct {
		Twice int
	}
	var v struct {
		deep
		other
		Same int `json:"same"`
	}
	if err := strict.Unmarshal([]byte(`{"same":1}`), &v, strict.Limits{}); err != nil || v.Same != 1 {
		t.Errorf("same = %d, %v", v.Same, err)
	}
	if err := strict.Unmarshal([]byte(`{"Twice":1}`), &v, strict.Limits{}); err == nil {
		t.Error("a name of two fields was taken for one of them")
	}
}

func TestLimitsAreTheCallers(t *testing.T) {
	for _, l := range []strict.Limits{{Bytes: 10}, {Depth: 2}, {Members: 3}} {
		if _, err := strict.Tree([]byte(`{"a":[[1,2]]}`), l); err == nil {
			t.Errorf("%+v: accepted", l)
		}
	}
	if _, err := strict.Tree([]byte(`{"a":[[1,2]]}`), strict.Limits{Bytes: 13, Depth: 3, Members: 4}); err != nil {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"broker", "period", "on", "log_level", "labels"}
	for word, want := range map[string]string{
		"brokr": "broker", "borker": "broker", "BROKER": "broker", "periods": "period", "log-level": "log_level",
		"no": "", "x": "", "": "", "lables": "labels", "telemetry": "", "onn": "on", strings.Repeat("a", 1000): "",
	} {
		if got := strict.Nearest(word, keys); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

// encoding/json is the oracle: whatever is accepted here it decodes to the same tree, and a tree written by it is read
// back.
func FuzzTree(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"\ud83d\ude00",null,true]}`, `{"a":1,"a":2}`, `[[[[]]]]`, "\"\xff\"", `1e5`, `{"a":{"b":{}}} `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strict.Tree(data, strict.Limits{})
		if err != nil {
			var e *strict.Error
			if !errors.As(err, &e) || got != nil || e.Problem == "" || len(err.Error()) > 2000 {
				t.Fatalf("Tree = %v, %v", got, err)
			}
			return
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Tree(%q) = %#v, encoding/json says %#v, %v", data, got, want, err)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := strict.Tree(again, strict.Limits{Bytes: 1 << 20}); err != nil && !strings.Contains(err.Error(), "2^53") ||
			err == nil && !reflect.DeepEqual(back, got) {
			t.Fatalf("%s read back: %#v, %v", again, back, err)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{"version":1,"epoch":"a","children":[{"level":1}]}`, `{"Version":1}`, `{"any":{"x":1},"raw":[1]}`, `{"digest":[1,2],"key":"AA=="}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want document
		if strict.Unmarshal(data, &got, strict.Limits{}) != nil {
			return
		}
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Unmarshal(%q) = %+v, encoding/json says %+v, %v", data, got, want, err)
		}
	})
}
