package shadow_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"holdfast/cmd/holdfastctl/internal/shadow"
)

func state(t *testing.T, text string) map[string]any {
	t.Helper()
	m, err := shadow.ParseState([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestMergeIsAMergePatch(t *testing.T) {
	for _, tt := range []struct{ state, change, want string }{
		{`{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"y":null,"z":3}}`, `{"a":{"x":1,"z":3}}`},
		{`{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{`{"a":1}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{`{"a":1}`, `{"a":null,"none":null}`, `{}`},
		{`{}`, `{"big":12345678901234567890}`, `{"big":12345678901234567890}`},
	} {
		before := state(t, tt.state)
		got, _ := json.Marshal(shadow.Merge(before, state(t, tt.change)))
		if string(got) != tt.want {
			t.Errorf("%s + %s = %s, want %s", tt.state, tt.change, got, tt.want)
		}
		if !reflect.DeepEqual(before, state(t, tt.state)) {
			t.Errorf("%s was changed in place", tt.state)
		}
	}
}

func TestEveryFormOfADocumentIsRead(t *testing.T) {
	want := state(t, `{"cpu":70}`)
	for _, text := range []string{`{"cpu":70}`, `{"state":{"cpu":70}}`, `{"state":{"desired":{"cpu":70}}}`,
		`{"desired":{"cpu":70}}`, `{"epoch":"e","version":3,"state":{"desired":{"cpu":70},"reported":{}}}`} {
		if got := state(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v", text, got)
		}
	}
	for _, text := range []string{``, `[]`, `7`, `{"a":1}{}`, `{"a":}`} {
		if got, err := shadow.ParseState([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", text, got)
		}
	}
	d, err := shadow.Parse([]byte(`{"epoch":"e","version":3,"state":{"desired":{"cpu":70}},"more":1}`))
	if err != nil || d.Version != 3 || !reflect.DeepEqual(d.State, want) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestVersionsCountWithinALineage(t *testing.T) {
	first := shadow.Document{}.Next(nil)
	if first.Version != 1 || len(first.Epoch) != 16 || first.Epoch == (shadow.Document{}).Next(nil).Epoch {
		t.Errorf("first %+v", first)
	}
	second := first.Next(nil)
	if second.Version != 2 || second.Epoch != first.Epoch {
		t.Errorf("second %+v", second)
	}
	for _, d := range []shadow.Document{{Epoch: "e"}, {Version: 4}, {Epoch: "e", Version: -1}, {Epoch: "e", Version: 1 << 53}} {
		if n := d.Next(nil); n.Version != 1 || n.Epoch == d.Epoch {
			t.Errorf("after %+v comes %+v", d, n)
		}
	}
	if !second.Answers(first) || first.Answers(second) || second.Answers(shadow.Document{Epoch: "x", Version: 1}) {
		t.Error("an answer is of the same lineage, and not of an older version")
	}
}

func TestDiffComparesLimitsWithTheLimitsInForce(t *testing.T) {
	desired := shadow.Document{State: map[string]any{"cpu": 80.0, "memory": 50.0}}
	reported := shadow.Document{State: map[string]any{"cpu": 12.0, "memory": 40.0,
		"limits": map[string]any{"cpu": 80.0, "memory": 90.0}}}
	got := shadow.Diff(desired, reported, false)
	if len(got) != 1 || got[0].Path != "memory" || got[0].Reported != 90.0 {
		t.Errorf("Diff = %+v, want the limit of memory alone", got)
	}
}

func TestDiffNamesPathsAndReasons(t *testing.T) {
	desired := shadow.Document{State: state(t, `{"cpu":70,"memory":50,"relays":{"pump":true,"fan":false},"list":[1,2.0],"n":null,"new":{"x":1}}`)}
	reported := shadow.Document{State: state(t, `{"cpu":70.0,"memory":60,"relays":{"pump":false,"fan":false},"list":[1,2],"uptime":5,"deep":{"er":1}}`),
		Refused: map[string]string{"relays.pump": "interlock", "new": "not known"}}
	want := []shadow.Difference{
		{Path: "memory", Desired: json.Number("50"), Reported: json.Number("60"), HasDesired: true, HasReported: true},
		{Path: "n", HasDesired: true},
		{Path: "new.x", Desired: json.Number("1"), HasDesired: true, Refused: "not known"},
		{Path: "relays.pump", Desired: true, Reported: false, HasDesired: true, HasReported: true, Refused: "interlock"},
	}
	if got := shadow.Diff(desired, reported, false); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var paths []string
	for _, d := range shadow.Diff(shadow.Document{}, reported, true) {
		paths = append(paths, d.Path)
	}
	if wantAll := []string{"cpu", "deep.er", "list", "memory", "relays.fan", "relays.pump", "uptime"}; !reflect.DeepEqual(paths, wantAll) {
		t.Errorf("all: %v", paths)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"epoch":"e","version":3,"state":{"desired":{"cpu":70}}}`))
	f.Add([]byte(`{"version":1,"state":{"a":{"b":[1,{"c":null}]}},"refused":{"":"no"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := shadow.Parse(b)
		if err != nil {
			return
		}
		delete(d.State, "limits") // which stand in for the present figures
		if got := shadow.Diff(d, d, true); len(got) != 0 {
			t.Errorf("a document differs from itself: %+v", got)
		}
		out, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := shadow.Parse(out); err != nil || !shadow.Equal(again.State, d.State) && len(d.State) > 1 {
			t.Errorf("%s does not come back: %v", out, err)
		}
	})
}
