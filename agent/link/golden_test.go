package link_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/agent/link"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file below testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n--- got\n%s--- want\n%s", path, got, want)
	}
}

func show(b *bytes.Buffer, m link.Message) {
	retain := ""
	if m.Retain {
		retain = ", retained"
	}
	fmt.Fprintf(b, "%s (qos %d%s)\n%s\n", m.Topic, m.QoS, retain, m.Payload)
}

// outbounds is one of everything a device says.
func outbounds() []link.Outbound {
	return []link.Outbound{
		{Status: &link.Status{Online: true, Since: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), Agent: "1.0.0"}},
		{Status: &link.Status{Reason: "stopped by the operator"}},
		{Telemetry: json.RawMessage(`{"session":"5f1c","seq":1,"samples":[{"source":"cpu","time":"2026-11-22T08:00:00Z","trusted":true,"fields":{"busy_ratio":0.12}}]}`)},
		{Event: json.RawMessage(`{"session":"5f1c","seq":2,"kind":"alert"}`)},
		{Result: json.RawMessage(`{"id":"c1","ok":true,"result":{}}`)},
		{JobStatus: json.RawMessage(`{"id":"j1","phase":"downloading","percent":12}`)},
		{Reported: &link.Reported{Epoch: "9a", Version: 7, State: json.RawMessage(`{"cpu":70,"labels":{"site":"<north>"}}`), Token: "t1"}},
		{Reported: &link.Reported{
			Epoch: "9a", Version: 8, Token: "t2",
			Previous: json.RawMessage(`{"cpu":70,"holdfast":{"version":7},"labels":{"floor":"2","site":"north"},"old":{"a":1}}`),
			State:    json.RawMessage(`{"cpu":70,"labels":{"site":"south"},"watch":["a","b"],"gone":null}`),
			Refused:  map[string]string{"network": "no such interface", "memory": "120 is not in 1..100"},
		}},
		{Reported: &link.Reported{State: json.RawMessage(`{}`), Previous: json.RawMessage(`{"cpu":70}`)}},
	}
}

func TestDialectsEncodeAsWritten(t *testing.T) {
	for _, tt := range []struct {
		file    string
		dialect link.Dialect
	}{
		{"plain_out.golden", link.Plain{Device: "board-1", User: "u", Password: "p"}},
		{"aws_classic_out.golden", link.AWS{Thing: "board-1"}},
		{"aws_named_out.golden", link.AWS{Thing: "board-1", Shadow: "config", Root: "fleet/eu"}},
	} {
		var b bytes.Buffer
		s := tt.dialect.Session()
		fmt.Fprintf(&b, "# session\nclient %s, clean %t, keep alive %s\nlimits %+v\n", s.ClientID, s.Clean, s.KeepAlive, s.Limits)
		if s.Credentials != nil {
			user, password, err := s.Credentials(time.Time{})
			fmt.Fprintf(&b, "user %q, password %q, %v\n", user, password, err)
		}
		for _, f := range s.Filters {
			fmt.Fprintln(&b, "filter", f)
		}
		fmt.Fprint(&b, "\n# will\n")
		show(&b, *s.Will)
		fmt.Fprint(&b, "\n# opening\n")
		for _, m := range tt.dialect.Opening("opening-1") {
			show(&b, m)
		}
		for _, o := range outbounds() {
			m, err := tt.dialect.Encode(o)
			if err != nil {
				t.Fatalf("%s: %v", tt.file, err)
			}
			b.WriteString("\n")
			show(&b, m)
		}
		golden(t, tt.file, b.Bytes())
	}
}

func TestDialectsDecodeAsWritten(t *testing.T) {
	type in struct{ topic, payload string }
	const p, c, n = "holdfast/board-1/", "$aws/things/board-1/shadow/", "$aws/things/board-1/shadow/name/config/"
	for _, tt := range []struct {
		file    string
		dialect link.Dialect
		ins     []in
	}{
		{"plain_in.golden", link.Plain{Device: "board-1"}, []in{
			{p + "shadow/desired", `{"epoch":"9a","version":7,"state":{"relays":{"pump":true},"cpu":70}}`},
			{p + "shadow/desired", `{"state":{"desired":{"cpu":70,"memory":50,"network":20}}}`},
			{p + "shadow/desired", `{"state": {"desired": {"network": 20, "cpu": 70, "memory": 50}, "reported": {"cpu": 1}}}`},
			{p + "shadow/desired", `{"state":{"desired":null}}`},
			{p + "shadow/desired", `{"version":3,"state":{}}`},
			{p + "shadow/desired", ``},
			{p + "shadow/desired", `{"epoch":"9a","version":8}`},
			{p + "shadow/desired", `{"epoch":"9a","version":8,"state":[]}`},
			{p + "shadow/desired", `{"epoch":"9a","version":-1,"state":{}}`},
			{p + "shadow/desired", `{"epoch":"9a","version":1.5,"state":{}}`},
			{p + "shadow/desired", `{"epoch":9,"version":1,"state":{}}`},
			{p + "shadow/desired", `{"state":{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":1}}}}}}}}}}`},
			{p + "shadow/desired", `{"state":{}} {}`},
			{p + "shadow/desired", `{"state":`},
			{p + "shadow/desired", `{"state":{"cpu":70,"cpu":80}}`},
			{p + "shadow/desired", `{"STATE":{"cpu":70}}`},
			{p + "shadow/desired", `{"epoch":"9a","version":9,"state":{"cpu":9007199254740993}}`},
			{p + "shadow/desired", "{\"state\":{\"a\":\"\xff\"}}"},
			{p + "command", `{"id":"c1","name":"ping"}`},
			{p + "command", ``},
			{p + "job", `{"id":"j1","kind":"update"}`},
			{p + "job", ``},
			{p + "status", `{"online":true}`},
			{"holdfast/board-2/command", `{"id":"c1","name":"ping"}`},
		}},
		{"aws_classic_in.golden", link.AWS{Thing: "board-1"}, []in{
			{c + "get/accepted", `{"state":{"desired":{"cpu":70,"l":{"a":1}},"reported":{"cpu":60,"holdfast":{"version":3}},"delta":{"cpu":70}},"metadata":{"desired":{"cpu":{"timestamp":1700000000},"l":{"a":{"timestamp":1700000009}}},"reported":{"cpu":{"timestamp":1800000000}}},"version":12,"timestamp":1800000001,"clientToken":"opening-1"}`},
			{c + "get/accepted", `{"state":{"reported":{"cpu":60}},"version":13}`},
			{c + "get/accepted", `{"state":{"desired":{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}},"version":14}`},
			{c + "get/accepted", `{"state":{"desired":7},"version":15}`},
			{c + "get/accepted", `{"state":`},
			{c + "get/rejected", `{"code":404,"message":"No shadow exists with name: 'board-1'","clientToken":"opening-1"}`},
			{c + "get/rejected", `{"code":429,"message":"too many requests","timestamp":1700000000,"clientToken":"opening-1"}`},
			{c + "get/rejected", `{"code":200}`},
			{c + "update/accepted", `{"state":{"reported":{"cpu":70}},"metadata":{"reported":{"cpu":{"timestamp":1700000000}}},"version":14,"timestamp":1700000000,"clientToken":"t1"}`},
			{c + "update/accepted", `{"state":{"desired":null},"version":15,"timestamp":1700000000}`},
			{c + "update/rejected", `{"code":413,"message":"The payload exceeds the maximum size","clientToken":"t2"}`},
			{c + "update/rejected", `{"code":409,"message":"Version conflict"}`},
			{c + "update/delta", `{"state":{"cpu":80},"metadata":{"cpu":{"timestamp":1700000000}},"version":16,"timestamp":1700000000}`},
			{c + "delete/accepted", `{"version":17,"timestamp":1700000000}`},
			{c + "update/documents", `{"previous":{},"current":{}}`},
			{n + "update/delta", `{"state":{"cpu":80},"version":16}`},
			{p + "command", `{"id":"c1","name":"ping"}`},
			{p + "job", `{"id":"j1"}`},
			{"$aws/things/board-2/shadow/get/accepted", `{"state":{"desired":{"cpu":1}},"version":1}`},
		}},
		{"aws_named_in.golden", link.AWS{Thing: "board-1", Shadow: "config"}, []in{
			{n + "get/accepted", `{"state":{"desired":{"cpu":70}},"metadata":{"desired":{"cpu":{"timestamp":1700000000}}},"version":2,"timestamp":1700000001}`},
			{n + "update/delta", `{"state":{"cpu":80},"version":16}`},
			{c + "update/delta", `{"state":{"cpu":80},"version":16}`},
		}},
	} {
		var b bytes.Buffer
		for _, in := range tt.ins {
			fmt.Fprintf(&b, "%s\n%q\n", in.topic, in.payload)
			got, err := tt.dialect.Decode(link.Message{Topic: in.topic, Payload: []byte(in.payload), QoS: 1})
			if err != nil {
				fmt.Fprintf(&b, "error: %v\n", err)
			}
			said(t, &b, got)
			b.WriteString("\n")
		}
		golden(t, tt.file, b.Bytes())
	}
}

// said prints what is set in an Inbound.
func said(t *testing.T, b *bytes.Buffer, in link.Inbound) {
	t.Helper()
	line := func(what string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(b, "%s %s\n", what, text)
	}
	if in.Desired != nil {
		line("desired", in.Desired)
	}
	if in.Command != nil {
		line("command", in.Command)
	}
	if in.Job != nil {
		fmt.Fprintf(b, "job %q\n", in.Job.Body)
	}
	if in.Answer != nil {
		line("answer", in.Answer)
	}
	for _, m := range in.Publish {
		b.WriteString("publish ")
		show(b, m)
	}
}
