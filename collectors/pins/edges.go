package pins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast/board"
	"holdfast/collectors"
)

// EdgesPerSecond is how many edges of a line are told in a second, where nothing else is said.
const EdgesPerSecond = 50

// How a line that cannot be watched is tried again.
const (
	leastPause = time.Second
	mostPause  = time.Minute
)

// Edges is the stream "gpio_edge": a sample for each change of an input, with the line's name as instance and the fields
// level, high, monotonic_microseconds and seq; lost_count where as many edges before it were lost. Of a flood no more than
// so many samples a second and line are told, and one that says how many more there were. A line that cannot be watched
// is told once, and tried again.
type Edges struct {
	clock board.Clock
	most  int // samples a second and line
	names []string
	lines map[string]*edgeLine
	news  chan struct{} // room for one: some line has something to tell
}

// An edgeLine is a line that can be watched.
type edgeLine struct {
	line board.Watcher

	mu     sync.Mutex // Watch calls from a goroutine of its own
	queue  []told     // at most Edges.most
	second time.Duration
	inOne  int    // samples in the second that began then, by the kernel's clock
	untold int    // edges since the last sample that said so
	high   bool   // after the last edge
	fault  string // why it is not watched, to be told once
}

// A told is an edge that waits to be told.
type told struct {
	board.Edge
	lost uint64 // before it
}

// NewEdges returns the stream of those lines that can be watched, with at most so many samples a second and line,
// EdgesPerSecond when 0. It watches nothing yet.
func NewEdges(lines map[string]board.Line, clock board.Clock, perSecond int) *Edges {
	if perSecond <= 0 {
		perSecond = EdgesPerSecond
	}
	e := &Edges{clock: clock, most: perSecond, lines: map[string]*edgeLine{}, news: make(chan struct{}, 1)}
	for name, l := range lines {
		if w, can := l.(board.Watcher); can {
			e.lines[name] = &edgeLine{line: w}
		}
	}
	e.names = slices.Sorted(maps.Keys(e.lines))
	return e
}

// Name implements collectors.Stream.
func (*Edges) Name() string { return "gpio_edge" }

// Stream implements collectors.Stream. Where no line can be watched there is no data.
func (e *Edges) Stream(ctx context.Context, emit collectors.Emit) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, l := range e.lines {
		wg.Go(func() { e.follow(ctx, l) })
	}
	over := make(chan struct{}) // closed when nothing is watched any more
	go func() { wg.Wait(); close(over) }()
	defer func() { cancel(); <-over }()
	var due <-chan time.Time // when what a flood left untold is told
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			if ctx.Err() == nil {
				return fmt.Errorf("edges of gpio lines: %w", collectors.ErrNoData)
			}
			return context.Cause(ctx)
		case <-due:
			due = nil
			e.tell(emit, true)
		case <-e.news:
			if e.tell(emit, false) && due == nil {
				stop()
				due, stop = e.clock.Timer(time.Second)
			}
		}
	}
}

// follow watches a line until ctx ends, or it turns out that it cannot be watched ever.
func (e *Edges) follow(ctx context.Context, l *edgeLine) {
	pause := leastPause
	for ctx.Err() == nil {
		begun := e.clock.Now()
		err := l.line.Watch(ctx, e.watcher(l))
		if ctx.Err() != nil || errors.Is(err, board.ErrUnsupported) {
			return
		}
		if e.clock.Now().Sub(begun) > mostPause {
			pause = leastPause
		}
		l.mu.Lock()
		if pause == leastPause { // else it has been said
			l.fault = err.Error()
		}
		l.mu.Unlock()
		e.wake()
		again, stop := e.clock.Timer(pause)
		select {
		case <-again:
		case <-ctx.Done():
		}
		stop()
		pause = min(2*pause, mostPause)
	}
}

// watcher returns what takes a line's edges: it keeps those that are to be told.
func (e *Edges) watcher(l *edgeLine) func(board.Edge) {
	var seen uint64
	return func(edge board.Edge) {
		l.mu.Lock()
		defer l.mu.Unlock()
		lost := edge.Seq - seen - 1
		seen = edge.Seq
		l.high = edge.High
		if edge.At-l.second >= time.Second || edge.At < l.second {
			l.second, l.inOne = edge.At, 0
		}
		if l.inOne >= e.most || len(l.queue) >= e.most { // a flood, or nobody takes them
			l.untold++
		} else {
			l.inOne++
			l.queue = append(l.queue, told{edge, lost})
		}
		e.wake()
	}
}

// wake says that there is something to tell.
func (e *Edges) wake() {
	select {
	case e.news <- struct{}{}:
	default: // it will be looked at anyway
	}
}

// tell emits what waits, with flood also how many edges were not told, and returns whether there are such.
func (e *Edges) tell(emit collectors.Emit, flood bool) (untold bool) {
	for _, name := range e.names {
		l := e.lines[name]
		l.mu.Lock()
		queue, fault, left, high := l.queue, l.fault, l.untold, l.high
		l.queue, l.fault = nil, ""
		if flood {
			l.untold = 0
		}
		l.mu.Unlock()
		for _, t := range queue {
			emit(t.sample(name))
		}
		switch {
		case left > 0 && flood:
			s := level(collectors.Sample{Source: "gpio_edge", Instance: name}, high)
			emit(*s.Num("untold_count", float64(left)))
		case left > 0:
			untold = true
		}
		if fault != "" {
			s := collectors.Sample{Source: "gpio_edge", Instance: name}
			emit(*s.Str("error", fault))
		}
	}
	return untold
}

func (t told) sample(name string) collectors.Sample {
	s := level(collectors.Sample{Source: "gpio_edge", Instance: name, Fields: make([]collectors.Field, 0, 5)}, t.High)
	s.Num("monotonic_microseconds", float64(t.At.Microseconds())).Num("seq", float64(t.Seq))
	if t.lost > 0 {
		s.Num("lost_count", float64(t.lost))
	}
	return s
}

// level adds a level's two fields.
func level(s collectors.Sample, high bool) collectors.Sample {
	n := 0.0
	if high {
		n = 1
	}
	s.Fields = append(s.Fields, collectors.Field{Name: "level", Value: collectors.Number(n)}, collectors.Field{Name: "high", Value: collectors.Bool(high)})
	return s
}
