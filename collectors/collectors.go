// Package collectors is a noun: it says what a sample is and takes each source at its period.
//
// The drivers below it know where to look: collectors/host reads the machine, collectors/units asks systemd,
// collectors/journal follows the log, collectors/pins the GPIO lines.
package collectors

import (
	"context"
	"errors"
	"time"
)

// ErrNoData means the board lacks this source. It is not a fault: the source is quietly left out, and asked again later.
var ErrNoData = errors.New("no data")

// An Emit takes one sample. The source fills in Source, Instance and Fields; Run adds the time. It must not be called
// after Collect has returned.
type Emit func(Sample)

// A Source is read once a period.
type Source interface {
	// Name is what the configuration and the samples call it.
	Name() string
	// Collect reads the source and emits what it says, nothing if there is nothing to say. It should give up when ctx
	// ends; one that does not is left behind, marked as hung, and not called again before it has returned.
	Collect(ctx context.Context, emit Emit) error
}

// A Stream is a source that speaks when it has something to say: a log, the edges of a line.
type Stream interface {
	Name() string
	// Stream emits until ctx ends. When it returns earlier it is started again after a pause.
	Stream(ctx context.Context, emit Emit) error
}

// A Schedule is how often a source is read.
type Schedule struct {
	Source Source
	Period time.Duration // at least 100 ms; 0 leaves the source out
}
