package lines

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// DeskOptions are what a Desk answers for.
type DeskOptions struct {
	Outputs func() Standing       // how the outputs stand: Lines has them alone, Start is empty
	Beat    func() Standing       // takes a beat; how they stood before
	Inputs  map[string]board.Line // those that are a board.Watcher tell their edges
	Clock   board.Clock           // required
	Log     *slog.Logger          // nil for none
}

// A Desk answers for the lines of this process.
type Desk struct {
	o     DeskOptions
	start string
	names []string   // of the inputs
	past  chan *past // one slot: whoever takes it owns it until it is put back
}

// past is the last edges of all inputs, in a ring. Edge n, counted from 1, lies in ring[n%len].
type past struct {
	ring  []edge
	last  uint64                  // number of the newest edge
	count map[string]board.Counts // by line
	fault map[string]string       // why a line cannot be watched now
	news  chan struct{}           // closed at the next edge; nil while nobody waits
}

// remembered is how many edges the desk keeps: 5 s of 200 Hz.
const remembered = 1024

// NewDesk returns a desk. Nothing runs before Run.
func NewDesk(o DeskOptions) (*Desk, error) {
	if o.Outputs == nil || o.Beat == nil || o.Clock == nil {
		return nil, errors.New("lines: want outputs, beats and a clock")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Desk{o: o, start: rand.Text(), names: slices.Sorted(maps.Keys(o.Inputs)), past: make(chan *past, 1)}
	d.past <- &past{count: map[string]board.Counts{}, fault: map[string]string{}} // one slot: there is one past
	return d, nil
}

// Verbs returns what can be asked. Beats and levels change nothing but the patience of the outputs. None waits for a deed:
// else an input whose chip is slow to answer would keep beats back until the outputs are safe.
func (d *Desk) Verbs() []actuators.Verb {
	return []actuators.Verb{
		{Name: levelsVerb, Help: "how every line stands", Aside: true, Do: func(context.Context, actuators.Args) (actuators.Result, error) {
			return d.answer(d.levels()), nil
		}},
		{Name: beatVerb, Help: "the agent is alive", Aside: true, Do: func(context.Context, actuators.Args) (actuators.Result, error) {
			return d.answer(d.o.Beat()), nil
		}},
		{Name: edgesVerb, Help: "what inputs did", Params: edgesParams(), Aside: true, Do: d.edges},
	}
}

func (d *Desk) answer(s Standing) actuators.Result {
	for name, l := range s.Lines {
		l.Error = clip(l.Error)
		s.Lines[name] = l
	}
	r := actuators.Result{"start": d.start, "resets": s.Resets, "silences": s.Silences, "lines": s.Lines}
	if s.Silent {
		r["silent"], r["silent_seconds"] = true, s.Seconds
	}
	return r
}

// levels is how every line stands.
func (d *Desk) levels() Standing {
	s := d.o.Outputs()
	counts := d.counts()
	for _, name := range d.names {
		high, err := d.o.Inputs[name].Read()
		n := counts[name]
		l := Level{High: high, Count: n.Total(), Rising: n.Rising, Falling: n.Falling}
		if err != nil {
			l.Error = err.Error()
		}
		s.Lines[name] = l
	}
	return s
}

func (d *Desk) counts() map[string]board.Counts {
	p := <-d.past
	defer func() { d.past <- p }()
	return maps.Clone(p.count)
}

// clip keeps what 64 lines have to say within an answer.
func clip(s string) string {
	const most = 200
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// Run watches the inputs until ctx ends. One that cannot be watched is tried again every second.
func (d *Desk) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	for _, name := range d.names {
		if w, ok := d.o.Inputs[name].(board.Watcher); ok {
			watches.Go(func() { d.watch(ctx, name, w) })
		}
	}
	<-ctx.Done()
	watches.Wait()
	return nil
}

func (d *Desk) watch(ctx context.Context, name string, w board.Watcher) {
	said := ""
	for {
		before := d.begin(name)
		err := w.Watch(ctx, func(e board.Edge) {
			e.Seq += before
			d.take(name, e)
		})
		if ctx.Err() != nil || errors.Is(err, board.ErrUnsupported) { // not asked to tell edges
			return
		}
		if d.broken(name, err); err.Error() != said {
			said = err.Error()
			d.o.Log.Warn("an input cannot be watched; tried again", "line", name, "err", err)
		}
		if !board.Wait(ctx, d.o.Clock, time.Second) {
			return
		}
	}
}

// begin returns how many edges a line has had that is going to be watched.
func (d *Desk) begin(name string) uint64 {
	p := <-d.past
	defer func() { d.past <- p }()
	delete(p.fault, name)
	return p.count[name].Total()
}

// broken takes down that a line cannot be watched.
func (d *Desk) broken(name string, err error) {
	p := <-d.past
	defer func() { d.past <- p }()
	p.fault[name] = clip(err.Error())
	p.add(edge{Line: name, Error: p.fault[name]})
}

// take keeps one edge. Edges that the kernel lost are counted too.
func (d *Desk) take(name string, e board.Edge) {
	p := <-d.past
	defer func() { d.past <- p }()
	n := p.count[name]
	n.Lost += e.Seq - n.Total() - 1
	if e.High {
		n.Rising++
	} else {
		n.Falling++
	}
	p.count[name] = n
	p.add(edge{Line: name, High: e.High, At: e.At.Microseconds(), Seq: e.Seq})
}

func (p *past) add(e edge) {
	if p.ring == nil {
		p.ring = make([]edge, remembered)
	}
	p.last++
	p.ring[p.last%remembered] = e
	if p.news != nil {
		close(p.news)
		p.news = nil
	}
}

// edges answers with the edges after those that were told, and waits for one when there are none.
func (d *Desk) edges(ctx context.Context, args actuators.Args) (actuators.Result, error) {
	wait := time.Duration(args.Number("wait") * float64(time.Second))
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	for {
		said, news := d.after(args.Text("start"), uint64(args.Number("after")), wait > 0)
		if news == nil {
			return actuators.Result{"start": said.Start, "next": said.Next, "lost": said.Lost, "edges": said.Edges,
				"counts": said.Counts, "faults": said.Faults}, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			wait = 0
		}
	}
}

// after returns the edges after one, or, when there are none and somebody would wait, what closes at the next one.
func (d *Desk) after(start string, after uint64, wait bool) (edgesSaid, <-chan struct{}) {
	p := <-d.past
	defer func() { d.past <- p }()
	said := edgesSaid{Start: d.start, Next: p.last, Edges: []edge{}}
	if start != d.start || after > p.last { // somebody new, who wants what is still to come
		said.Counts, said.Faults = make(map[string]uint64, len(p.count)), maps.Clone(p.fault)
		for name, n := range p.count {
			said.Counts[name] = n.Total()
		}
		return said, nil
	}
	if after == p.last && wait {
		if p.news == nil {
			p.news = make(chan struct{})
		}
		return said, p.news
	}
	if oldest := p.last - min(p.last, remembered) + 1; after+1 < oldest {
		said.Lost = oldest - after - 1
		after = oldest - 1
	}
	said.Next = min(p.last, after+edgesTold)
	for n := after + 1; n <= said.Next; n++ {
		said.Edges = append(said.Edges, p.ring[n%remembered])
	}
	return said, nil
}
