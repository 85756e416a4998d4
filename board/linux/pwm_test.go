package linux_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/linux"
)

// pwmTree makes a chip whose channel 1 is exported, with what somebody left behind.
func pwmTree(t *testing.T, values map[string]string) (root string, show func(string) string) {
	root = t.TempDir()
	chip := filepath.Join(root, "sys/class/pwm/pwmchip0")
	if err := os.MkdirAll(filepath.Join(chip, "pwm1"), 0o755); err != nil {
		t.Fatal(err)
	}
	values["../export"] = ""
	for name, text := range values {
		if err := os.WriteFile(filepath.Join(chip, "pwm1", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root, func(name string) string {
		text, err := os.ReadFile(filepath.Join(chip, "pwm1", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestAPWMIsALineThatPulsesWhileItIsHigh(t *testing.T) {
	root, show := pwmTree(t, map[string]string{"period": "0\n", "duty_cycle": "0\n", "enable": "1\n"})
	p, err := linux.NewPWM(root, "pwmchip0:1", 40*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	var line board.Line = p.Line(0.6)
	for _, high := range []bool{false, true, true, false} {
		if err := line.Drive(high); err != nil {
			t.Fatal(err)
		}
		if got, err := line.Read(); got != high || err != nil {
			t.Errorf("told %t: read %t, %v", high, got, err)
		}
		if enabled := show("enable") == "1"; enabled != high || high && (show("duty_cycle") != "24000" || show("period") != "40000") {
			t.Errorf("told %t: enable %s, duty cycle %s, period %s", high, show("enable"), show("duty_cycle"), show("period"))
		}
	}
	if err := os.RemoveAll(filepath.Join(root, "sys/class/pwm/pwmchip0")); err != nil {
		t.Fatal(err)
	}
	if err := line.Drive(true); err == nil {
		t.Error("driven, and its chip is gone")
	}
	if got, _ := line.Read(); got {
		t.Error("a line that did not obey says it is high")
	}
}

func TestAPWMPulsesAsItIsTold(t *testing.T) {
	root, show := pwmTree(t, map[string]string{"period": "0\n", "duty_cycle": "0\n", "enable": "0\n"})
	p, err := linux.NewPWM(root, "pwmchip0:1", 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for duty, want := range map[float64]string{0: "0", 0.075: "1500000", 1: "20000000"} {
		if err := p.Set(duty); err != nil {
			t.Fatal(err)
		}
		if got := []string{show("period"), show("duty_cycle"), show("enable")}; got[0] != "20000000" || got[1] != want || got[2] != "1" {
			t.Errorf("duty %g: period, duty cycle, enable %q", duty, got)
		}
	}
	if err := p.Off(); err != nil || show("enable") != "0" {
		t.Errorf("off: %v, enable %s", err, show("enable"))
	}
	for _, duty := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if err := p.Set(duty); err == nil || show("enable") != "0" {
			t.Errorf("duty %g: %v", duty, err)
		}
	}
}

// The kernel refuses a period shorter than the pulse that is set.
func TestALongPulseGoesBeforeAShortPeriod(t *testing.T) {
	root, show := pwmTree(t, map[string]string{"duty_cycle": "900000000\n", "enable": "1\n"}) // no period: writing it is refused
	p, err := linux.NewPWM(root, "pwmchip0:1", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Set(0.5); err == nil || show("duty_cycle") != "0" {
		t.Errorf("set: %v, duty cycle %s when the period is written", err, show("duty_cycle"))
	}
}

func TestAPolarityLeftBehindIsTurnedBack(t *testing.T) {
	for polarity, enable := range map[string]string{"inversed\n": "0", "normal\n": "1\n"} {
		root, show := pwmTree(t, map[string]string{"duty_cycle": "0\n", "enable": "1\n", "polarity": polarity}) // no period: writing it is refused
		p, err := linux.NewPWM(root, "pwmchip0:1", time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Set(0); err == nil || strings.TrimSpace(show("polarity")) != "normal" || show("enable") != enable {
			t.Errorf("%q: %v, polarity %q, enable %q when the period is written", polarity, err, show("polarity"), show("enable"))
		}
	}
}

func TestAPWMIsExportedWhenItIsUsed(t *testing.T) {
	root, show := pwmTree(t, map[string]string{})
	p, err := linux.NewPWM(root, "pwmchip0:2", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Off(); err != nil || show("../export") != "" {
		t.Errorf("off: %v, exported %q; one nobody has used is off", err, show("../export"))
	}
	if err := p.Set(1); !errors.Is(err, fs.ErrNotExist) || show("../export") != "2" { // this kernel does not make it appear
		t.Errorf("set: %v, exported %q", err, show("../export"))
	}
	if p, err = linux.NewPWM(root, "pwmchip7:0", time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if off, set := p.Off(), p.Set(0); !errors.Is(off, fs.ErrNotExist) || !errors.Is(set, fs.ErrNotExist) {
		t.Errorf("a chip that is not there: off %v, set %v", off, set)
	}
}

func TestPWMSpecsThatCannotBe(t *testing.T) {
	for _, spec := range []string{"", "pwmchip0", "pwmchip0:", ":1", "pwmchip:1", "pwmchip0:1:2", "pwmchip0:-1", "pwmchip../x:1", "pwmchip0:../1", "pwm0:1", "pwmchip00000:1"} {
		if _, err := linux.NewPWM("/", spec, time.Millisecond); err == nil || !strings.Contains(err.Error(), "not a chip and a channel") {
			t.Errorf("%q: %v", spec, err)
		}
	}
	for _, period := range []time.Duration{0, -time.Second, time.Nanosecond, 11 * time.Second} {
		if _, err := linux.NewPWM("/", "pwmchip0:0", period); err == nil || !strings.Contains(err.Error(), "period") {
			t.Errorf("%s: %v", period, err)
		}
	}
}
