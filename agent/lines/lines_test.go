package lines_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators/relay"
	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

func TestLinesOfAnotherProcessKeepTheContract(t *testing.T) {
	boardtest.TestLine(t, func(t *testing.T) boardtest.Bench {
		in, out := sim.NewInput("in", false), sim.NewOutput("out", false)
		o := own(t, map[string]relay.Relay{"out": {Line: out}}, map[string]board.Line{"in": in})
		beaten := make(chan struct{}, 1) // the first beat has told how the outputs stand
		c := client(t, lines.ClientOptions{Ask: wireTo(o), Lines: map[string]lines.Use{"in": {}, "out": {Output: true}},
			Back: func(context.Context, map[string]any) error { beaten <- struct{}{}; return nil }})
		end := start(c)
		t.Cleanup(func() { end(); o.stop() })
		<-beaten
		l := c.Lines()
		return boardtest.Bench{Input: l["in"], Apply: in.Set, Output: l["out"], Meter: out.Level, Short: out.Set}
	})
}

func TestOutputsAreSafeWhenTheCoreLoopHangsAndAreRestoredAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pump := sim.NewOutput("pump", false)
		o := own(t, map[string]relay.Relay{"pump": {Line: pump, MinOn: time.Hour}}, nil)
		w, b := wireTo(o), &back{}
		loop := make(chan struct{}, 1) // the core: whoever has it goes round
		loop <- struct{}{}
		c := client(t, lines.ClientOptions{Ask: w, Back: b.take, Lines: map[string]lines.Use{"pump": {Output: true}},
			Turn: func(ctx context.Context) error {
				select {
				case <-loop:
					loop <- struct{}{}
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}})
		stop := start(c)
		time.Sleep(time.Hour)
		if told := b.told(); len(told) != 1 || told[0] != nil {
			t.Errorf("the first beat led to %v, want to set the outputs and nothing worth telling", told)
		}
		if err := c.Lines()["pump"].Drive(true); err != nil || !pump.Level() {
			t.Fatalf("drive: %v", err)
		}
		time.Sleep(time.Hour)
		if high, err := c.Lines()["pump"].Read(); !high || err != nil || !pump.Level() || len(b.told()) != 0 || c.Fault() != "" {
			t.Errorf("while beats come: read %t, %v, pin %t, fault %q", high, err, pump.Level(), c.Fault())
		}
		<-loop // it hangs
		time.Sleep(lines.Silence - lines.BeatEvery - time.Millisecond)
		if !pump.Level() {
			t.Error("safe too early")
		}
		time.Sleep(2*time.Second - (lines.Silence - lines.BeatEvery - time.Millisecond))
		if pump.Level() {
			t.Error("2 s after the loop hung the output is on")
		}
		time.Sleep(10 * time.Second)
		loop <- struct{}{}
		time.Sleep(lines.BeatEvery * 3)
		told := b.told()
		if len(told) != 1 || told[0]["phase"] != "safe" || told[0]["seconds"].(float64) < 9 || told[0]["silences"] != uint64(1) {
			t.Errorf("after that: %v", told)
		}
		if pump.Level() {
			t.Error("a beat alone switched the output on")
		}
		stop()
		o.stop()
	})
}

func TestWhatIsNotDoneIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := own(t, map[string]relay.Relay{"pump": {Line: sim.NewOutput("pump", false)}}, nil)
		b := &back{err: errors.New("the agent is stopping")}
		stop := start(client(t, lines.ClientOptions{Ask: wireTo(o), Back: b.take, Lines: map[string]lines.Use{"pump": {Output: true}}}))
		time.Sleep(2*lines.BeatEvery + lines.BeatEvery/2)
		if n := len(b.told()); n != 3 {
			t.Errorf("%d times, want at each of three beats", n)
		}
		stop()
		o.stop()
	})
}

func TestAProcessThatStartsAnewIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pump := sim.NewOutput("pump", false)
		relays := map[string]relay.Relay{"pump": {Line: pump}}
		first := own(t, relays, nil)
		w, b := wireTo(first), &back{}
		c := client(t, lines.ClientOptions{Ask: w, Back: b.take, Lines: map[string]lines.Use{"pump": {Output: true}, "door": {}}})
		stop := start(c)
		time.Sleep(time.Second)
		b.told()
		w.owner.Store(nil)
		first.stop()
		time.Sleep(3 * time.Second)
		if _, err := c.Lines()["pump"].Read(); !errors.Is(err, errCut) {
			t.Errorf("read while it is gone: %v", err)
		}
		if err := c.Lines()["pump"].Drive(true); !errors.Is(err, errCut) {
			t.Errorf("drive while it is gone: %v", err)
		}
		if !strings.Contains(c.Fault(), "nobody answers") {
			t.Errorf("fault %q", c.Fault())
		}
		second := own(t, relays, nil)
		w.owner.Store(second)
		time.Sleep(time.Second)
		if told := b.told(); len(told) != 1 || told[0]["phase"] != "initial" {
			t.Errorf("told %v", told)
		}
		if c.Fault() != "" {
			t.Errorf("fault %q", c.Fault())
		}
		if _, err := c.Lines()["door"].Read(); err == nil || !strings.Contains(err.Error(), "does not know it") {
			t.Errorf("a line that the process does not have: %v", err)
		}
		stop()
		second.stop()
	})
}

func TestALineThatDoesNotObeyIsAFaultAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pump, fan, door := sim.NewOutput("pump", false), sim.NewOutput("fan", false), sim.NewInput("door", true)
		o := own(t, map[string]relay.Relay{"pump": {Line: pump}, "fan": {Line: fan}}, map[string]board.Line{"door": door, "gate": sim.NewInput("gate", true)})
		b := &back{}
		c := client(t, lines.ClientOptions{Ask: wireTo(o), Back: b.take,
			Lines: map[string]lines.Use{"pump": {Output: true}, "fan": {Output: true}, "door": {}, "gate": {}}})
		stop := start(c)
		time.Sleep(time.Second)
		b.told()
		pump.Break(syscall.ENODEV)
		door.Break(syscall.EBUSY)
		time.Sleep(5 * time.Second)
		l := c.Lines()
		if _, err := l["pump"].Read(); err == nil || !strings.Contains(err.Error(), "no such device") {
			t.Errorf("pump: %v", err)
		}
		if _, err := l["door"].Read(); err == nil || !strings.Contains(err.Error(), "busy") {
			t.Errorf("door: %v", err)
		}
		if _, err := l["fan"].Read(); err != nil {
			t.Errorf("fan: %v", err)
		}
		if high, err := l["gate"].Read(); !high || err != nil {
			t.Errorf("gate: %v", err)
		}
		if !strings.Contains(c.Fault(), "pump: ") {
			t.Errorf("fault %q", c.Fault())
		}
		pump.Break(nil)
		time.Sleep(3 * time.Second)
		if told := b.told(); len(told) != 1 || told[0]["reason"] != "a line did not obey" {
			t.Errorf("told %v", told)
		}
		if _, err := l["pump"].Read(); err != nil {
			t.Errorf("pump, mended: %v", err)
		}
		stop()
		o.stop()
	})
}

// slow is an input whose chip takes its time.
type slow struct{ board.Line }

func (slow) Read() (bool, error) { time.Sleep(5 * time.Second); return false, errors.New("timed out") }

func TestASlowInputKeepsNoBeatBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pump := sim.NewOutput("pump", false)
		o := own(t, map[string]relay.Relay{"pump": {Line: pump}}, map[string]board.Line{"door": slow{}})
		listener, dial := warden.Pipe()
		ctx, hangUp := context.WithCancel(context.Background())
		var served sync.WaitGroup
		served.Go(func() { _ = warden.NewServer(warden.ServerOptions{Set: o.set}).Serve(ctx, listener) })
		c := client(t, lines.ClientOptions{Ask: &warden.Client{Dial: dial, Reach: -1},
			Lines: map[string]lines.Use{"pump": {Output: true}, "door": {}}})
		stop := start(c)
		time.Sleep(time.Second)
		for range 10 {
			if _, err := c.Lines()["door"].Read(); err == nil {
				t.Error("read in time")
			}
			if err := c.Lines()["pump"].Drive(true); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		if r := o.bank.Report(); r.Silences != 0 || !pump.Level() {
			t.Errorf("%+v", r)
		}
		stop()
		hangUp()
		served.Wait()
		o.stop()
	})
}

// A machine whose chips nobody may open says so at length: of each line, and of each chip.
func TestWhatEveryLineHasToSayFitsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := map[string]relay.Relay{}
		const most = 64 // that a configuration can have
		for i := range most {
			out := sim.NewOutput("out", false)
			out.Break(errors.New(strings.Repeat("open /dev/gpiochip0: permission denied\n", 50)))
			relays[fmt.Sprint("out", i)] = relay.Relay{Line: out}
		}
		o := own(t, relays, nil)
		s, err := lines.Ask(t.Context(), wireTo(o))
		if err != nil || len(s.Lines) != most || !strings.Contains(s.Lines["out7"].Error, "permission denied") {
			t.Errorf("%d lines, %v", len(s.Lines), err)
		}
		o.stop()
	})
}

func TestARoundOfReadingsIsOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inputs, uses := map[string]board.Line{}, map[string]lines.Use{}
		for _, name := range []string{"a", "b", "c", "d"} {
			inputs[name], uses[name] = sim.NewInput(name, true), lines.Use{}
		}
		o := own(t, nil, inputs)
		w := wireTo(o)
		l := client(t, lines.ClientOptions{Ask: w, Lines: uses}).Lines()
		for range 10 {
			for name := range l {
				if high, err := l[name].Read(); !high || err != nil {
					t.Errorf("%s: %t, %v", name, high, err)
				}
			}
		}
		if n := w.count("lines.levels"); n < 10 || n > 20 { // ten rounds; two orders of a map may follow so that one asks twice
			t.Errorf("%d questions in ten rounds of four", n)
		}
		w.owner.Store(nil)
		time.Sleep(time.Second)
		before := w.count("lines.levels")
		for range 10 {
			for name := range l {
				if _, err := l[name].Read(); !errors.Is(err, errCut) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := w.count("lines.levels") - before; n != 1 {
			t.Errorf("%d questions to somebody who does not answer, want one a second", n)
		}
		o.stop()
	})
}

func TestALevelSetWhileABeatIsOnItsWayIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := own(t, map[string]relay.Relay{"pump": {Line: sim.NewOutput("pump", false)}}, nil)
		w := wireTo(o)
		c := client(t, lines.ClientOptions{Ask: w, Lines: map[string]lines.Use{"pump": {Output: true}}})
		verb := c.Verbs(relay.Describe("pump"))[0]
		done := false
		w.during = func(v string) {
			if v == "lines.beat" && !done {
				done = true
				time.Sleep(time.Millisecond)
				if _, err := verb.Do(t.Context(), map[string]any{"name": "pump", "on": true}); err != nil {
					t.Error(err)
				}
			}
		}
		stop := start(c)
		time.Sleep(10 * time.Millisecond)
		if high, err := c.Lines()["pump"].Read(); !done || !high || err != nil {
			t.Errorf("read %t, %v, set: %t", high, err, done)
		}
		stop()
		o.stop()
	})
}

func TestEdgesOfAnotherProcessKeepTheContract(t *testing.T) {
	boardtest.TestEdges(t, func(t *testing.T) boardtest.EdgeBench {
		in := sim.NewInput("in", false)
		o := own(t, nil, map[string]board.Line{"in": in})
		c := client(t, lines.ClientOptions{Ask: wireTo(o), Lines: map[string]lines.Use{"in": {Edges: true}}, Gather: time.Millisecond})
		count := func() uint64 {
			s, err := lines.Ask(t.Context(), wireTo(o))
			if err != nil {
				t.Fatal(err)
			}
			return s.Lines["in"].Count
		}
		for count() == 0 || in.Level() { // the desk needs a moment to begin
			in.Set(!in.Level())
			<-time.After(10 * time.Millisecond)
		}
		apply := func(high bool) {
			if before := count(); high != in.Level() {
				for in.Set(high); count() == before; {
					runtime.Gosched()
				}
			}
		}
		end := start(c)
		t.Cleanup(func() { end(); o.stop() })
		return boardtest.EdgeBench{Apply: apply, Vanish: func() { in.Break(syscall.ENODEV) },
			Return: func() { in.Set(false); in.Break(nil); <-time.After(1500 * time.Millisecond) }, // both ends try again after a second
			Input: c.Lines()["in"].(interface {
				board.Line
				board.Watcher
			})}
	})
}
