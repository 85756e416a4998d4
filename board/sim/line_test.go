package sim_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

func TestLineKeepsTheContract(t *testing.T) {
	boardtest.TestLine(t, func(*testing.T) boardtest.Bench {
		in, out := sim.NewInput("door", false), sim.NewOutput("pump", false)
		return boardtest.Bench{Input: in, Apply: in.Set, Output: out, Meter: out.Level, Short: out.Set}
	})
}

func TestLineKeepsTheContractOfEdges(t *testing.T) {
	boardtest.TestEdges(t, func(*testing.T) boardtest.EdgeBench {
		in := sim.NewInput("door", false)
		return boardtest.EdgeBench{Input: in, Apply: in.Set, Vanish: func() { in.Break(syscall.ENODEV) },
			Return: func() { in.Set(false); in.Break(nil) }}
	})
}

// In a bubble the times of edges are to the nanosecond.
func TestEdgesHaveTheSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, started := sim.NewInput("door", false), time.Now()
		in.Since = func() time.Duration { return time.Since(started) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var got []board.Edge
		ended := make(chan error, 1) // the only watch
		go func() { ended <- in.Watch(ctx, func(e board.Edge) { got = append(got, e) }) }()
		time.Sleep(time.Minute)
		in.Set(true)
		time.Sleep(3 * time.Millisecond)
		in.Set(false)
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("watch: %v", err)
		}
		if want := []board.Edge{{High: true, At: time.Minute, Seq: 1}, {At: time.Minute + 3*time.Millisecond, Seq: 2}}; !slices.Equal(got, want) {
			t.Errorf("edges %+v, want %+v", got, want)
		}
	})
}

func TestAnOutputIsNotWatchedNorAnInputTwice(t *testing.T) {
	if err := sim.NewOutput("pump", false).Watch(t.Context(), nil); !errors.Is(err, board.ErrUnsupported) {
		t.Errorf("watch of an output: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		in := sim.NewInput("door", false)
		ctx, cancel := context.WithCancel(t.Context())
		go in.Watch(ctx, nil)
		synctest.Wait()
		if err := in.Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "it is being watched") {
			t.Errorf("a second watch: %v", err)
		}
		cancel()
		synctest.Wait()
		in.Break(syscall.EBUSY)
		if err := in.Watch(t.Context(), nil); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("watch of a busy line: %v", err)
		}
	})
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
