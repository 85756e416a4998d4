package sim

import (
	"fmt"
	"sync"

	"holdfast/board"
)

// A Line is a GPIO line without a chip. It stands for hardware, which several goroutines may touch at a time, so it has
// a lock. The zero Line is a low input without a name.
type Line struct {
	name   string
	output bool

	mu      sync.Mutex
	level   bool // at the pin
	told    bool // what an output was last told to drive
	fault   error
	turn    uint64
	watches []chan Edge
}

// An Edge is one change of level at the pin.
type Edge struct {
	Turn uint64 // counts the changes of this line from 1; a gap means that a watch was not read in time
	High bool
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
// (ENODEV). nil repairs it.
func (l *Line) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// Watch returns the changes at the pin from now on, and a function that ends the watch and closes the channel. Edges
// beyond room that nobody has read are lost, as a kernel's are, and leave a gap in Edge.Turn.
func (l *Line) Watch(room int) (edges <-chan Edge, stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan Edge, room)
	l.watches = append(l.watches, c)
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, w := range l.watches {
			if w == c {
				l.watches = append(l.watches[:i], l.watches[i+1:]...)
				close(c)
				return
			}
		}
	}
}

// change moves the pin and tells who watches. It is called with the lock held.
func (l *Line) change(high bool) {
	if l.level == high {
		return
	}
	l.level = high
	l.turn++
	for _, w := range l.watches {
		select {
		case w <- Edge{l.turn, high}:
		default:
		}
	}
}
