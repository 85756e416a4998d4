package trust

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"holdfast/board/strict"
)

// Canonical returns JSON text in the one form in which it is signed: OLPC's canonical JSON, as TUF and securesystemslib
// write it. Members are sorted by name, there is no white space, strings are UTF-8 with only `"` and `\` escaped, numbers
// are integers. Text that strict does not take, fractions, exponents and -0 are errors that are ErrFormat. At most 1 MiB
// is read.
func Canonical(text []byte) ([]byte, error) {
	var raw json.RawMessage
	if err := strict.Unmarshal(text, &raw, limits(targetsBytes)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return canonical(raw)
}

// limits bound a signed document of so many bytes. In real files a member takes 25 bytes or more.
func limits(most int) strict.Limits {
	return strict.Limits{Bytes: most, Depth: 16, Members: 1024 + most/16, AllowUnknown: true}
}

// canonical is Canonical of text that strict has taken.
func canonical(text []byte) ([]byte, error) {
	c := canon{in: text, out: make([]byte, 0, len(text))}
	err := c.value()
	return c.out, err
}

// A canon copies a text that is known to be well formed: it looks at nothing twice.
type canon struct {
	in  []byte
	pos int
	out []byte
}

// peek returns the next byte that is no white space.
func (c *canon) peek() byte {
	for strings.IndexByte(" \t\r\n", c.in[c.pos]) >= 0 {
		c.pos++
	}
	return c.in[c.pos]
}

func (c *canon) value() error {
	switch c.peek() {
	case '{':
		return c.object()
	case '[':
		return c.array()
	case '"':
		c.put(c.text())
		return nil
	}
	start := c.pos
	for c.pos < len(c.in) && strings.IndexByte(",]} \t\r\n", c.in[c.pos]) < 0 {
		c.pos++
	}
	word := c.in[start:c.pos]
	if word[0] != 't' && word[0] != 'f' && word[0] != 'n' && (bytes.ContainsAny(word, ".eE") || string(word) == "-0") {
		return fmt.Errorf("%w: the number %s has no canonical form", ErrFormat, word)
	}
	c.out = append(c.out, word...)
	return nil
}

func (c *canon) array() error {
	c.pos++
	c.out = append(c.out, '[')
	for c.peek() != ']' {
		if c.in[c.pos] == ',' {
			c.pos++
			c.out = append(c.out, ',')
		}
		if err := c.value(); err != nil {
			return err
		}
	}
	c.pos++
	c.out = append(c.out, ']')
	return nil
}

func (c *canon) object() error {
	type member struct {
		name       string
		start, end int // in out
	}
	var members []member
	c.pos++
	c.out = append(c.out, '{')
	first := len(c.out)
	for c.peek() != '}' {
		if c.in[c.pos] == ',' {
			c.pos++
			c.peek()
		}
		m := member{start: len(c.out), name: c.text()}
		c.put(m.name)
		c.peek() // the colon
		c.pos++
		c.out = append(c.out, ':')
		if err := c.value(); err != nil {
			return err
		}
		m.end = len(c.out)
		members = append(members, m)
		c.out = append(c.out, ',')
	}
	c.pos++
	order := func(a, b member) int { return cmp.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(members, order) {
		slices.SortFunc(members, order)
		body := bytes.Clone(c.out[first:])
		c.out = c.out[:first]
		for _, m := range members {
			c.out = append(append(c.out, body[m.start-first:m.end-first]...), ',')
		}
	}
	c.out = append(bytes.TrimSuffix(c.out, []byte{','}), '}')
	return nil
}

// text reads the string that begins here.
func (c *canon) text() string {
	start, escaped := c.pos, false
	for c.pos++; c.in[c.pos] != '"'; c.pos++ {
		if c.in[c.pos] == '\\' {
			escaped = true
			c.pos++
		}
	}
	c.pos++
	if !escaped {
		return string(c.in[start+1 : c.pos-1])
	}
	var s string
	_ = json.Unmarshal(c.in[start:c.pos], &s) // strict has read it
	return s
}

func (c *canon) put(s string) {
	c.out = append(c.out, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			c.out = append(c.out, '\\')
		}
		c.out = append(c.out, s[i])
	}
	c.out = append(c.out, '"')
}
