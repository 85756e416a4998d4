package loaders

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Vars are variables of U-Boot's environment. One that is not set is absent or empty, as U-Boot's own shell has it.
type Vars map[string]string

// set returns the variable, or an error that says it is not set.
func (v Vars) set(name string) (string, error) {
	if v[name] == "" {
		return "", fmt.Errorf("%s is not set: the bootloader's script has never run, or is another", name)
	}
	return v[name], nil
}

// number reads a variable as U-Boot's scripts do, in base 10 or 16, between 0 and most.
func (v Vars) number(name string, base uint64, most uint64) (uint64, error) {
	s, err := v.set(name)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range []byte(strings.ToLower(s)) {
		digit := uint64(255)
		switch {
		case '0' <= c && c <= '9':
			digit = uint64(c - '0')
		case 'a' <= c && c <= 'f':
			digit = uint64(c-'a') + 10
		}
		if digit >= base || len(s) > 8 {
			return 0, fmt.Errorf("%s=%.40q: want a number in base %d", name, s, base)
		}
		n = n*base + digit
	}
	if n > most {
		return 0, fmt.Errorf("%s=%s: want at most %d", name, s, most)
	}
	return n, nil
}

// Script returns the variables as fw_setenv of libubootenv reads them from a script: one a line, sorted, as name=value.
// All of them come into force in one write. What cannot be said on a line is an error.
func (v Vars) Script() ([]byte, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if err := check(name, v[name]); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s=%s\n", name, v[name])
	}
	return []byte(b.String()), nil
}

// check takes printable ASCII alone: everything we set is.
func check(name, value string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' }
	if name == "" || len(name) > 64 || name[0] == '#' || strings.ContainsFunc(name, bad) || strings.Contains(name, "=") {
		return fmt.Errorf("variable %.80q: not a name", name)
	}
	if len(value) > 256 || strings.ContainsFunc(value, func(r rune) bool { return r != ' ' && bad(r) }) {
		return fmt.Errorf("variable %s=%.80q: not a value", name, value)
	}
	return nil
}

// Printed reads what fw_printenv printed when asked for the wanted variables: a line name=value for each, once, and no
// other. libubootenv 0.3.2 prints name= where a variable is not set.
func Printed(out []byte, wanted []string) (Vars, error) {
	v := Vars{}
	for line := range strings.Lines(string(out)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, again := v[name]; !ok || again || !slices.Contains(wanted, name) {
			return nil, fmt.Errorf("line %.80q: want each of %s once", line, strings.Join(wanted, " "))
		}
		if err := check(name, value); err != nil {
			return nil, err
		}
		v[name] = value
	}
	for _, name := range wanted {
		if _, ok := v[name]; !ok {
			return nil, fmt.Errorf("nothing of %s", name)
		}
	}
	return v, nil
}
