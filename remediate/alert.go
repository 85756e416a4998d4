package remediate

import (
	"slices"
	"strings"
	"time"
)

// maxOpen bounds the alerts that are open at a time. More are counted by rule, and not opened.
const maxOpen = 128

// An alert is one that is open: from the match that raised it until it is cleared.
type alert struct {
	rule, severity, description, repair string

	of       *rule  // what it goes by; nil as long as no rules are in force after a restart
	key      []pair // what tells it from other alerts of the rule
	since    time.Time
	last     time.Time // match
	reminded time.Time // or raised, or the agent's start
	count    uint64    // matches, of which the first raised it
}

// A pair is one property of a key.
type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (a *alert) remind() time.Duration {
	if a.of == nil {
		return 0
	}
	return a.of.remind
}

func (a *alert) quiet() time.Duration {
	if a.of == nil {
		return forgotten
	}
	return a.of.quiet
}

// raise opens an alert, or counts the match with the one that is open.
func (r *Rules) raise(now time.Time, of *rule, m match) {
	key := m.key(of)
	if a := r.alerts.find(of.name, key); a != nil {
		a.count++
		a.last = now
		return
	}
	if len(r.alerts.open) >= maxOpen {
		r.alerts.lost++
		r.storm.add(now, of.name, raised)
		return
	}
	a := &alert{rule: of.name, severity: of.severity, repair: of.repair, of: of, key: key, since: now.Round(0).UTC(), last: now, reminded: now, count: 1}
	a.description = m.fill(of.description)
	r.alerts.open = append(r.alerts.open, a)
	r.alerts.touch(a)
	body := a.body(raised)
	if v := m.values(); len(v) > 0 {
		body["values"] = v
	}
	if a.repair != "" {
		body["repair"] = a.repair
	}
	told := r.storm.event(now, of.name, raised, body)
	if told {
		r.o.Log.Warn("alert raised", "rule", a.rule, "key", a.label(), "severity", a.severity)
	}
	if a.repair != "" {
		r.blame(now, a, m.values(), !told)
	}
}

// blame makes a diagnosis of an alert whose rule names a fault. What the forest said of it has been overtaken.
func (r *Rules) blame(now time.Time, a *alert, values map[string]any, quiet bool) {
	r.chart.over("rule "+a.rule+" names "+a.repair, false, func(d *Diagnosis) bool { return !d.ruled() })
	r.chart.named(now, &Diagnosis{Fault: a.repair, By: ByRule, Rule: a.rule, Key: a.keys(), values: values, from: a}, quiet)
}

// clear ends the alerts of a rule whose keys have all that the match's key has.
func (r *Rules) clear(now time.Time, by *rule, name string, m match) {
	if !slices.ContainsFunc(r.alerts.open, func(a *alert) bool { return a.rule == name }) {
		return
	}
	key := m.key(by)
	for _, a := range slices.Clone(r.alerts.open) {
		if a.rule == name && a.has(key) {
			r.end(now, a, &m, by.name)
		}
	}
}

// end closes an alert. by is the rule that cleared it, or, without a match, the reason.
func (r *Rules) end(now time.Time, a *alert, m *match, by string) {
	r.alerts.open = slices.DeleteFunc(r.alerts.open, func(o *alert) bool { return o == a })
	r.alerts.changed = true
	body := a.body(cleared)
	if m == nil {
		body["reason"] = by
	} else {
		body["by"] = by
		if v := m.values(); len(v) > 0 {
			body["values"] = v
		}
	}
	told := r.storm.event(now, a.rule, cleared, body)
	if told {
		r.o.Log.Info("alert cleared", "rule", a.rule, "key", a.label(), "by", by)
	}
	r.chart.over("its alert was cleared", !told, func(d *Diagnosis) bool { return d.from == a })
}

// settle reminds, ends what has been quiet for long, writes down what changed, and tells what a storm held back.
func (r *Rules) settle(now time.Time) {
	for _, a := range slices.Clone(r.alerts.open) {
		switch {
		case now.Sub(a.last) >= a.quiet():
			r.end(now, a, nil, "nothing matched for "+a.quiet().String())
		case a.remind() > 0 && now.Sub(a.reminded) >= a.remind():
			a.reminded = now
			r.storm.event(now, a.rule, reminded, a.body(reminded))
		}
	}
	r.remember(now, false)
	r.storm.settle(now)
	if err := r.alerts.save(now); err != nil {
		r.o.Log.Warn("open alerts cannot be written; tried again", "err", err)
	}
	r.alerts.due = time.Time{}
	for _, a := range r.alerts.open {
		r.alerts.sooner(a)
	}
}

// has reports whether the alert's key has all that key has.
func (a *alert) has(key []pair) bool {
	for _, p := range key {
		if !slices.Contains(a.key, p) {
			return false
		}
	}
	return true
}

// label is the key as people read it.
func (a *alert) label() string {
	words := make([]string, len(a.key))
	for i, p := range a.key {
		words[i] = p.Name + "=" + p.Value
	}
	return strings.Join(words, " ")
}

func (a *alert) keys() map[string]string {
	if len(a.key) == 0 {
		return nil
	}
	m := make(map[string]string, len(a.key))
	for _, p := range a.key {
		m[p.Name] = p.Value
	}
	return m
}

// body is what is told of an alert.
func (a *alert) body(p phase) map[string]any {
	body := map[string]any{"phase": p.String(), "rule": a.rule, "severity": a.severity, "since": a.since, "count": a.count}
	if k := a.keys(); k != nil {
		body["key"] = k
	}
	if a.description != "" {
		body["description"] = a.description
	}
	return body
}

// A book is the alerts that are open.
type book struct {
	shelf
	open []*alert
	due  time.Time // when an alert is to be reminded of, or ends; never later than that
	lost uint64    // alerts that were not opened
}

func (b *book) find(rule string, key []pair) *alert {
	for _, a := range b.open {
		if a.rule == rule && slices.Equal(a.key, key) {
			return a
		}
	}
	return nil
}

// touch notes that an alert is new.
func (b *book) touch(a *alert) {
	b.changed = true
	b.sooner(a)
}

func (b *book) sooner(a *alert) {
	at := a.last.Add(a.quiet())
	if d := a.remind(); d > 0 && a.reminded.Add(d).Before(at) {
		at = a.reminded.Add(d)
	}
	if b.due.IsZero() || at.Before(b.due) {
		b.due = at
	}
}

// next is when there is something to do, zero for never.
func (b *book) next() time.Time {
	if at := b.saving(); !at.IsZero() && (b.due.IsZero() || at.Before(b.due)) {
		return at
	}
	return b.due
}

// adopt has the alerts go by the rules of a set, and ends those whose rule is gone.
func (b *book) adopt(s *set, gone func(*alert)) {
	for _, a := range slices.Clone(b.open) {
		if a.of = s.named(a.rule); a.of == nil || !a.of.raises {
			a.of = nil
			gone(a)
			continue
		}
		b.sooner(a)
	}
}

func (b *book) status() []AlertStatus {
	var all []AlertStatus
	for _, a := range b.open {
		all = append(all, AlertStatus{Rule: a.rule, Key: a.keys(), Severity: a.severity, Description: a.description, Since: a.since, Count: a.count,
			Repair: a.repair})
	}
	return all
}

func (b *book) names(most int) (int, []string) {
	var names []string
	for _, a := range b.open[:min(most, len(b.open))] {
		name := a.rule
		if len(a.key) > 0 {
			name += " " + a.label()
		}
		names = append(names, clip(name, maxNameBytes))
	}
	return len(b.open), names
}
