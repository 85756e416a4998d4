package remediate

import (
	"math"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate/epl"
)

// A Feed makes events of what the agent sees. In steady state it allocates nothing.
type Feed struct {
	shapes  map[string]*shape // of samples, by source
	status  *shape
	link    *shape
	crash   *shape
	present *present
	send    func(t *epl.Type, vals []epl.Value)
}

// A shape is an event type with the values of its next event. The first is the device's, for good.
type shape struct {
	typ    *epl.Type
	vals   []epl.Value
	fields []string
	first  int // value that the first field is
}

// FeedOptions are what a feed is made of.
type FeedOptions struct {
	Device string // every event's deviceId
	// CapacityBits is what counts as 100 % of a network that does not say its speed, in bits per second.
	CapacityBits float64
	// Stale says for how long a reading of a source counts in DeviceStatus; nil: for 30 s.
	Stale func(source string) time.Duration
	// Send takes an event. The values are valid during the call.
	Send func(t *epl.Type, vals []epl.Value)
}

// NewFeed makes a feed of the event types of a catalogue.
func NewFeed(all []EventType, o FeedOptions) *Feed {
	if o.Stale == nil {
		o.Stale = func(string) time.Duration { return 30 * time.Second }
	}
	f := &Feed{shapes: map[string]*shape{}, present: newPresent(o.CapacityBits, o.Stale), send: o.Send}
	for _, e := range all {
		s := &shape{typ: e.Type, vals: make([]epl.Value, len(e.Type.Properties)), fields: e.Fields, first: 1}
		if e.Instance != "" {
			s.first = 2
		}
		s.vals[0] = epl.OfText(o.Device)
		switch e.Type.Name {
		case "DeviceStatus":
			f.status = s
		case "LinkState":
			f.link = s
		case "Crash":
			f.crash = s
		default:
			f.shapes[e.Source] = s
		}
	}
	return f
}

// Sample sends the event of a sample. A source that no event type is made of sends none.
func (f *Feed) Sample(s *collectors.Sample) {
	f.present.take(s)
	h := f.shapes[s.Source]
	if h == nil {
		return
	}
	clear(h.vals[1:])
	if h.first == 2 {
		h.vals[1] = textOf(s.Instance)
	}
	for i := range s.Fields {
		if k := h.find(i, s.Fields[i].Name); k >= 0 {
			h.vals[h.first+k] = valueOf(s.Fields[i].Value, h.typ.Properties[h.first+k].Kind)
		}
	}
	f.send(h.typ, h.vals)
}

// find returns which field has a name, or -1. Sources list their fields in the order of the table, with some left out.
func (h *shape) find(from int, name string) int {
	for n := range h.fields {
		if k := (from + n) % len(h.fields); h.fields[k] == name {
			return k
		}
	}
	return -1
}

// Round sends DeviceStatus with what is known now, and whether the wall clock is trusted.
func (f *Feed) Round(now time.Time, trusted bool) {
	f.present.fill(f.status.vals[1:], now, trusted)
	f.send(f.status.typ, f.status.vals)
}

// Link sends that the connection to the cloud came up, after it was down for a time, or went down.
func (f *Feed) Link(up bool, down time.Duration, reason string) {
	f.present.linkUp = epl.OfBool(up)
	clear(f.link.vals[1:])
	f.link.vals[1], f.link.vals[3] = epl.OfBool(up), textOf(reason)
	if up {
		f.link.vals[2] = epl.OfDouble(down.Seconds())
	}
	f.send(f.link.typ, f.link.vals)
}

// Crash sends a crash of the kernel that was found at the start.
func (f *Feed) Crash(c board.Crash, reset string) {
	for i, text := range []string{c.ID, c.Name, c.Reason, reset, c.Tail} {
		f.crash.vals[1+i] = textOf(text)
	}
	f.send(f.crash.typ, f.crash.vals)
}

// textOf makes a value; an empty text is null.
func textOf(s string) epl.Value {
	if s == "" {
		return epl.Value{}
	}
	return epl.OfText(s)
}

// valueOf makes a value of a kind, or null where it is none: a number that is not finite, or does not fit.
func valueOf(v collectors.Value, kind epl.Kind) epl.Value {
	if kind == epl.Text {
		s, ok := v.Text()
		if !ok {
			return epl.Value{}
		}
		return epl.OfText(s)
	}
	n, ok := v.Number()
	switch {
	case !ok || math.IsNaN(n) || math.IsInf(n, 0):
	case kind == epl.Bool:
		return epl.OfBool(n != 0)
	case kind == epl.Double:
		return epl.OfDouble(n)
	case kind == epl.Int && math.Abs(n) <= math.MaxInt32:
		return epl.OfInt(int32(n))
	case kind == epl.Long && math.Abs(n) < 1<<63:
		return epl.OfLong(int64(n))
	}
	return epl.Value{}
}
