package wire_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// Names of a profile stand for lines; what nobody tried on the board is driven only on wish.
func TestLinesByNamesOfAProfile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		line   config.Line
		accept bool
		err    string
	}{
		{"an input by a name", config.Line{Line: "GPIO8"}, false, ""},
		{"an output by a name", config.Line{Line: "GPIO8", Output: true}, false, "not verified"},
		{"accepted", config.Line{Line: "GPIO8", Output: true}, true, ""},
		{"an output by chip and offset", config.Line{Line: "gpiochip0:3", Output: true}, false, ""},
		{"no such thing", config.Line{Line: "gpiochip0:99999999"}, false, "lines.x: "},
	} {
		c := config.Default()
		c.Root, c.RunDir, c.AcceptUnverified, c.Board = t.TempDir(), t.TempDir(), tt.accept, "mine"
		put(t, c.Root, wire.BoardsDir+"/mine.toml", "title = \"A board\"\ncompatible = [\"acme,board\"]\n[lines]\nGPIO8 = \"pl061:0\"\n")
		c.Lines = map[string]config.Line{"x": tt.line}
		_, err := wire.NewLines(wire.LinesOptions{Config: c, Log: slog.New(slog.DiscardHandler)})
		var bad *config.Error
		if tt.err == "" && err != nil || tt.err != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// A machine without the chip has an output that does not obey, and a process that works for the others.
func TestALineThatIsNotThereIsToldAndNotFatal(t *testing.T) {
	c := config.Default()
	c.Root, c.RunDir = t.TempDir(), t.TempDir()
	if me, err := user.Current(); err == nil { // who is answered
		c.Warden.User = me.Username
	}
	c.Lines = map[string]config.Line{"pump": {Line: "gpiochip7:1", Output: true}, "door": {Line: "DOOR"}, "fan": {Driver: "sim", Output: true, Initial: true}}
	l, err := wire.NewLines(wire.LinesOptions{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- l.Run(ctx, func() { close(ready) }) }()
	<-ready
	s, err := wire.Levels(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Lines["pump"].Error == "" || s.Lines["door"].Error == "" || s.Lines["fan"].Error != "" || !s.Lines["fan"].High {
		t.Errorf("%+v", s)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever cannot be asked leaves no output on: nobody would guard it.
func TestOutputsAreShutDownWhenTheSocketCannotBeMade(t *testing.T) {
	c := config.Default()
	c.Root, c.RunDir = t.TempDir(), t.TempDir()
	const channel = "sys/class/pwm/pwmchip0/pwm0/"
	for _, name := range []string{"period", "duty_cycle", "enable"} {
		put(t, c.Root, channel+name, "0")
	}
	put(t, c.RunDir, "lines.sock/in-the-way", "")
	c.Lines = map[string]config.Line{"heater": {Driver: "pwm", Line: "pwmchip0:0", Period: config.Duration(time.Second), Output: true, Initial: true}}
	l, err := wire.NewLines(wire.LinesOptions{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "0"} {
		if got, err := os.ReadFile(filepath.Join(c.Root, channel, "enable")); err != nil || string(got) != want {
			t.Errorf("enable is %q, %v; want %s", got, err, want)
		}
		if want == "1" && l.Run(t.Context(), func() { t.Error("ready") }) == nil {
			t.Error("it ran")
		}
	}
}

// After an update the lines go over to its program, but not while an output is in use.
func TestLinesGoOverToTheProgramOfAnUpdateWhenAllIsSafe(t *testing.T) {
	p := newPlace(t)
	p.c.RunDir = t.TempDir()
	p.c.Lines = map[string]config.Line{"pump": {Driver: "sim", Output: true}}
	p.runs(t, "1.0.0")
	lines := func() *wire.Lines {
		l, err := wire.NewLines(wire.LinesOptions{Config: p.c, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := lines(); l.Outdated(p.c) {
		t.Error("outdated before any update")
	}
	p.put(t, board.SlotB, "1.1.0", 0o755)
	if err := p.links.Arm(board.SlotB); err != nil {
		t.Fatal(err)
	}
	p.runs(t, "1.0.0")
	if l := lines(); l.Outdated(p.c) {
		t.Error("outdated by what is on trial")
	}
	if err := p.links.Commit(); err != nil {
		t.Fatal(err)
	}
	l := lines()
	if !l.Outdated(p.c) {
		t.Error("not outdated by what was committed")
	}
	p.c.Lines["pump"] = config.Line{Driver: "sim", Output: true, Initial: true}
	if l := lines(); l.Outdated(p.c) {
		t.Error("outdated while the pump runs")
	}
}
