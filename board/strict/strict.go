// Package strict is a leaf: it reads JSON that comes from outside, and refuses whatever two readers could understand
// differently.
//
// encoding/json takes the last of two members of the same name, matches names without regard to case, replaces what is
// not UTF-8, and turns null into nothing. Here each of these is an error with a line, a column and a path; so are
// trailing bytes, and anything larger, deeper or longer than the limits. What is accepted, encoding/json decodes to the
// same values.
package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits bound a document. The zero value of a field stands for its default.
type Limits struct {
	Bytes        int  // length of the whole text, default 8 KiB
	Depth        int  // objects and arrays inside one another, default 8; a number alone has depth 0, {} has 1
	Members      int  // members and elements in the whole document, default 1,024
	AllowUnknown bool // members the Go type does not name are skipped; one that differs in case only is still refused
}

func (l Limits) orDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 8 << 10
	}
	if l.Depth <= 0 {
		l.Depth = 8
	}
	if l.Members <= 0 {
		l.Members = 1024
	}
	return l
}

// An Error says where a document is not acceptable, and why.
type Error struct {
	Line, Column int    // count from 1, the column in characters; both 0 where no place can be named
	Path         string // of the value, in the form of Join; elements of arrays by number; empty at the top
	Problem      string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d column %d: ", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Problem
}

// Tree decodes data to map[string]any, []any, string, float64, bool and nil. The error is an *Error.
func Tree(data []byte, l Limits) (any, error) {
	tree, problem := scan(data, nil, l, true)
	if problem != nil {
		return nil, problem
	}
	return tree, nil
}

// Unmarshal decodes data into the value v points to. Members must be named exactly as the Go type's json tags name
// them; null is accepted for pointers, maps, slices and interfaces only; an array must have the length of a Go array.
// Below a type with its own UnmarshalJSON names are that type's business, everything else still holds. Maps need keys
// of kind string. The error is an *Error, after which the content of v is not to be used.
func Unmarshal(data []byte, v any, l Limits) error {
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
		return &Error{Problem: fmt.Sprintf("cannot decode into %T, it takes a pointer", v)}
	}
	if _, problem := scan(data, t.Elem(), l, false); problem != nil {
		return problem
	}
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		line, column := position(data, int(mismatch.Offset))
		return &Error{line, column, mismatch.Field, fmt.Sprintf("%s does not fit %s", mismatch.Value, mismatch.Type)}
	}
	return &Error{Problem: strings.TrimPrefix(err.Error(), "json: ")}
}

// Join returns the path of member key below path: keys are parted by dots, a dot or backslash inside a key is escaped
// with a backslash, an empty key is \e. The empty path is the top.
func Join(path, key string) string {
	if key == "" {
		key = `\e`
	} else if strings.ContainsAny(key, `.\`) {
		key = strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Nearest returns the candidate that word was most likely meant to be, for "did you mean": the first with the smallest
// edit distance, at most 2 and less than half of word. Empty when none is near.
func Nearest(word string, candidates []string) string {
	const longest = 64
	if len(word) > longest {
		return ""
	}
	best, nearest := min(3, (len([]rune(word))+1)/2), ""
	if best == 0 {
		return ""
	}
	for _, c := range candidates {
		if strings.EqualFold(c, word) {
			return c
		}
		if len(c) > longest {
			continue
		}
		if d := distance([]rune(word), []rune(c)); d < best {
			best, nearest = d, c
		}
	}
	return nearest
}

// distance counts insertions, deletions, substitutions and swaps of neighbours that turn a into b.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// position returns line and column, from 1, of the byte at offset.
func position(data []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(data))
	head := string(data[:offset])
	start := strings.LastIndexByte(head, '\n') + 1
	return 1 + strings.Count(head, "\n"), 1 + utf8.RuneCountInString(head[start:])
}

// quote prints a name from outside: short, and without control characters.
func quote(name string) string {
	const longest = 40
	if r := []rune(name); len(r) > longest {
		name = string(r[:longest]) + "…"
	}
	return strconv.Quote(name)
}
