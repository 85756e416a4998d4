package lines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// A Use is what a line is for.
type Use struct {
	Output bool
	Edges  bool // an input that tells its edges
}

// ClientOptions are what a Client works with.
type ClientOptions struct {
	Ask   Asker          // required
	Clock board.Clock    // required
	Lines map[string]Use // by the names that the process knows them by
	// Turn returns when the agent's core loop has gone round. Only then is a beat given.
	Turn func(ctx context.Context) error
	// Back is called after outputs were brought to initial or safe levels: those that are wanted have to be set again. It is
	// called again until it returns nil. The body is what is worth telling of it, nil for nothing.
	Back func(ctx context.Context, body map[string]any) error
	// Gather is how long no question for edges is asked after one was answered, so that more of them come in one answer. The
	// first edge after a quiet time is told at once. 0 means 100 ms.
	Gather time.Duration
	Log    *slog.Logger // nil for none
}

// Patience of a client.
const (
	askLimit    = time.Second            // one question
	fresh       = 2 * time.Second        // what a beat said of the outputs holds so long
	roundLength = 200 * time.Millisecond // readings of several inputs within it come from one question
	askAgain    = time.Second            // after a question that was not answered
)

// A Client is the agent's side. Its lines can be used before Run, and by several goroutines.
type Client struct {
	o       ClientOptions
	cache   chan *cache   // one slot: whoever takes it owns it until it is put back, and meanwhile waits for nothing
	asking  chan struct{} // one slot: one question for the inputs at a time
	watches chan map[string]*watched
	anew    chan struct{} // one slot: somebody watches
}

// cache is what the process last said.
type cache struct {
	outputs, inputs  map[string]Level
	used             map[string]bool      // inputs that were read since they were asked for
	toldAt, readAt   time.Time            // when
	toldErr, readErr error                // why it did not say more; nil when it did
	setAt            map[string]time.Time // outputs that were set since the last beat
	standing         Standing             // after which outputs were set again
	restored         string               // its start and resets
	begun            bool                 // a beat was tried
}

// NewClient returns a client. Nothing runs before Run.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Ask == nil || o.Clock == nil {
		return nil, errors.New("lines: want somebody to ask, and a clock")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Gather <= 0 {
		o.Gather = 100 * time.Millisecond
	}
	c := &Client{o: o, cache: make(chan *cache, 1), asking: make(chan struct{}, 1), watches: make(chan map[string]*watched, 1),
		anew: make(chan struct{}, 1)}
	c.cache <- &cache{setAt: map[string]time.Time{}, toldErr: errors.New("not asked yet")}
	c.watches <- map[string]*watched{}
	return c, nil
}

// Lines returns the lines as a board has them.
func (c *Client) Lines() map[string]board.Line {
	all := make(map[string]board.Line, len(c.o.Lines))
	for name, use := range c.o.Lines {
		switch {
		case use.Output:
			all[name] = output{c, name}
		case use.Edges:
			all[name] = watchable{input{c, name}}
		default:
			all[name] = input{c, name}
		}
	}
	return all
}

// Verbs returns relay verbs with a Do that asks the process.
func (c *Client) Verbs(described []actuators.Verb) []actuators.Verb {
	verbs := slices.Clone(described)
	for i, v := range verbs {
		verbs[i].Do = func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			ctx, stop := context.WithTimeout(ctx, askLimit)
			defer stop()
			result, err := c.o.Ask.Do(ctx, v.Name, args, actuators.Reason(ctx))
			if err == nil {
				c.note(args.Text("name"), args.Truth("on"))
			}
			return result, err
		}
	}
	return verbs
}

// note takes down that an output was set.
func (c *Client) note(name string, on bool) {
	k := <-c.cache
	defer func() { c.cache <- k }()
	k.outputs = maps.Clone(k.outputs)
	if k.outputs == nil {
		k.outputs = map[string]Level{}
	}
	k.outputs[name] = Level{Output: true, High: on, Count: k.outputs[name].Count}
	k.setAt[name] = c.o.Clock.Now()
}

type output struct {
	c    *Client
	name string
}

// Read implements board.Line: the level that the last beat told of. Once there was a beat it never waits.
func (l output) Read() (high bool, err error) {
	k := <-l.c.cache
	begun := k.begun || !k.setAt[l.name].IsZero()
	l.c.cache <- k
	if !begun {
		return input(l).Read()
	}
	k = <-l.c.cache
	defer func() { l.c.cache <- k }()
	at := k.toldAt
	if set := k.setAt[l.name]; set.After(at) {
		at = set
	}
	age := l.c.o.Clock.Now().Sub(at)
	level, ok := k.outputs[l.name]
	switch {
	case (!ok || age > fresh) && k.toldErr != nil:
		return false, fmt.Errorf("read line %s: %w", l.name, k.toldErr)
	case !ok:
		return false, fmt.Errorf("read line %s: the process that owns the lines does not know it", l.name)
	case age > fresh:
		return false, fmt.Errorf("read line %s: the last word of it is %v old", l.name, age.Round(time.Millisecond))
	case level.Error != "":
		return false, fmt.Errorf("read line %s: %s", l.name, level.Error)
	}
	return level.High, nil
}

// Drive implements board.Line, inside the output's interlock.
func (l output) Drive(high bool) error {
	ctx, stop := context.WithTimeout(context.Background(), askLimit)
	defer stop()
	_, err := l.c.o.Ask.Do(ctx, "relay.set", actuators.Args{"name": l.name, "on": high}, "")
	if err != nil {
		return fmt.Errorf("drive line %s: %w", l.name, err)
	}
	l.c.note(l.name, high)
	return nil
}

type input struct {
	c    *Client
	name string
}

// Read implements board.Line. Lines that are read one after the other are asked for once.
func (l input) Read() (high bool, err error) {
	level, err := l.c.input(l.name)
	if err == nil && level.Error != "" {
		err = errors.New(level.Error)
	}
	if err != nil {
		return false, fmt.Errorf("read line %s: %w", l.name, err)
	}
	return level.High, nil
}

// Drive implements board.Line.
func (l input) Drive(bool) error {
	return fmt.Errorf("drive line %s: it is an input: %w", l.name, board.ErrUnsupported)
}

// input returns how an input stands. One answer serves each input once: who reads one again wants to know it anew.
func (c *Client) input(name string) (Level, error) {
	c.asking <- struct{}{} // one slot: who waits here reads what the one before asked for
	defer func() { <-c.asking }()
	now := c.o.Clock.Now()
	k := <-c.cache
	inputs, at, err, used := k.inputs, k.readAt, k.readErr, k.used[name]
	if k.used != nil {
		k.used[name] = true
	}
	c.cache <- k
	if pause := now.Sub(at); at.IsZero() || err == nil && (used || pause >= roundLength) || err != nil && pause >= askAgain {
		var s Standing
		ctx, stop := context.WithTimeout(context.Background(), askLimit)
		s, err = Ask(ctx, c.o.Ask)
		stop()
		inputs = s.Lines
		k := <-c.cache
		k.inputs, k.readAt, k.readErr, k.used = inputs, now, err, map[string]bool{name: true}
		c.cache <- k
	}
	if err != nil {
		return Level{}, err
	}
	level, ok := inputs[name]
	if !ok {
		return Level{}, errors.New("the process that owns the lines does not know it")
	}
	return level, nil
}

// Fault says what is wrong with the process or the lines; empty for nothing. It waits for nothing.
func (c *Client) Fault() string {
	k := <-c.cache
	defer func() { c.cache <- k }()
	switch {
	case k.toldErr != nil && k.begun:
		return "the process that owns the lines does not answer: " + k.toldErr.Error()
	case k.readErr != nil:
		return "the process that owns the lines does not answer: " + k.readErr.Error()
	}
	for _, all := range []map[string]Level{k.outputs, k.inputs} {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if l := all[name]; l.Error != "" {
				return fmt.Sprintf("line %s: %s", name, l.Error)
			}
		}
	}
	return ""
}

// Run gives beats and hands edges on until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	outputs, edges := false, false
	for _, use := range c.o.Lines {
		outputs, edges = outputs || use.Output, edges || use.Edges
	}
	if outputs {
		parts.Go(func() { c.beat(ctx) })
	}
	if edges {
		parts.Go(func() { c.listen(ctx) })
	}
	<-ctx.Done()
	return nil
}
