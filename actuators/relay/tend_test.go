package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/relay"
	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

// tape is what happened to several lines, in order and with the seconds since its start.
type tape struct {
	mu    sync.Mutex
	start time.Time
	said  []string
	level map[string]bool
	fault map[string]error
}

type wire struct {
	t    *tape
	name string
}

func (w wire) Read() (bool, error) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.level[w.name], nil
}
func (w wire) Drive(high bool) error {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if err := w.t.fault[w.name]; err != nil {
		return err
	}
	if was, known := w.t.level[w.name]; !known || was != high {
		sign := "-"
		if high {
			sign = "+"
		}
		w.t.said = append(w.t.said, fmt.Sprintf("%v %s%s", time.Since(w.t.start), sign, w.name))
	}
	w.t.level[w.name] = high
	return nil
}

// breaks makes a line fail from now on; nil repairs it.
func (t *tape) breaks(name string, err error) { t.mu.Lock(); t.fault[name] = err; t.mu.Unlock() }

// heard returns what was said since the last time.
func (t *tape) heard() (said []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	said, t.said = t.said, nil
	return said
}

// run has f work with a bank that runs, in a bubble, and ends it.
func run(t *testing.T, o relay.Options, relays map[string]relay.Relay, f func(b *relay.Bank, tp *tape)) (end []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tp := &tape{start: time.Now(), level: map[string]bool{}, fault: map[string]error{}}
		for name, r := range relays {
			r.Line = wire{tp, name}
			relays[name] = r
		}
		o.Clock = boardtest.Clock{}
		b, err := relay.New(o, relays)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		f(b, tp)
		tp.heard()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		end = tp.heard()
	})
	return end
}

func want(t *testing.T, tp *tape, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := tp.heard(); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestOutputsAreSafeWhenBeatsStayAway(t *testing.T) {
	end := run(t, relay.Options{Silence: 1500 * time.Millisecond}, map[string]relay.Relay{
		"heater": {MinOn: time.Hour, MaxPerMinute: 1}, "vent": {Safe: true, Initial: true, Shutdown: true},
	}, func(b *relay.Bank, tp *tape) {
		want(t, tp, "initially", "0s -heater", "0s +vent")
		for range 4 {
			b.Beat()
			time.Sleep(500 * time.Millisecond)
		}
		for name, on := range map[string]bool{"heater": true, "vent": false} {
			if _, err := b.Set(name, on); err != nil {
				t.Error(err)
			}
		}
		tp.heard()
		first := b.Beat() // at 2 s
		if first.Silent || first.Silences != 0 {
			t.Errorf("report while beats come: %+v", first)
		}
		time.Sleep(1499 * time.Millisecond)
		want(t, tp, "before the time is over")
		time.Sleep(time.Millisecond)
		want(t, tp, "in spite of every interlock", "3.5s -heater", "3.5s +vent")
		if _, err := b.Set("heater", false); !errors.Is(err, actuators.ErrLocked) || !strings.Contains(err.Error(), "no sign of life") {
			t.Errorf("set before a beat: %v", err)
		}
		time.Sleep(time.Second)
		r := b.Beat()
		if !r.Silent || r.Since != time.Second || r.Silences != 1 || r.Resets != first.Resets+1 || !r.Outputs["heater"].Safe {
			t.Errorf("report after a silence: %+v, before %+v", r, first)
		}
		want(t, tp, "after a beat alone")
		if _, err := b.Set("vent", false); err != nil || b.Report().Outputs["vent"].Safe {
			t.Errorf("set after a beat: %v", err)
		}
		tp.heard()
	})
	if !slices.Equal(end, []string{"4.5s +vent"}) {
		t.Errorf("at the end: %q", end)
	}
}

func TestABankWhoseAgentNeverComesIsSafeAndCountsNoSilence(t *testing.T) {
	run(t, relay.Options{Silence: time.Second}, map[string]relay.Relay{"modem": {Initial: true}}, func(b *relay.Bank, tp *tape) {
		time.Sleep(time.Minute)
		want(t, tp, "safe", "0s +modem", "1s -modem")
		if r := b.Report(); !r.Silent || r.Silences != 0 || r.Since != 59*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

func TestExcludedOutputsAreNeverOnTogether(t *testing.T) {
	run(t, relay.Options{Silence: time.Second}, map[string]relay.Relay{
		"open": {Excludes: []string{"close"}, Safe: true}, "close": {}, "other": {},
	}, func(b *relay.Bank, tp *tape) {
		tp.heard()
		set := func(name string, on, ok bool) {
			t.Helper()
			b.Beat()
			if _, err := b.Set(name, on); (err == nil) != ok || err != nil && !errors.Is(err, actuators.ErrLocked) {
				t.Errorf("set %s %t: %v", name, on, err)
			}
		}
		set("close", true, true)
		set("open", true, false)
		set("other", true, true)
		want(t, tp, "set", "0s +close", "0s +other")
		time.Sleep(time.Second)
		want(t, tp, "off before on", "1s -close", "1s -other", "1s +open")
		set("close", true, false)
		set("open", false, true)
		// One that may be on for all anybody knows excludes as one that is.
		tp.breaks("close", errors.New("gone"))
		if _, err := b.Set("close", true); err == nil || errors.Is(err, actuators.ErrLocked) {
			t.Errorf("set a line that is gone: %v", err)
		}
		set("open", true, false)
		time.Sleep(10 * time.Second)
		want(t, tp, "safe beside one in doubt", "1s -open")
		tp.breaks("close", nil)
		time.Sleep(5 * time.Second)
		if said := tp.heard(); len(said) != 1 || !strings.HasSuffix(said[0], " +open") {
			t.Errorf("after the repair: %q, want open at its safe level", said)
		}
		if r := b.Report(); r.Outputs["close"].On || !r.Outputs["close"].Known {
			t.Errorf("%+v", r)
		}
	})
}

func TestPulsesEndByThemselves(t *testing.T) {
	run(t, relay.Options{}, map[string]relay.Relay{
		"bell": {MinOn: time.Second, MinOff: 2 * time.Second, MaxOn: 10 * time.Second}, "lamp": {Initial: true}, "few": {MaxPerMinute: 3},
	}, func(b *relay.Bank, tp *tape) {
		time.Sleep(2 * time.Second)
		tp.heard()
		pulse := func(name string, on bool, length time.Duration, is error) {
			t.Helper()
			if _, err := b.Pulse(name, on, length); !errors.Is(err, is) {
				t.Errorf("pulse %s %v: %v, want %v", name, length, err, is)
			}
		}
		pulse("bell", true, 0, actuators.ErrInvalid)
		pulse("bell", true, 999*time.Millisecond, actuators.ErrInvalid)
		pulse("bell", true, 11*time.Second, actuators.ErrInvalid)
		pulse("bell", false, time.Second, actuators.ErrInvalid)
		pulse("bell", true, 1500*time.Millisecond, nil)
		pulse("lamp", false, time.Second, nil)
		if left := b.Report().Outputs["bell"].Left; left != 1500*time.Millisecond {
			t.Errorf("%v left", left)
		}
		time.Sleep(time.Minute)
		want(t, tp, "pulses", "2s +bell", "2s -lamp", "3s +lamp", "3.5s -bell")
		if _, err := b.Set("bell", true); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if _, err := b.Set("bell", true); err != nil { // no change, and no more time
			t.Error(err)
		}
		time.Sleep(time.Minute)
		want(t, tp, "the longest time on", "1m2s +bell", "1m12s -bell")
		if _, err := b.Set("bell", true); err != nil {
			t.Error(err)
		}
		time.Sleep(8 * time.Second)
		pulse("bell", true, 5*time.Second, nil) // of which there are 2 left
		time.Sleep(time.Minute)
		want(t, tp, "a pulse beyond the longest time on", "2m3s +bell", "2m13s -bell")
		pulse("lamp", true, 3*time.Second, nil) // it is on already: that ends
		if _, err := b.Set("lamp", true); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		want(t, tp, "a pulse that was set aside")
		pulse("few", true, time.Second, nil)
		time.Sleep(2 * time.Second)
		pulse("few", true, time.Second, actuators.ErrLocked) // its end would be the fourth change
		time.Sleep(57 * time.Second)
		pulse("few", true, time.Second, actuators.ErrLocked)
		time.Sleep(time.Second)
		pulse("few", true, time.Second, nil)
	})
}

func TestALineThatComesBackIsSafeAndWhatItWasToldIsVoid(t *testing.T) {
	end := run(t, relay.Options{}, map[string]relay.Relay{"pump": {}, "fan": {Initial: true, Shutdown: true}}, func(b *relay.Bank, tp *tape) {
		if _, err := b.Set("pump", true); err != nil {
			t.Fatal(err)
		}
		tp.heard()
		before := b.Report().Resets
		tp.breaks("pump", errors.New("chip is gone"))
		time.Sleep(4 * time.Second) // nobody sets it: the bank finds out by itself
		if o := b.Report().Outputs["pump"]; o.Known || o.Fault != "chip is gone" {
			t.Errorf("while it is gone: %+v", o)
		}
		tp.breaks("pump", nil)
		time.Sleep(1100 * time.Millisecond)
		if got := tp.heard(); len(got) != 1 || !strings.HasSuffix(got[0], "-pump") {
			t.Errorf("when it is back: %q", got)
		}
		if r := b.Report(); r.Resets != before+1 || !r.Outputs["pump"].Safe || r.Outputs["pump"].Fault != "" {
			t.Errorf("when it is back: %+v", r)
		}
	})
	if len(end) != 0 { // fan stays on, pump is off
		t.Errorf("at the end: %q", end)
	}
}

func TestAfterTheEndNothingIsSet(t *testing.T) {
	l := &line{}
	b := bank(t, &clock{now: time.Now()}, map[string]relay.Relay{"x": {Line: l, Shutdown: true}})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := b.Run(ctx); err != nil || !l.high {
		t.Errorf("Run = %v, the line is high: %t", err, l.high)
	}
	if _, err := b.Set("x", false); !errors.Is(err, actuators.ErrLocked) {
		t.Errorf("Set = %v", err)
	}
}

func TestWrongRelaysAreRefused(t *testing.T) {
	l := &line{}
	for name, relays := range map[string]map[string]relay.Relay{
		"no line":                  {"x": {}},
		"negative time":            {"x": {Line: l, MinOn: -1}},
		"too many changes":         {"x": {Line: l, MaxPerMinute: 1001}},
		"longer than at most":      {"x": {Line: l, MinOn: time.Minute, MaxOn: time.Second}},
		"on at most, and for good": {"x": {Line: l, MaxOn: time.Second, Safe: true}},
		"excludes nobody":          {"x": {Line: l, Excludes: []string{"y"}}},
		"excludes itself":          {"x": {Line: l, Excludes: []string{"x"}}},
		"both safe":                {"x": {Line: l, Safe: true, Excludes: []string{"y"}}, "y": {Line: l, Safe: true}},
		"both initial":             {"x": {Line: l, Initial: true}, "y": {Line: l, Initial: true, Excludes: []string{"x"}}},
		"both at the end":          {"x": {Line: l, Shutdown: true}, "y": {Line: l, Shutdown: true, Excludes: []string{"x"}}},
	} {
		if _, err := relay.New(relay.Options{Clock: &clock{}}, relays); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// hung is a line of a bus that hangs: it is given up after a second.
type hung struct{ board.Line }

func (hung) Drive(bool) error { time.Sleep(time.Second); return errors.New("timed out") }

// Sixteen relays of an expander whose bus hangs keep nothing else from being safe in time, pulses from ending, nor the watchdog hungry.
func TestABusThatHangsKeepsTheOthersFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fed time.Time
		hungry := time.Duration(0)
		pump, fan := sim.NewOutput("pump", false), sim.NewOutput("fan", false)
		relays := map[string]relay.Relay{"pump": {Line: pump}, "fan": {Line: fan, Safe: true}}
		for i := range 16 {
			relays[fmt.Sprintf("a%02d", i)] = relay.Relay{Line: hung{}} // before the others in every order of names
		}
		b, err := relay.New(relay.Options{Clock: boardtest.Clock{}, Silence: 1500 * time.Millisecond, Progress: func() {
			hungry, fed = max(hungry, time.Since(fed)), time.Now()
		}}, relays)
		if err != nil {
			t.Fatal(err)
		}
		fed, hungry = time.Now(), 0
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { _ = b.Run(ctx) })
		for range 120 { // a minute with an agent
			b.Beat()
			time.Sleep(500 * time.Millisecond)
		}
		if _, err := b.Pulse("pump", true, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); pump.Level(); {
			if b.Beat(); time.Since(began) > 7*time.Second {
				t.Fatal("a pulse of 5 s does not end")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if r := b.Report(); r.Silences != 0 {
			t.Errorf("%d silences of an agent that gives beats", r.Silences)
		}
		if _, err := b.Set("pump", true); err != nil {
			t.Fatal(err)
		}
		b.Beat()
		time.Sleep(3500 * time.Millisecond) // the silence, a line that is being given up, and one more
		if pump.Level() || !fan.Level() {
			t.Errorf("without an agent the pump is %t and the fan %t", pump.Level(), fan.Level())
		}
		stop()
		run.Wait()
		if hungry > 4*time.Second {
			t.Errorf("no progress for %v", hungry)
		}
	})
}
