package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/board"
)

// edgeRoom is how many edges are kept for a watcher who is busy; then the oldest goes, as with the kernel.
const edgeRoom = 256

// A Line is a GPIO line without a chip. It stands for hardware, which several goroutines may touch at a time, so it has
// a lock. The zero Line is a low input without a name.
type Line struct {
	// Since returns how long ago the simulated machine started, for the times of edges. nil: how long ago the line was
	// first watched.
	Since func() time.Duration

	name   string
	output bool

	mu    sync.Mutex
	level bool // at the pin
	told  bool // what an output was last told to drive
	fault error
	watch *watch // nil while nobody watches
}

// A watch is one Watch under way, under the line's lock.
type watch struct {
	queue []board.Edge
	seq   uint64
	news  chan struct{} // room for one: there is something to look at
}

// NewInput returns an input at a level.
func NewInput(name string, high bool) *Line { return &Line{name: name, level: high} }

// NewOutput returns an output that drives a level.
func NewOutput(name string, high bool) *Line {
	return &Line{name: name, output: true, level: high, told: high}
}

// Read implements board.Line.
func (l *Line) Read() (high bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return false, fmt.Errorf("read line %s: %w", l.name, l.fault)
	}
	if l.output {
		return l.told, nil
	}
	return l.level, nil
}

// Drive implements board.Line.
func (l *Line) Drive(high bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.output {
		return fmt.Errorf("drive line %s: it is an input: %w", l.name, board.ErrUnsupported)
	}
	if l.fault != nil {
		return fmt.Errorf("drive line %s: %w", l.name, l.fault)
	}
	l.told = high
	l.change(high)
	return nil
}

// Set puts a level on the pin from outside: a button, a sensor, or on an output a short circuit. An output goes on
// saying what it was told, as real ones do.
func (l *Line) Set(high bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(high)
}

// Level returns the level at the pin.
func (l *Line) Level() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level
}

// Break makes every read and drive answer with err, as a line does that is busy (EBUSY) or whose chip was unplugged
// (ENODEV), and ends a Watch with it. nil repairs the line.
func (l *Line) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	l.tell()
}

// Watch implements board.Watcher, for inputs.
func (l *Line) Watch(ctx context.Context, f func(board.Edge)) error {
	w, err := l.begin()
	if err != nil {
		return fmt.Errorf("watch line %s: %w", l.name, err)
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watch = nil
	}()
	for {
		e, more, err := l.next(w)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("watch line %s: %w", l.name, err)
		case more:
			f(e)
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.news:
		}
	}
}

func (l *Line) begin() (*watch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.output:
		return nil, fmt.Errorf("it is an output: %w", board.ErrUnsupported)
	case l.watch != nil:
		return nil, errors.New("it is being watched")
	case l.fault != nil:
		return nil, l.fault
	}
	if l.Since == nil {
		begun := time.Now()
		l.Since = func() time.Duration { return time.Since(begun) }
	}
	l.watch = &watch{news: make(chan struct{}, 1)}
	return l.watch, nil
}

// next takes the oldest edge that waits.
func (l *Line) next(w *watch) (e board.Edge, more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(w.queue) == 0 || l.fault != nil {
		return e, false, l.fault
	}
	e = w.queue[0]
	w.queue = w.queue[1:]
	return e, true, nil
}

// change moves the pin and tells who watches. It is called with the lock held.
func (l *Line) change(high bool) {
	if l.level == high {
		return
	}
	l.level = high
	if w := l.watch; w != nil {
		w.seq++
		if len(w.queue) == edgeRoom {
			w.queue = w.queue[1:]
		}
		w.queue = append(w.queue, board.Edge{High: high, At: l.Since(), Seq: w.seq})
	}
	l.tell()
}

// tell wakes who watches. It is called with the lock held.
func (l *Line) tell() {
	if l.watch == nil {
		return
	}
	select {
	case l.watch.news <- struct{}{}:
	default: // it will look anyway
	}
}
