package probe_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"holdfast/collectors/probe"
)

func TestAQuestionIsAsTheStandardHasIt(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"example.com", "0102 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001"},
		{"example.com.", "0102 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001"},
		{".", "0102 0100 0001 0000 0000 0000 00 0001 0001"},
		{"a..b", ""},
		{strings.Repeat("a", 64) + ".b", ""},
		{strings.Repeat("a.", 128), ""},
	} {
		q, ok := probe.Question(nil, 0x0102, tt.name, 1)
		if got := fmt.Sprintf("%x", q); ok != (tt.want != "") || ok && got != strings.ReplaceAll(tt.want, " ", "") {
			t.Errorf("%s: %s, %t", tt.name, got, ok)
		}
	}
}

// reply makes an answer of a query: its id and question, flags, and records.
func reply(query []byte, flags uint16, records ...[]byte) []byte {
	b := bytes.Clone(query)
	binary.BigEndian.PutUint16(b[2:], flags)
	binary.BigEndian.PutUint16(b[6:], uint16(len(records)))
	return append(b, bytes.Join(records, nil)...)
}

// record is one whose name is where the question has it.
func record(kind uint16, data ...byte) []byte {
	b := []byte{0xc0, 12}
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, 0, 1, 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func TestWhatCountsAsAnAnswer(t *testing.T) {
	query, _ := probe.Question(nil, 0x0102, "broker.example.com", 1)
	with := func(change func(b []byte) []byte) []byte {
		return change(reply(query, 0x8180, record(1, 192, 0, 2, 7)))
	}
	for _, tt := range []struct {
		name    string
		message []byte
		code    int
		address string
		ours    bool
	}{
		{"an address", reply(query, 0x8180, record(1, 192, 0, 2, 7), record(1, 192, 0, 2, 8)), 0, "192.0.2.7", true},
		{"another name first", reply(query, 0x8180, record(5, 1, 'x', 0xc0, 12), record(1, 192, 0, 2, 7)), 0, "192.0.2.7", true},
		{"the name in other letters", with(func(b []byte) []byte { return bytes.Replace(b, []byte("broker"), []byte("BrOkEr"), 1) }), 0, "192.0.2.7", true},
		{"no address", reply(query, 0x8180), 0, "", true},
		{"an address of the other kind", reply(query, 0x8180, record(28, make([]byte, 16)...)), 0, "", true},
		{"an address of the wrong length", reply(query, 0x8180, record(1, make([]byte, 16)...)), 0, "", true},
		{"no such name", reply(query, 0x8183), 3, "", true},
		{"the server fails", reply(query, 0x8182), 2, "", true},
		{"the server will not", reply(query, 0x8185), 5, "", true},
		{"a record that is longer than the message", with(func(b []byte) []byte { return b[:len(b)-1] }), 0, "", true},
		{"a count that is larger than the message", with(func(b []byte) []byte { b[6] = 0xff; b = b[:len(query)]; return b }), 0, "", true},
		{"a query", reply(query, 0x0180), 0, "", false},
		{"another kind of message", reply(query, 0x8980), 0, "", false},
		{"another id", with(func(b []byte) []byte { b[1]++; return b }), 0, "", false},
		{"another name", with(func(b []byte) []byte { return bytes.Replace(b, []byte("broker"), []byte("broken"), 1) }), 0, "", false},
		{"another type", with(func(b []byte) []byte { b[len(query)-3] = 28; return b }), 0, "", false},
		{"two questions", with(func(b []byte) []byte { b[5] = 2; return b }), 0, "", false},
		{"none", with(func(b []byte) []byte { b[5] = 0; return b }), 0, "", false},
		{"cut in the question", query[:len(query)-1], 0, "", false},
		{"nothing", nil, 0, "", false},
	} {
		code, address, ours := probe.Answer(tt.message, query)
		got := ""
		if address.IsValid() {
			got = address.String()
		}
		if code != tt.code || got != tt.address || ours != tt.ours {
			t.Errorf("%s: %d, %q, %t", tt.name, code, got, ours)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	query, _ := probe.Question(nil, 0x0102, "broker.example.com", 1)
	f.Add(reply(query, 0x8180, record(5, 1, 'x', 0xc0, 12), record(1, 192, 0, 2, 7)))
	f.Add(reply(query, 0x8183))
	f.Add(reply(query, 0x8180, append(append([]byte{3, 'a', 'b', 'c', 0}, record(1)[2:10]...), 0, 4, 192, 0, 2, 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		code, address, ours := probe.Answer(b, query)
		if !ours && (code != 0 || address.IsValid()) || address.IsValid() && !address.Is4() || code > 15 {
			t.Errorf("%d, %s, %t", code, address, ours)
		}
		if ours && (len(b) < len(query) || !strings.EqualFold(string(b[12:len(query)]), string(query[12:]))) {
			t.Errorf("% x is an answer", b)
		}
		if a := address; a.IsValid() && !bytes.Contains(b, net.IP(a.AsSlice())) {
			t.Errorf("%s comes from nowhere", a)
		}
	})
}

func FuzzQuestion(f *testing.F) {
	f.Add("example.com")
	f.Add(".")
	f.Fuzz(func(t *testing.T, name string) {
		q, ok := probe.Question(nil, 7, name, 1)
		if ok && (len(q) > 12+255+4 || len(q) < 12+1+4) {
			t.Errorf("%q: %d bytes", name, len(q))
		}
		if _, _, ours := probe.Answer(reply(append(q, make([]byte, 12)...)[:max(len(q), 12)], 0x8180), q); ok && !ours {
			t.Errorf("%q: its own answer is none", name)
		}
	})
}
