package lines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// watched is one input that somebody watches.
type watched struct {
	tell   func(board.Edge)
	start  string     // the process
	after  uint64     // the process's number of the last edge before the watch
	before uint64     // how many edges the line had had then
	ended  chan error // one slot: the watch is over
}

// watchable is an input that tells its edges.
type watchable struct{ input }

// Counts implements board.Counter: what the process has counted since it started, whoever watched.
func (l watchable) Counts() (board.Counts, bool) {
	k := <-l.c.cache
	defer func() { l.c.cache <- k }()
	level, ok := k.inputs[l.name]
	return board.Counts{Rising: level.Rising, Falling: level.Falling, Lost: level.Count - level.Rising - level.Falling},
		ok && k.readErr == nil
}

var errAnew = errors.New("the process that owns the lines was started anew")

// Watch implements board.Watcher.
func (l watchable) Watch(ctx context.Context, f func(board.Edge)) error {
	w, err := l.begin(ctx, f)
	if err == nil {
		select {
		case err = <-w.ended:
		case <-ctx.Done():
		}
		all := <-l.c.watches // nobody is telling now, and nobody will
		if all[l.name] == w {
			delete(all, l.name)
		}
		l.c.watches <- all
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("watch line %s: %w", l.name, err)
}

// begin asks where the edges of the line stand, and has those told that come later.
func (l watchable) begin(ctx context.Context, f func(board.Edge)) (*watched, error) {
	limit, stop := context.WithTimeout(ctx, askLimit)
	defer stop()
	said, err := l.c.ask(limit, "", 0)
	if err != nil {
		return nil, err
	}
	if fault := said.Faults[l.name]; fault != "" {
		return nil, errors.New(fault)
	}
	all := <-l.c.watches
	defer func() { l.c.watches <- all }()
	if all[l.name] != nil {
		return nil, errors.New("it is being watched")
	}
	w := &watched{tell: f, start: said.Start, after: said.Next, before: said.Counts[l.name], ended: make(chan error, 1)}
	all[l.name] = w
	select {
	case l.c.anew <- struct{}{}:
	default:
	}
	return w, nil
}

// listen asks for edges, while somebody watches, until ctx ends.
func (c *Client) listen(ctx context.Context) {
	start, after := "", uint64(0)
	for {
		if first := c.first(); first == nil {
			start = ""
			select {
			case <-c.anew:
				continue
			case <-ctx.Done():
				return
			}
		} else if start == "" {
			start, after = first.start, first.after
		}
		said, err := c.ask(ctx, start, after)
		pause := c.o.Gather
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = askAgain
		default:
			c.tell(&said)
			if after = said.Next; said.Start != start {
				start = ""
			} else if len(said.Edges) == edgesTold { // there are more
				pause = time.Millisecond
			}
		}
		if !board.Wait(ctx, c.o.Clock, pause) {
			return
		}
	}
}

// first returns the watch with the least to catch up on, nil when nobody watches.
func (c *Client) first() (first *watched) {
	all := <-c.watches
	defer func() { c.watches <- all }()
	for _, w := range all {
		if first == nil || w.after < first.after {
			first = w
		}
	}
	return first
}

func (c *Client) ask(ctx context.Context, start string, after uint64) (said edgesSaid, err error) {
	args := actuators.Args{"start": start, "after": float64(after), "wait": (longestWait / 2).Seconds()}
	ctx, stop := context.WithTimeout(ctx, longestWait)
	defer stop()
	err = learn(ctx, c.o.Ask, edgesVerb, args, &said)
	return said, err
}

// tell hands edges to those who watch. A watch counts from 1; edges that were lost leave gaps.
func (c *Client) tell(said *edgesSaid) {
	all := <-c.watches
	defer func() { c.watches <- all }()
	end := func(name string, err error) {
		all[name].ended <- err
		delete(all, name)
	}
	for name, w := range all {
		if w.start != said.Start {
			end(name, errAnew)
		}
	}
	for i, e := range said.Edges {
		number := said.Next - uint64(len(said.Edges)-i-1)
		w := all[e.Line]
		switch {
		case w == nil || number <= w.after:
		case e.Error != "":
			end(e.Line, errors.New(e.Error))
		default:
			w.tell(board.Edge{High: e.High, At: time.Duration(e.At) * time.Microsecond, Seq: e.Seq - w.before})
		}
	}
}
