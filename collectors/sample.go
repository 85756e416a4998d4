package collectors

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// A Sample is what one source said of one thing at one instant.
type Sample struct {
	Source   string    // what was measured: "cpu", "disk_io"
	Instance string    // which of several: "sda", "eth0", "ssh.service"; empty where there is one
	Time     time.Time // with a monotonic reading when it was taken in this process
	Trusted  bool      // the wall clock was set when it was taken
	Fields   []Field   // in the order the source lists them; names are unique
}

// A Field is one named measure. Names carry their SI unit: busy_ratio, available_bytes, temperature_celsius.
type Field struct {
	Name  string
	Value Value
}

// A Value is a number, a text or a truth. The zero Value is the number 0.
type Value struct {
	kind kind
	num  float64
	text string
}

type kind uint8

const (
	number kind = iota
	text
	truth
)

// Number returns v as a Value. NaN and the infinities are kept, and encoded as null.
func Number(v float64) Value { return Value{num: v} }

// Text returns s as a Value.
func Text(s string) Value { return Value{kind: text, text: s} }

// Bool returns b as a Value.
func Bool(b bool) Value {
	if b {
		return Value{kind: truth, num: 1}
	}
	return Value{kind: truth}
}

// Number returns the number held; a truth is 0 or 1. ok is false for a text.
func (v Value) Number() (n float64, ok bool) { return v.num, v.kind != text }

// Text returns the text held.
func (v Value) Text() (s string, ok bool) { return v.text, v.kind == text }

// Bool returns the truth held.
func (v Value) Bool() (b, ok bool) { return v.num != 0, v.kind == truth }

// Field returns the named field's value.
func (s *Sample) Field(name string) (Value, bool) {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return s.Fields[i].Value, true
		}
	}
	return Value{}, false
}

// Num appends a number and returns s, so that a source can list its fields.
func (s *Sample) Num(name string, v float64) *Sample {
	s.Fields = append(s.Fields, Field{name, Number(v)})
	return s
}

// Str appends a text and returns s.
func (s *Sample) Str(name, v string) *Sample {
	s.Fields = append(s.Fields, Field{name, Text(v)})
	return s
}

// AppendJSON appends v as JSON: a number with the digits that matter (six significant ones for a fraction), null for
// what is not finite.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case text:
		q, _ := json.Marshal(v.text) // a string always marshals
		return append(b, q...)
	case truth:
		return strconv.AppendBool(b, v.num != 0)
	}
	switch {
	case math.IsNaN(v.num) || math.IsInf(v.num, 0):
		return append(b, "null"...)
	case v.num == math.Trunc(v.num) && math.Abs(v.num) < 1<<53:
		return strconv.AppendInt(b, int64(v.num), 10)
	}
	return strconv.AppendFloat(b, v.num, 'g', 6, 64)
}

// AppendJSON appends the sample in the form docs/topics.md sets out.
func (s *Sample) AppendJSON(b []byte) []byte {
	b = append(b, `{"source":`...)
	b = Text(s.Source).AppendJSON(b)
	if s.Instance != "" {
		b = append(b, `,"instance":`...)
		b = Text(s.Instance).AppendJSON(b)
	}
	b = append(b, `,"time":"`...)
	b = s.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","trusted":`...)
	b = strconv.AppendBool(b, s.Trusted)
	b = append(b, `,"fields":{`...)
	for i := range s.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = Text(s.Fields[i].Name).AppendJSON(b)
		b = append(b, ':')
		b = s.Fields[i].Value.AppendJSON(b)
	}
	return append(b, "}}"...)
}
