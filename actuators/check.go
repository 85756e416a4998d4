package actuators

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"holdfast/board/strict"
)

// Bounds of arguments, whatever a Param says.
const (
	argsBytes   = 4096 // the JSON object
	textBytes   = 256  // a Text whose Param gives no Max
	listLength  = 16   // a List whose Param gives no Most
	listCeiling = 256  // values read before any Param is looked at
)

// Check reads a JSON object of arguments for v and returns it typed. An empty raw stands for no arguments. Whatever is
// not exactly what v.Params ask for is refused with an error that is ErrInvalid and says which argument and why: one
// that is unknown, given twice, missing, null, of another type, out of range, too long, or not among the choices.
func (v Verb) Check(raw json.RawMessage) (Args, error) {
	given, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", v.Name, ErrInvalid, err)
	}
	return v.check(given)
}

// check returns a copy of given, or why it does not fit v.Params.
func (v Verb) check(given Args) (Args, error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(v.Params, func(p Param) bool { return p.Name == name })
		if i < 0 {
			names := make([]string, len(v.Params))
			for j, p := range v.Params {
				names[j] = p.Name
			}
			return nil, fmt.Errorf("%s: %w: no argument %q%s", v.Name, ErrInvalid, clip(name), meant(name, names))
		}
		if err := v.Params[i].check(given[name]); err != nil {
			return nil, fmt.Errorf("%s: %w: %s: %w", v.Name, ErrInvalid, name, err)
		}
	}
	for _, p := range v.Params {
		if _, ok := given[p.Name]; p.Required && !ok {
			return nil, fmt.Errorf("%s: %w: %s is missing", v.Name, ErrInvalid, p.Name)
		}
	}
	args := make(Args, len(given))
	for name, value := range given {
		if list, ok := value.([]string); ok {
			value = slices.Clone(list)
		}
		args[name] = value
	}
	return args, nil
}

func (p Param) check(value any) error {
	switch value := value.(type) {
	case string:
		if p.Kind == Text {
			return p.checkText(value)
		}
	case float64:
		if p.Kind == Number {
			return p.checkNumber(value)
		}
	case bool:
		if p.Kind == Truth {
			return nil
		}
	case []string:
		if p.Kind == List {
			return p.checkList(value)
		}
	}
	return fmt.Errorf("%s where %s is due", kindOf(value), p.Kind)
}

func (p Param) checkText(s string) error {
	limit := textBytes
	if p.Max > 0 {
		limit = int(p.Max)
	}
	switch {
	case len(s) > limit:
		return fmt.Errorf("%d bytes, at most %d", len(s), limit)
	case !utf8.ValidString(s):
		return errors.New("not UTF-8")
	case strings.ContainsRune(s, 0):
		return errors.New("a zero byte")
	case p.Required && s == "" && len(p.Choices) == 0:
		return errors.New("empty")
	case len(p.Choices) > 0 && !slices.Contains(p.Choices, s):
		return fmt.Errorf("%q is not among the choices%s", clip(s), meant(s, p.Choices))
	}
	return nil
}

func (p Param) checkNumber(f float64) error {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return errors.New("not a finite number")
	case p.Min == 0 && p.Max == 0:
		return nil
	case f < p.Min || f > p.Max:
		return fmt.Errorf("%v is outside %v to %v", f, p.Min, p.Max)
	}
	return nil
}

func (p Param) checkList(list []string) error {
	most := listLength
	if p.Most > 0 {
		most = p.Most
	}
	if len(list) > most {
		return fmt.Errorf("%d texts, at most %d", len(list), most)
	}
	for i, s := range list {
		if err := p.checkText(s); err != nil {
			return fmt.Errorf("text %d: %w", i+1, err)
		}
	}
	return nil
}

func kindOf(value any) string {
	switch value.(type) {
	case string:
		return string(Text)
	case float64:
		return string(Number)
	case bool:
		return string(Truth)
	case []string:
		return string(List)
	case nil:
		return "null"
	}
	return "something else"
}

// decode reads one flat object of texts, numbers, truths and lists of texts.
func decode(raw json.RawMessage) (Args, error) {
	if len(raw) == 0 {
		return Args{}, nil
	}
	tree, err := strict.Tree(raw, strict.Limits{Bytes: argsBytes, Depth: 2, Members: listCeiling})
	if err != nil {
		return nil, err
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	args := make(Args, len(object))
	for name, value := range object {
		if elements, ok := value.([]any); ok {
			value = texts(elements)
		}
		args[name] = value
	}
	return args, nil
}

// texts returns the elements as a []string if they all are texts, and as they are if not.
func texts(elements []any) any {
	list := make([]string, len(elements))
	for i, e := range elements {
		s, ok := e.(string)
		if !ok {
			return elements
		}
		list[i] = s
	}
	return list
}

// meant names the candidate a stranger probably meant, as a hint to append to an error, or nothing when none is near.
func meant(given string, candidates []string) string {
	if near := strict.Nearest(clip(given), candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// clip keeps what a stranger wrote short enough to quote.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
