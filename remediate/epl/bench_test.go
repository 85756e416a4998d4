package epl_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"holdfast/remediate/epl"
)

// The streams are of 100 devices that take turns at random, 50 events a second in all. A tenth of the events is above 90, a
// tenth below 10, and the rest is between. `make bench` runs these and compares them with what is promised.
const (
	benchDevices = 100
	benchMillis  = 20
)

var benchRules = map[string]string{
	"filter":   "select deviceId, cpu from D(cpu > 90)",
	"average":  "select deviceId, avg(cpu) as mean from D#time(60 sec) group by deviceId having avg(cpu) > 60",
	"followed": "select a.deviceId as id from pattern [every a=D(cpu > 90) -> b=D(deviceId = a.deviceId, cpu < 10) where timer:within(10 sec)]",
	"absence":  "select a.deviceId as id from pattern [every a=D -> (timer:interval(10 sec) and not D(deviceId = a.deviceId))]",
}

// A stream is an engine with events for it, time and again.
type stream struct {
	engine *epl.Engine
	typ    *epl.Type
	events [][]epl.Value
	now    int64
	next   int
}

func newStream(b *testing.B, bounds epl.Bounds, text string) *stream {
	b.Helper()
	s := &stream{typ: &epl.Type{Name: "D", Properties: []epl.Property{{Name: "deviceId", Kind: epl.Text}, {Name: "cpu", Kind: epl.Double}, {Name: "memory", Kind: epl.Double}}}}
	s.engine = epl.New(epl.Options{Types: []*epl.Type{s.typ}, Bounds: bounds, Listener: func(epl.Output) {}})
	all, err := epl.Parse("bench", text)
	if err == nil {
		_, err = s.engine.Deploy(all...)
	}
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 9))
	ids := make([]epl.Value, benchDevices)
	for i := range ids {
		ids[i] = epl.OfText(fmt.Sprintf("gate-%d", i))
	}
	for range 1 << 12 {
		s.events = append(s.events, []epl.Value{ids[random.IntN(benchDevices)], epl.OfDouble(100 * random.Float64()), epl.OfDouble(100 * random.Float64())})
	}
	for range 2 * len(s.events) { // more than two minutes: all pools and windows have their size
		s.send(b)
	}
	return s
}

func (s *stream) send(b *testing.B) {
	s.now += benchMillis
	s.engine.Advance(s.now)
	if _, err := s.engine.Send(s.typ, s.events[s.next]); err != nil {
		b.Fatal(err)
	}
	s.next = (s.next + 1) & (len(s.events) - 1)
}

// measure sends events and returns the nanoseconds that one takes: of the processor, so that others on the machine matter
// little.
func (s *stream) measure(b *testing.B) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var began time.Duration
	for n := 0; b.Loop(); n++ {
		if n == 0 {
			began = processorTime()
		}
		s.send(b)
	}
	took := processorTime() - began
	s.done(b)
	return float64(took.Nanoseconds()) / float64(b.N)
}

// done fails a run that measured nothing, or something that ran over.
func (s *stream) done(b *testing.B) {
	for _, r := range s.engine.Rules() {
		if st := r.Standing(); st.Matches == 0 || st.Overflows > 0 {
			b.Fatalf("%s: %d matches, %d overflows", r.Name, st.Matches, st.Overflows)
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	for _, name := range []string{"filter", "average", "followed", "absence"} {
		b.Run(name, func(b *testing.B) {
			s := newStream(b, epl.Bounds{}, benchRules[name])
			b.ReportAllocs()
			b.ReportMetric(s.measure(b), "cpu-ns/op")
		})
	}
}

// A hundred rules of the four kinds, each with numbers of its own; an operation is an event to all of them.
func BenchmarkHundredRules(b *testing.B) {
	var text strings.Builder
	for i := range 25 {
		for _, name := range []string{"filter", "average", "followed", "absence"} {
			fmt.Fprintf(&text, "%s;\n", strings.NewReplacer("> 90", fmt.Sprintf("> %d", 80+i/2), "60 sec", fmt.Sprintf("%d sec", 40+i)).Replace(benchRules[name]))
		}
	}
	s := newStream(b, epl.Bounds{}, text.String())
	b.ReportAllocs()
	nanos := s.measure(b)
	b.ReportMetric(nanos, "cpu-ns/op")
	b.ReportMetric(nanos*1000/benchMillis/1e9*100, "%core")
}

// What 60,000 rows of a window take, from an average for each device.
func BenchmarkWindowBytes(b *testing.B) {
	for b.Loop() {
		before := heapBytes()
		s := newStream(b, epl.Bounds{Window: 60_000}, "select deviceId, avg(cpu) as mean from D#length(60000) group by deviceId")
		for range 60_000 {
			s.send(b)
		}
		s.events = nil
		b.ReportMetric(float64(heapBytes()-before), "B/60000rows")
		s.done(b)
	}
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
