package linux_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
)

func newLine(t *testing.T, c *chips, clock *clock, spec linux.LineSpec) *linux.Line {
	t.Helper()
	l, err := linux.NewLine(spec, c.options(clock))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestGPIOLinesKeepTheContract(t *testing.T) {
	boardtest.TestLine(t, func(t *testing.T) boardtest.Bench {
		c := newChips(t)
		c.plug("gpiochip0", "pinctrl", "GPIO0", "GPIO1")
		in, out := c.wire("gpiochip0", 0), c.wire("gpiochip0", 1)
		return boardtest.Bench{
			Input: newLine(t, c, newClock(), linux.LineSpec{Line: "GPIO0", Edges: "both"}), Apply: in.apply,
			Output: newLine(t, c, newClock(), linux.LineSpec{Line: "pinctrl:1", Output: true}), Meter: out.level, Short: out.apply,
		}
	})
}

func TestGPIOLinesKeepTheContractOfEdges(t *testing.T) {
	for name, low := range map[string]bool{"active high": false, "active low": true} {
		t.Run(name, func(t *testing.T) {
			boardtest.TestEdges(t, func(t *testing.T) boardtest.EdgeBench {
				c, clock := newChips(t), newClock()
				c.plug("gpiochip0", "pinctrl", "X")
				at := c.wire("gpiochip0", 0)
				return boardtest.EdgeBench{
					Input: newLine(t, c, clock, linux.LineSpec{Line: "X", Edges: "both", ActiveLow: low}),
					Apply: func(high bool) { at.apply(high) }, ActiveLow: low,
					Vanish: func() { c.pull("gpiochip0") },
					Return: func() {
						c.plug("gpiochip1", "pinctrl", "X")
						at = c.wire("gpiochip1", 0)
						clock.pass(time.Second)
					},
				}
			})
		})
	}
}

func TestLinesAreFoundByNameDeviceAndLabel(t *testing.T) {
	c := newChips(t)
	c.plug("gpiochip10", "gpio-late", "A", "twice")
	c.plug("gpiochip2", "INT34C6:00", "", "B", "twice")
	for _, tt := range []struct {
		line   string
		device string
		offset int
		fault  string
	}{
		{line: "A", device: "gpiochip10", offset: 0},
		{line: "B", device: "gpiochip2", offset: 1},
		{line: "gpiochip10:1", device: "gpiochip10", offset: 1},
		{line: "INT34C6:00:2", device: "gpiochip2", offset: 2},
		{line: "gpiochip2:3", fault: "GPIO chip gpiochip2: it has 3 lines"},
		{line: "gpiochip1:0", fault: "no GPIO chip has it"},
		{line: "C", fault: "no GPIO chip has it"},
		{line: "twice", fault: "several lines are called so: gpiochip2:2, gpiochip10:1"},
	} {
		l := newLine(t, c, newClock(), linux.LineSpec{Line: tt.line})
		err := l.Open()
		switch {
		case tt.fault != "":
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s: %v, want %s", tt.line, err, tt.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.line, err)
		case c.wire(tt.device, tt.offset).consumer != "holdfast":
			t.Errorf("%s is not %s:%d", tt.line, tt.device, tt.offset)
		}
	}
}

// An adapter that is plugged in again may take a number between the search for a line and its request.
func TestNoOtherChipsLineIsTaken(t *testing.T) {
	for _, line := range []string{"PUMP", "relays:1"} {
		c, opens := newChips(t), 0
		c.plug("gpiochip0", "relays", "", "PUMP")
		l, err := linux.NewLine(linux.LineSpec{Line: line, Output: true, Initial: true}, c.options(newClock()).Over(func(path string) (linux.GPIOChip, error) {
			if opens++; opens == 2 {
				c.pull("gpiochip0")
				c.plug("gpiochip0", "others", "", "VALVE")
			}
			return c.open(path)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Open(); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s: %v, want that the chip is gone", line, err)
		}
		if w := c.wire("gpiochip0", 1); w.consumer != "" || w.level() {
			t.Errorf("%s: another's line is held by %q, at %t", line, w.consumer, w.level())
		}
	}
}

// What the kernel is asked for, by its own names (linux/gpio.h).
func TestSpecsInTheKernelsTerms(t *testing.T) {
	for _, tt := range []struct {
		spec     linux.LineSpec
		flags    uapi.LineFlagV2
		debounce time.Duration
	}{
		{spec: linux.LineSpec{}, flags: uapi.LineFlagV2Input},
		{spec: linux.LineSpec{Bias: "as-is", Edges: "rising"}, flags: uapi.LineFlagV2Input | uapi.LineFlagV2EdgeRising},
		{spec: linux.LineSpec{Bias: "pull-up", ActiveLow: true, Edges: "falling", Debounce: 20 * time.Millisecond}, debounce: 20 * time.Millisecond,
			flags: uapi.LineFlagV2Input | uapi.LineFlagV2BiasPullUp | uapi.LineFlagV2ActiveLow | uapi.LineFlagV2EdgeFalling},
		{spec: linux.LineSpec{Bias: "disabled", Edges: "both"}, flags: uapi.LineFlagV2Input | uapi.LineFlagV2BiasDisabled | uapi.LineFlagV2EdgeBoth},
		{spec: linux.LineSpec{Output: true, Bias: "pull-down"}, flags: uapi.LineFlagV2Output | uapi.LineFlagV2BiasPullDown},
	} {
		c := newChips(t)
		c.plug("gpiochip0", "pinctrl", "X")
		tt.spec.Line = "X"
		if err := newLine(t, c, newClock(), tt.spec).Open(); err != nil {
			t.Fatal(err)
		}
		got := c.wire("gpiochip0", 0).config
		var debounce time.Duration
		for _, a := range got.Attrs[:got.NumAttrs] {
			if a.Attr.ID == uapi.LineAttributeIDDebounce && a.Mask == 1 {
				debounce = time.Duration(a.Attr.Value32()) * time.Microsecond
			}
		}
		if got.Flags != tt.flags || debounce != tt.debounce {
			t.Errorf("%+v: flags %#x, debounce %s; want %#x, %s", tt.spec, got.Flags, debounce, tt.flags, tt.debounce)
		}
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		spec linux.LineSpec
		want string
	}{
		{linux.LineSpec{}, "no line is named"},
		{linux.LineSpec{Line: "a/b"}, "no slash"},
		{linux.LineSpec{Line: "tür"}, "printable ASCII"},
		{linux.LineSpec{Line: strings.Repeat("n", 32)}, "longer than 31 bytes"},
		{linux.LineSpec{Line: ":3"}, "the chip's name has"},
		{linux.LineSpec{Line: strings.Repeat("n", 32) + ":3"}, "the chip's name has"},
		{linux.LineSpec{Line: "gpiochip0:4096"}, "the offset is not"},
		{linux.LineSpec{Line: "gpiochip0:99999999999999999999"}, "the offset is not"},
		{linux.LineSpec{Line: "X", Bias: "up"}, `bias "up"`},
		{linux.LineSpec{Line: "X", Edges: "all"}, `edges "all"`},
		{linux.LineSpec{Line: "X", Debounce: -1}, "debounce -1ns"},
		{linux.LineSpec{Line: "X", Debounce: 1500 * time.Nanosecond}, "debounce 1.5µs"},
		{linux.LineSpec{Line: "X", Debounce: 11 * time.Second}, "debounce 11s"},
		{linux.LineSpec{Line: "X", Output: true, Edges: "both"}, "an output has neither"},
		{linux.LineSpec{Line: "X", Output: true, Debounce: time.Second}, "an output has neither"},
		{linux.LineSpec{Line: "X", Initial: true}, "an input has no initial"},
	} {
		if _, err := linux.NewLine(tt.spec, linux.LineOptions{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.spec, err, tt.want)
		}
	}
}

func TestActiveLowTurnsThePinRound(t *testing.T) {
	c := newChips(t)
	c.plug("gpiochip0", "pinctrl", "IN", "OUT")
	in := newLine(t, c, newClock(), linux.LineSpec{Line: "IN", ActiveLow: true})
	out := newLine(t, c, newClock(), linux.LineSpec{Line: "OUT", Output: true, Initial: true, ActiveLow: true})
	if high, err := in.Read(); !high || err != nil {
		t.Errorf("an input at 0 V: %t, %v", high, err)
	}
	if high, err := out.Read(); !high || err != nil || c.wire("gpiochip0", 1).level() {
		t.Errorf("an output that begins high: %t, %v, pin %t", high, err, c.wire("gpiochip0", 1).level())
	}
	if err := out.Drive(false); err != nil || !c.wire("gpiochip0", 1).level() {
		t.Errorf("driven low: %v, pin %t", err, c.wire("gpiochip0", 1).level())
	}
}

func TestABusyLineSaysWhoHoldsItAndIsAskedForOnceASecond(t *testing.T) {
	c, clock := newChips(t), newClock()
	c.plug("gpiochip0", "pinctrl", "LED")
	w := c.wire("gpiochip0", 0)
	w.consumer = "led0\x1b[2J"
	l := newLine(t, c, clock, linux.LineSpec{Line: "LED", Output: true})
	for range 3 {
		if err := l.Drive(true); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `line 0 is held by "led0?[2J"`) {
			t.Errorf("drive: %v", err)
		}
	}
	if c.opens != 2 {
		t.Errorf("the chip was opened %d times in one second, want once to find the line and once to ask", c.opens)
	}
	w.consumer = ""
	if _, err := l.Read(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("read within the second: %v", err)
	}
	clock.pass(time.Second)
	if err := l.Drive(true); err != nil || !w.level() {
		t.Errorf("a second later: %v, pin %t", err, w.level())
	}
}

func TestALineComesBackWithItsChip(t *testing.T) {
	c, clock := newChips(t), newClock()
	c.plug("gpiochip0", "pinctrl", "OUT")
	l := newLine(t, c, clock, linux.LineSpec{Line: "OUT", Output: true})
	if err := l.Drive(true); err != nil {
		t.Fatal(err)
	}
	c.pull("gpiochip0")
	if _, err := l.Read(); !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "its chip is gone") {
		t.Errorf("read of an output whose chip is gone: %v", err)
	}
	clock.pass(time.Second)
	if err := l.Drive(true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("drive without a chip: %v", err)
	}
	c.plug("gpiochip3", "pinctrl", "", "OUT") // elsewhere, by the same name
	clock.pass(time.Second)
	if high, err := l.Read(); high || err != nil || c.wire("gpiochip3", 1).level() {
		t.Errorf("back: %t, %v, pin %t; want the initial level", high, err, c.wire("gpiochip3", 1).level())
	}
	c.pull("gpiochip3")
	if err := l.Drive(true); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("drive of an output whose chip is gone: %v", err)
	}
	c.plug("gpiochip0", "pinctrl", "OUT")
	clock.pass(time.Second)
	if err := l.Drive(true); err != nil || !c.wire("gpiochip0", 0).level() {
		t.Errorf("drive brings it back: %v, pin %t", err, c.wire("gpiochip0", 0).level())
	}
	if high, err := l.Read(); !high || err != nil {
		t.Errorf("then it reads %t, %v", high, err)
	}
}

// An expander on a bus may fail to answer once. Its outputs keep their level only while they are held.
func TestAnOutputThatFailsOnceIsNotGivenUp(t *testing.T) {
	c := newChips(t)
	c.plug("gpiochip0", "expander", "OUT")
	w := c.wire("gpiochip0", 0)
	l := newLine(t, c, newClock(), linux.LineSpec{Line: "OUT", Output: true})
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	w.sick = syscall.EREMOTEIO
	if err := l.Drive(true); !errors.Is(err, syscall.EREMOTEIO) || w.consumer != "holdfast" {
		t.Errorf("drive: %v, held by %q", err, w.consumer)
	}
	w.sick = nil
	if high, err := l.Read(); high || err != nil {
		t.Errorf("a refused drive was remembered: %t, %v", high, err)
	}
	if err := l.Drive(true); err != nil || !w.level() {
		t.Errorf("drive again: %v, pin %t", err, w.level())
	}
}

func TestAClosedLineStaysClosed(t *testing.T) {
	c, clock := newChips(t), newClock()
	c.plug("gpiochip0", "pinctrl", "X")
	l := newLine(t, c, clock, linux.LineSpec{Line: "X", Edges: "both"})
	ended := make(chan error, 1) // the only watch
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- l.Watch(t.Context(), func(board.Edge) {}) }()
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
	if err := <-ended; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the watch ended with %v", err)
	}
	clock.pass(time.Hour)
	if _, err := l.Read(); !errors.Is(err, fs.ErrClosed) || c.wire("gpiochip0", 0).consumer != "" {
		t.Errorf("read: %v, held by %q", err, c.wire("gpiochip0", 0).consumer)
	}
}

func TestOnlyWhatWasAskedForIsWatchedAndByOne(t *testing.T) {
	c := newChips(t)
	c.plug("gpiochip0", "pinctrl", "X", "Y")
	l := newLine(t, c, newClock(), linux.LineSpec{Line: "X"})
	if err := l.Watch(t.Context(), nil); !errors.Is(err, board.ErrUnsupported) {
		t.Errorf("watch without edges: %v", err)
	}
	l = newLine(t, c, newClock(), linux.LineSpec{Line: "Y", Edges: "rising"})
	ctx, cancel := context.WithCancel(t.Context())
	var seen []board.Edge
	first := make(chan struct{}, 300)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Watch(ctx, func(e board.Edge) { seen = append(seen, e); first <- struct{}{} })
	}()
	w := c.wire("gpiochip0", 1)
	for done := false; !done; { // until the watch has begun
		w.apply(true)
		w.apply(false)
		select {
		case <-first:
			done = true
		case <-time.After(time.Millisecond):
		}
	}
	if err := l.Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "it is being watched") {
		t.Errorf("a second watch: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watch: %v", err)
	}
	for i, e := range seen {
		if !e.High || e.Seq != uint64(i+1) {
			t.Errorf("edge %d of a watch for rising ones: %+v", i, e)
		}
	}
}

func TestChipsAreListed(t *testing.T) {
	c := newChips(t)
	c.plug("gpiochip10", "late", "Z")
	c.plug("gpiochip9", "first\x1b", "", "B")
	if err := newLine(t, c, newClock(), linux.LineSpec{Line: "B", Output: true, ActiveLow: true}).Open(); err != nil {
		t.Fatal(err)
	}
	got, err := c.options(newClock()).Chips()
	if err != nil || len(got) != 2 || got[0].Name != "gpiochip9" || got[0].Label != "first?" || got[1].Name != "gpiochip10" {
		t.Fatalf("chips: %+v, %v", got, err)
	}
	if want := []linux.LineInfo{{}, {Offset: 1, Name: "B", Consumer: "holdfast", Used: true, Output: true, ActiveLow: true}}; !slices.Equal(got[0].Lines, want) {
		t.Errorf("lines: %+v, want %+v", got[0].Lines, want)
	}
	if got, err := linux.Chips(t.TempDir()); got != nil || err != nil {
		t.Errorf("a machine without chips: %v, %v", got, err)
	}
	if _, err := linux.Chips(c.root); err == nil || !strings.Contains(err.Error(), "gpiochip10: not a character device") {
		t.Errorf("a file in place of a chip: %v", err)
	}
}

func FuzzLineNames(f *testing.F) {
	for _, s := range []string{"GPIO17", "gpiochip0:17", "pinctrl-bcm2711:4", "INT34C6:00:5", ":", "a:", "P8_18 [mmc]", "0:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		chip, offset, name, err := linux.ParseLine(s)
		switch {
		case err != nil:
		case (chip == "") == (name == ""):
			t.Errorf("%q: chip %q and name %q", s, chip, name)
		case chip != "" && (!strings.HasPrefix(s, chip+":") || offset < 0 || offset > 4095), name != "" && name != s:
			t.Errorf("%q: chip %q, offset %d, name %q", s, chip, offset, name)
		}
	})
}
