package remediate

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"holdfast/actuators"
	"holdfast/remediate/ladder"
)

// A step is what a climb waits for.
type step uint8

const (
	resting  step = iota
	planning      // the answer to repair.plan
	stepping      // the deed
	settling      // until
	watching      // the symptom
	ending        // the answer to repair.end
	unsaid        // until: repair.end came to nobody
	recalled      // the playbooks, after a restart
)

// Pauses and bounds of a climb.
const (
	askAgain    = 30 * time.Second // after a refusal that names no time
	watchLimit  = 10 * time.Minute // without a word of what the symptom is about; longer where that is read more seldom
	watchRounds = 3                // times Windows: then the rung has not helped
	askLimit    = 30 * time.Second // for whoever is asked, beside the deed
	vainMost    = 7                // askAgain doubled so often is an hour
	freely      = 8                // refusals of one diagnosis that are told as they come; of later ones one in tellPause
	tellPause   = 10 * time.Minute
	memoTexts   = 1 << 10
)

// An Ask is a deed that somebody with power is to do. One is under way at a time, and is answered with Answered.
type Ask struct {
	Tell  map[string]any // an event of kind "repair" that has to be on flash before; nil for none
	Verb  string
	Args  actuators.Args
	Limit time.Duration
}

// A climb is the one repair under way.
type climb struct {
	memo
	step    step
	of      *Diagnosis // nil after a restart
	plan    *plan
	timeout time.Duration
	until   time.Time // of settling, of watching, and of unsaid
	counted int       // rounds in which the symptom was looked at
	clean   int       // of them in a row without it
	fed     bool      // something that the symptom is about was heard since the last round
	helped  bool
	next    map[string]time.Time // when a fault is looked at again
}

// A memo is what outlives a restart of the machine in the middle of a repair.
type memo struct {
	Fault  string             `json:"fault"`
	Rung   int                `json:"rung"`
	Name   string             `json:"name"`
	Do     string             `json:"do"`
	Values map[string]string  `json:"values,omitempty"`
	Settle float64            `json:"settle_seconds"`
	Since  time.Time          `json:"since"`
	Before map[string]float64 `json:"before,omitempty"`
}

// climbOn begins a repair where one is due, or goes on with the one under way.
func (r *Rules) climbOn(now time.Time) {
	c := &r.climb
	switch {
	case r.o.Ask == nil:
	case c.step == resting:
		r.seek(now)
	case c.step == settling && !now.Before(c.until):
		c.step = watching
		r.watch(now)
	case c.step == watching && !now.Before(c.until):
		r.finish(now, false, fmt.Sprintf("nothing was heard of it for %v", c.plan.patience(r.o.Stale)))
	case c.step == unsaid && !now.Before(c.until):
		r.close(c.helped)
	}
}

// watch begins to count rounds without the symptom.
func (r *Rules) watch(now time.Time) {
	c := &r.climb
	c.until, c.counted, c.clean, c.fed = now.Add(c.plan.patience(r.o.Stale)), 0, 0, false
	if c.plan != nil {
		c.plan.after.want, c.plan.after.seen = c.Values, false
	}
}

// climbRound counts a round in which the symptom was looked at.
func (r *Rules) climbRound(now time.Time) {
	c := &r.climb
	if c.step != watching || !c.fed || c.plan == nil {
		return
	}
	w := c.plan.after
	c.counted++
	c.clean++
	if w.seen {
		c.clean = 0
	}
	c.fed, w.seen, c.until = false, false, now.Add(c.plan.patience(r.o.Stale))
	switch {
	case c.clean >= c.plan.Windows:
		r.finish(now, true, "")
	case c.counted >= watchRounds*c.plan.Windows:
		r.finish(now, false, "the symptom is still there")
	}
}

// seek looks for a diagnosis that something can be done about.
func (r *Rules) seek(now time.Time) {
	c := &r.climb
	for _, d := range r.chart.open {
		p := r.plans[d.Fault]
		if p == nil || d.told || now.Before(c.next[d.Fault]) {
			continue
		}
		values, what := r.valuesOf(now, d, p)
		if what != "" {
			r.refuse(d, "its "+what+" has not matched in the last "+p.Fresh.String())
			continue
		}
		if why := r.held(); why != "" {
			r.refuse(d, why)
			continue
		}
		c.of, c.plan, c.step = d, p, planning
		c.memo = memo{Fault: d.Fault, Values: values}
		r.o.Ask(Ask{Verb: "repair.plan", Args: actuators.Args{"fault": d.Fault}, Limit: askLimit})
		return
	}
}

// held says why nothing may be repaired now, as far as the agent knows.
func (r *Rules) held() string {
	if r.o.Hold == nil {
		return ""
	}
	return r.o.Hold()
}

// valuesOf are what a rung's arguments have places for: of the precondition's row, of the alert's key and of the match that raised it. lacks
// names the statement without which nothing is done and that has not matched: the precondition, or, where there is none and no rule named the
// fault, the symptom.
func (r *Rules) valuesOf(now time.Time, d *Diagnosis, p *plan) (values map[string]string, lacks string) {
	values = map[string]string{}
	for name, v := range d.values {
		if text, ok := v.(string); ok {
			values[name] = text
		}
	}
	maps.Copy(values, d.Key)
	w, what := p.before, "precondition"
	if w == nil {
		if d.ruled() {
			return fitting(values), ""
		}
		w, what = p.after, "symptom"
	}
	row, ok := w.find(now, p.Fresh, values)
	if !ok {
		return nil, what
	}
	maps.Copy(values, row)
	return fitting(values), ""
}

// refuse tells why a diagnosis is not repaired now: when that is another reason, and not as often as reasons may come and go.
func (r *Rules) refuse(d *Diagnosis, why string) {
	d.refused = why
	now := r.o.Clock.Now()
	if d.refusal == why || d.refusals >= freely && now.Sub(d.toldAt) < tellPause {
		return
	}
	d.refusal, d.refusals, d.toldAt = why, d.refusals+1, now
	body := map[string]any{"phase": "refused", "fault": d.Fault, "reason": why}
	d.evidence(body)
	r.o.Event("repair", body)
	r.o.Log.Info("no repair", "fault", d.Fault, "reason", why)
}

// later says when a fault is looked at again.
func (r *Rules) later(now time.Time, wait time.Duration) {
	c := &r.climb
	if c.next == nil {
		c.next = map[string]time.Time{}
	}
	if len(c.next) >= maxDiagnoses {
		maps.DeleteFunc(c.next, func(_ string, at time.Time) bool { return !at.After(now) })
	}
	c.next[c.Fault] = now.Add(max(wait, time.Second))
	c.step, c.of, c.plan, c.memo = resting, nil, nil, memo{}
}

// Answered takes what came of the last Ask.
func (r *Rules) Answered(result actuators.Result, err error) {
	now := r.o.Clock.Now()
	c := &r.climb
	switch c.step {
	case planning:
		r.planned(now, result, err)
	case stepping:
		r.stepped(now, result, err)
	case ending:
		r.ended(now, result, err)
	}
}

// planned takes which rung is next.
func (r *Rules) planned(now time.Time, result actuators.Result, err error) {
	c := &r.climb
	d := c.of
	if err != nil {
		r.refuse(d, err.Error())
		r.later(now, askAgain)
		return
	}
	if why := textOfResult(result, "refused"); why != "" {
		r.refuse(d, why)
		r.later(now, max(seconds(result, "wait_seconds"), askAgain))
		return
	}
	c.Rung, c.Name, c.Do = int(numberOfResult(result, "rung")), textOfResult(result, "name"), textOfResult(result, "do")
	c.timeout, c.Settle = seconds(result, "timeout_seconds"), numberOfResult(result, "settle_seconds")
	c.Since, c.Before = now.Round(0).UTC(), r.measures()
	body := r.repairBody("begun")
	d.evidence(body)
	body["values"], body["before"] = c.Values, c.Before
	if result["armed"] != true {
		body["phase"] = "would"
		d.told, d.refused, d.refusal = true, "", ""
		r.o.Event("repair", body)
		r.o.Log.Info("would repair", "fault", c.Fault, "rung", c.Name, "do", c.Do, "hint", "repairs.armed names the faults that are repaired")
		r.later(now, askAgain)
		return
	}
	if why := r.held(); why != "" { // an output may have been switched meanwhile
		r.refuse(d, why)
		r.later(now, askAgain)
		return
	}
	d.refused, d.refusal = "", ""
	if err := r.remembers(&c.memo); err != nil { // what is not on flash would be forgotten by a restart of the machine
		r.refuse(d, err.Error())
		r.later(now, askAgain)
		return
	}
	c.step = stepping
	args := actuators.Args{"fault": c.Fault, "rung": float64(c.Rung), "values": texts(c.Values), "evidence": evidenceText(d)}
	r.o.Ask(Ask{Tell: body, Verb: "repair.step", Args: args, Limit: c.timeout + askLimit})
}

// stepped takes what came of the deed.
func (r *Rules) stepped(now time.Time, result actuators.Result, err error) {
	c := &r.climb
	if err == nil && result["would"] == true { // it was disarmed meanwhile
		err = fmt.Errorf("%w: it is not armed any more", actuators.ErrDenied)
	}
	if err == nil && result["local"] == true {
		err = r.local()
	}
	if why := textOfResult(result, "failed"); err == nil && why != "" { // it was counted, and may have been done in part
		err = errors.New(why)
	}
	if err != nil {
		body := r.repairBody("failed")
		body["error"] = clip(err.Error(), maxTextBytes)
		r.o.Event("repair", body)
		r.o.Log.Warn("repair", "fault", c.Fault, "rung", c.Name, "err", err)
		if nothingDone(err) {
			r.forget()
			wait := askAgain << c.of.vain // each time is two events, and as many documents
			c.of.vain = min(c.of.vain+1, vainMost)
			r.later(now, wait)
			return
		}
		if errors.Is(err, ErrLost) { // the machine may be about to restart: whether it helped shows
			r.settling(now)
			return
		}
		r.finish(now, false, "")
		return
	}
	c.of.vain = 0
	body := r.repairBody("done")
	if said, ok := result["result"].(map[string]any); ok {
		body["result"] = brief(said)
	}
	r.o.Event("repair", body)
	r.o.Log.Warn("repair", "fault", c.Fault, "rung", c.Name, "do", c.Do)
	if c.Do == ladder.Ask { // what a person does is not watched: the diagnosis ends when it has helped
		if c.of != nil {
			c.of.told, c.of.asked = true, true
		}
		r.close(false)
		return
	}
	r.settling(now)
}

// settling waits before the symptom is looked at.
func (r *Rules) settling(now time.Time) {
	c := &r.climb
	c.step, c.until = settling, now.Add(time.Duration(min(max(c.Settle, 0), 3600)*float64(time.Second)))
}

// nothingDone reports whether an error means that the deed was refused before it began.
func nothingDone(err error) bool {
	for _, refusal := range []error{actuators.ErrDenied, actuators.ErrInvalid, actuators.ErrLimited, actuators.ErrLocked, actuators.ErrUnknown, ErrNotAsked} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// What became of an Ask that has no answer.
var (
	ErrNotAsked = errors.New("nobody was asked")                // nothing was done
	ErrLost     = errors.New("nobody knows whether it is done") // it may have been
)

// local does what needs no power.
func (r *Rules) local() error {
	c := &r.climb
	if c.Do == ladder.Ask {
		return nil // the event that it is done asks
	}
	if r.o.Local == nil {
		return fmt.Errorf("%s: %w", c.Do, actuators.ErrUnknown)
	}
	return r.o.Local(c.Do)
}

// finish says what came of a rung.
func (r *Rules) finish(now time.Time, helped bool, why string) {
	c := &r.climb
	body := r.repairBody("not_helped")
	if helped {
		body["phase"] = "helped"
	}
	if why != "" {
		body["reason"] = why
	}
	body["began"], body["before"], body["after"] = c.Since, c.Before, r.measures()
	r.o.Event("repair", body)
	r.o.Log.Warn("repair", "fault", c.Fault, "rung", c.Name, "helped", helped)
	r.close(helped)
}

// close tells who counts what came of a rung; it does the undo of one that has not helped.
func (r *Rules) close(helped bool) {
	c := &r.climb
	if c.plan != nil {
		c.plan.after.want = nil
	}
	c.step, c.helped = ending, helped
	args := actuators.Args{"fault": c.Fault, "rung": float64(c.Rung), "helped": helped}
	r.o.Ask(Ask{Verb: "repair.end", Args: args, Limit: c.timeout + askLimit})
}

// ended lets go of a repair. A diagnosis that is still open is looked at again: a rung up where this one has not helped.
func (r *Rules) ended(now time.Time, result actuators.Result, err error) {
	c := &r.climb
	if err != nil {
		r.o.Log.Warn("end of a repair", "fault", c.Fault, "err", err)
	}
	if errors.Is(err, ErrNotAsked) || errors.Is(err, ErrLost) { // as long as it is not said nothing else can be repaired
		c.step, c.until = unsaid, now.Add(askAgain)
		return
	}
	if result["undone"] == true {
		r.o.Event("repair", r.repairBody("undone"))
	}
	r.forget()
	wait := 2 * askAgain // for the diagnosis to end by itself
	if !c.helped {
		wait = time.Second
	}
	r.later(now, wait)
}
