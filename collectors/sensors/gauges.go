package sensors

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
)

// A channel is one measure of one sensor: where it is read, and what is believed of it.
type channel struct {
	name, at string // the instance is name, or where there are several of the name name:at
	suffix   string // behind that, such as /in0
	instance string
	field    string                                                    // empty: there are only alarms
	path     string                                                    // of the number, and what tells channels apart
	read     func(r *reader, c *channel) (float64, doubt.Fault, error) // in the field's unit
	scale    string                                                    // of iio: the file with a factor, may be empty
	offset   string                                                    // of iio: the file with what is added before that
	factor   float64                                                   // what makes the field's unit of the number
	alarms   []string                                                  // files that say 1 while a limit is crossed
	broken   string                                                    // file that says 1 while the sensor is open or shorted
	critical string                                                    // file with the limit, in the number's unit
	limits   doubt.Limits

	judge doubt.Judge
	told  bool // critical, since it was listed
	seen  bool // it has answered
	gone  bool // and does not now
	lost  bool // and is not listed any more: its path may be another's
}

// plain reads a file with a number.
func plain(r *reader, c *channel) (float64, doubt.Fault, error) {
	v, err := r.number(c.path)
	return v * c.factor, doubt.None, err
}

// gauges is a source with a sample for each channel.
type gauges struct {
	Options
	name string
	find func(r *reader, sys string) []channel

	r      reader
	list   []*channel
	listed time.Time
}

// Name implements collectors.Source.
func (g *gauges) Name() string { return g.name }

// Collect implements collectors.Source: one sample for each channel that is awake.
func (g *gauges) Collect(ctx context.Context, emit collectors.Emit) error {
	now, stale := g.Now(), relistAfter
	for _, c := range g.list {
		if c.gone {
			stale = seekAfter
		}
	}
	if len(g.list) == 0 || now.Sub(g.listed) >= stale {
		g.relist()
		g.listed = now
	}
	t := tally{spoke: len(g.list) > 0}
	for _, c := range g.list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.take(c, &t, emit)
	}
	return t.verdict(g.name + " sensors")
}

// relist finds the channels anew. One that stays keeps its name and its memory. A name that is free, or whose channel is no
// longer there, goes to a new one: a sensor that is plugged in again has another number. What answered once and is not
// there stays in the list as gone.
func (g *gauges) relist() {
	found := g.find(&g.r, g.Root+"/sys")
	byPath, byName, lost := map[string]*channel{}, map[string]*channel{}, map[string]*channel{}
	for _, c := range g.list {
		if c.lost {
			lost[c.instance] = c
		} else {
			byPath[c.path] = c
		}
	}
	list := make([]*channel, 0, len(found))
	keep := func(c *channel, instance string, old *channel) {
		if c.instance = instance; old != nil {
			c.judge, c.seen, c.gone = old.judge, old.seen, old.gone
		}
		c.limits = g.Rules.Limits(g.name, instance, c.field, c.limits)
		byName[instance] = c
		list = append(list, c)
	}
	var fresh []*channel
	for i := range found {
		c := &found[i]
		if old := byPath[c.path]; old != nil && old.name == c.name && old.suffix == c.suffix {
			keep(c, old.instance, old)
			delete(byPath, c.path)
		} else {
			fresh = append(fresh, c)
		}
	}
	for _, c := range byPath {
		if c.seen {
			lost[c.instance] = c
		}
	}
	for _, c := range fresh {
		instance := c.name + c.suffix
		if byName[instance] != nil {
			instance = c.name + ":" + c.at + c.suffix
		}
		if byName[instance] != nil || len(list) == maxInstances {
			continue
		}
		keep(c, instance, lost[instance])
		delete(lost, instance)
	}
	for _, c := range g.list { // in their order
		if lost[c.instance] == c && len(list) < maxInstances {
			c.gone, c.lost = true, true
			list = append(list, c)
		}
	}
	g.list = list
}

// take reads one channel and emits what it says.
func (g *gauges) take(c *channel, t *tally, emit collectors.Emit) {
	room := 1
	if len(c.alarms) > 0 {
		room++
	}
	s := fieldsOf(g.name, c.instance, room)
	fault, err := g.measure(c, &s)
	switch {
	case c.lost || c.seen && doubt.Absent(err):
		fault, c.gone = doubt.Gone, true
	case err == nil:
		c.gone = false
		g.extras(c, &s)
		c.seen = c.seen || len(s.Fields) > 0
	case asleep(err), err == unix.ENOENT, err == unix.ENODEV, err == unix.ENXIO, err == unix.ENOTDIR:
		c.gone = false
		return
	default:
		t.fault(c.path, err)
		return
	}
	if fault != doubt.None {
		s.Str("fault", string(fault))
	}
	if len(s.Fields) > 0 {
		emit(s)
	}
}

// measure reads the channel's number into s, unless it is not believed.
func (g *gauges) measure(c *channel, s *collectors.Sample) (doubt.Fault, error) {
	switch {
	case c.lost:
		return doubt.Gone, nil
	case c.field == "": // nothing but alarms
		_, err := g.r.text(c.alarms[0])
		return doubt.None, err
	case c.broken != "" && g.r.says(c.broken):
		return doubt.Broken, nil
	}
	v, fault, err := c.read(&g.r, c)
	if err != nil || fault != doubt.None {
		return fault, err
	}
	if fault = c.judge.Judge(c.limits, v); fault == doubt.None {
		s.Num(c.field, v)
	}
	return fault, nil
}

// extras adds what the chip says beside the number.
func (g *gauges) extras(c *channel, s *collectors.Sample) {
	if c.critical != "" && !c.told {
		if v, err := g.r.number(c.critical); err == nil && v > 0 {
			s.Num("critical_celsius", v*c.factor)
		}
		c.told = true
	}
	if len(c.alarms) > 0 {
		truth(s, "alarm", slices.ContainsFunc(c.alarms, g.r.says))
	}
}
