package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/board/strict"
)

// Settings is what the agent does, as the configuration has it and the desired half of the shadow changes it. Trust
// anchors, allow-lists, limits and the broker's address are not among it: the cloud cannot change those.
type Settings struct {
	Period     time.Duration     // how often a source is read unless Sources says otherwise
	Digest     time.Duration     // 0 sends every reading
	Sources    map[string]Source // what differs for one source, by its name
	Thresholds Thresholds
	LogLevel   slog.Level
	Watch      []string          // systemd units whose state is reported
	Relays     map[string]bool   // outputs that are to be held at a level; what is absent is left alone
	Labels     map[string]string // free-form

	HoldRepairs bool // nothing is repaired
}

// Source is what differs for one source; nil means as everywhere.
type Source struct {
	Enabled  *bool
	Period   *time.Duration
	Digest   *time.Duration
	Deadband *float64 // share of the last sent value, 0 to 1
}

// Thresholds are the limits the shadow names, in percent.
type Thresholds struct {
	CPU     float64 `json:"cpu"`
	Memory  float64 `json:"memory"`
	Network float64 `json:"network"`
}

// Bounds of what the shadow may ask for.
const (
	minPeriod    = time.Second // the configuration file may go lower; the cloud may not
	maxPeriod    = 24 * time.Hour
	maxLabels    = 32
	maxTextBytes = 256
	maxWatch     = 32
)

var (
	unitPattern  = strict.Pattern(`^[A-Za-z0-9:_.@-]{1,200}\.(service|socket|timer|mount|target|path|slice|device|swap|scope)$`)
	labelPattern = strict.Pattern(`^[A-Za-z0-9_./-]{1,64}$`)
)

// Catalogue is what this board has, so that a desired value for what it has not is refused by name.
type Catalogue struct {
	Sources []string // names of collectors
	Relays  []string // names of outputs
}

// Resolve applies a desired document to base. What cannot be applied is left as base has it, and named in refused: path
// to reason. It is pure: the same document over the same base gives the same settings.
func Resolve(base Settings, desired map[string]any, have Catalogue) (s Settings, refused map[string]string) {
	r := &resolver{s: base, have: have, refused: map[string]string{}}
	r.s.Sources, r.s.Relays = maps.Clone(base.Sources), maps.Clone(base.Relays)
	r.s.Labels, r.s.Watch = maps.Clone(base.Labels), slices.Clone(base.Watch)
	for _, key := range slices.Sorted(maps.Keys(desired)) {
		v := desired[key]
		if v == nil { // as in a merge patch: a member that is not there
			continue
		}
		switch key {
		case "cpu":
			r.percent(key, v, &r.s.Thresholds.CPU)
		case "memory":
			r.percent(key, v, &r.s.Thresholds.Memory)
		case "network":
			r.percent(key, v, &r.s.Thresholds.Network)
		case "period":
			r.span(key, v, minPeriod, &r.s.Period)
		case "digest":
			r.span(key, v, 0, &r.s.Digest)
		case "collectors":
			r.members(key, v, r.source)
		case "log":
			r.members(key, v, r.log)
		case "relays":
			r.members(key, v, r.relay)
		case "units":
			r.members(key, v, r.units)
		case "labels":
			r.members(key, v, r.label)
		case "repairs":
			r.members(key, v, r.repairs)
		default:
			r.unknown(strict.Join("", key), key, []string{"cpu", "memory", "network", "period", "digest", "collectors", "log", "relays",
				"units", "labels", "repairs"})
		}
	}
	return r.s, r.refused
}

// resolver walks one document.
type resolver struct {
	s       Settings
	have    Catalogue
	refused map[string]string
}

func (r *resolver) refuse(path, format string, args ...any) {
	r.refused[path] = fmt.Sprintf(format, args...)
}

func (r *resolver) unknown(path, name string, known []string) {
	if near := strict.Nearest(name, known); near != "" {
		r.refuse(path, "no such setting; did you mean %q?", near)
		return
	}
	r.refuse(path, "no such setting")
}

func (r *resolver) members(path string, v any, each func(path, name string, v any)) {
	tree, ok := v.(map[string]any)
	if !ok {
		r.refuse(path, "want an object, not %s", kind(v))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) { // in order, so that bounds cut the same ones every time
		if tree[name] != nil {
			each(strict.Join(path, name), name, tree[name])
		}
	}
}

func (r *resolver) percent(path string, v any, into *float64) {
	n, ok := v.(float64)
	if !ok || n < 0 || n > 100 {
		r.refuse(path, "want a number from 0 to 100, not %s", kind(v))
		return
	}
	*into = n
}

// span reads "10s" or a number of seconds.
func (r *resolver) span(path string, v any, least time.Duration, into *time.Duration) {
	var d time.Duration
	switch x := v.(type) {
	case float64:
		if x >= 0 && x <= maxPeriod.Seconds() {
			d = time.Duration(x * float64(time.Second))
		} else {
			d = -1
		}
	case string:
		var err error
		if d, err = time.ParseDuration(x); err != nil {
			r.refuse(path, "want a duration such as \"10s\", or seconds")
			return
		}
	default:
		r.refuse(path, "want a duration such as \"10s\", or seconds, not %s", kind(v))
		return
	}
	if d < least || d > maxPeriod {
		r.refuse(path, "want %s to %s", least, maxPeriod)
		return
	}
	*into = d
}

func (r *resolver) source(path, name string, v any) {
	if !slices.Contains(r.have.Sources, name) {
		if near := strict.Nearest(name, r.have.Sources); near != "" {
			r.refuse(path, "no such collector; did you mean %q?", near)
		} else {
			r.refuse(path, "no such collector")
		}
		return
	}
	src := r.s.Sources[name]
	r.members(path, v, func(path, key string, v any) {
		switch key {
		case "enabled":
			if b, ok := v.(bool); ok {
				src.Enabled = &b
			} else {
				r.refuse(path, "want true or false, not %s", kind(v))
			}
		case "period":
			d := time.Duration(-1)
			if r.span(path, v, minPeriod, &d); d >= 0 {
				src.Period = &d
			}
		case "digest":
			d := time.Duration(-1)
			if r.span(path, v, 0, &d); d >= 0 {
				src.Digest = &d
			}
		case "deadband":
			if n, ok := v.(float64); ok && n >= 0 && n <= 1 {
				src.Deadband = &n
			} else {
				r.refuse(path, "want a number from 0 to 1, not %s", kind(v))
			}
		default:
			r.unknown(path, key, []string{"enabled", "period", "digest", "deadband"})
		}
	})
	if r.s.Sources == nil {
		r.s.Sources = map[string]Source{}
	}
	r.s.Sources[name] = src
}

func (r *resolver) log(path, name string, v any) {
	if name != "level" {
		r.unknown(path, name, []string{"level"})
		return
	}
	text, _ := v.(string)
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) || level.UnmarshalText([]byte(text)) != nil {
		r.refuse(path, "want debug, info, warn or error")
		return
	}
	r.s.LogLevel = level
}

func (r *resolver) relay(path, name string, v any) {
	on, ok := v.(bool)
	switch {
	case !slices.Contains(r.have.Relays, name):
		r.refuse(path, "no such output on this board")
	case !ok:
		r.refuse(path, "want true or false, not %s", kind(v))
	default:
		if r.s.Relays == nil {
			r.s.Relays = map[string]bool{}
		}
		r.s.Relays[name] = on
	}
}

func (r *resolver) units(path, name string, v any) {
	if name != "watch" {
		r.unknown(path, name, []string{"watch"})
		return
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxWatch {
		r.refuse(path, "want a list of at most %d units", maxWatch)
		return
	}
	watch := make([]string, 0, len(list))
	for _, e := range list {
		unit, ok := e.(string)
		if !ok || !unitPattern(unit) {
			r.refuse(path, "%.64q is not a unit such as ssh.service", fmt.Sprint(e))
			return
		}
		watch = append(watch, unit)
	}
	r.s.Watch = watch
}

func (r *resolver) repairs(path, name string, v any) {
	hold, ok := v.(bool)
	switch {
	case name != "hold":
		r.unknown(path, name, []string{"hold"})
	case !ok:
		r.refuse(path, "want true or false, not %s", kind(v))
	default:
		r.s.HoldRepairs = hold
	}
}

func (r *resolver) label(path, name string, v any) {
	text, ok := v.(string)
	_, known := r.s.Labels[name]
	switch {
	case !labelPattern(name):
		r.refuse(path, "%.64q is not a name of 1 to 64 letters, digits, '-', '_', '.' or '/'", name)
	case !ok || len(text) > maxTextBytes:
		r.refuse(path, "want a text of at most %d bytes", maxTextBytes)
	case len(r.s.Labels) >= maxLabels && !known:
		r.refuse(path, "more than %d labels", maxLabels)
	default:
		if r.s.Labels == nil {
			r.s.Labels = map[string]string{}
		}
		r.s.Labels[name] = text
	}
}

// kind says what a JSON value is, for people.
func kind(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case float64:
		return fmt.Sprintf("%g", x)
	case string:
		return fmt.Sprintf("the text %.40q", x)
	case []any:
		return "a list"
	}
	return "an object"
}

// schedule returns what Source says of one source, filled in from the settings around it.
func (s *Settings) schedule(name string) (period, digest time.Duration, deadband float64) {
	period, digest = s.Period, s.Digest
	src := s.Sources[name]
	if src.Period != nil {
		period = *src.Period
	}
	if src.Digest != nil {
		digest = *src.Digest
	}
	if src.Deadband != nil {
		deadband = *src.Deadband
	}
	if src.Enabled != nil && !*src.Enabled {
		period = 0
	}
	return period, digest, deadband
}

// Tree writes the settings as the reported half of the shadow has them: the same paths as the desired one, so that what
// was applied does not differ.
func (s *Settings) Tree() map[string]any {
	t := map[string]any{
		"period": s.Period.String(), "digest": s.Digest.String(),
		"log": map[string]any{"level": strings.ToLower(s.LogLevel.String())},
	}
	sources := map[string]any{}
	for name, src := range s.Sources {
		one := map[string]any{}
		if src.Enabled != nil {
			one["enabled"] = *src.Enabled
		}
		if src.Period != nil {
			one["period"] = src.Period.String()
		}
		if src.Digest != nil {
			one["digest"] = src.Digest.String()
		}
		if src.Deadband != nil {
			one["deadband"] = *src.Deadband
		}
		if len(one) > 0 {
			sources[name] = one
		}
	}
	if len(sources) > 0 {
		t["collectors"] = sources
	}
	if len(s.Watch) > 0 {
		t["units"] = map[string]any{"watch": s.Watch}
	}
	if len(s.Labels) > 0 {
		labels := map[string]any{} // a tree's type, so that the desired ones merge with it
		for name, text := range s.Labels {
			labels[name] = text
		}
		t["labels"] = labels
	}
	return t
}
