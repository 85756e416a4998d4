package pins_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
	"holdfast/collectors"
	"holdfast/collectors/pins"
)

// readTrap fails the test when an output is read back.
type readTrap struct {
	*gpiotest.Pin
	t *testing.T
}

func (p readTrap) Read() gpio.Level {
	p.t.Error("an output was read back")
	return gpio.Low
}

func TestPeriphPinsKeepTheContract(t *testing.T) {
	boardtest.TestLine(t, func(t *testing.T) boardtest.Bench {
		in, out := &gpiotest.Pin{N: "GPIO17"}, &gpiotest.Pin{N: "GPIO27", L: gpio.High}
		input, err := pins.NewInput(in, gpio.PullDown)
		if err != nil {
			t.Fatal(err)
		}
		output, err := pins.NewOutput(readTrap{out, t}, false)
		if err != nil {
			t.Fatal(err)
		}
		force := func(p *gpiotest.Pin) func(bool) {
			return func(high bool) { p.Lock(); defer p.Unlock(); p.L = gpio.Level(high) }
		}
		return boardtest.Bench{Input: input, Apply: force(in), Output: output, Meter: func() bool { return bool(out.Read()) }, Short: force(out)}
	})
}

// stubborn refuses what it is asked.
type stubborn struct{ *gpiotest.Pin }

func (stubborn) In(gpio.Pull, gpio.Edge) error { return syscall.EBUSY }
func (stubborn) Out(gpio.Level) error          { return syscall.EBUSY }

func TestABusyPinIsAnError(t *testing.T) {
	busy := stubborn{&gpiotest.Pin{N: "GPIO4"}}
	if _, err := pins.NewInput(busy, gpio.Float); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "GPIO4") {
		t.Errorf("input of a busy pin: %v", err)
	}
	if _, err := pins.NewOutput(busy, true); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "GPIO4") {
		t.Errorf("output of a busy pin: %v", err)
	}
}

// sticky drives once and then never again.
type sticky struct {
	*gpiotest.Pin
	turns int
}

func (s *sticky) Out(l gpio.Level) error {
	if s.turns++; s.turns > 1 {
		return syscall.ENODEV
	}
	return s.Pin.Out(l)
}

func TestADriveThatDidNotWorkIsNotRemembered(t *testing.T) {
	o, err := pins.NewOutput(&sticky{Pin: &gpiotest.Pin{N: "GPIO4"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Drive(false); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("drive: %v", err)
	}
	if high, _ := o.Read(); !high {
		t.Error("the output says low, and was never low")
	}
}

func TestSamplesOfLines(t *testing.T) {
	door, pump, gone := sim.NewInput("door", true), sim.NewOutput("pump", false), sim.NewInput("gone", true)
	gone.Break(syscall.ENODEV)
	p := pins.New(map[string]board.Line{"pump": pump, "gone": gone, "door": door})
	var got []string
	err := p.Collect(t.Context(), func(s collectors.Sample) {
		measured(t, s)
		got = append(got, string(s.AppendJSON(nil)))
	})
	if !errors.Is(err, syscall.ENODEV) {
		t.Errorf("Collect = %v, want the fault of the line that is gone", err)
	}
	for i, want := range []string{
		`"gpio","instance":"door",*"fields":{"level":1,"high":true}}`,
		`"gpio","instance":"gone",*"fields":{"error":"read line gone: no such device"}}`,
		`"gpio","instance":"pump",*"fields":{"level":0,"high":false}}`,
	} {
		head, tail, _ := strings.Cut(want, "*")
		if i >= len(got) || !strings.Contains(got[i], head) || !strings.HasSuffix(got[i], tail) {
			t.Errorf("sample %d of %q, want %s", i, got, want)
		}
	}
	gone.Break(nil)
	if err := p.Collect(t.Context(), func(collectors.Sample) {}); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

func TestNoLinesAreNoData(t *testing.T) {
	if err := pins.New(nil).Collect(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("Collect without lines = %v, want ErrNoData", err)
	}
}

// measured fails the test when a sample holds a field that the table does not explain.
func measured(t *testing.T, s collectors.Sample) {
	t.Helper()
	for _, f := range s.Fields {
		if !slices.ContainsFunc(pins.Measures(), func(m collectors.Measure) bool { return m.Source == s.Source && m.Field == f.Name }) {
			t.Errorf("%s is not in the table of %s", f.Name, s.Source)
		}
	}
}
