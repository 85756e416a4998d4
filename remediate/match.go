package remediate

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"holdfast/remediate/epl"
)

// A match is one row that a rule put out. It is valid during the listener's call.
type match struct {
	columns []string
	row     epl.Row
}

// Bounds of what an alert says.
const (
	maxValues   = 48
	maxKeyBytes = 128 // of one value of a key
	maxKey      = 8   // values
)

// key returns what tells alerts of a rule apart: of @key the columns that it names; otherwise whatever has the name of a
// property by which the catalogue tells several of a kind apart, such as mount, interface or unit. A column a.mount counts
// as mount, and of a whole event its property does.
func (m match) key(of *rule) (key []pair) {
	add := func(name string, v epl.Value) {
		if len(key) < maxKey && !slices.ContainsFunc(key, func(p pair) bool { return p.Name == name }) {
			text := ""
			if !v.Null() {
				text = clip(strings.ToValidUTF8(v.String(), "?"), maxKeyBytes)
			}
			key = append(key, pair{name, text})
		}
	}
	tells := func(column, name string) bool {
		if of.keys != nil {
			return slices.Contains(of.keys, column) || slices.Contains(of.keys, name)
		}
		return isInstance(name)
	}
	for i, column := range m.columns {
		events, many := m.row[i].Events()
		if len(events) == 0 {
			if name := last(column); !many && tells(column, name) {
				add(name, m.row[i].Value())
			}
			continue
		}
		t := events[0].Type()
		for k, p := range t.Properties {
			if !many && tells(column+"."+p.Name, p.Name) {
				add(p.Name, events[0].Value(k))
			}
		}
	}
	return key
}

// isInstance reports whether event types of the catalogue tell several of a kind apart by a property of this name.
func isInstance(name string) bool {
	for i := range sampleTypes {
		if sampleTypes[i][2] == name {
			return name != ""
		}
	}
	return false
}

func last(column string) string { return column[strings.LastIndexByte(column, '.')+1:] }

// values returns the row as it is told: of events their properties, of several events how many there are and the last.
// What is null is left out.
func (m match) values() map[string]any {
	out := map[string]any{}
	left := maxValues
	put := func(into map[string]any, name string, v epl.Value) {
		if v.Null() || left <= 0 {
			return
		}
		left--
		into[name] = told(v)
	}
	for i, column := range m.columns {
		column = clip(column, maxNameBytes)
		events, many := m.row[i].Events()
		if len(events) == 0 {
			put(out, column, m.row[i].Value())
			continue
		}
		one := map[string]any{}
		e := events[len(events)-1]
		for k, p := range e.Type().Properties {
			if p.Name != "deviceId" {
				put(one, p.Name, e.Value(k))
			}
		}
		if many {
			one["events"] = len(events)
		}
		out[column] = one
	}
	return out
}

// told is a value as JSON takes it: finite, and not long.
func told(v epl.Value) any {
	switch x := v.Any().(type) {
	case float64:
		if math.IsInf(x, 0) {
			return nil
		}
		return x
	case string:
		return clip(strings.ToValidUTF8(x, "?"), maxTextBytes)
	default:
		return x
	}
}

// fill puts the row's values in place of {column} in a description. What is no column stays as it is.
func (m match) fill(text string) string {
	var b strings.Builder
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		v, ok := m.find(name)
		if !closed || !ok {
			b.WriteByte('{')
			text = rest
			continue
		}
		b.WriteString(v)
		text = after
	}
	return clip(b.String(), maxTextBytes)
}

// find returns a column's value, or that of a property of an event in it, as people read it.
func (m match) find(name string) (string, bool) {
	for i, column := range m.columns {
		if column == name || last(column) == name {
			return readable(m.row[i].Value()), true
		}
		tag, property, found := strings.Cut(name, ".")
		if events, _ := m.row[i].Events(); found && tag == column && len(events) > 0 {
			e := events[len(events)-1]
			if k := e.Type().Index(property); k >= 0 {
				return readable(e.Value(k)), true
			}
		}
	}
	return "", false
}

// readable is a value in a sentence: a fraction with one digit, a text without its end where it is long.
func readable(v epl.Value) string {
	if f, ok := v.Float(); ok && v.Kind() == epl.Double {
		return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
	}
	if v.Null() {
		return "-"
	}
	return clip(strings.ToValidUTF8(v.String(), "?"), maxNameBytes)
}
