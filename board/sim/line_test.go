package sim_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

func TestLineKeepsTheContract(t *testing.T) {
	boardtest.TestLine(t, func(*testing.T) boardtest.Bench {
		in, out := sim.NewInput("door", false), sim.NewOutput("pump", false)
		return boardtest.Bench{Input: in, Apply: in.Set, Output: out, Meter: out.Level, Short: out.Set}
	})
}

func TestWatchTellsEveryChangeOnce(t *testing.T) {
	l := sim.NewOutput("pump", false)
	all, stop := l.Watch(8)
	few, stopFew := l.Watch(1)
	for _, high := range []bool{false, true, true, false, true} {
		if err := l.Drive(high); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	stop() // twice does no harm
	if err := l.Drive(false); err != nil {
		t.Fatal(err)
	}
	var got []sim.Edge
	for e := range all {
		got = append(got, e)
	}
	if want := []sim.Edge{{1, true}, {2, false}, {3, true}}; !slices.Equal(got, want) {
		t.Errorf("edges = %v, want %v", got, want)
	}
	if e := <-few; e.Turn != 1 {
		t.Errorf("first edge = %v", e)
	}
	l.Set(true)
	if e := <-few; e.Turn != 5 {
		t.Errorf("edge after a loss = %v, want turn 5: the gap tells of the loss", e)
	}
	stopFew()
}

func TestABrokenLineSaysSoUntilItIsRepaired(t *testing.T) {
	in, out := sim.NewInput("door", true), sim.NewOutput("pump", true)
	in.Break(syscall.ENODEV)
	out.Break(syscall.EBUSY)
	if high, err := in.Read(); high || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("read: %t, %v", high, err)
	}
	if err := out.Drive(false); !errors.Is(err, syscall.EBUSY) || !out.Level() {
		t.Errorf("drive: %v, pin %t", err, out.Level())
	}
	in.Break(nil)
	out.Break(nil)
	if high, err := in.Read(); !high || err != nil {
		t.Errorf("read after the repair: %t, %v", high, err)
	}
	if high, err := out.Read(); !high || err != nil {
		t.Errorf("output after the repair: %t, %v: a drive that was refused must not be remembered", high, err)
	}
}
