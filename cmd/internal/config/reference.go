package config

import (
	"fmt"
	"reflect"
	"strings"
)

// A Key is one line of the reference.
type Key struct{ Path, Type, Default, Doc string }

// Keys lists every key, sections first where they begin, in the order of the file. NAME stands for a name of your own.
func Keys() []Key {
	var out []Key
	walk(reflect.ValueOf(Default()), "", &out)
	return out
}

func walk(v reflect.Value, prefix string, out *[]Key) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + f.Tag.Get("toml")
		k := Key{Path: path, Doc: f.Tag.Get("doc")}
		switch fv := v.Field(i); {
		case fv.Kind() == reflect.Struct:
			k.Type = "section"
			*out = append(*out, k)
			walk(fv, path+".", out)
		case fv.Kind() == reflect.Map && fv.Type().Elem().Kind() == reflect.Struct:
			k.Type = "sections"
			*out = append(*out, k)
			walk(reflect.Zero(fv.Type().Elem()), path+".NAME.", out)
		default:
			k.Type, k.Default = kindOf(f.Type), literal(fv)
			*out = append(*out, k)
		}
	}
}

func kindOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Bytes]():
		return "size"
	case reflect.TypeFor[Bits]():
		return "speed"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of text"
	case reflect.Map:
		return "table of text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Float64:
		return "number"
	}
	return "text"
}

// literal writes a value as TOML, "" for one that is absent.
func literal(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case fmt.Stringer:
		if v.Kind() == reflect.Pointer {
			return ""
		}
		return fmt.Sprintf("%q", x.String())
	case string:
		return fmt.Sprintf("%q", x)
	case []string:
		quoted := make([]string, len(x))
		for i, s := range x {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Map {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// Reference writes docs/configuration.md's tables.
func Reference() string {
	var b strings.Builder
	open := false
	for _, k := range Keys() {
		switch k.Type {
		case "section", "sections":
			name := "[" + k.Path + "]"
			if k.Type == "sections" {
				name = "[" + k.Path + ".NAME]"
			}
			fmt.Fprintf(&b, "\n## `%s`\n\n%s\n", name, k.Doc)
			open = false
			continue
		}
		if !open {
			b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
			open = true
		}
		_, leaf := cutLast(k.Path)
		def := ""
		if k.Default != "" && k.Default != `""` {
			def = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", leaf, k.Type, def, k.Doc)
	}
	return b.String()
}
