package strict

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// integerLimit is the largest magnitude of an integer that every reader of JSON keeps exact (RFC 7493, 2.2).
const integerLimit = 1 << 53

const (
	numberBytes = 32  // longest literal of a number
	pathBytes   = 160 // longest path in an error
)

// scan reads data once, comparing it with t; a nil t takes anything. With tree it builds the tree, without it returns
// nothing of use, and holds the names of the objects it is in and no more.
func scan(data []byte, t reflect.Type, l Limits, tree bool) (any, *Error) {
	l = l.orDefaults()
	if len(data) > l.Bytes {
		return nil, &Error{Problem: fmt.Sprintf("%d bytes, more than the %d allowed", len(data), l.Bytes)}
	}
	s := &scanner{data: data, limits: l, tree: tree, fields: map[reflect.Type]map[string]reflect.Type{}}
	v, problem := s.value(t, 0)
	if problem != nil {
		return nil, problem
	}
	if s.space(); s.pos < len(data) {
		return nil, s.problem("unexpected %s after the end of the document", s.here())
	}
	return v, nil
}

type scanner struct {
	data    []byte
	pos     int
	limits  Limits
	tree    bool
	members int
	path    []string
	fields  map[reflect.Type]map[string]reflect.Type
}

func (s *scanner) problem(format string, args ...any) *Error {
	return s.problemAt(s.pos, format, args...)
}

func (s *scanner) problemAt(offset int, format string, args ...any) *Error {
	line, column := position(s.data, offset)
	path := ""
	for _, key := range s.path {
		path = Join(path, strings.Trim(strconv.Quote(key), `"`))
	}
	if r := []rune(path); len(r) > pathBytes {
		path = string(r[:pathBytes]) + "…"
	}
	return &Error{line, column, path, fmt.Sprintf(format, args...)}
}

// here names what stands at the present position.
func (s *scanner) here() string {
	if s.pos >= len(s.data) {
		return "end"
	}
	r, size := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("byte 0x%02x", s.data[s.pos])
	}
	return strconv.QuoteRune(r)
}

func (s *scanner) space() {
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n", s.data[s.pos]) >= 0 {
		s.pos++
	}
}

// take moves past b if it stands here.
func (s *scanner) take(b byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == b {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) value(t reflect.Type, depth int) (any, *Error) {
	s.space()
	if s.pos >= len(s.data) {
		return nil, s.problem("unexpected end")
	}
	w := wanted(t)
	start := s.pos
	switch c := s.data[s.pos]; {
	case c == '{' || c == '[':
		if depth == s.limits.Depth {
			return nil, s.problem("nested deeper than %d", s.limits.Depth)
		}
		if c == '{' {
			return s.object(w, depth+1)
		}
		return s.array(w, depth+1)
	case c == '"':
		if !w.takesString() {
			return nil, s.problem("a string where %s is wanted", w)
		}
		return s.text()
	case c == '-' || c >= '0' && c <= '9':
		return s.number(w)
	}
	word, v := s.word()
	if word == "" {
		return nil, s.problem("unexpected %s, a value is wanted", s.here())
	}
	if v == nil && !w.nullable || v != nil && !w.any && w.kind() != reflect.Bool {
		return nil, s.problemAt(start, "%s where %s is wanted", word, w)
	}
	return v, nil
}

// word moves past true, false or null.
func (s *scanner) word() (word string, value any) {
	rest := string(s.data[s.pos:min(len(s.data), s.pos+len("false"))])
	switch {
	case strings.HasPrefix(rest, "true"):
		word, value = "true", true
	case strings.HasPrefix(rest, "false"):
		word, value = "false", false
	case strings.HasPrefix(rest, "null"):
		word = "null"
	}
	s.pos += len(word)
	return word, value
}

func (s *scanner) object(w want, depth int) (any, *Error) {
	if !w.any && w.kind() != reflect.Struct && w.kind() != reflect.Map {
		return nil, s.problem("an object where %s is wanted", w)
	}
	if !w.any && w.kind() == reflect.Map && w.t.Key().Kind() != reflect.String {
		return nil, s.problem("cannot decode into %s, its keys are no strings", w.t)
	}
	s.pos++
	object := map[string]any{}
	for first := true; ; first = false {
		s.space()
		if s.take('}') {
			if !first {
				s.pos--
				return nil, s.problem("unexpected '}' after a comma")
			}
			return object, nil
		}
		start := s.pos
		if s.pos >= len(s.data) || s.data[s.pos] != '"' {
			return nil, s.problem("unexpected %s, a member's name is wanted", s.here())
		}
		key, problem := s.text()
		if problem != nil {
			return nil, problem
		}
		if _, twice := object[key]; twice {
			return nil, s.problemAt(start, "member %s stands twice", quote(key))
		}
		t, problem := s.member(w, key, start)
		if problem != nil {
			return nil, problem
		}
		if s.space(); !s.take(':') {
			return nil, s.problem("unexpected %s, ':' is wanted", s.here())
		}
		v, problem := s.item(key, t, depth)
		if problem != nil {
			return nil, problem
		}
		if !s.tree {
			v = nil // the name alone is kept, for its double
		}
		object[key] = v
		if s.space(); s.take('}') {
			return object, nil
		}
		if !s.take(',') {
			return nil, s.problem("unexpected %s, ',' or '}' is wanted", s.here())
		}
	}
}

// member returns the type of member key of what is wanted.
func (s *scanner) member(w want, key string, start int) (reflect.Type, *Error) {
	if w.any {
		return nil, nil
	}
	if w.kind() == reflect.Map {
		return w.t.Elem(), nil
	}
	fields := s.fieldsOf(w.t)
	if t, known := fields[key]; known {
		return t, nil
	}
	// Even where unknown members are allowed: encoding/json would take this one for the field.
	for name := range fields {
		if strings.EqualFold(name, key) {
			return nil, s.problemAt(start, "unknown member %s: names are spelled exactly, did you mean %q?", quote(key), name)
		}
	}
	if s.limits.AllowUnknown {
		return nil, nil
	}
	if near := Nearest(key, sortedNames(fields)); near != "" {
		return nil, s.problemAt(start, "unknown member %s, did you mean %q?", quote(key), near)
	}
	return nil, s.problemAt(start, "unknown member %s", quote(key))
}

func (s *scanner) array(w want, depth int) (any, *Error) {
	if !w.any && w.kind() != reflect.Slice && w.kind() != reflect.Array {
		return nil, s.problem("an array where %s is wanted", w)
	}
	var element reflect.Type
	if !w.any {
		element = w.t.Elem()
	}
	start := s.pos
	s.pos++
	array, n := []any{}, 0
	if s.space(); !s.take(']') {
		for {
			v, problem := s.item(strconv.Itoa(n), element, depth)
			if problem != nil {
				return nil, problem
			}
			if n++; s.tree {
				array = append(array, v)
			}
			if s.space(); s.take(']') {
				break
			}
			if !s.take(',') {
				return nil, s.problem("unexpected %s, ',' or ']' is wanted", s.here())
			}
		}
	}
	if !w.any && w.kind() == reflect.Array && n != w.t.Len() {
		return nil, s.problemAt(start, "%d elements where %d are wanted", n, w.t.Len())
	}
	return array, nil
}

// item reads one member or element, and counts it.
func (s *scanner) item(key string, t reflect.Type, depth int) (any, *Error) {
	s.path = append(s.path, key)
	if s.members++; s.members > s.limits.Members {
		return nil, s.problem("more than %d members", s.limits.Members)
	}
	v, problem := s.value(t, depth)
	s.path = s.path[:len(s.path)-1]
	return v, problem
}

func (s *scanner) number(w want) (any, *Error) {
	start := s.pos
	s.take('-')
	if !s.take('0') && s.digits() == 0 {
		return nil, s.problem("unexpected %s in a number", s.here())
	}
	integer := true
	if s.take('.') {
		integer = false
		if s.digits() == 0 {
			return nil, s.problem("unexpected %s in a number, digits are wanted", s.here())
		}
	}
	if s.take('e') || s.take('E') {
		integer = false
		if !s.take('+') {
			s.take('-')
		}
		if s.digits() == 0 {
			return nil, s.problem("unexpected %s in a number, digits are wanted", s.here())
		}
	}
	literal := s.data[start:s.pos]
	if len(literal) > numberBytes {
		return nil, s.problemAt(start, "a number of %d characters, more than %d", len(literal), numberBytes)
	}
	if s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		return nil, s.problemAt(start, "a number with a leading zero")
	}
	if integer {
		n, err := strconv.ParseInt(string(literal), 10, 64)
		if err != nil || n > integerLimit || n < -integerLimit {
			return nil, s.problemAt(start, "integer beyond ±2^53")
		}
	}
	if !w.takesNumber(integer) {
		return nil, s.problemAt(start, "the number %s where %s is wanted", literal, w)
	}
	f, err := strconv.ParseFloat(string(literal), 64)
	if err != nil {
		return nil, s.problemAt(start, "number out of range")
	}
	return f, nil
}

func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// text reads a string, from quote to quote.
func (s *scanner) text() (string, *Error) {
	start := s.pos
	escaped := false
	for s.pos++; s.pos < len(s.data); {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			raw := s.data[start:s.pos]
			if !escaped {
				return string(raw[1 : len(raw)-1]), nil
			}
			var out string
			if err := json.Unmarshal(raw, &out); err != nil {
				return "", s.problemAt(start, "%v", err)
			}
			return out, nil
		case c < 0x20:
			return "", s.problem("control character 0x%02x in a string", c)
		case c == '\\':
			escaped = true
			if problem := s.escape(); problem != nil {
				return "", problem
			}
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, size := utf8.DecodeRune(s.data[s.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", s.problem("byte 0x%02x is not UTF-8", c)
			}
			s.pos += size
		}
	}
	return "", s.problem("unexpected end in a string")
}

// escape moves past one escape sequence; the two halves of a surrogate pair are one.
func (s *scanner) escape() *Error {
	start := s.pos
	r, ok := s.hex()
	if !ok {
		if s.pos+1 < len(s.data) && strings.IndexByte(`"\/bfnrt`, s.data[s.pos+1]) >= 0 {
			s.pos += 2
			return nil
		}
		return s.problem("unknown escape sequence in a string")
	}
	if !utf16.IsSurrogate(r) {
		return nil
	}
	if low, ok := s.hex(); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return s.problemAt(start, "half of a surrogate pair in a string")
	}
	return nil
}

// hex moves past \uXXXX if it stands here.
func (s *scanner) hex() (rune, bool) {
	if s.pos+6 > len(s.data) || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.data[s.pos+2:s.pos+6]), 16, 16)
	if err != nil {
		return 0, false
	}
	s.pos += 6
	return rune(n), true
}
