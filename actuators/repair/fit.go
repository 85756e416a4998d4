package repair

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdfast/actuators"
	"holdfast/remediate/ladder"
)

// fits says why a playbook cannot be done on this board: a verb that it does not have, or arguments that the verb does not
// take, as far as they are known before there are values. Where the configuration lists nothing for a verb, such as no unit that
// may be restarted, the playbook is in force: its last rung may be to ask a person.
func (r *Repairs) fits(p *ladder.Playbook) error {
	for i, rung := range p.Rungs {
		deeds := []ladder.Deed{rung.Deed}
		if rung.Undo != nil {
			deeds = append(deeds, *rung.Undo)
		}
		for _, d := range deeds {
			if err := r.fit(d); err != nil {
				return fmt.Errorf("%s: not in force: rung %d, %s: %w", p.File, i+1, rung.Name, err)
			}
		}
	}
	return nil
}

func (r *Repairs) fit(d ladder.Deed) error {
	if d.Local() || d.Do == ladder.SafeEnter {
		return nil
	}
	v, err := r.o.Set.Lookup(d.Do)
	if err != nil {
		return err
	}
	known := map[string]any{}
	var literal []actuators.Param
	for _, name := range slices.Sorted(maps.Keys(d.Args)) {
		i := slices.IndexFunc(v.Params, func(p actuators.Param) bool { return p.Name == name })
		if i < 0 {
			return fmt.Errorf("%s: %w: no argument %q", v.Name, actuators.ErrInvalid, name)
		}
		one := ladder.Deed{Args: map[string]any{name: d.Args[name]}}
		if unused := slices.Equal(v.Params[i].Choices, []string{""}); len(one.Wants()) == 0 && !unused {
			known[name] = typed(v, name, d.Args[name])
			literal = append(literal, v.Params[i])
		}
	}
	for _, p := range v.Params {
		if _, given := d.Args[p.Name]; p.Required && !given {
			literal = append(literal, p)
		}
	}
	v.Params = literal
	raw, err := json.Marshal(known)
	if err == nil {
		_, err = v.Check(raw)
	}
	return err
}

// args are the arguments of a deed with the values in their places, of the types that the verb wants.
func (r *Repairs) args(d ladder.Deed, values map[string]string) (actuators.Args, error) {
	filled, err := d.Fill(values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.Do, actuators.ErrInvalid, err)
	}
	v, err := r.o.Set.Lookup(d.Do)
	args := make(actuators.Args, len(filled))
	for name, value := range filled {
		if err == nil {
			value = typed(v, name, value)
		}
		args[name] = value
	}
	if d.Local() || d.Do == ladder.SafeEnter {
		return args, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.Do, actuators.ErrInvalid, err)
	}
	return v.Check(raw)
}

// typed turns a text into the number, truth or list that the verb wants; one that it does not become stays, and is refused
// by the verb.
func typed(v actuators.Verb, name string, value any) any {
	if n, ok := value.(int64); ok {
		return float64(n)
	}
	text, ok := value.(string)
	if !ok {
		return value
	}
	for _, p := range v.Params {
		if p.Name != name {
			continue
		}
		switch p.Kind {
		case actuators.Number:
			if f, err := strconv.ParseFloat(text, 64); err == nil {
				return f
			}
		case actuators.Truth:
			if b, err := strconv.ParseBool(strings.ToLower(text)); err == nil {
				return b
			}
		}
	}
	return value
}
