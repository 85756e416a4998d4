package strict

import (
	"cmp"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// want is what a Go type takes.
type want struct {
	t        reflect.Type // without pointers
	any      bool         // the scan does not judge: an interface, or a type that decodes itself
	nullable bool
}

func wanted(t reflect.Type) want {
	w := want{t: t}
	for {
		if w.t == nil {
			w.any, w.nullable = true, true
			return w
		}
		if decodesItself(w.t) {
			w.any = true
		}
		if w.t.Kind() != reflect.Pointer {
			break
		}
		w.nullable = true
		w.t = w.t.Elem()
	}
	switch w.t.Kind() {
	case reflect.Interface:
		w.any, w.nullable = true, true
	case reflect.Map, reflect.Slice:
		w.nullable = true
	}
	return w
}

func decodesItself(t reflect.Type) bool {
	if t == reflect.TypeFor[json.Number]() {
		return true
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (w want) kind() reflect.Kind { return w.t.Kind() }

func (w want) takesString() bool {
	return w.any || w.kind() == reflect.String || w.kind() == reflect.Slice && w.t.Elem().Kind() == reflect.Uint8
}

func (w want) takesNumber(integer bool) bool {
	if w.any || w.kind() == reflect.Float64 || w.kind() == reflect.Float32 {
		return true
	}
	return integer && w.kind() >= reflect.Int && w.kind() <= reflect.Uintptr
}

func (w want) String() string {
	if w.any {
		return "a value"
	}
	switch k := w.kind(); {
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.String:
		return "a string"
	case k == reflect.Float64 || k == reflect.Float32:
		return "a number"
	case k >= reflect.Int && k <= reflect.Uintptr:
		return "an integer"
	case k == reflect.Slice && w.t.Elem().Kind() == reflect.Uint8:
		return "base64 text"
	case k == reflect.Slice || k == reflect.Array:
		return "an array"
	}
	return "an object"
}

// fieldsOf returns the members of a struct as encoding/json sees them: embedded structs give theirs, the outermost of
// two with one name wins, and two on one level are none unless one alone has the name from its tag.
func (s *scanner) fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known := s.fields[t]; known != nil {
		return known
	}
	fields := map[string]reflect.Type{}
	hidden := map[string]bool{}
	visited := map[reflect.Type]bool{}
	for level := []reflect.Type{t}; len(level) > 0; {
		found := map[string][]field{}
		var next []reflect.Type
		for _, t := range level {
			if !visited[t] {
				visited[t] = true
				next = append(next, fieldsOn(t, found)...)
			}
		}
		for name, list := range found {
			if hidden[name] {
				continue
			}
			hidden[name] = true
			if tagged := slices.DeleteFunc(slices.Clone(list), func(f field) bool { return !f.tagged }); len(tagged) > 0 {
				list = tagged
			}
			if len(list) == 1 {
				fields[name] = list[0].t
			}
		}
		level = next
	}
	s.fields[t] = fields
	return fields
}

type field struct {
	t      reflect.Type
	tagged bool
}

// fieldsOn adds the members t itself declares, and returns the structs it embeds.
func fieldsOn(t reflect.Type, found map[string][]field) (embedded []reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if tag == "-" || !f.IsExported() && !(f.Anonymous && inner.Kind() == reflect.Struct) {
			continue
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			embedded = append(embedded, inner)
			continue
		}
		if !f.IsExported() {
			continue
		}
		ft := f.Type
		if slices.Contains(strings.Split(options, ","), "string") {
			ft = nil // a number or bool inside a string: encoding/json judges
		}
		found[cmp.Or(name, f.Name)] = append(found[cmp.Or(name, f.Name)], field{ft, name != ""})
	}
	return embedded
}

func sortedNames(fields map[string]reflect.Type) []string { return slices.Sorted(maps.Keys(fields)) }
