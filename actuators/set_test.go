package actuators_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
)

// A clock of a machine whose time the test sets.
type clock struct {
	wall    time.Time
	trusted bool
}

func (c *clock) Now() time.Time                                 { return c.wall }
func (c *clock) Trusted() bool                                  { return c.trusted }
func (c *clock) Timer(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

var lamp = actuators.Verb{
	Name: "lamp.set",
	Params: []actuators.Param{
		{Name: "name", Kind: actuators.Text, Required: true, Choices: []string{"porch", "hall"}},
		{Name: "on", Kind: actuators.Truth, Required: true},
		{Name: "level", Kind: actuators.Number, Min: 0.5, Max: 10},
		{Name: "note", Kind: actuators.Text, Max: 8},
		{Name: "tags", Kind: actuators.List, Most: 2, Max: 4},
	},
	Do: func(_ context.Context, args actuators.Args) (actuators.Result, error) {
		return actuators.Result{"on": args.Truth("on")}, nil
	},
}

func newSet(t *testing.T, o actuators.Options, verbs ...actuators.Verb) *actuators.Set {
	t.Helper()
	if o.Clock == nil {
		o.Clock = &clock{wall: time.Unix(1e9, 0), trusted: true}
	}
	s, err := actuators.NewSet(o, verbs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestArgumentsAreExactlyWhatTheVerbAsksFor(t *testing.T) {
	s := newSet(t, actuators.Options{Allow: []string{"lamp.set"}}, lamp)
	for _, tt := range []struct{ raw, reason string }{
		{`{"name":"porch","on":true}`, ""},
		{`{"name":"porch","on":true,"level":0.5,"note":"12345678","tags":["a","bcde"]}`, ""},
		{` {"on":false,"name":"hall","tags":[]} `, ""},
		{``, "name is missing"},
		{`null`, "not an object"},
		{`[]`, "not an object"},
		{`{"name":"porch"}`, "on is missing"},
		{`{"name":"porch","on":true,"colour":1}`, `no argument "colour"`},
		{`{"nam":"porch","on":true}`, `did you mean "name"?`},
		{`{"Name":"porch","on":true}`, `no argument "Name"`},
		{`{"name":"porch","on":"true"}`, "text where truth is due"},
		{`{"name":"porch","on":null}`, "null where truth is due"},
		{`{"name":1,"on":true}`, "number where text is due"},
		{`{"name":"proch","on":true}`, `did you mean "porch"?`},
		{`{"name":"","on":true}`, "not among the choices"},
		{`{"name":"porch","on":true,"on":false}`, `"on" stands twice`},
		{`{"name":"porch","on":true,"level":0.49}`, "outside 0.5 to 10"},
		{`{"name":"porch","on":true,"level":1e999}`, "level"},
		{`{"name":"porch","on":true,"note":"123456789"}`, "9 bytes, at most 8"},
		{`{"name":"porch","on":true,"note":"a\u0000"}`, "zero byte"},
		{"{\"name\":\"porch\",\"on\":true,\"note\":\"\xff\"}", "not UTF-8"},
		{`{"name":"porch","on":true,"tags":["a","b","c"]}`, "3 texts, at most 2"},
		{`{"name":"porch","on":true,"tags":["abcde"]}`, "text 1: 5 bytes"},
		{`{"name":"porch","on":true,"tags":[1]}`, "something else where list is due"},
		{`{"name":"porch","on":true,"tags":[["a"]]}`, "nested deeper"},
		{`{"name":{"a":1},"on":true}`, "something else where text is due"},
		{`{"name":"porch","on":true} {}`, "after the end of the document"},
		{`{"name":"porch","on":true`, "unexpected end"},
		{`{"note":"` + strings.Repeat("x", 4096) + `"}`, "4096"},
	} {
		args, err := s.Check("lamp.set", json.RawMessage(tt.raw))
		if tt.reason == "" {
			if err != nil || len(args) < 2 {
				t.Errorf("%s: %v, %v", tt.raw, args, err)
			}
		} else if !errors.Is(err, actuators.ErrInvalid) || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s: error %v, want one that says %q", tt.raw, err, tt.reason)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add([]byte(`{"name":"porch","on":true,"level":3,"tags":["a"]}`))
	f.Add([]byte(`{"name":"porch","on":true,"on":[{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		args, err := lamp.Check(raw)
		if err != nil {
			if !errors.Is(err, actuators.ErrInvalid) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := lamp.Check(again); err != nil || !reflect.DeepEqual(back, args) {
			t.Fatalf("%q was read as %v, and that as %v, %v", raw, args, back, err)
		}
	})
}

func TestOnlyWhatIsAllowedIsDone(t *testing.T) {
	other := lamp
	other.Name = "lamp.sell"
	s := newSet(t, actuators.Options{Allow: []string{"lamp.set"}}, lamp, other)
	args := actuators.Args{"name": "porch", "on": true}
	if r, err := s.Do(t.Context(), "lamp.set", args); err != nil || r["on"] != true {
		t.Errorf("allowed: %v, %v", r, err)
	}
	if _, err := s.Do(t.Context(), "lamp.sell", args); !errors.Is(err, actuators.ErrDenied) {
		t.Errorf("not allowed: %v", err)
	}
	_, err := s.Do(t.Context(), "lamp.get", args)
	if !errors.Is(err, actuators.ErrUnknown) || !strings.Contains(err.Error(), `did you mean "lamp.set"?`) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := s.Do(t.Context(), "lamp.set", actuators.Args{"name": "porch", "on": 1}); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("an argument of another type: %v", err)
	}
	if v := s.Verbs(); len(v) != 1 || v[0].Name != "lamp.set" {
		t.Errorf("Verbs = %v", v)
	}
	if _, err := actuators.NewSet(actuators.Options{Clock: &clock{}, Allow: []string{"lamp.est"}}, lamp); !errors.Is(err, actuators.ErrUnknown) {
		t.Errorf("a misspelt allow-list: %v", err)
	}
	if _, err := actuators.NewSet(actuators.Options{Clock: &clock{}}, lamp, lamp); err == nil {
		t.Error("one name twice was accepted")
	}
}

func TestTheAuditHearsOfADeedBeforeAndAfter(t *testing.T) {
	var heard []string
	audit := func(e actuators.AuditEntry) {
		heard = append(heard, fmt.Sprintf("%s %s %v %q %s", e.Verb, e.Outcome, e.Args, e.Reason, e.Error))
	}
	verb := actuators.Verb{Name: "v", Params: []actuators.Param{{Name: "x", Kind: actuators.Number}},
		Do: func(_ context.Context, args actuators.Args) (actuators.Result, error) {
			heard = append(heard, "deed")
			if args.Number("x") == 2 {
				return nil, errors.New("two")
			}
			return nil, nil
		}}
	s := newSet(t, actuators.Options{Allow: []string{"v"}, Audit: audit}, verb)
	ctx := actuators.WithReason(t.Context(), "because")
	_, _ = s.Do(ctx, "v", actuators.Args{"x": 1.0})
	_, _ = s.Do(ctx, "v", actuators.Args{"x": 2.0})
	_, _ = s.Do(ctx, "v", actuators.Args{"y": "secret"})
	want := []string{
		`v begun map[x:1] "because" `, "deed", `v done map[x:1] "because" `,
		`v begun map[x:2] "because" `, "deed", `v broken map[x:2] "because" two`,
		`v refused map[] "because" v: wrong arguments: no argument "y"`,
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard\n%s\nwant\n%s", strings.Join(heard, "\n"), strings.Join(want, "\n"))
	}
}
