package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"holdfast/board"
)

// A LineSpec says which GPIO line and how it is used. Levels are logical: with ActiveLow, high is 0 V at the pin.
type LineSpec struct {
	Line      string        // the kernel's name of the line (GPIO17), or chip:offset with the chip's device or label (gpiochip0:17)
	Output    bool          // else an input
	Initial   bool          // the level an output begins with
	ActiveLow bool          // the pin is the other way round
	Bias      string        // "" or "as-is" leaves it; "disabled", "pull-up", "pull-down"
	Debounce  time.Duration // of an input, by the kernel: how long a level must stay to count; 0 to 10 s, in whole microseconds
	Edges     string        // of an input, what Watch tells: "", "rising", "falling" or "both"
}

// LineOptions is what a line needs of its surroundings. The zero value is right on a real machine.
type LineOptions struct {
	Root     string      // the directory below which dev lies; "/" when empty
	Clock    board.Clock // this package's when nil
	Consumer string      // what the kernel shows as the holder of the line, at most 31 bytes; "holdfast" when empty

	open func(path string) (gpioChip, error) // the kernel's when nil
}

// reopenPause is how long a line that could not be had, or was lost, is left alone.
const reopenPause = time.Second

// A Line is a line of a GPIO chip, through the chip's character device and uAPI v2 (Linux 5.10,
// Documentation/userspace-api/gpio/chardev.rst). Several goroutines may use it.
//
// The line is requested at the first use, or by Open, and held until Close. It may be busy (EBUSY), and it may vanish with
// its chip (ENODEV): then Read, Drive and Watch say so, and one that comes a second later or after that requests it again.
// An output that comes back has the level of the Drive that brought it back, or else Initial; what it was told before it
// vanished is forgotten. What an output does after Close, or after the process ended, is the chip's affair: most keep the
// level.
type Line struct {
	spec  LineSpec
	setup LineOptions

	mu       sync.Mutex
	held     gpioRequest // nil while it is not
	told     bool        // what an output was last told to drive
	fault    error       // why it is not held
	failed   time.Time   // when that came out
	closed   bool
	watching bool
	seen     uint32 // the kernel's number of the last edge read from this request; it counts from 1, modulo 2^32
}

// errClosed is said of a line that was closed.
var errClosed = fmt.Errorf("line is closed: %w", fs.ErrClosed)

// NewLine checks the spec. It opens nothing.
func NewLine(spec LineSpec, o LineOptions) (*Line, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Clock == nil {
		o.Clock = &Clock{}
	}
	if o.Consumer == "" {
		o.Consumer = "holdfast"
	}
	if o.open == nil {
		o.open = openChip
	}
	return &Line{spec: spec, setup: o, told: spec.Initial}, nil
}

// Open requests the line now, unless it is held.
func (l *Line) Open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = nil // asked for: no pause
	return l.hold(l.spec.Initial)
}

// Close gives the line back, and ends a Watch. It is not requested again.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.held == nil {
		return nil
	}
	err := l.held.Close()
	l.held = nil
	return err
}

// hold requests the line unless it is held. An output begins with this level. It is called with the lock held.
func (l *Line) hold(initial bool) error {
	if l.held != nil {
		return nil
	}
	now := l.setup.Clock.Now()
	switch {
	case l.closed:
		return errClosed
	case l.fault != nil && now.Sub(l.failed) < reopenPause:
		return l.fault
	}
	l.held, l.fault = l.setup.request(l.spec, initial)
	if l.fault != nil {
		l.failed = now
		return l.fault
	}
	l.told, l.seen = initial, 0
	return nil
}

// lost takes down that a request did not answer. Only one whose chip is gone is given up: an expander that does not answer
// on its bus for a moment keeps its outputs. It is called with the lock held.
func (l *Line) lost(err error) error {
	if errors.Is(err, unix.ENODEV) && l.held != nil {
		_ = l.held.Close() // there is nothing left of it
		l.held, l.fault, l.failed = nil, fmt.Errorf("its chip is gone: %w", unix.ENODEV), l.setup.Clock.Now()
		return l.fault
	}
	return err
}

// Read implements board.Line. Of an output only whether its chip is still there is asked.
func (l *Line) Read() (high bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.hold(l.spec.Initial); err != nil {
		return false, fmt.Errorf("read line %s: %w", l.spec.Line, err)
	}
	high, err = l.held.Get()
	if err != nil {
		return false, fmt.Errorf("read line %s: %w", l.spec.Line, l.lost(err))
	}
	if l.spec.Output {
		return l.told, nil
	}
	return high, nil
}

// Drive implements board.Line. A level that was refused is not remembered.
func (l *Line) Drive(high bool) error {
	if !l.spec.Output {
		return fmt.Errorf("drive line %s: it is an input: %w", l.spec.Line, board.ErrUnsupported)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		if err := l.hold(high); err != nil { // with the level in the request there is no moment of another one
			return fmt.Errorf("drive line %s: %w", l.spec.Line, err)
		}
		return nil
	}
	if err := l.held.Set(high); err != nil {
		return fmt.Errorf("drive line %s: %w", l.spec.Line, l.lost(err))
	}
	l.told = high
	return nil
}

// Watch implements board.Watcher. The spec's Edges say which are told; without any it is board.ErrUnsupported. The kernel
// holds edgeRoom edges while f is busy, then it lets the oldest go.
func (l *Line) Watch(ctx context.Context, f func(board.Edge)) error {
	begun := monotonic()
	held, last, err := l.beginWatch()
	if err != nil {
		return fmt.Errorf("watch line %s: %w", l.spec.Line, err)
	}
	var seq uint64
	err = held.Events(ctx, func(e uapi.LineEvent) {
		if time.Duration(e.Timestamp) >= begun {
			seq += uint64(e.LineSeqno - last)
			f(board.Edge{High: e.ID == uapi.LineEventRisingEdge, At: time.Duration(e.Timestamp), Seq: seq})
		} // else it had waited since before this watch
		last = e.LineSeqno
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching = false
	if ctx.Err() != nil {
		if l.held == held {
			l.seen = last
		}
		return context.Cause(ctx)
	}
	switch {
	case l.closed:
		err = errClosed
	case l.held == held:
		l.seen, err = last, l.lost(err)
	case l.fault != nil:
		err = l.fault // a Read noticed first
	}
	return fmt.Errorf("watch line %s: %w", l.spec.Line, err)
}

// beginWatch returns the request that tells the edges, and the number of the last one that was read from it.
func (l *Line) beginWatch() (held gpioRequest, last uint32, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.spec.Edges == "":
		return nil, 0, fmt.Errorf("no edges were asked for: %w", board.ErrUnsupported)
	case l.watching:
		return nil, 0, errors.New("it is being watched")
	}
	if err := l.hold(false); err != nil {
		return nil, 0, err
	}
	l.watching = true
	return l.held, l.seen, nil
}

// monotonic returns the kernel's CLOCK_MONOTONIC, by which it stamps edges.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // every kernel has it
	return time.Duration(ts.Nano())
}
