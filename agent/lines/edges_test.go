package lines_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/agent/lines"
	"holdfast/board"
)

// heard is what a watch was told.
type heard struct {
	mu    sync.Mutex
	edges []board.Edge
	err   error
	over  chan struct{}
}

func (h *heard) take() (edges []board.Edge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	edges, h.edges = h.edges, nil
	return edges
}

func watch(ctx context.Context, l board.Line) *heard {
	h := &heard{over: make(chan struct{})}
	go func() {
		defer close(h.over)
		h.err = l.(board.Watcher).Watch(ctx, func(e board.Edge) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.edges = append(h.edges, e)
		})
	}()
	return h
}

// doors runs f with a client of an owner of two doors, of which one tells its edges.
func doors(t *testing.T, f func(ctx context.Context, b *button, w *wire, l map[string]board.Line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &button{}
		o := own(t, nil, map[string]board.Line{"door": b, "gate": &button{busy: board.ErrUnsupported}})
		w := wireTo(o)
		c := client(t, lines.ClientOptions{Ask: w, Lines: map[string]lines.Use{"door": {Edges: true}, "gate": {}}})
		stop := start(c)
		ctx, cancel := context.WithCancel(context.Background())
		synctest.Wait()
		f(ctx, b, w, c.Lines())
		cancel()
		stop()
		w.owner.Load().stop()
		o.stop()
		time.Sleep(time.Minute) // an answer under way
	})
}

func TestEdgesComeInOrderWithTheKernelsTime(t *testing.T) {
	doors(t, func(ctx context.Context, b *button, w *wire, l map[string]board.Line) {
		b.press(3, 0) // before anybody watches
		if _, ok := l["gate"].(board.Watcher); ok {
			t.Error("a line that tells no edges can be watched")
		}
		own, cancel := context.WithCancel(ctx)
		h := watch(own, l["door"])
		time.Sleep(time.Second)
		b.press(1, 0)
		synctest.Wait()
		if got := h.take(); len(got) != 1 || got[0] != (board.Edge{High: false, At: 4 * 1234 * time.Microsecond, Seq: 1}) {
			t.Errorf("the first edge, at once: %+v", got)
		}
		questions := w.count("lines.edges")
		for range 200 { // a second at 200 Hz
			b.press(1, 0)
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		got := h.take()
		if len(got) != 200 || got[199].Seq != 201 || got[199].At != 204*1234*time.Microsecond {
			t.Errorf("%d edges, the last %+v", len(got), got[len(got)-1])
		}
		for i, e := range got {
			if e.Seq != uint64(i)+2 || e.High != (i%2 == 0) {
				t.Fatalf("edge %d: %+v", i, e)
			}
		}
		if n := w.count("lines.edges") - questions; n > 15 {
			t.Errorf("%d questions for a second's edges", n)
		}
		again := watch(ctx, l["door"])
		<-again.over
		if again.err == nil || !strings.Contains(again.err.Error(), "being watched") {
			t.Errorf("a second watch: %v", again.err)
		}
		cancel()
		<-h.over
		if !errors.Is(h.err, context.Canceled) {
			t.Errorf("Watch = %v", h.err)
		}
		next := watch(ctx, l["door"])
		time.Sleep(time.Minute)
		b.press(2, 0)
		time.Sleep(time.Second)
		if got := next.take(); len(got) != 2 || got[0].Seq != 1 {
			t.Errorf("a later watch: %+v", got)
		}
		questions = w.count("lines.edges")
		time.Sleep(time.Hour)
		if n := w.count("lines.edges") - questions; n > 300 {
			t.Errorf("%d questions in an hour in which nothing happened", n)
		}
	})
}

func TestAFloodLeavesAGapThatIsCounted(t *testing.T) {
	doors(t, func(ctx context.Context, b *button, _ *wire, l map[string]board.Line) {
		h := watch(ctx, l["door"])
		time.Sleep(time.Second)
		b.press(1, 0)
		synctest.Wait()
		b.press(5000, 7) // more than the desk remembers, and then some that the kernel lost
		b.press(1, 0)
		time.Sleep(time.Minute)
		got := h.take()
		last := got[len(got)-1]
		if last.Seq != 5009 || len(got) < 1000 || len(got) > 1100 {
			t.Errorf("%d edges, the last %+v", len(got), last)
		}
		for i := range got[1:] {
			if got[i+1].Seq <= got[i].Seq || got[i+1].At < got[i].At {
				t.Fatalf("edge %d: %+v after %+v", i+1, got[i+1], got[i])
			}
		}
		if high, err := l["door"].Read(); high != last.High || err != nil {
			t.Errorf("read %t, %v", high, err)
		}
	})
}

func TestAWatchEndsWhenTheProcessStartsAnew(t *testing.T) {
	doors(t, func(ctx context.Context, b *button, w *wire, l map[string]board.Line) {
		h := watch(ctx, l["door"])
		time.Sleep(time.Second)
		first := w.owner.Swap(nil)
		first.stop()
		w.owner.Store(own(t, nil, map[string]board.Line{"door": b}))
		time.Sleep(time.Minute)
		<-h.over
		if h.err == nil || !strings.Contains(h.err.Error(), "started anew") {
			t.Errorf("Watch = %v", h.err)
		}
		next := watch(ctx, l["door"])
		time.Sleep(time.Second)
		b.press(2, 0)
		time.Sleep(time.Second)
		if got := next.take(); len(got) != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnInputThatCannotBeWatchedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &button{busy: syscall.EBUSY}
		o := own(t, nil, map[string]board.Line{"door": b})
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		b.busy = nil
		b.mu.Unlock()
		time.Sleep(time.Second + time.Millisecond)
		b.press(3, 0)
		b.end <- syscall.ENODEV
		time.Sleep(time.Second + time.Millisecond)
		b.press(2, 0)
		synctest.Wait()
		s, err := lines.Ask(t.Context(), wireTo(o))
		if l := s.Lines["door"]; err != nil || l.Count != 5 || l.Rising != 3 || l.Falling != 2 || !l.High {
			t.Errorf("%+v, %v; want 5 edges counted", s, err)
		}
		o.stop()
	})
}

// Of edges that came while no agent was there none is told, and all are counted.
func TestAnotherAgentReadsTheCountsOfTheFirst(t *testing.T) {
	doors(t, func(_ context.Context, b *button, w *wire, l map[string]board.Line) {
		b.press(3, 0)
		b.press(2, 4) // the kernel lost 4, which the next edge shows
		b.press(1, 0)
		second := client(t, lines.ClientOptions{Ask: w, Lines: map[string]lines.Use{"door": {Edges: true}}}).Lines()["door"].(board.Counter)
		if c, known := second.Counts(); known {
			t.Errorf("before it has read the line: %+v", c)
		}
		for _, c := range []board.Counter{l["door"].(board.Counter), second} {
			if high, err := c.(board.Line).Read(); high || err != nil {
				t.Errorf("read %t, %v", high, err)
			}
			if n, known := c.Counts(); n != (board.Counts{Rising: 3, Falling: 3, Lost: 4}) || !known {
				t.Errorf("counts %+v, %t", n, known)
			}
		}
		w.owner.Swap(nil).stop()
		time.Sleep(time.Second)
		if _, err := second.(board.Line).Read(); err == nil {
			t.Error("read from nobody")
		}
		if c, known := second.Counts(); known {
			t.Errorf("while nobody answers: %+v", c)
		}
		w.owner.Store(own(t, nil, nil))
	})
}

func TestAnOddQuestionForEdgesIsAnsweredAsOneOfSomebodyNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &button{}
		o := own(t, nil, map[string]board.Line{"door": b})
		synctest.Wait()
		b.press(9, 0)
		for _, args := range []string{`{}`, `{"after":9007199254740992}`, `{"start":"x","after":3}`, `{"wait":30,"after":0}`} {
			checked, err := o.set.Check("lines.edges", json.RawMessage(args))
			if err != nil {
				t.Fatal(err)
			}
			r, err := o.set.Do(t.Context(), "lines.edges", checked)
			if err != nil || r["next"] != uint64(9) {
				t.Errorf("%s: %v, %v", args, r, err)
			}
		}
		for _, args := range []string{`{"after":-1}`, `{"wait":31}`, `{"after":"1"}`} {
			if _, err := o.set.Check("lines.edges", json.RawMessage(args)); err == nil {
				t.Errorf("%s is taken", args)
			}
		}
		o.stop()
	})
}
