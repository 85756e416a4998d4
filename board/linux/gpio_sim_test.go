//go:build gpiosim

// Tests on the kernel's own simulated chips (Documentation/admin-guide/gpio/gpio-sim.rst), as root on a machine with
// gpio-sim loaded and configfs mounted:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go test -tags gpiosim -c -o gpiosim.test ./board/linux
//	./gpiosim.test -test.run GPIOSim -test.bench GPIOSim -test.benchmem

package linux_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
)

// A simChip is a chip of gpio-sim with lines called sim0, sim1 and so on.
type simChip struct {
	t     testing.TB
	dir   string // in configfs
	lines int
	chip  string // its device, gpiochip1
	sys   string // where its lines' pins are
}

var simChips atomic.Int32 // names the chips apart

// newSim makes a chip. HOLDFAST_GPIO_SIM is where configfs shows gpio-sim, when it is not the usual place.
func newSim(t testing.TB, lines int) *simChip {
	place := os.Getenv("HOLDFAST_GPIO_SIM")
	if place == "" {
		place = "/sys/kernel/config/gpio-sim"
	}
	if _, err := os.Stat(place); err != nil {
		t.Fatalf("this test wants gpio-sim loaded and configfs mounted: %v", err)
	}
	s := &simChip{t: t, lines: lines, dir: filepath.Join(place, fmt.Sprintf("holdfast-%d-%d", os.Getpid(), simChips.Add(1)))}
	bank := filepath.Join(s.dir, "bank")
	dirs := []string{s.dir, bank}
	for i := range lines {
		dirs = append(dirs, filepath.Join(bank, fmt.Sprintf("line%d", i)))
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.live("0")
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir)
		}
	})
	s.put(filepath.Join(bank, "num_lines"), fmt.Sprint(lines))
	s.put(filepath.Join(bank, "label"), filepath.Base(s.dir))
	for i := range lines {
		s.put(filepath.Join(bank, fmt.Sprintf("line%d", i), "name"), fmt.Sprintf("sim%d", i))
	}
	s.live("1")
	return s
}

func (s *simChip) put(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		s.t.Fatal(err)
	}
}

func (s *simChip) get(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// live plugs the chip in or out.
func (s *simChip) live(yes string) {
	s.t.Helper()
	s.put(filepath.Join(s.dir, "live"), yes)
	if yes != "1" {
		return
	}
	s.chip = s.get(filepath.Join(s.dir, "bank/chip_name"))
	s.sys = filepath.Join("/sys/devices/platform", s.get(filepath.Join(s.dir, "dev_name")), s.chip)
	for range 500 { // until devtmpfs shows it
		if _, err := os.Stat(filepath.Join("/dev", s.chip)); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("/dev/%s does not appear", s.chip)
}

// pull puts a level on an input, as a button does.
func (s *simChip) pull(line int, high bool) {
	level := "pull-down"
	if high {
		level = "pull-up"
	}
	s.put(filepath.Join(s.sys, fmt.Sprintf("sim_gpio%d/pull", line)), level)
}

// press pulls, and waits until the kernel has the edge: its thread reads the level some time after the interrupt, and of
// two changes before that it makes one.
func (s *simChip) press(line int, high bool) {
	s.pull(line, high)
	time.Sleep(time.Millisecond)
}

func (s *simChip) value(line int) bool {
	return s.get(filepath.Join(s.sys, fmt.Sprintf("sim_gpio%d/value", line))) == "1"
}

func (s *simChip) line(spec linux.LineSpec) *linux.Line {
	s.t.Helper()
	l, err := linux.NewLine(spec, linux.LineOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	return l
}

// at names a line of the chip.
func (s *simChip) at(line int) string { return fmt.Sprintf("%s:%d", filepath.Base(s.dir), line) }

func TestGPIOSimLinesKeepTheContract(t *testing.T) {
	boardtest.TestLine(t, func(t *testing.T) boardtest.Bench {
		s := newSim(t, 2)
		return boardtest.Bench{
			Input: s.line(linux.LineSpec{Line: "sim0"}), Apply: func(high bool) { s.pull(0, high) },
			Output: s.line(linux.LineSpec{Line: s.at(1), Output: true}), Meter: func() bool { return s.value(1) },
			// A pull against an output is as good as a short circuit: it must not be read either.
			Short: func(high bool) { s.pull(1, high) },
		}
	})
}

func TestGPIOSimLinesKeepTheContractOfEdges(t *testing.T) {
	for _, low := range []bool{false, true} {
		t.Run(fmt.Sprintf("active low %t", low), func(t *testing.T) {
			boardtest.TestEdges(t, func(t *testing.T) boardtest.EdgeBench {
				s := newSim(t, 1)
				return boardtest.EdgeBench{
					Input: s.line(linux.LineSpec{Line: s.at(0), Edges: "both", ActiveLow: low}),
					Apply: func(high bool) { s.press(0, high) }, ActiveLow: low,
					Vanish: func() { s.live("0") },
					Return: func() { s.live("1"); s.pull(0, false); time.Sleep(1100 * time.Millisecond) },
				}
			})
		})
	}
}

func TestGPIOSimListsItsChip(t *testing.T) {
	s := newSim(t, 3)
	if err := s.line(linux.LineSpec{Line: "sim1", Output: true, Initial: true, ActiveLow: true}).Open(); err != nil {
		t.Fatal(err)
	}
	chips, err := linux.Chips("/")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(chips, func(c linux.Chip) bool { return c.Name == s.chip })
	want := linux.LineInfo{Offset: 1, Name: "sim1", Consumer: "holdfast", Used: true, Output: true, ActiveLow: true}
	if i < 0 || chips[i].Label != filepath.Base(s.dir) || len(chips[i].Lines) != 3 || chips[i].Lines[1] != want {
		t.Errorf("chips: %+v", chips)
	}
	if s.value(1) {
		t.Error("an active-low output that begins high is high at the pin")
	}
}

func TestGPIOSimBusyAndGone(t *testing.T) {
	s := newSim(t, 1)
	other, err := linux.NewLine(linux.LineSpec{Line: s.at(0)}, linux.LineOptions{Consumer: "somebody else"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Open(); err != nil {
		t.Fatal(err)
	}
	l := s.line(linux.LineSpec{Line: s.at(0), Output: true, Initial: true})
	if err := l.Open(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `"somebody else"`) {
		t.Errorf("open: %v", err)
	}
	other.Close()
	if err := l.Open(); err != nil || !s.value(0) {
		t.Fatalf("open: %v, pin %t", err, s.value(0))
	}
	s.live("0")
	if _, err := l.Read(); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("read of an output whose chip is gone: %v", err)
	}
	s.live("1")
	time.Sleep(1100 * time.Millisecond)
	if high, err := l.Read(); !high || err != nil || !s.value(0) {
		t.Errorf("back: %t, %v, pin %t", high, err, s.value(0))
	}
}

// watchSim watches a line while f runs, and returns what was told until 200 ms after it.
func watchSim(t testing.TB, l *linux.Line, f func()) (seen []board.Edge) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1) // the only watch
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- l.Watch(ctx, func(e board.Edge) { seen = append(seen, e) }) }()
	time.Sleep(50 * time.Millisecond) // the watch begins
	f()
	time.Sleep(200 * time.Millisecond)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watch: %v", err)
	}
	return seen
}

func TestGPIOSimTheKernelDebounces(t *testing.T) {
	s := newSim(t, 1)
	l := s.line(linux.LineSpec{Line: s.at(0), Edges: "both", Debounce: 30 * time.Millisecond})
	seen := watchSim(t, l, func() {
		for range 20 { // bounces for 40 ms, and stays high
			s.press(0, false)
			s.press(0, true)
		}
		time.Sleep(100 * time.Millisecond)
	})
	if len(seen) != 1 || !seen[0].High || seen[0].Seq != 1 {
		t.Errorf("a press that bounces: %+v", seen)
	}
}

// A signal of 200 Hz for five seconds: every edge counted, and what it costs.
func TestGPIOSimEdgesAt200Hz(t *testing.T) {
	s := newSim(t, 1)
	l := s.line(linux.LineSpec{Line: s.at(0), Edges: "both"})
	const edges = 1000
	seen := watchSim(t, l, func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := range edges {
			s.pull(0, i%2 == 0)
			<-tick.C
		}
	})
	if len(seen) != edges || seen[edges-1].Seq != edges {
		t.Fatalf("%d edges seen of %d", len(seen), edges)
	}
	t.Logf("%d edges in %s by the kernel's clock", edges, seen[edges-1].At-seen[0].At)
}

func BenchmarkGPIOSimRead(b *testing.B) {
	s := newSim(b, 1)
	l := s.line(linux.LineSpec{Line: s.at(0)})
	for b.Loop() {
		if _, err := l.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGPIOSimDrive(b *testing.B) {
	s := newSim(b, 1)
	l := s.line(linux.LineSpec{Line: s.at(0), Output: true})
	for b.Loop() {
		if err := l.Drive(true); err != nil {
			b.Fatal(err)
		}
	}
}

// The same by the library above whose ioctls this driver is.
func BenchmarkGPIOSimReadByLibrary(b *testing.B) {
	s := newSim(b, 1)
	l, err := gpiocdev.RequestLine(s.chip, 0, gpiocdev.AsInput)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if _, err := l.Value(); err != nil {
			b.Fatal(err)
		}
	}
}

// The same by periph, whose registry knows the chips there were when it was first asked.
func BenchmarkGPIOSimReadByPeriph(b *testing.B) {
	s := newSim(b, 1)
	if _, err := driverreg.Init(); err != nil {
		b.Fatal(err)
	}
	for _, chip := range gpioioctl.Chips {
		if chip.Name() != s.chip {
			continue
		}
		l := chip.ByNumber(0)
		if err := l.In(gpio.Float, gpio.NoEdge); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			l.Read()
		}
		return
	}
	b.Fatalf("periph does not see chip %s", s.chip)
}

// Each turn is one change at the pin and its edge; the change is most of it.
func BenchmarkGPIOSimEdge(b *testing.B) {
	s := newSim(b, 1)
	l := s.line(linux.LineSpec{Line: s.at(0), Edges: "both"})
	ctx, cancel := context.WithCancel(b.Context())
	got, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- l.Watch(ctx, func(board.Edge) { got <- struct{}{} }) }()
	time.Sleep(50 * time.Millisecond)
	edgeBench(b, s, got)
	cancel()
	<-ended
}

func BenchmarkGPIOSimEdgeByLibrary(b *testing.B) {
	s := newSim(b, 1)
	got := make(chan struct{}, 1)
	l, err := gpiocdev.RequestLine(s.chip, 0, gpiocdev.WithBothEdges, gpiocdev.WithEventHandler(func(gpiocdev.LineEvent) { got <- struct{}{} }))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	edgeBench(b, s, got)
}

func edgeBench(b *testing.B, s *simChip, got <-chan struct{}) {
	f, err := os.OpenFile(filepath.Join(s.sys, "sim_gpio0/pull"), os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	levels := [2][]byte{[]byte("pull-up"), []byte("pull-down")}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := f.WriteAt(levels[i%2], 0); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}
