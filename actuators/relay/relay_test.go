package relay_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/relay"
)

type line struct {
	high   bool
	drives int
	err    error
}

func (l *line) Read() (bool, error) { return l.high, l.err }
func (l *line) Drive(high bool) error {
	if l.err != nil {
		return l.err
	}
	l.high = high
	l.drives++
	return nil
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time                                 { return c.now }
func (c *clock) Trusted() bool                                  { return false }
func (c *clock) Timer(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

func bank(t *testing.T, c *clock, relays map[string]relay.Relay) *relay.Bank {
	t.Helper()
	b, err := relay.New(relay.Options{Clock: c}, relays)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheVerbSwitchesTheLineAndSaysSo(t *testing.T) {
	pump := &line{}
	b := bank(t, &clock{now: time.Now()}, map[string]relay.Relay{"pump": {Line: pump}, "fan": {Line: &line{}, Initial: true}})
	s, err := actuators.NewSet(actuators.Options{Clock: &clock{}, Allow: []string{"relay.set"}}, b.Verbs()...)
	if err != nil {
		t.Fatal(err)
	}
	for i, changed := range []bool{true, false} {
		args, err := s.Check("relay.set", json.RawMessage(`{"name":"pump","on":true}`))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Do(t.Context(), "relay.set", args)
		if err != nil || r["on"] != true || r["name"] != "pump" || r["changed"] != changed || !pump.high || pump.drives != i+2 {
			t.Errorf("time %d: %v, %v; the line is %+v", i, r, err, pump)
		}
	}
	if got := b.Report().Outputs; len(got) != 2 || !got["pump"].On || got["pump"].Changes != 1 || !got["fan"].On || got["fan"].Changes != 0 {
		t.Errorf("Report = %+v", got)
	}
	if _, err := s.Check("relay.set", json.RawMessage(`{"name":"pmup","on":true}`)); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("an unknown relay: %v", err)
	}
}

func TestInterlocksHold(t *testing.T) {
	c, l := &clock{now: time.Now()}, &line{}
	b := bank(t, c, map[string]relay.Relay{"x": {Line: l, MinOn: 10 * time.Second, MinOff: 3 * time.Minute}})
	for _, step := range []struct {
		after time.Duration
		on    bool
		ok    bool
	}{
		{0, true, false}, // it may have been on until the agent started
		{3*time.Minute - time.Millisecond, true, false},
		{time.Millisecond, true, true},
		{9 * time.Second, true, true}, // no change
		{0, false, false},
		{time.Second, false, true},
		{2 * time.Minute, true, false},
		{time.Minute, true, true},
	} {
		c.now = c.now.Add(step.after)
		_, err := b.Set("x", step.on)
		if (err == nil) != step.ok || (err != nil && !errors.Is(err, actuators.ErrLocked)) {
			t.Errorf("%+v: %v", step, err)
		}
	}
	if l.drives != 5 || !l.high {
		t.Errorf("the line was driven %d times, high %v", l.drives, l.high)
	}
}

func TestChangesAMinuteAreBounded(t *testing.T) {
	c, l := &clock{now: time.Now()}, &line{}
	b := bank(t, c, map[string]relay.Relay{"x": {Line: l, MaxPerMinute: 4}})
	changes := 0
	for i := range 600 {
		if changed, err := b.Set("x", !l.high); changed {
			changes++
		} else if !errors.Is(err, actuators.ErrLocked) {
			t.Fatalf("second %d: %v", i, err)
		}
		c.now = c.now.Add(time.Second)
	}
	if changes != 40 {
		t.Errorf("%d changes in ten minutes, want 40", changes)
	}
}

func TestALineThatFailsIsInDoubt(t *testing.T) {
	c, l := &clock{now: time.Now()}, &line{}
	b := bank(t, c, map[string]relay.Relay{"x": {Line: l, MinOn: time.Second}})
	c.now = c.now.Add(time.Second)
	l.err = errors.New("gone")
	if _, err := b.Set("x", true); err == nil || !strings.Contains(err.Error(), "relay x: drive line: gone") {
		t.Errorf("Set = %v", err)
	}
	if got := b.Report().Outputs["x"]; got.Known || got.Fault != "gone" {
		t.Errorf("Report = %+v", got)
	}
	l.err = nil
	if _, err := b.Set("x", false); !errors.Is(err, actuators.ErrLocked) {
		t.Errorf("at once after a failure: %v", err)
	}
	c.now = c.now.Add(time.Second)
	if changed, err := b.Set("x", false); !changed || err != nil {
		t.Errorf("later: %v, %v", changed, err)
	}
}

// Who repeats a level and is not obeyed does not know what the line drives now: a compressor may just have stopped.
func TestALevelRepeatedInVainIsInDoubt(t *testing.T) {
	c, l := &clock{now: time.Now()}, &line{}
	b := bank(t, c, map[string]relay.Relay{"x": {Line: l, MinOff: time.Minute}})
	c.now = c.now.Add(time.Hour)
	if _, err := b.Set("x", true); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Hour)
	l.err = errors.New("gone")
	if _, err := b.Set("x", true); err == nil {
		t.Fatal("it obeys")
	}
	l.err = nil
	c.now = c.now.Add(59 * time.Second)
	if _, err := b.Set("x", true); !errors.Is(err, actuators.ErrLocked) {
		t.Errorf("59 s after a failure: %v", err)
	}
	c.now = c.now.Add(time.Second)
	if _, err := b.Set("x", true); err != nil {
		t.Errorf("a minute after it: %v", err)
	}
}

func TestABankIsSafeForManyCallers(t *testing.T) {
	l := &line{}
	b := bank(t, &clock{now: time.Now()}, map[string]relay.Relay{"x": {Line: l}})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { _, _ = b.Set("x", i%2 == 0); b.Report() })
	}
	wg.Wait()
	if l.drives != 51 {
		t.Errorf("%d drives", l.drives)
	}
}
