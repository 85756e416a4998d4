// Package args reads the key=value words of a command line.
package args

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// An Arg is one word: a dotted key and its value as encoding/json has it, numbers as json.Number. A nil value is JSON's
// null.
type Arg struct {
	Path  []string
	Value any
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// Parse reads words of the form key=value, where true, false and what JSON calls a number mean themselves and all else
// is a string, and key:=json. The dots of a key separate the levels of an object.
func Parse(words []string) ([]Arg, error) {
	var list []Arg
	for _, w := range words {
		key, text, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form key=value or key:=json", w)
		}
		key, raw := strings.CutSuffix(key, ":")
		a := Arg{Path: strings.Split(key, "."), Value: plain(text)}
		for _, p := range a.Path {
			if p == "" {
				return nil, fmt.Errorf("%q: a part of the key is empty", w)
			}
		}
		if raw {
			v, err := JSON([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			a.Value = v
		}
		list = append(list, a)
	}
	return list, nil
}

func plain(text string) any {
	switch {
	case text == "true":
		return true
	case text == "false":
		return false
	case number.MatchString(text):
		return json.Number(text)
	}
	return text
}

// JSON reads exactly one value, numbers as json.Number.
func JSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no JSON value")
		}
		return nil, fmt.Errorf("JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("JSON: something follows the value")
	}
	return v, nil
}

// Tree puts the arguments into an object. A key that is given twice, or that is a value in one word and an object in
// another, is an error.
func Tree(list []Arg) (map[string]any, error) {
	root := map[string]any{}
	for _, a := range list {
		at := root
		for _, p := range a.Path[:len(a.Path)-1] {
			if _, there := at[p]; !there {
				at[p] = map[string]any{}
			}
			below, ok := at[p].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s is both a value and an object", strings.Join(a.Path, "."))
			}
			at = below
		}
		last := a.Path[len(a.Path)-1]
		if _, twice := at[last]; twice {
			return nil, fmt.Errorf("%s is given twice", strings.Join(a.Path, "."))
		}
		at[last] = a.Value
	}
	return root, nil
}
