package ladder

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"holdfast/board/strict"
)

// An Error is one thing wrong with a playbook, with its place.
type Error struct {
	File         string
	Line, Column int // from 1; 0 where the place is not known
	Problem      string
	Hint         string
}

func (e *Error) Error() string {
	text := e.File + ": " + e.Problem
	if e.Line > 0 {
		text = fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// What the keys decode to. A pointer tells what is absent from a zero.
type playbookTOML struct {
	Fault        string     `toml:"fault"`
	Help         string     `toml:"help"`
	Precondition string     `toml:"precondition"`
	Fresh        *span      `toml:"fresh"`
	Symptom      string     `toml:"symptom"`
	Windows      *int       `toml:"windows"`
	Upstream     bool       `toml:"upstream"`
	PerHour      *int       `toml:"per_hour"`
	PerDay       *int       `toml:"per_day"`
	Rungs        []rungTOML `toml:"rung"`
}

type rungTOML struct {
	Name    string         `toml:"name"`
	Do      string         `toml:"do"`
	Args    map[string]any `toml:"args"`
	Timeout *span          `toml:"timeout"`
	Settle  *span          `toml:"settle"`
	Undo    *deedTOML      `toml:"undo"`
}

type deedTOML struct {
	Do   string         `toml:"do"`
	Args map[string]any `toml:"args"`
}

// span is a duration as text: "10s", "5m".
type span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10s or 5m", clip(string(text)))
	}
	*s = span(d)
	return nil
}

// The keys, for "did you mean".
var (
	topKeys  = []string{"fault", "help", "precondition", "fresh", "symptom", "windows", "upstream", "per_hour", "per_day", "rung"}
	rungKeys = []string{"name", "do", "args", "timeout", "settle", "undo"}
)

var (
	faultPattern = strict.Pattern(`^[a-z][a-z0-9_]{0,31}$`)
	rungPattern  = strict.Pattern(`^[a-z0-9-]{1,32}$`)
	argPattern   = strict.Pattern(`^[a-z][a-z0-9_]{0,31}$`)
)

// IsFault reports whether a text can be the name of a fault.
func IsFault(text string) bool { return faultPattern(text) }

// Parse reads one playbook. Errors are of type *Error; several are joined.
func Parse(name string, text []byte) (*Playbook, error) {
	if len(text) > MaxBytes {
		return nil, &Error{File: name, Problem: fmt.Sprintf("longer than %d bytes", MaxBytes)}
	}
	var t playbookTOML
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return nil, located(name, err)
	}
	c := checker{file: name, text: text}
	p := c.playbook(&t)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return p, nil
}

// located turns go-toml's errors into ours.
func located(name string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			line, column := e.Position()
			out := &Error{File: name, Line: line, Column: column, Problem: fmt.Sprintf("no such key %q", clip(strings.Join(e.Key(), ".")))}
			keys := topKeys
			if len(e.Key()) > 1 {
				keys = rungKeys
			}
			if near := strict.Nearest(e.Key()[len(e.Key())-1], keys); near != "" {
				out.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			if errs = append(errs, out); len(errs) == 8 {
				break
			}
		}
		return errors.Join(errs...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		problem := plain(strings.TrimPrefix(wrong.Error(), "toml: "))
		if key := wrong.Key(); len(key) > 0 {
			problem = clip(strings.Join(key, ".")) + ": " + problem
		}
		return &Error{File: name, Line: line, Column: column, Problem: problem}
	}
	return &Error{File: name, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
}

// plain says a type that does not fit in the words of the file, not in those of Go.
func plain(problem string) string {
	rest, ok := strings.CutPrefix(problem, "cannot decode TOML ")
	if !ok {
		return problem
	}
	have, _, _ := strings.Cut(rest, " into ")
	return "this key does not take a value of the type " + have
}

// A checker finds values that are of the right type and still wrong.
type checker struct {
	file string
	text []byte
	rung int // the one that is looked at, from 0; -1 for the top
	errs []error
}

func (c *checker) bad(ok bool, key, hint, problem string, args ...any) {
	if ok || len(c.errs) >= 8 {
		return
	}
	e := &Error{File: c.file, Problem: key + ": " + fmt.Sprintf(problem, args...), Hint: hint}
	if c.rung >= 0 {
		e.Problem = fmt.Sprintf("rung %d: %s", c.rung+1, e.Problem)
	}
	e.Line, e.Column = place(c.text, c.rung, key)
	c.errs = append(c.errs, e)
}

func (c *checker) playbook(t *playbookTOML) *Playbook {
	c.rung = -1
	p := &Playbook{File: c.file, Fault: t.Fault, Help: t.Help, Precondition: t.Precondition, Symptom: t.Symptom, Upstream: t.Upstream,
		Fresh: orSpan(t.Fresh, time.Minute), Windows: or(t.Windows, 3), PerHour: or(t.PerHour, 4), PerDay: or(t.PerDay, 12)}
	c.bad(faultPattern(p.Fault), "fault", "", "wants the name of a fault: a letter, then at most 31 of a-z, 0-9 and '_'")
	c.bad(p.Fault != "normal" && p.Fault != "unknown", "fault", "", "%s is no fault", p.Fault)
	c.bad(p.Help != "" && len(p.Help) <= maxHelp && !strings.ContainsAny(p.Help, "\r\n\x00"), "help", "", "wants one line of 1 to %d bytes", maxHelp)
	c.bad(len(p.Precondition) <= maxEPL, "precondition", "", "longer than %d bytes", maxEPL)
	c.bad(strings.TrimSpace(p.Symptom) != "" && len(p.Symptom) <= maxEPL, "symptom", "a statement that matches as long as the fault is there",
		"wants 1 to %d bytes of EPL", maxEPL)
	c.bad(p.Fresh >= leastFresh && p.Fresh <= oldestFresh, "fresh", "", "%v is not between %v and %v", p.Fresh, leastFresh, oldestFresh)
	c.bad(p.Windows >= 1 && p.Windows <= maxWindows, "windows", "", "%d is not between 1 and %d", p.Windows, maxWindows)
	c.bad(p.PerHour >= 1 && p.PerHour <= maxPerHour, "per_hour", "", "%d is not between 1 and %d", p.PerHour, maxPerHour)
	c.bad(p.PerDay >= 1 && p.PerDay <= maxPerDay, "per_day", "", "%d is not between 1 and %d", p.PerDay, maxPerDay)
	c.bad(len(t.Rungs) >= 1 && len(t.Rungs) <= MaxRungs, "rung", "", "%d rungs, wants 1 to %d", len(t.Rungs), MaxRungs)
	for i := range t.Rungs[:min(len(t.Rungs), MaxRungs)] {
		c.rung = i
		p.Rungs = append(p.Rungs, c.one(&t.Rungs[i], p))
	}
	return p
}

// one checks a rung against those before it.
func (c *checker) one(t *rungTOML, p *Playbook) Rung {
	r := Rung{Name: t.Name, Deed: c.deed("do", "args", t.Do, t.Args), Timeout: orSpan(t.Timeout, time.Minute), Settle: orSpan(t.Settle, 10*time.Second)}
	c.bad(rungPattern(r.Name), "name", "", "wants 1 to 32 of a-z, 0-9 and '-'")
	c.bad(!slices.ContainsFunc(p.Rungs, func(o Rung) bool { return o.Name == r.Name }), "name", "", "another rung is called %q", clip(r.Name))
	c.bad(r.Timeout >= time.Second && r.Timeout <= maxTimeout, "timeout", "", "%v is not between 1s and %v", r.Timeout, maxTimeout)
	c.bad(r.Settle >= 0 && r.Settle <= maxSettle, "settle", "", "%v is not between 0s and %v", r.Settle, maxSettle)
	if n := len(p.Rungs); n > 0 && r.hardness() > 0 && p.Rungs[n-1].hardness() > 0 {
		c.bad(r.hardness() >= p.Rungs[n-1].hardness(), "do", "mildest first: "+order(), "%s is milder than %s before it", r.Do, p.Rungs[n-1].Do)
	}
	c.bad(!p.Upstream || !r.Restarts(), "do", "ask is what is left", "%s, where the fault is upstream: this device is not restarted for what is wrong beyond it", clip(r.Do))
	if t.Undo != nil {
		undo := c.deed("undo", "undo", t.Undo.Do, t.Undo.Args)
		c.bad(undo.hardness() == 0 || undo.hardness() <= mild, "undo", "", "%s is no undo; clean, unit.restart, script and interface.cycle can be", clip(undo.Do))
		r.Undo = &undo
	}
	return r
}

func (c *checker) deed(key, argsKey, do string, args map[string]any) Deed {
	d := Deed{Do: do, Args: make(map[string]any, len(args))}
	hint := "there are " + order()
	if near := strict.Nearest(do, Verbs()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.bad(slices.Contains(Verbs(), do), key, hint, "no rung can be %q", clip(do))
	c.bad(len(args) <= maxArgs, argsKey, "", "more than %d arguments", maxArgs)
	for name, value := range args {
		if len(d.Args) == maxArgs {
			break
		}
		c.bad(argPattern(name), argsKey, "", "%q is no name of an argument", clip(name))
		typed, err := argument(value)
		c.bad(err == nil, argsKey, "", "%s: %v", clip(name), err)
		d.Args[name] = typed
	}
	if do == UpdateRollback {
		kind, _ := d.Args["kind"].(string)
		c.bad(slices.Contains(kinds, kind), argsKey, `as in args = { kind = "content" }`, "kind: wants one of %s", strings.Join(kinds, ", "))
	}
	return d
}

// argument checks a value of args and returns it as a Deed has it.
func argument(value any) (any, error) {
	switch value := value.(type) {
	case bool, int64, float64:
		return value, nil
	case string:
		return value, text(value)
	case []any:
		if len(value) > maxList {
			return nil, fmt.Errorf("more than %d texts", maxList)
		}
		list := make([]string, len(value))
		for i, one := range value {
			s, ok := one.(string)
			if !ok {
				return nil, errors.New("a list has texts only")
			}
			if err := text(s); err != nil {
				return nil, err
			}
			list[i] = s
		}
		return list, nil
	}
	return nil, errors.New("wants a text, a number, true or false, or a list of texts")
}

func text(s string) error {
	if len(s) > maxText || strings.ContainsRune(s, 0) {
		return fmt.Errorf("wants at most %d bytes, none of them zero", maxText)
	}
	return places(s, func(string, string) {})
}

// Verbs are the deeds that a rung can be, mildest first.
func Verbs() []string {
	var all []string
	for _, s := range severities {
		all = append(all, s.do)
	}
	return all
}

func order() string { return strings.Join(Verbs(), ", ") }

func or(given *int, otherwise int) int {
	if given == nil {
		return otherwise
	}
	return *given
}

func orSpan(given *span, otherwise time.Duration) time.Duration {
	if given == nil {
		return otherwise
	}
	return time.Duration(*given)
}

// place finds where a key is set: at the top (rung -1), or in the rung with that number, from 0. Where it is not set that is
// the rung's head, and at the top the first line.
func place(text []byte, rung int, key string) (line, column int) {
	at, section := -1, ""
	line, column = 1, 1
	for i, l := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(l)
		indent := strings.Index(l, trimmed) + 1
		if strings.HasPrefix(trimmed, "[") {
			section = strings.Trim(strings.SplitN(trimmed, "#", 2)[0], "[] \t")
			if section == "rung" && strings.HasPrefix(trimmed, "[[") {
				if at++; at == rung {
					line, column = i+1, indent
				}
			}
			if at == rung && section == "rung."+key {
				return i + 1, indent
			}
			continue
		}
		name, _, set := strings.Cut(trimmed, "=")
		if name = strings.TrimSpace(name); set && name == key && at == rung && (section == "" || section == "rung") {
			return i + 1, indent
		}
	}
	return line, column
}
