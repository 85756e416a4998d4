package shadow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"holdfast/agent/shadow"
	"holdfast/board/strict"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       shadow.Document
	}{
		{"counted", `{"epoch":"e1","version":7,"state":{"cpu":70}}`, shadow.Document{Epoch: "e1", Version: 7, State: map[string]any{"cpu": 70.0}}},
		{"counted without an epoch", `{"version":7,"state":{}}`, shadow.Document{Version: 7, State: map[string]any{}}},
		{"not counted", `{"state":{}}`, shadow.Document{Epoch: shadow.Digest(map[string]any{}), State: map[string]any{}}},
		{"version 0 is not counted", `{"epoch":"e1","version":0,"state":{}}`, shadow.Document{Epoch: shadow.Digest(map[string]any{}), State: map[string]any{}}},
		{"desired inside state", `{"epoch":"e","version":1,"state":{"desired":{"cpu":70,"memory":50,"network":20},"reported":{}}}`,
			shadow.Document{Epoch: "e", Version: 1, State: map[string]any{"cpu": 70.0, "memory": 50.0, "network": 20.0}}},
		{"a member that is called desired", `{"epoch":"e","version":1,"state":{"desired":{"x":1},"cpu":70}}`,
			shadow.Document{Epoch: "e", Version: 1, State: map[string]any{"desired": map[string]any{"x": 1.0}, "cpu": 70.0}}},
	} {
		got, err := shadow.Parse([]byte(tt.data), strict.Limits{})
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Parse = %+v, %v; want %+v", tt.name, got, err, tt.want)
			continue
		}
		if back, err := shadow.Parse(got.Encode(), strict.Limits{}); err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("%s: %s read back as %+v, %v", tt.name, got.Encode(), back, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:                            "state: missing",
		`{"state":null}`:                "state: missing",
		`{"state":[]}`:                  "state: an array where an object is wanted",
		`{"State":{}}`:                  `did you mean "state"?`,
		`{"state":{},"version":-1}`:     "version: negative",
		`{"state":{},"version":1.5}`:    "version: the number 1.5 where an integer is wanted",
		`{"state":{},"epoch":"a b"}`:    "epoch: not printable ASCII",
		`{"state":{},"epoch":"\u007f"}`: "epoch: not printable ASCII",
		`{"state":{},"epoch":"` + strings.Repeat("e", 65) + `"}`: "epoch: longer than 64 characters",
		`{"state":{"a":1,"a":2}}`:                                `state: member "a" stands twice`,
		`{"state":{},"metadata":{}}`:                             `unknown member "metadata"`,
	} {
		_, err := shadow.Parse([]byte(data), strict.Limits{})
		var e *strict.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%s): %v, want %q", data, err, want)
		}
	}
}

func TestNewer(t *testing.T) {
	inForce := shadow.Document{Epoch: "a", Version: 5}
	for _, tt := range []struct {
		doc  shadow.Document
		want bool
	}{
		{shadow.Document{Epoch: "a", Version: 6}, true},
		{shadow.Document{Epoch: "a", Version: 5}, false},
		{shadow.Document{Epoch: "a", Version: 4}, false},
		{shadow.Document{Epoch: "b", Version: 1}, true},
		{shadow.Document{Epoch: "0123", Version: 0}, true},
	} {
		if got := tt.doc.Newer(inForce); got != tt.want {
			t.Errorf("%+v newer than %+v = %v", tt.doc, inForce, got)
		}
	}
}

func TestARefusedValueIsNotTriedAgainBeforeANewerVersion(t *testing.T) {
	doc := shadow.Document{Epoch: "a", Version: 5}
	var r shadow.Refusals
	r.Add("relay.pump", "sideways", doc, "want true or false")
	for _, tt := range []struct {
		name  string
		path  string
		value any
		doc   shadow.Document
		want  bool
	}{
		{"the same document again", "relay.pump", "sideways", doc, true},
		{"an older version", "relay.pump", "sideways", shadow.Document{Epoch: "a", Version: 4}, true},
		{"a newer version", "relay.pump", "sideways", shadow.Document{Epoch: "a", Version: 6}, false},
		{"a new lineage", "relay.pump", "sideways", shadow.Document{Epoch: "b", Version: 1}, false},
		{"another value", "relay.pump", true, doc, false},
		{"another path", "relay.lamp", "sideways", doc, false},
	} {
		if reason, got := r.Has(tt.path, tt.value, tt.doc); got != tt.want || got != (reason == "want true or false") {
			t.Errorf("%s: Has = %q, %v", tt.name, reason, got)
		}
	}

	text, err := json.Marshal(r) // it outlives the process
	if err != nil {
		t.Fatal(err)
	}
	var kept shadow.Refusals
	if err := strict.Unmarshal(text, &kept, strict.Limits{}); err != nil || !reflect.DeepEqual(kept, r) {
		t.Errorf("%s read back as %+v, %v", text, kept, err)
	}
	if got := kept.Reasons(); !reflect.DeepEqual(got, map[string]string{"relay.pump": "want true or false"}) {
		t.Errorf("Reasons = %v", got)
	}
	kept.Drop("relay.pump")
	if _, refused := kept.Has("relay.pump", "sideways", doc); refused || len(kept) != 0 {
		t.Errorf("after Drop there is %+v", kept)
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	doc := shadow.Document{Epoch: "a", Version: 1}
	var r shadow.Refusals
	for i := range 1000 {
		r.Add(fmt.Sprint(i), 1.0, doc, "no")
		r.Add(fmt.Sprint(i), 2.0, doc, "no")
	}
	if len(r) != 256 {
		t.Fatalf("%d refusals are kept", len(r))
	}
	if _, refused := r.Has("999", 2.0, doc); !refused {
		t.Error("the newest was forgotten")
	}
	if _, refused := r.Has("0", 2.0, doc); refused {
		t.Error("the oldest is still there")
	}
}
