package sensors

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
)

// A thing is a directory with several attributes that belong together.
type thing struct {
	name, at string // the instance is name, or where there are several of the name name:at
	instance string
	dir      string
	told     bool // what does not change, since it was listed
	seen     bool // it has answered
	lost     bool // and is not listed any more: its directory may be another's
	judges   [3]doubt.Judge
}

// things is a source with a sample for each directory below one of sysfs.
type things struct {
	Options
	name   string
	dirs   string                                                      // where they are
	prefix string                                                      // of their names
	below  string                                                      // where the attributes are in them
	more   func(sys string) []*thing                                   // others of the kind; may be nil
	take   func(h *things, t *thing, s *collectors.Sample) doubt.Fault // reads one

	r      reader
	list   []*thing
	listed time.Time
	stale  time.Duration // how long the list is believed
}

// Name implements collectors.Source.
func (h *things) Name() string { return h.name }

// Collect implements collectors.Source.
func (h *things) Collect(ctx context.Context, emit collectors.Emit) error {
	if now := h.Now(); len(h.list) == 0 || now.Sub(h.listed) >= h.stale {
		h.relist()
		h.listed = now
	}
	h.stale = relistAfter
	t := tally{}
	for _, one := range h.list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s, fault := fieldsOf(h.name, one.instance, 6), doubt.Gone
		if !one.lost {
			fault = h.take(h, one, &s)
		}
		if len(s.Fields) == 0 && fault == doubt.None {
			if !one.seen {
				continue
			}
			fault = doubt.Gone
		}
		if fault == doubt.Gone {
			h.stale = seekAfter
		}
		one.seen, one.told, t.spoke = true, true, true
		if fault != doubt.None {
			s.Str("fault", string(fault))
		}
		emit(s)
	}
	return t.verdict(h.dirs)
}

// relist finds the things anew, as gauges.relist does: one that stays keeps its name and its memory, one that answered once
// and is not there is gone, until another comes that is called so.
func (h *things) relist() {
	known, lost, taken := map[string]*thing{}, map[string]*thing{}, map[string]bool{}
	for _, t := range h.list {
		if t.told = false; t.seen && !t.lost {
			known[t.dir] = t
		} else if t.seen {
			lost[t.instance] = t
		}
	}
	var list, fresh []*thing
	for _, t := range h.find() {
		if old := known[t.dir]; old != nil && old.name == t.name {
			taken[old.instance] = true
			list = append(list, old)
			delete(known, t.dir)
		} else {
			fresh = append(fresh, t)
		}
	}
	for _, t := range known {
		lost[t.instance] = t
	}
	for _, t := range fresh {
		if t.instance = t.name; taken[t.instance] {
			t.instance += ":" + t.at
		}
		if taken[t.instance] || len(list) == maxInstances {
			continue
		}
		if old := lost[t.instance]; old != nil {
			t.judges, t.seen = old.judges, true
			delete(lost, t.instance)
		}
		taken[t.instance] = true
		list = append(list, t)
	}
	for _, t := range h.list { // in their order
		if lost[t.instance] == t && len(list) < maxInstances {
			t.lost = true
			list = append(list, t)
		}
	}
	h.list = list
}

// find lists what is there.
func (h *things) find() []*thing {
	var found []*thing
	for _, e := range entries(filepath.Join(h.Root, "/", h.dirs)) {
		if stem, n := numbered(e); h.prefix == "" || stem == h.prefix && n >= 0 {
			t := &thing{name: e, at: e, dir: h.Root + "/" + h.dirs + "/" + e + h.below}
			if h.prefix == "cooling_device" {
				t.name = cmp.Or(h.r.label(t.dir+"/type"), e)
			}
			found = append(found, t)
		}
	}
	if h.more != nil {
		found = append(found, h.more(h.Root+"/sys")...)
	}
	return found
}

// cooling reads how hard a fan, or the throttling of a processor, is at work.
func cooling(h *things, t *thing, s *collectors.Sample) doubt.Fault {
	state, err := h.r.number(t.dir + "/cur_state")
	most, err2 := h.r.number(t.dir + "/max_state")
	if err == nil && err2 == nil && most > 0 && state >= 0 {
		s.Num("state_ratio", min(state/most, 1))
	}
	return doubt.None
}

// supply reads a battery, charger or mains (Documentation/ABI/testing/sysfs-class-power).
func supply(h *things, t *thing, s *collectors.Sample) (fault doubt.Fault) {
	for _, f := range [...]struct{ file, field string }{{"online", "online"}, {"present", "present"}} {
		if b, err := h.r.text(t.dir + "/" + f.file); err == nil && len(b) > 0 {
			truth(s, f.field, b[0] != '0') // 2 is online by a programmable supply
		}
	}
	for _, name := range [...]string{"status", "health"} {
		if text := h.r.label(t.dir + "/" + name); text != "" {
			s.Str(name, strings.ToLower(text))
		}
	}
	if v, err := h.r.number(t.dir + "/capacity"); err == nil && v >= 0 && v <= 100 {
		s.Num("charge_ratio", v/100)
	}
	for i, f := range [...]struct {
		file, field string
		factor      float64
		limits      doubt.Limits
	}{{"voltage_now", "voltage_volts", 1e-6, doubt.Limits{}}, {"current_now", "current_amperes", 1e-6, doubt.Limits{}},
		{"temp", "temperature_celsius", 0.1, degrees}} {
		v, err := h.r.number(t.dir + "/" + f.file)
		if err != nil {
			continue
		}
		v *= f.factor
		wrong := t.judges[i].Judge(h.Rules.Limits(h.name, t.instance, f.field, f.limits), v)
		if wrong == doubt.None {
			s.Num(f.field, v)
		} else if fault == doubt.None {
			fault = wrong
			s.Str("fault_field", f.field)
		}
	}
	return fault
}
