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
	tell  func(board.Edge)
	first uint64     // the process's number of the edge before the first one told
	ended chan error // one slot: the watch is over
}

// watchable is an input that tells its edges.
type watchable struct{ input }

var errAnew = errors.New("the process that owns the lines was started anew")

// Watch implements board.Watcher.
func (l watchable) Watch(ctx context.Context, f func(board.Edge)) error {
	w := &watched{tell: f, ended: make(chan error, 1)}
	all := <-l.c.watches
	_, busy := all[l.name]
	if !busy {
		all[l.name] = w
	}
	l.c.watches <- all
	if busy {
		return fmt.Errorf("watch line %s: it is being watched", l.name)
	}
	select {
	case l.c.anew <- struct{}{}:
	default:
	}
	var err error
	select {
	case err = <-w.ended:
	case <-ctx.Done():
	}
	all = <-l.c.watches // nobody is telling now, and nobody will
	if all[l.name] == w {
		delete(all, l.name)
	}
	l.c.watches <- all
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("watch line %s: %w", l.name, err)
}

// listen asks for edges, while somebody watches, until ctx ends.
func (c *Client) listen(ctx context.Context) {
	start, after := "", uint64(0)
	for {
		if !c.watching() {
			start, after = "", 0
			select {
			case <-c.anew:
			case <-ctx.Done():
				return
			}
		}
		said, err := c.ask(ctx, start, after)
		pause := edgePause
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = askAgain
		case start != "" && said.Start != start:
			c.end(errAnew)
			start, after = "", 0
			continue
		default:
			c.tell(said.Edges)
			if start, after = said.Start, said.Next; len(said.Edges) == edgesTold { // there are more
				pause = time.Millisecond
			}
		}
		if !c.rest(ctx, pause) {
			return
		}
	}
}

func (c *Client) watching() bool {
	all := <-c.watches
	defer func() { c.watches <- all }()
	return len(all) > 0
}

func (c *Client) ask(ctx context.Context, start string, after uint64) (said edgesSaid, err error) {
	args := actuators.Args{"start": start, "after": float64(after), "wait": (longestWait / 2).Seconds()}
	ctx, stop := context.WithTimeout(ctx, longestWait)
	defer stop()
	err = learn(ctx, c.o.Ask, edgesVerb, args, &said)
	return said, err
}

// tell hands edges to those who watch. A watch counts from 1 with the first edge it is told; edges lost later leave gaps.
func (c *Client) tell(edges []edge) {
	all := <-c.watches
	defer func() { c.watches <- all }()
	for _, e := range edges {
		w := all[e.Line]
		if w == nil {
			continue
		}
		if w.first == 0 {
			w.first = e.Seq
		}
		w.tell(board.Edge{High: e.High, At: time.Duration(e.At) * time.Microsecond, Seq: e.Seq - w.first + 1})
	}
}

// end ends every watch.
func (c *Client) end(err error) {
	all := <-c.watches
	defer func() { c.watches <- all }()
	for name, w := range all {
		w.ended <- err
		delete(all, name)
	}
}
