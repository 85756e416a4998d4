package boardtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"holdfast/board"
)

// An EdgeBench is an input that tells both its edges, with what a tester's hands would be.
type EdgeBench struct {
	Input interface {
		board.Line
		board.Watcher
	}
	Apply     func(high bool) // puts a level on the pin, and returns when its edge is on record
	ActiveLow bool            // the input is high while the pin is low
	Vanish    func()          // takes the line's chip away; nil where that cannot be done
	Return    func()          // brings it back, with the pin low, after as long as the driver wants; nil where that cannot be done
}

// manyEdges is more than any driver keeps for a watcher who does not look.
const manyEdges = 2000

// TestEdges is the contract of board.Watcher. open makes a new bench, with the pin low.
func TestEdges(t *testing.T, open func(t *testing.T) EdgeBench) {
	t.Run("an input says what is applied", func(t *testing.T) {
		b := open(t)
		for _, high := range []bool{true, false, false, true} {
			b.Apply(high)
			if got, err := b.Input.Read(); got != (high != b.ActiveLow) || err != nil {
				t.Errorf("read with the pin at %t: %t, %v", high, got, err)
			}
		}
	})
	t.Run("edges come in order, each once", func(t *testing.T) {
		w := watch(t, open(t), nil)
		for range 100 {
			w.turn()
		}
		w.collect(100)
		w.check()
		for i, e := range w.seen {
			if e.Seq != uint64(i+1) {
				t.Fatalf("edge %d is number %d", i+1, e.Seq)
			}
		}
		w.end()
	})
	for between, what := range map[int]string{0: "counts anew", 9: "tells only what comes later"} {
		t.Run("a later watch "+what, func(t *testing.T) {
			b := open(t)
			first := watch(t, b, nil)
			first.end()
			for range between {
				first.turn()
			}
			second := watch(t, b, first)
			second.turn()
			second.collect(1)
			second.check()
			if e, last := second.seen[0], first.seen[len(first.seen)-1]; e.Seq != 1 || e.At <= last.At {
				t.Errorf("the first edge of the second watch: %+v after %+v", e, last)
			}
			second.end()
		})
	}
	t.Run("who is slow loses edges and sees how many", func(t *testing.T) { testSlowWatch(t, open(t)) })
	t.Run("a line that vanishes ends the watch", func(t *testing.T) {
		b := open(t)
		if b.Vanish == nil {
			t.Skip("the line cannot be taken away on this bench")
		}
		w := watch(t, b, nil)
		b.Vanish()
		if err := <-w.ended; err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
		if _, err := b.Input.Read(); err == nil {
			t.Error("a line that vanished can be read")
		}
		if b.Return != nil {
			b.Return()
			again := watch(t, b, nil)
			again.check()
			if again.seen[0].Seq != 1 {
				t.Errorf("the first edge after its return: %+v", again.seen[0])
			}
			again.end()
		}
	})
}

func testSlowWatch(t *testing.T, b EdgeBench) {
	w := watch(t, b, nil)
	before := len(w.seen)
	w.gate.Lock()
	for range manyEdges {
		w.turn()
	}
	w.gate.Unlock()
	last := uint64(before + manyEdges)
	for w.seen[len(w.seen)-1].Seq < last {
		w.collect(1)
	}
	w.check()
	if got := len(w.seen); got >= before+manyEdges || w.seen[got-1].Seq != last {
		t.Errorf("%d edges seen of %d, the last is number %d", got, last, w.seen[got-1].Seq)
	}
	w.turn()
	w.collect(1)
	if e := w.seen[len(w.seen)-1]; e.Seq != last+1 {
		t.Errorf("the next edge is number %d, want %d", e.Seq, last+1)
	}
	w.end()
}

// A watched is a Watch under way.
type watched struct {
	t      *testing.T
	b      EdgeBench
	pin    bool
	edges  chan board.Edge // room for all, so that the watcher never waits for the test
	gate   sync.Mutex      // who holds it makes the watcher wait in its next edge
	ended  chan error      // room for the only one
	cancel context.CancelCauseFunc
	seen   []board.Edge
}

// errEnough ends a watch.
var errEnough = errors.New("enough edges")

// watch begins a watch, and returns when it has told an edge and then nothing more for a while. The pin is low, or where
// an earlier watch left it.
func watch(t *testing.T, b EdgeBench, earlier *watched) *watched {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(errEnough) })
	w := &watched{t: t, b: b, cancel: cancel, edges: make(chan board.Edge, manyEdges+1000), ended: make(chan error, 1)}
	if earlier != nil {
		w.pin = earlier.pin
	}
	go func() {
		w.ended <- b.Input.Watch(ctx, func(e board.Edge) {
			w.gate.Lock()
			defer w.gate.Unlock()
			w.edges <- e
		})
	}()
	turns := 0
	for patience := 5 * time.Millisecond; len(w.seen) == 0; patience *= 2 {
		if patience > 10*time.Second {
			t.Fatal("the watch tells nothing")
		}
		w.quiet(patience) // it may need longer to begin, and then it will not tell of the next turn
		w.turn()
		turns++
		w.quiet(patience)
	}
	if w.quiet(50 * time.Millisecond); len(w.seen) > turns {
		t.Fatalf("%d edges of %d: some came before the watch", len(w.seen), turns)
	}
	return w
}

// turn changes the pin's level.
func (w *watched) turn() {
	w.pin = !w.pin
	w.b.Apply(w.pin)
}

// quiet collects edges until there has been none for so long.
func (w *watched) quiet(d time.Duration) {
	for {
		select {
		case e := <-w.edges:
			w.seen = append(w.seen, e)
		case err := <-w.ended:
			w.t.Fatalf("the watch ended: %v", err)
		case <-time.After(d):
			return
		}
	}
}

// collect waits for n more edges.
func (w *watched) collect(n int) {
	w.t.Helper()
	for range n {
		select {
		case e := <-w.edges:
			w.seen = append(w.seen, e)
		case err := <-w.ended:
			w.t.Fatalf("the watch ended: %v", err)
		case <-time.After(10 * time.Second):
			w.t.Fatalf("%d edges seen, and no more come", len(w.seen))
		}
	}
}

// check looks at what must hold of any edges: neither times nor numbers go back, and where none is missing the levels
// alternate; the last is the pin's.
func (w *watched) check() {
	w.t.Helper()
	for i, e := range w.seen[1:] {
		last := w.seen[i]
		if e.At < last.At || e.Seq <= last.Seq || (e.High == last.High) != ((e.Seq-last.Seq)%2 == 0) {
			w.t.Fatalf("edge %+v after %+v", e, last)
		}
	}
	if e := w.seen[len(w.seen)-1]; e.High != (w.pin != w.b.ActiveLow) {
		w.t.Errorf("the last edge %+v with the pin at %t", e, w.pin)
	}
}

// end ends the watch.
func (w *watched) end() {
	w.t.Helper()
	w.cancel(errEnough)
	if err := <-w.ended; !errors.Is(err, errEnough) {
		w.t.Errorf("the watch ended with %v, want the cause of its context's end", err)
	}
}
