package linux_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"holdfast/board/linux"
)

// chips are GPIO chips of memory that answer as the kernel's do. Their devices are empty files in a directory.
type chips struct {
	t     *testing.T
	root  string
	mu    sync.Mutex
	chip  map[string]*chip // by path
	opens int
}

type chip struct {
	label string
	lines []*wire
}

// A wire is a line of a chip.
type wire struct {
	name, consumer string
	chips          *chips
	pin            bool // the voltage
	config         uapi.LineConfig
	seq            uint32
	held           *hold
	sick           error // what every call to a request answers
}

func newChips(t *testing.T) *chips {
	c := &chips{t: t, root: t.TempDir(), chip: map[string]*chip{}}
	if err := os.Mkdir(filepath.Join(c.root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// plug adds a chip.
func (c *chips) plug(device, label string, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.root, "dev", device)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	made := &chip{label: label}
	for _, name := range names {
		made.lines = append(made.lines, &wire{name: name, chips: c})
	}
	c.chip[path] = made
}

// pull takes a chip out: its device goes, and its lines answer ENODEV.
func (c *chips) pull(device string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.root, "dev", device)
	if err := os.Remove(path); err != nil {
		c.t.Fatal(err)
	}
	for _, w := range c.chip[path].lines {
		w.sick = unix.ENODEV
		if w.held != nil {
			w.held.wake()
		}
	}
	delete(c.chip, path)
}

// wire returns a line.
func (c *chips) wire(device string, offset int) *wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chip[filepath.Join(c.root, "dev", device)].lines[offset]
}

func (c *chips) options(clock *clock) linux.LineOptions {
	return linux.LineOptions{Root: c.root, Clock: clock}.Over(c.open)
}

func (c *chips) open(path string) (linux.GPIOChip, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opens++
	if made := c.chip[path]; made != nil {
		return opened{c, made}, nil
	}
	return nil, &os.PathError{Op: "open", Path: path, Err: unix.EACCES}
}

type opened struct {
	chips *chips
	*chip
}

func (opened) Close() error { return nil }

func (o opened) Info() (i uapi.ChipInfo, err error) {
	copy(i.Label[:], o.label)
	i.Lines = uint32(len(o.lines))
	return i, nil
}

func (o opened) Line(offset int) (i uapi.LineInfoV2, err error) {
	o.chips.mu.Lock()
	defer o.chips.mu.Unlock()
	if offset >= len(o.lines) {
		return i, unix.EINVAL
	}
	w := o.lines[offset]
	copy(i.Name[:], w.name)
	copy(i.Consumer[:], w.consumer)
	i.Flags = w.config.Flags
	if w.consumer != "" {
		i.Flags |= uapi.LineFlagV2Used
	}
	return i, nil
}

func (o opened) Request(r *uapi.LineRequest) (linux.GPIORequest, error) {
	o.chips.mu.Lock()
	defer o.chips.mu.Unlock()
	w := o.lines[r.Offsets[0]]
	if w.consumer != "" {
		return nil, unix.EBUSY
	}
	w.config, w.consumer, w.seq = r.Config, uapi.BytesToString(r.Consumer[:]), 0
	for _, a := range r.Config.Attrs[:r.Config.NumAttrs] {
		if a.Attr.ID == uapi.LineAttributeIDOutputValues {
			w.pin = (a.Attr.Value64()&uint64(a.Mask) != 0) != r.Config.Flags.IsActiveLow()
		}
	}
	w.held = &hold{w: w, news: make(chan struct{}, 1), room: int(r.EventBufferSize)}
	return w.held, nil
}

// apply puts a level on the pin from outside.
func (w *wire) apply(high bool) {
	w.chips.mu.Lock()
	defer w.chips.mu.Unlock()
	w.change(high)
}

func (w *wire) level() bool {
	w.chips.mu.Lock()
	defer w.chips.mu.Unlock()
	return w.pin
}

func (w *wire) change(high bool) {
	if w.pin == high {
		return
	}
	w.pin = high
	id, flag := uapi.LineEventFallingEdge, uapi.LineFlagV2EdgeFalling
	if high != w.config.Flags.IsActiveLow() {
		id, flag = uapi.LineEventRisingEdge, uapi.LineFlagV2EdgeRising
	}
	if w.held == nil || w.config.Flags&flag == 0 {
		return
	}
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	w.seq++
	h := w.held
	if len(h.queue) == h.room { // the oldest goes
		h.queue = h.queue[1:]
	}
	h.queue = append(h.queue, uapi.LineEvent{Timestamp: uint64(ts.Nano()), ID: id, LineSeqno: w.seq, Seqno: w.seq})
	h.wake()
}

// A hold is a requested line.
type hold struct {
	w      *wire
	room   int
	queue  []uapi.LineEvent
	news   chan struct{} // room for one: there is something to look at
	closed bool
}

func (h *hold) wake() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *hold) lock() (unlock func()) { h.w.chips.mu.Lock(); return h.w.chips.mu.Unlock }

func (h *hold) Get() (bool, error) {
	defer h.lock()()
	if h.w.config.Flags.IsOutput() && h.w.sick == nil {
		return false, nil
	}
	return h.w.pin != h.w.config.Flags.IsActiveLow(), h.w.sick
}

func (h *hold) Set(high bool) error {
	defer h.lock()()
	if h.w.sick == nil {
		h.w.change(high != h.w.config.Flags.IsActiveLow())
	}
	return h.w.sick
}

func (h *hold) Close() error {
	defer h.lock()()
	h.closed, h.w.consumer, h.w.held = true, "", nil
	h.wake()
	return nil
}

func (h *hold) Events(ctx context.Context, f func(uapi.LineEvent)) error {
	next := func() (uapi.LineEvent, bool, error) {
		defer h.lock()()
		switch {
		case h.closed:
			return uapi.LineEvent{}, false, os.ErrClosed
		case h.w.sick != nil:
			return uapi.LineEvent{}, false, h.w.sick
		case len(h.queue) == 0:
			return uapi.LineEvent{}, false, nil
		}
		e := h.queue[0]
		h.queue = h.queue[1:]
		return e, true, nil
	}
	for {
		e, more, err := next()
		if err != nil {
			return err
		}
		if more {
			f(e)
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.news:
		}
	}
}

// clock is one that a test turns.
type clock struct {
	linux.Clock
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1e9, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
