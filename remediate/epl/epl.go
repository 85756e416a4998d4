// Package epl is a leaf: it compiles and runs EPL, the event processing language of Esper, over timestamped events in
// fixed memory.
//
// A text is parsed into statements (Parse), these are compiled against event types and deployed on an engine (Engine.Deploy),
// which is given events (Send) and the time (Advance) and calls a listener with rows. What a statement means is what it
// means in Esper 9 (Esper Reference, chapters 5 to 7 and 14), whose patterns are trees of states: a state is active, then
// ends true or false. What a statement may hold in memory is bounded when it is compiled; what does not fit is counted.
//
// Nothing here reads a clock or does I/O, and an engine is used by one goroutine.
package epl

import (
	"fmt"
	"math"
	"strings"
)

// A Kind is the type of a value. Int has 32 bits and Long 64, as in Esper.
type Kind uint8

// The kinds. None is the type of the literal null; a value of any kind may be null.
const (
	None Kind = iota
	Bool
	Int
	Long
	Double
	Text
)

var kindNames = [...]string{None: "null", Bool: "boolean", Int: "int", Long: "long", Double: "double", Text: "string"}

func (k Kind) String() string { return kindNames[k] }

// ParseKind returns the kind that a schema calls by a Java or Go name: string, int or integer, long, double or float,
// boolean or bool.
func ParseKind(name string) (Kind, bool) {
	switch strings.ToLower(name) {
	case "string", "text":
		return Text, true
	case "int", "integer", "short", "byte":
		return Int, true
	case "long":
		return Long, true
	case "double", "float":
		return Double, true
	case "bool", "boolean":
		return Bool, true
	}
	return None, false
}

func (k Kind) number() bool { return k == Int || k == Long || k == Double }

// A Value is one value, or null. The zero Value is null.
type Value struct {
	text string
	bits uint64 // of an integer or a float64; 1 is true
	kind Kind   // None is null
}

// OfBool, OfInt, OfLong, OfDouble and OfText make values. Not a number is null: nothing can be compared with it.
func OfBool(v bool) Value {
	if v {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// OfInt makes a value of kind Int.
func OfInt(v int32) Value { return Value{kind: Int, bits: uint64(int64(v))} }

// OfLong makes a value of kind Long.
func OfLong(v int64) Value { return Value{kind: Long, bits: uint64(v)} }

// OfDouble makes a value of kind Double; of not-a-number it makes null.
func OfDouble(v float64) Value {
	if v != v {
		return Value{}
	}
	return Value{kind: Double, bits: math.Float64bits(v)}
}

// OfText makes a value of kind Text.
func OfText(v string) Value { return Value{kind: Text, text: v} }

// Kind returns None for null.
func (v Value) Kind() Kind { return v.kind }

// Null reports whether there is no value.
func (v Value) Null() bool { return v.kind == None }

// Any returns nil, bool, int64, float64 or string.
func (v Value) Any() any {
	switch v.kind {
	case Bool:
		return v.bits != 0
	case Int, Long:
		return int64(v.bits)
	case Double:
		return math.Float64frombits(v.bits)
	case Text:
		return v.text
	}
	return nil
}

// Float returns a number of any kind; ok is false for null and what is none.
func (v Value) Float() (f float64, ok bool) {
	switch v.kind {
	case Int, Long:
		return float64(int64(v.bits)), true
	case Double:
		return math.Float64frombits(v.bits), true
	}
	return 0, false
}

func (v Value) String() string {
	if v.kind == None {
		return "null"
	}
	return fmt.Sprint(v.Any())
}

// A Property is one property of an event type.
type Property struct {
	Name string
	Kind Kind
}

// A Type is an event type. It does not change once it is used.
type Type struct {
	Name       string
	Properties []Property
}

// Index returns where a property is in an event's values, or -1.
func (t *Type) Index(name string) int {
	for i := range t.Properties {
		if t.Properties[i].Name == name {
			return i
		}
	}
	return -1
}

// An Error is one thing wrong with a text, with its place.
type Error struct {
	File         string // as it was given to Parse; may be empty
	Line, Column int    // from 1, in characters
	Problem      string
	Hint         string // what to write instead; may be empty
}

func (e *Error) Error() string {
	where := fmt.Sprintf("%d:%d", e.Line, e.Column)
	if e.File != "" {
		where = e.File + ":" + where
	}
	if e.Hint != "" {
		return where + ": " + e.Problem + " (" + e.Hint + ")"
	}
	return where + ": " + e.Problem
}
