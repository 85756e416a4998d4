package remediate

import (
	"log/slog"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate/epl"
)

// Options are what rules need of the agent around them.
type Options struct {
	Device       string
	CapacityBits float64                           // see FeedOptions
	Stale        func(source string) time.Duration // likewise
	Clock        board.Clock
	Files        board.Files
	Limit        func(name string) (float64, bool)      // what limit('cpu') is
	Event        func(kind string, body map[string]any) // takes what is to be told; it is on flash soon, and then sent
	Log          *slog.Logger

	Ask   func(Ask)             // has a deed done; nil where nothing is repaired
	Local func(do string) error // does a deed that needs no power, such as config.rollback
	Hold  func() string         // why nothing may be repaired now, empty when it may
}

// Rules are the rules in force, and the alerts that are open. All methods are called by one goroutine.
type Rules struct {
	o      Options
	engine *epl.Engine
	origin time.Time // the engine's time 0
	feed   *Feed
	set    *set
	fault  string // why the files that were read last are not in force, or not all
	byLive map[*epl.Rule]*rule
	now    *rule // that is being deployed
	failed error // of the event that was sent last

	alerts book
	storm  storm
	chart  chart
	judge  judge
	habits habits

	plans     map[string]*plan // by fault
	planFault string           // why not all playbooks are in force
	watches   map[*epl.Rule]*watch
	fresh     *watch // that is being deployed
	climb     climb
}

// Standing is how the rules do, for people.
type Standing struct {
	Rules     int           `json:"rules"`
	Hash      string        `json:"hash,omitempty"`  // of the files in force
	Fault     string        `json:"fault,omitempty"` // why the files that were read last are not in force, or not all
	Matches   uint64        `json:"matches"`         // of the rules in force, since each was started
	Overflows uint64        `json:"overflows"`       // things that did not fit into what a rule may hold
	Lost      uint64        `json:"lost,omitempty"`  // alerts that were not opened, since too many were
	MaxBytes  int           `json:"max_bytes"`       // what the rules hold at most
	Open      []AlertStatus `json:"open,omitempty"`

	Diagnoses []Diagnosis    `json:"diagnoses,omitempty"` // that are open
	Model     *ModelStanding `json:"model,omitempty"`     // nil without one

	Repairs *RepairStanding `json:"repairs,omitempty"` // nil where nothing is repaired
}

// AlertStatus is one alert that is open.
type AlertStatus struct {
	Rule        string            `json:"rule"`
	Key         map[string]string `json:"key,omitempty"`
	Severity    string            `json:"severity"`
	Description string            `json:"description,omitempty"`
	Since       time.Time         `json:"since"`
	Count       uint64            `json:"count"`
	Repair      string            `json:"repair,omitempty"`
}

// New makes rules without any, and reads which alerts were open when the agent ended.
func New(o Options) *Rules {
	r := &Rules{o: o, origin: o.Clock.Now(), set: &set{}, byLive: map[*epl.Rule]*rule{}, watches: map[*epl.Rule]*watch{}}
	all := Catalogue()
	r.engine = epl.New(epl.Options{Types: Types(all), Listener: r.hear, Limit: o.Limit, Wall: o.Clock.Now})
	r.feed = NewFeed(all, FeedOptions{Device: o.Device, CapacityBits: o.CapacityBits, Stale: o.Stale, Send: r.send})
	r.storm.tell, r.chart.tell = o.Event, o.Event
	if err := r.alerts.recall(o.Files, r.origin); err != nil {
		o.Log.Error("open alerts are lost; they are raised again where their cause lasts", "err", err)
	}
	r.recallHabits()
	if o.Ask != nil {
		if err := r.recallRepair(); err != nil {
			o.Log.Error("which repair was under way is lost", "err", err)
		}
	}
	return r
}

// Load puts the rules of files in force. A statement that was in force and has not changed keeps what it holds. When
// anything is wrong the rules before stay in force, and at the start, when there are none, the files that are right come
// into force; the error names all that is wrong. read is why the files could not be read, and is such a reason, too.
func (r *Rules) Load(files []File, read error) error {
	s, err := (*set)(nil), read
	if err == nil {
		s, err = compile(files)
	}
	r.fault = ""
	if err != nil {
		r.fault = clip(err.Error(), 4*maxTextBytes)
		r.o.Event("rules", map[string]any{"phase": "refused", "error": r.fault, "in_force": r.set.hash})
		r.o.Log.Error("rules are not loaded", "err", err, "in_force", r.set.hash)
		if r.set.hash != "" {
			return err
		}
		if s = soundOf(files); s == nil {
			return err
		}
	}
	now := r.o.Clock.Now()
	r.advance(now)
	if swap := r.deploy(s); swap != nil { // a stream that changed has users that did not
		r.o.Log.Info("all rules begin anew", "reason", swap)
		for _, old := range r.set.rules {
			r.undeploy(old)
		}
		r.set = &set{}
		if swap = r.deploy(s); swap != nil { // they were deployed together a moment ago
			r.fault = swap.Error()
			return swap
		}
	}
	r.set = s
	r.alerts.adopt(s, func(a *alert) { r.end(now, a, nil, "the rule was removed") })
	r.remember(now, true)
	r.settle(now)
	return err
}

// remember opens the diagnoses of alerts that have none: those of before the agent ended, which were told then, and those for which there
// was no room.
func (r *Rules) remember(now time.Time, quiet bool) {
	for _, a := range r.alerts.open {
		if a.repair != "" && r.chart.room(a.repair) && !r.chart.has(func(d *Diagnosis) bool { return d.from == a }) {
			r.chart.named(now, &Diagnosis{Fault: a.repair, By: ByRule, Rule: a.rule, Key: a.keys(), from: a}, quiet)
		}
	}
}

// soundOf compiles those files that are right by themselves and together, nil when there are none.
func soundOf(files []File) *set {
	var sound []File
	for _, f := range files {
		if Check(append(sound, f)) == nil {
			sound = append(sound, f)
		}
	}
	if len(sound) == 0 {
		return nil
	}
	s, err := compile(sound)
	if err != nil {
		return nil
	}
	return s
}

// deploy takes over what did not change and starts the rest. After an error some of s are in force, and none of the rest.
func (r *Rules) deploy(s *set) error {
	kept := map[*rule]bool{}
	for _, n := range s.rules {
		for _, old := range r.set.rules {
			if !kept[old] && old.live != nil && old.name == n.name && old.statement.Text == n.statement.Text {
				n.live, n.told, kept[old] = old.live, old.told, true
				r.byLive[n.live] = n
				break
			}
		}
	}
	for _, old := range r.set.rules {
		if !kept[old] {
			r.undeploy(old)
		}
	}
	for _, n := range s.rules {
		if n.live != nil {
			continue
		}
		r.now = n
		live, err := r.engine.Deploy(n.statement)
		r.now = nil
		if err != nil {
			for _, n := range s.rules {
				r.undeploy(n)
			}
			return err
		}
		n.live = live[0]
		r.byLive[n.live] = n
	}
	return nil
}

func (r *Rules) undeploy(of *rule) {
	if of.live != nil {
		r.engine.Undeploy(of.live)
		delete(r.byLive, of.live)
		of.live = nil
	}
}

// Sample, Round, Link and Crash take what the agent sees; see Feed.
func (r *Rules) Sample(s *collectors.Sample) {
	r.advance(r.o.Clock.Now())
	r.feed.Sample(s)
}

// Round says that the readings that began together are over.
func (r *Rules) Round() {
	now := r.o.Clock.Now()
	r.advance(now)
	r.feed.Round(now, r.o.Clock.Trusted())
	r.row(now)
	r.usual(now)
	r.climbRound(now)
	r.climbOn(now)
}

// Link says that the connection to the cloud came up or went down.
func (r *Rules) Link(up bool, down time.Duration, reason string) {
	r.advance(r.o.Clock.Now())
	r.feed.Link(up, down, reason)
}

// Crash says that the kernel had crashed before this start.
func (r *Rules) Crash(c board.Crash, reset string) {
	r.advance(r.o.Clock.Now())
	r.feed.Crash(c, reset)
}

// Tick does what is due without any event: the timers of rules, reminders, alerts that end by themselves, and what is to
// be written. It is to be called by the time that Next says.
func (r *Rules) Tick() {
	now := r.o.Clock.Now()
	r.advance(now)
	r.settle(now)
	r.climbOn(now)
}

// Rest writes down what is open, before the agent ends.
func (r *Rules) Rest() {
	r.alerts.written = time.Time{}
	r.Tick()
	r.keepHabits(r.o.Clock.Now(), habitsLeast)
}

// tickPause is the least time between two ticks: timers of rules are late by no more, and a board is not woken more often.
const tickPause = 100 * time.Millisecond

// Next returns when Tick has something to do, zero for never.
func (r *Rules) Next() time.Time {
	at := r.alerts.next()
	if t := r.storm.next(); !t.IsZero() && (at.IsZero() || t.Before(at)) {
		at = t
	}
	if c := &r.climb; (c.step == settling || c.step == watching || c.step == unsaid) && (at.IsZero() || c.until.Before(at)) {
		at = c.until
	}
	if due, ok := r.engine.Due(); ok {
		if t := r.origin.Add(time.Duration(due) * time.Millisecond); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if least := r.origin.Add(time.Duration(r.engine.Now())*time.Millisecond + tickPause); !at.IsZero() && at.Before(least) {
		at = least
	}
	return at
}

// Overflows tells of rules that could not hold all they would: when it happens first, and each time the count doubled.
func (r *Rules) Overflows() {
	for _, of := range r.set.rules {
		if s := of.live.Standing(); s.Overflows > 0 && s.Overflows >= 2*of.told {
			of.told = s.Overflows
			r.o.Log.Warn("a rule cannot hold all it would", "rule", of.name, "lost", s.Overflows, "holds", s.Holds)
			r.o.Event("rules", map[string]any{"phase": "overflow", "rule": of.name, "count": s.Overflows})
		}
	}
}

// Standing says how the rules do.
func (r *Rules) Standing() Standing {
	s := Standing{Rules: len(r.set.rules), Hash: r.set.hash, Fault: r.fault, Lost: r.alerts.lost, Open: r.alerts.status(),
		Diagnoses: r.chart.standing(), Model: r.judge.standing(), Repairs: r.repairing()}
	for _, of := range r.set.rules {
		one := of.live.Standing()
		s.Matches, s.Overflows, s.MaxBytes = s.Matches+one.Matches, s.Overflows+one.Overflows, s.MaxBytes+one.MaxBytes
	}
	return s
}

// OpenNames are what is reported of open alerts: how many, and the names of the first. It changes when they do.
func (r *Rules) OpenNames(most int) (count int, names []string) { return r.alerts.names(most) }

// Named are the faults that have a name now, each once, and what is in force to name them: the model's id in short, empty without
// one, and why the model that was read last is not in force.
func (r *Rules) Named() (faults []string, model, fault string) {
	return r.chart.names(), r.judge.short, r.judge.fault
}

// Reported is what is reported of the set in force.
func (r *Rules) Reported() (count int, hash, fault string) {
	return len(r.set.rules), r.set.hash, r.fault
}

// advance moves the engine's time.
func (r *Rules) advance(now time.Time) { r.engine.Span(now.Sub(r.origin).Milliseconds()) }

func (r *Rules) send(t *epl.Type, vals []epl.Value) {
	if c := &r.climb; c.step == watching && !c.fed && c.plan != nil {
		c.fed = c.plan.after.looks(t, vals)
	}
	if _, err := r.engine.Send(t, vals); err != nil && r.failed == nil { // a fault of the catalogue: told once
		r.failed = err
		r.o.Log.Error("event not taken", "err", err)
	}
}

// hear takes what a rule puts out.
func (r *Rules) hear(out epl.Output) {
	if w := r.watches[out.Rule]; w != nil || r.fresh != nil {
		if w == nil {
			w = r.fresh
		}
		for _, row := range out.New {
			w.hear(r.o.Clock.Now(), match{columns: out.Rule.Columns(), row: row})
		}
		return
	}
	of := r.byLive[out.Rule]
	if of == nil {
		of = r.now
	}
	if of == nil {
		return
	}
	now := r.o.Clock.Now()
	for _, row := range out.New {
		m := match{columns: out.Rule.Columns(), row: row}
		for _, name := range of.clears {
			r.clear(now, of, name, m)
		}
		if of.raises {
			r.raise(now, of, m)
		}
	}
}

// clip cuts a text at a character's end.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most]
}
