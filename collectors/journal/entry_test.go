package journal_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"holdfast/collectors/journal"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       journal.Entry
	}{
		{"empty", `{}`, journal.Entry{Priority: 6}},
		{"escapes", `{"MESSAGE":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x"}`, journal.Entry{Priority: 6, Message: "a\"\\/\n\té😀\ufffdx"}},
		{"bytes", `{"MESSAGE":[104, 105,0,255,10]}`, journal.Entry{Priority: 6, Message: "hi\ufffd\n"}},
		{"bytes that are none", `{"MESSAGE":[104,256,-1,1.5,"x",105]}`, journal.Entry{Priority: 6, Message: "hi"}},
		{"too large for journalctl", `{"MESSAGE":null}`, journal.Entry{Priority: 6, Truncated: true}},
		{"several", `{"MESSAGE":["one","two"],"_PID":["7","8"]}`, journal.Entry{Priority: 6, Message: "one", PID: 7}},
		{"several, of bytes", `{"MESSAGE":[[104,105],[1]]}`, journal.Entry{Priority: 6, Message: "hi"}},
		{"several, the first too large", `{"MESSAGE":[null,"two"]}`, journal.Entry{Priority: 6, Truncated: true}},
		{"none of several", `{"MESSAGE":[]}`, journal.Entry{Priority: 6}},
		{"the first of equal keys", `{"MESSAGE":"one","MESSAGE":"two","PRIORITY":"1","PRIORITY":"2"}`, journal.Entry{Priority: 1, Message: "one"}},
		{"priorities and ids that cannot be", `{"PRIORITY":"8","_PID":"-4","__REALTIME_TIMESTAMP":"-1"}`, journal.Entry{Priority: 6}},
		{"numbers as numbers", `{"PRIORITY":3,"_PID":4}`, journal.Entry{Priority: 3, PID: 4}},
		{"what nobody asked for", `{"A":{"b":[1,{"c":null}]},"MESSAGE":"m","Z":-1.5e3}`, journal.Entry{Priority: 6, Message: "m"}},
		{"terminal controls", `{"MESSAGE":"\u001b[2Ja\u009bb\u0000\u007fc"}`, journal.Entry{Priority: 6, Message: "[2Jabc"}},
		{"cut", `{"MESSAGE":"0123456789012345678é"}`, journal.Entry{Priority: 6, Message: "0123456789012345678", Truncated: true}},
		{"just not cut", `{"MESSAGE":"012345678901234567é"}`, journal.Entry{Priority: 6, Message: "012345678901234567é"}},
		{"a cursor that is none", `{"__CURSOR":"--file=/etc/shadow"}`, journal.Entry{Priority: 6}},
	} {
		got, err := journal.Parse([]byte(tt.line), 20)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "null", "[]", `"x"`, "{", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}}`, `{"a":1} x`, "{\"a\":1}\x00", `{"MESSAGE":"x`, `{"MESSAGE":"\x"}`,
		`{"MESSAGE":"\u12"}`, "{\"MESSAGE\":\"a\nb\"}", `{"MESSAGE":[1,}`, `{a:1}`, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"MESSAGE":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"a":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101),
	} {
		if e, err := journal.Parse([]byte(line), 20); err == nil {
			t.Errorf("%.40q: %+v", line, e)
		}
	}
}

// FuzzParse compares with encoding/json on what that accepts, and checks the bounds on everything.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		`{"MESSAGE":"hello \u00e9\n","PRIORITY":"6","_SYSTEMD_UNIT":"ssh.service","SYSLOG_IDENTIFIER":"sshd","_PID":"42","__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1700000000000000"}`,
		`{"MESSAGE":[98,105,110,0,255,1]}`, `{"MESSAGE":null}`, `{"MESSAGE":["a","b"],"UNIT":"x.service","_PID":["1"]}`, `{"A":{"B":[{}]},"MESSAGE":"\ud83d\ude00"}`,
		`{"MESSAGE":"\ud800\u0041"}`, `{"MESSAGE":1e5}`, `{"MESSAGE":true}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		const limit = 64
		e, err := journal.Parse(line, limit)
		if len(e.Message) > limit || len(e.Unit) > 256 || len(e.Identifier) > 256 || len(e.Cursor) > 256 || err == nil && (e.Priority < 0 || e.Priority > 7) || e.PID < 0 {
			t.Fatalf("out of bounds: %+v", e)
		}
		for _, s := range []string{e.Message, e.Unit, e.Identifier, e.Cursor} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
				t.Fatalf("not printable: %q", s)
			}
		}
		message, known := reference(line)
		if !known {
			return
		}
		if err != nil {
			t.Fatalf("encoding/json reads it, Parse: %v", err)
		}
		var clean strings.Builder
		for _, r := range message {
			if !unicode.IsControl(r) || r == '\n' || r == '\t' {
				clean.WriteRune(r)
			}
		}
		if want := clean.String(); e.Truncated != (len(want) > limit) || !strings.HasPrefix(want, e.Message) || !e.Truncated && want != e.Message {
			t.Fatalf("message %q, truncated %t, want %q", e.Message, e.Truncated, want)
		}
	})
}

// reference returns the message as encoding/json reads it, where line is an object whose first MESSAGE is a string, and
// which is not nested deeper than Parse goes.
func reference(line []byte) (message string, known bool) {
	if bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) > 8 || !json.Valid(line) {
		return "", false
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", false
	}
	for d.More() {
		start := d.InputOffset()
		key, err := d.Token()
		if err != nil {
			return "", false
		}
		raw := bytes.Trim(line[start:d.InputOffset()], ", \t\r\n")
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", false
		}
		if key == "MESSAGE" && string(raw) == `"MESSAGE"` { // Parse does not resolve escapes in keys: journalctl writes none
			return message, json.Unmarshal(value, &message) == nil && value[0] == '"'
		}
	}
	return "", false
}

func BenchmarkParse(b *testing.B) {
	line := []byte(`{"__MONOTONIC_TIMESTAMP":"1000000","MESSAGE":"Accepted publickey for root from 192.0.2.1 port 50022 ssh2","SYSLOG_IDENTIFIER":"sshd","_PID":"42","_BOOT_ID":"4b6d2b6b2e4f4b7ea4f3d9a6a0a5c0de","PRIORITY":"6","__CURSOR":"s=fdfd823db77e440382f956bdbf14f68c;i=1;b=4b6d2b6b2e4f4b7ea4f3d9a6a0a5c0de;m=f4240;t=60a24181e4000;x=3924ab07b35c091c","__REALTIME_TIMESTAMP":"1700000000000000","_SYSTEMD_UNIT":"ssh.service"}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := journal.Parse(line, 1024); err != nil {
			b.Fatal(err)
		}
	}
}
