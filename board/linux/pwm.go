package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of a PWM's period. The chip may know narrower ones, and then refuses (EINVAL).
const (
	leastPWM = time.Microsecond
	mostPWM  = 10 * time.Second
)

// A PWM is one channel of a chip that pulses by itself, through sys/class/pwm (Documentation/driver-api/pwm.rst). Several
// goroutines may use it. It goes on pulsing after the process has ended, and is off after a restart of the machine.
type PWM struct {
	chip, channel string // directories
	number        string
	period        time.Duration

	mu sync.Mutex
}

// NewPWM checks the spec, which is chip:channel, such as pwmchip0:1, and the period, 1 µs to 10 s. It touches nothing.
func NewPWM(root, spec string, period time.Duration) (*PWM, error) {
	chip, number, found := strings.Cut(spec, ":")
	n, isChip := strings.CutPrefix(chip, "pwmchip")
	if !found || !isChip || !digits(n) || !digits(number) || len(n) > 4 || len(number) > 3 {
		return nil, fmt.Errorf("pwm %q: not a chip and a channel such as pwmchip0:1", spec)
	}
	if period < leastPWM || period > mostPWM {
		return nil, fmt.Errorf("pwm %s: period %s is not between %s and %s", spec, period, leastPWM, mostPWM)
	}
	dir := filepath.Join(root, "sys/class/pwm", chip)
	return &PWM{chip: dir, number: number, channel: filepath.Join(dir, "pwm"+number), period: period}, nil
}

// Set pulses with this share of the period high, 0 to 1.
func (p *PWM) Set(duty float64) error {
	if !(duty >= 0 && duty <= 1) { // NaN is neither
		return fmt.Errorf("pwm %s: duty %g is not between 0 and 1", filepath.Base(p.channel), duty)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.export(); err != nil {
		return err
	}
	// Left behind by somebody, an inverted channel would be high for the rest of the period. It can be changed only while it is off.
	if polarity, err := readSmall(filepath.Join(p.channel, "polarity"), 32); err == nil && strings.TrimSpace(polarity) == "inversed" {
		if err := errors.Join(p.write("enable", 0), put(filepath.Join(p.channel, "polarity"), "normal")); err != nil {
			return err
		}
	}
	before, err := p.read("duty_cycle")
	if err != nil {
		return err
	}
	if before > int64(p.period) { // left behind by somebody: the kernel refuses a period shorter than its pulse
		if err := p.write("duty_cycle", 0); err != nil {
			return err
		}
	}
	if err := p.write("period", int64(p.period)); err != nil {
		return err
	}
	if err := p.write("duty_cycle", int64(duty*float64(p.period))); err != nil {
		return err
	}
	return p.write("enable", 1)
}

// Off stops the pulses: the safe state. What the pin shows then is the chip's affair, low on most. A channel nobody has
// used is off.
func (p *PWM) Off() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := os.Stat(p.channel); errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(p.chip)
		return err
	}
	return p.write("enable", 0)
}

// Line returns the channel as an output: high is pulses with this share of the period high, low is none. What it was told
// before it was driven for the first time is low.
func (p *PWM) Line(duty float64) *PWMLine { return &PWMLine{pwm: p, duty: duty} }

// A PWMLine is a board.Line that pulses while it is high. Several goroutines may use it.
type PWMLine struct {
	pwm  *PWM
	duty float64

	mu   sync.Mutex // the channel and what is remembered of it change together
	told bool
}

// Read implements board.Line: what it was last told.
func (l *PWMLine) Read() (high bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told, nil
}

// Drive implements board.Line.
func (l *PWMLine) Drive(high bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	drive := l.pwm.Off
	if high {
		drive = func() error { return l.pwm.Set(l.duty) }
	}
	if err := drive(); err != nil {
		return fmt.Errorf("drive pwm %s: %w", filepath.Base(l.pwm.channel), err)
	}
	l.told = high
	return nil
}

// export makes the kernel show the channel.
func (p *PWM) export() error {
	if _, err := os.Stat(p.channel); err == nil {
		return nil
	}
	err := put(filepath.Join(p.chip, "export"), p.number)
	if err != nil && !errors.Is(err, unix.EBUSY) { // busy: somebody was quicker
		return fmt.Errorf("export pwm: %w", err)
	}
	return nil
}

func (p *PWM) write(attribute string, n int64) error {
	return put(filepath.Join(p.channel, attribute), strconv.FormatInt(n, 10))
}

// put writes a file of sysfs, which is there already.
func put(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (p *PWM) read(attribute string) (int64, error) {
	text, err := readSmall(filepath.Join(p.channel, attribute), 32)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("pwm %s: %w", attribute, err)
	}
	return n, nil
}
