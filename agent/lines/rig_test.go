package lines_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/relay"
	"holdfast/agent/lines"
	"holdfast/board"
	"holdfast/board/boardtest"
)

// An owner is the process that owns the lines, without its socket.
type owner struct {
	bank *relay.Bank
	set  *actuators.Set
	stop func()
}

// own starts an owner in this bubble, or process.
func own(t *testing.T, relays map[string]relay.Relay, inputs map[string]board.Line) *owner {
	t.Helper()
	bank, err := relay.New(relay.Options{Clock: boardtest.Clock{}, Silence: lines.Silence}, relays)
	if err != nil {
		t.Fatal(err)
	}
	standing := func(r relay.Report) lines.Standing {
		s := lines.Standing{Silent: r.Silent, Seconds: r.Since.Seconds(), Silences: r.Silences, Resets: r.Resets, Lines: map[string]lines.Level{}}
		for name, o := range r.Outputs {
			s.Lines[name] = lines.Level{Output: true, High: o.On, Error: o.Fault, Safe: o.Safe, Count: o.Changes}
		}
		return s
	}
	d, err := lines.NewDesk(lines.DeskOptions{Clock: boardtest.Clock{}, Inputs: inputs,
		Outputs: func() lines.Standing { return standing(bank.Report()) },
		Beat:    func() lines.Standing { return standing(bank.Beat()) }})
	if err != nil {
		t.Fatal(err)
	}
	verbs := append(bank.Verbs(), d.Verbs()...)
	var names []string
	for _, v := range verbs {
		names = append(names, v.Name)
	}
	o := &owner{bank: bank}
	if o.set, err = actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: names}, verbs...); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = bank.Run(ctx) })
	wg.Go(func() { _ = d.Run(ctx) })
	o.stop = func() { stop(); wg.Wait() }
	return o
}

// A line to an owner, which can be cut.
type wire struct {
	owner  atomic.Pointer[owner]
	mu     sync.Mutex
	asked  map[string]int
	during func(verb string) // called before the answer goes back
}

var errCut = errors.New("nobody answers")

func (w *wire) Do(ctx context.Context, verb string, args actuators.Args, _ string) (actuators.Result, error) {
	w.mu.Lock()
	w.asked[verb]++
	during := w.during
	w.mu.Unlock()
	o := w.owner.Load()
	if o == nil {
		return nil, errCut
	}
	var text json.RawMessage
	var err error
	if len(args) > 0 {
		text, err = json.Marshal(args)
	}
	if err != nil {
		return nil, err
	}
	checked, err := o.set.Check(verb, text)
	if err != nil {
		return nil, err
	}
	result, err := o.set.Do(ctx, verb, checked)
	if err != nil {
		return nil, err
	}
	if during != nil {
		during(verb)
	}
	if text, err = json.Marshal(result); err != nil {
		return nil, err
	}
	var again actuators.Result
	return again, json.Unmarshal(text, &again)
}

func (w *wire) count(verb string) int { w.mu.Lock(); defer w.mu.Unlock(); return w.asked[verb] }

func wireTo(o *owner) *wire {
	w := &wire{asked: map[string]int{}}
	w.owner.Store(o)
	return w
}

// A back is how a client was told that outputs have to be set again.
type back struct {
	mu     sync.Mutex
	bodies []map[string]any
	err    error
}

func (b *back) take(_ context.Context, body map[string]any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodies = append(b.bodies, maps.Clone(body))
	return b.err
}

func (b *back) told() (all []map[string]any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, b.bodies = b.bodies, nil
	return all
}

func client(t *testing.T, o lines.ClientOptions) *lines.Client {
	t.Helper()
	o.Clock = boardtest.Clock{}
	c, err := lines.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs the client, and returns what ends it.
func start(c *lines.Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	return func() { cancel(); <-ended }
}

// A button is an input whose edges the test makes.
type button struct {
	mu   sync.Mutex
	high bool
	seq  uint64
	tell func(board.Edge)
	end  chan error
	err  error // of Read
	busy error // of Watch
}

func (b *button) Read() (bool, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.high, b.err }
func (b *button) Drive(bool) error    { return board.ErrUnsupported }
func (b *button) Watch(ctx context.Context, f func(board.Edge)) error {
	b.mu.Lock()
	if err := b.busy; err != nil {
		b.mu.Unlock()
		return err
	}
	b.seq, b.tell, b.end = 0, f, make(chan error, 1)
	b.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-b.end:
		return err
	}
}

// press makes edges, the last n of them lost by the kernel.
func (b *button) press(edges, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range edges {
		b.high = !b.high
		b.seq++
		b.tell(board.Edge{High: b.high, At: time.Duration(b.seq) * 1234 * time.Microsecond, Seq: b.seq})
	}
	b.seq += uint64(lost)
}
