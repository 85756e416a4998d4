package link_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"holdfast/agent/link"
)

func TestHostileNamesAreRefused(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, bad := range []string{"", "+", "#", "a/b", "a\x00b", "a b", "../x", "$SYS", "é", "a\n", long} {
		for what, err := range map[string]error{
			"plain device": link.Plain{Device: bad}.Check(),
			"aws thing":    link.AWS{Thing: bad}.Check(),
		} {
			if err == nil {
				t.Errorf("%s %q is accepted", what, bad)
			}
		}
		if bad == "" || bad == "a/b" || bad == "../x" { // the default, and two good levels
			continue
		}
		if err := (link.Plain{Device: "d", Root: bad}).Check(); err == nil {
			t.Errorf("plain root %q is accepted", bad)
		}
		if err := (link.AWS{Thing: "d", Shadow: bad}).Check(); err == nil && bad != "$SYS" {
			t.Errorf("aws shadow %q is accepted", bad)
		}
	}
	for _, root := range []string{"/", "a/", "/a", "a//b", "a/+/b"} {
		if err := (link.Plain{Device: "d", Root: root}).Check(); err == nil {
			t.Errorf("plain root %q is accepted", root)
		}
	}
	if err := (link.AWS{Thing: "d", Root: "a/b/c/d/e/f"}).Check(); err == nil {
		t.Error("aws root with too many levels is accepted")
	}
	if err := (link.Plain{Device: "d", Password: "p"}).Check(); err == nil {
		t.Error("password without user is accepted")
	}
	if err := (link.Plain{Device: "d", StateBytes: 33 << 10}).Check(); err == nil {
		t.Error("state of 33 KiB is accepted")
	}
	for _, good := range []error{
		link.Plain{Device: "board_1.a-b", Root: "a/b"}.Check(),
		link.AWS{Thing: "a:b_c-d", Shadow: "x:y"}.Check(),
	} {
		if good != nil {
			t.Error(good)
		}
	}
}

func TestRetainedCommandsAreNotObeyed(t *testing.T) {
	for _, d := range []link.Dialect{link.Plain{Device: "d"}, link.AWS{Thing: "d"}} {
		m := link.Message{Topic: "holdfast/d/command", Payload: []byte(`{"id":"c"}`)}
		if in, err := d.Decode(m); err != nil || in.Command == nil {
			t.Errorf("%T: fresh command: %v", d, err)
		}
		m.Retain = true
		if in, err := d.Decode(m); err == nil || in.Command != nil {
			t.Errorf("%T: a retained command is obeyed", d)
		}
	}
}

func TestOversizeIsRefusedBeforeItIsRead(t *testing.T) {
	plain := link.Plain{Device: "d", StateBytes: 100}
	state := `{"state":{"a":"` + strings.Repeat("x", 90) + `"}}`
	in, err := plain.Decode(link.Message{Topic: "holdfast/d/shadow/desired", Payload: []byte(state)})
	if err != nil || in.Desired.Refused != "" {
		t.Errorf("state within the limit: %v, %+v", err, in.Desired)
	}
	for _, n := range []int{110, 5000, 1 << 20} {
		state := `{"epoch":"e","version":4,"state":{"a":"` + strings.Repeat("x", n) + `"}}`
		in, err := plain.Decode(link.Message{Topic: "holdfast/d/shadow/desired", Payload: []byte(state)})
		if err != nil || !strings.Contains(in.Desired.Refused, "more than the") || in.Desired.State != nil {
			t.Errorf("state of %d bytes: %v, %+v", n, err, in.Desired)
		}
	}
	big := make([]byte, 200<<10)
	for _, tt := range []struct {
		d     link.Dialect
		topic string
	}{
		{plain, "holdfast/d/command"}, {plain, "holdfast/d/job"}, {link.AWS{Thing: "d"}, "holdfast/d/command"},
		{link.AWS{Thing: "d"}, "$aws/things/d/shadow/get/accepted"},
	} {
		if _, err := tt.d.Decode(link.Message{Topic: tt.topic, Payload: big}); err == nil {
			t.Errorf("%T: %d bytes on %s are accepted", tt.d, len(big), tt.topic)
		}
		if _, err := tt.d.Encode(link.Outbound{Event: big}); err == nil {
			t.Errorf("%T: an event of %d bytes is encoded", tt.d, len(big))
		}
	}
}

func TestOutboundWantsExactlyOneField(t *testing.T) {
	body := json.RawMessage(`{}`)
	for _, d := range []link.Dialect{link.Plain{Device: "d"}, link.AWS{Thing: "d"}} {
		for _, o := range []link.Outbound{
			{}, {Event: body, Telemetry: body}, {Status: &link.Status{}, Reported: &link.Reported{State: body}},
			{Event: json.RawMessage{}},
		} {
			if m, err := d.Encode(o); err == nil {
				t.Errorf("%T: %+v is encoded as %s", d, o, m.Topic)
			}
		}
	}
}

func TestAWSKeepsTheServicesBounds(t *testing.T) {
	aws := link.AWS{Thing: "d"}
	if n := len(aws.Session().Filters); n > 8 {
		t.Errorf("%d filters, the service takes 8 a packet", n)
	}
	for name, r := range map[string]link.Reported{
		"too deep":      {State: json.RawMessage(`{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}`)},
		"too large":     {State: json.RawMessage(`{"a":"` + strings.Repeat("x", 9000) + `"}`)},
		"null in array": {State: json.RawMessage(`{"a":[1,null]}`)},
		"reserved":      {State: json.RawMessage(`{"holdfast":1}`)},
		"not an object": {State: json.RawMessage(`[]`)},
		"long token":    {State: json.RawMessage(`{}`), Token: strings.Repeat("t", 65)},
		"bad previous":  {State: json.RawMessage(`{}`), Previous: json.RawMessage(`{`)},
		"much refused":  {State: json.RawMessage(`{}`), Refused: map[string]string{"a": strings.Repeat("x", 17000)}},
	} {
		if m, err := aws.Encode(link.Outbound{Reported: &r}); err == nil {
			t.Errorf("%s: encoded as %s", name, m.Payload)
		}
	}
}

// merge is the service's side of an update, written from RFC 7396.
func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	m, ok := target.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	for name, v := range p {
		if v == nil {
			delete(m, name)
		} else {
			m[name] = merge(m[name], v)
		}
	}
	return m
}

func TestAWSReportsMergeToTheState(t *testing.T) {
	aws := link.AWS{Thing: "d"}
	var held any
	var previous json.RawMessage
	for _, state := range []string{
		`{"a":1}`, `{"a":{"b":1,"c":2}}`, `{"a":{"c":2},"d":[1,2]}`, `{"d":[2],"e":{"f":{"g":1}}}`, `{"e":{}}`, `{"e":3}`, `{}`,
	} {
		r := link.Reported{State: json.RawMessage(state), Previous: previous, Version: 1}
		m, err := aws.Encode(link.Outbound{Reported: &r})
		if err != nil {
			t.Fatal(err)
		}
		var request struct{ State struct{ Reported any } }
		if err := json.Unmarshal(m.Payload, &request); err != nil {
			t.Fatal(err)
		}
		held = merge(held, request.State.Reported)
		without := map[string]any{}
		for name, v := range held.(map[string]any) {
			if name != "holdfast" {
				without[name] = v
			}
		}
		if got, _ := json.Marshal(without); string(got) != state {
			t.Errorf("the service holds %s after a report of %s", got, state)
		}
		previous = json.RawMessage(state)
	}
}

func TestWatermarkKnowsStaleDocuments(t *testing.T) {
	var w link.Watermark
	for i, step := range []struct {
		d     link.Desired
		stale bool
	}{
		{link.Desired{Document: 5}, false},
		{link.Desired{Document: 5}, false},
		{link.Desired{Document: 4}, true},
		{link.Desired{}, false},
		{link.Desired{Document: 4, Absent: true}, true},
		{link.Desired{Absent: true}, false},
		{link.Desired{Document: 1}, false},
	} {
		if got := w.Stale(step.d); got != step.stale {
			t.Errorf("step %d: Stale = %t", i, got)
		}
	}
}

func TestSameDocumentHasSameEpoch(t *testing.T) {
	plain := link.Plain{Device: "d"}
	epoch := func(payload string) string {
		in, err := plain.Decode(link.Message{Topic: "holdfast/d/shadow/desired", Payload: []byte(payload)})
		if err != nil || in.Desired.Refused != "" {
			t.Fatalf("%s: %v %+v", payload, err, in.Desired)
		}
		return in.Desired.Epoch
	}
	if a, b := epoch(`{"state":{"a":1,"b":2}}`), epoch(`{ "state" : {"desired":{"b":2 ,"a":1}}}`); a != b {
		t.Errorf("epochs %s and %s", a, b)
	}
	if a, b := epoch(`{"state":{"a":1}}`), epoch(`{"state":{"a":2}}`); a == b {
		t.Errorf("different documents share epoch %s", a)
	}
}

func FuzzPlainDecode(f *testing.F) {
	f.Add("holdfast/d/shadow/desired", []byte(`{"epoch":"9a","version":7,"state":{"relays":{"pump":true}}}`), false)
	f.Add("holdfast/d/shadow/desired", []byte(`{"state":{"desired":{"cpu":70}}}`), true)
	f.Add("holdfast/d/command", []byte(`{}`), true)
	f.Add("holdfast/d/job", []byte(``), true)
	fuzzDecode(f, link.Plain{Device: "d"})
}

func FuzzAWSDecode(f *testing.F) {
	f.Add("$aws/things/d/shadow/get/accepted", []byte(`{"state":{"desired":{"cpu":70},"reported":{}},"metadata":{"desired":{"cpu":{"timestamp":1}}},"version":3}`), false)
	f.Add("$aws/things/d/shadow/update/delta", []byte(`{"state":{"cpu":70},"version":3}`), false)
	f.Add("$aws/things/d/shadow/update/accepted", []byte(`{"state":{"desired":null},"version":3,"clientToken":"t"}`), false)
	f.Add("$aws/things/d/shadow/update/rejected", []byte(`{"code":409,"message":"m"}`), false)
	f.Add("$aws/things/d/shadow/get/rejected", []byte(`{"code":404}`), false)
	f.Add("$aws/things/d/shadow/delete/accepted", []byte(`{"version":4}`), false)
	fuzzDecode(f, link.AWS{Thing: "d"})
}

func fuzzDecode(f *testing.F, d link.Dialect) {
	f.Fuzz(func(t *testing.T, topic string, payload []byte, retain bool) {
		in, err := d.Decode(link.Message{Topic: topic, Payload: payload, Retain: retain})
		set := 0
		for _, is := range []bool{in.Desired != nil, in.Command != nil, in.Job != nil, in.Answer != nil} {
			if is {
				set++
			}
		}
		if set > 1 || err != nil && (set > 0 || in.Publish != nil) {
			t.Fatalf("%d fields set with error %v: %+v", set, err, in)
		}
		if err == nil && set == 0 && in.Publish == nil {
			t.Fatalf("nothing was said about %q", topic)
		}
		if d := in.Desired; d != nil {
			if d.State != nil && (d.Refused != "" || d.Absent || d.Epoch == "" && d.Version == 0 || !json.Valid(d.State)) {
				t.Fatalf("contradiction: %+v", d)
			}
			if d.State == nil && d.Refused == "" && !d.Absent {
				t.Fatalf("neither state nor reason: %+v", d)
			}
			if len(d.State) > 8<<10 || bytes.ContainsRune(d.State, '\n') || d.Version < 0 {
				t.Fatalf("out of bounds: %+v", d)
			}
		}
	})
}
