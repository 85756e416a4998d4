// Package agent is a noun: it conducts. It owns every goroutine and moves values between packages that do not know one
// another: samples to the spool, records to the link, desired state to the settings, commands to the actuators.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/actuators"
	"holdfast/agent/link"
	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/collectors"
)

// Parts is what an agent is made of. Wire fills it in.
type Parts struct {
	Version  string
	Board    *board.Board
	Conn     link.Conn
	Dialect  link.Dialect
	Spool    spool.Options // Gap is the agent's own
	Sources  []collectors.Source
	Streams  []collectors.Stream
	Verbs    []actuators.Verb // beside the agent's own ping and sample
	Allow    []string         // what of them the cloud may ask for
	Updates  *Updates         // nil where nothing can be updated
	Crashes  Crashes          // reads what the kernel left of its crashes; nil where nobody does
	Relays   []string         // outputs the shadow may hold at a level, by the verb relay.set
	Watch    func([]string)   // takes the list of units whose state is reported; nil where there are none
	Rules    Rules            // reads the rules; nil where nothing is judged by rules
	Model    Model            // reads the model; nil where faults are named by rules alone
	Repairs  *Repairs         // nil where nothing is repaired
	Settings Settings         // what the configuration says
	Policy   Policy
	Log      *slog.Logger
	Level    *slog.LevelVar
	// Progress is called by the core loop as it goes round, at most every few seconds: it feeds the watchdog. nil: nobody
	// watches.
	Progress func()
	// Ready is called once, when the agent measures and obeys; it does not wait for the link.
	Ready func()
	// Faults are what is wrong with parts the core does not know, by part, for Status. nil: there are none.
	Faults func() map[string]string
	// Side is what else runs beside the agent's own parts, such as its status socket. It runs before the last good desired
	// state comes into force.
	Side []func(ctx context.Context) error
}

// Crashes reads what the kernel left of its crashes, newest first. What could be read comes with the error of what could not.
type Crashes = func(ctx context.Context) ([]board.Crash, error)

// Policy is the numbers an agent goes by. The zero value of each means its default.
type Policy struct {
	Linger        time.Duration // how long samples are gathered into one record; 1 s
	BatchBytes    int           // largest record of samples; 32 KiB
	InFlight      int           // records sent and not yet acknowledged; 16
	ShadowBytes   int           // largest desired document; 8 KiB
	ShadowTrial   time.Duration // how long a change must hold; 2 min
	LinkGrace     time.Duration // how long the link may stay away during a trial; 5 min
	CapacityBits  float64       // per second: what counts as 100 % of a network that does not say; 100e6
	StartUp       time.Time     // when the process started; now
	FarewellLimit time.Duration // how long the records under way, and then the last words, may take at the end; 2 s each
}

func (p Policy) orDefaults(now time.Time) Policy {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&p.Linger, time.Second)
	set(&p.ShadowTrial, 2*time.Minute)
	set(&p.LinkGrace, 5*time.Minute)
	set(&p.FarewellLimit, 2*time.Second)
	if p.BatchBytes <= 0 {
		p.BatchBytes = 32 << 10
	}
	if p.InFlight <= 0 {
		p.InFlight = 16
	}
	if p.ShadowBytes <= 0 {
		p.ShadowBytes = 8 << 10
	}
	if p.CapacityBits <= 0 {
		p.CapacityBits = 100e6
	}
	if p.StartUp.IsZero() {
		p.StartUp = now
	}
	return p
}

// An Agent is one running agent.
type Agent struct {
	parts    Parts
	recorder *recorder
	core     *core
	drain    *drain
	commands *commander
	updates  *updating // nil without updates
	repairs  *repairer // nil where nothing is repaired
	runner   *collectors.Runner
	counters atomic.Pointer[Counters] // a snapshot the core leaves for the self source
	recovery spool.Recovery
}

// Counters are the agent's own figures.
type Counters struct {
	SpoolBytes     int64 // on flash
	RecordsWaiting uint64
	RecordsDropped uint64
	Reconnects     uint64
	Linked         bool // the connection to the cloud is up
}

// New puts an agent together. It opens the spool, the last good desired state and the command ledger; what of these is
// damaged is reported by the running agent, and does not keep it from starting.
func New(p Parts) (*Agent, error) {
	if p.Board == nil || p.Board.Clock == nil || p.Board.Files == nil || p.Board.Logs == nil {
		return nil, errors.New("agent: needs a board with a clock and a place for its files")
	}
	p.Policy = p.Policy.orDefaults(p.Board.Clock.Now())
	a := &Agent{parts: p, recorder: newRecorder(p.Board.Clock)}
	a.counters.Store(&Counters{})
	options := p.Spool
	options.Gap = a.recorder.gap
	box, recovery, err := spool.Open(p.Board.Logs, options)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	a.recovery = recovery
	window := p.Policy.InFlight
	if most := p.Dialect.Session().Limits.InFlight; most > 0 {
		window = min(window, most)
	}
	a.drain = &drain{spool: box, conn: p.Conn, dialect: p.Dialect, clock: p.Board.Clock, log: p.Log, gap: a.recorder.gap,
		limit: p.Policy.FarewellLimit, window: window, in: make(chan put, 64), link: make(chan bool, 1),
		flying: map[uint64]flight{}, acks: make(chan ack, window)}
	a.core = newCore(a)
	a.newUpdating()
	a.newRepairer()
	if err := a.newCommander(); err != nil {
		return nil, err
	}
	a.runner = &collectors.Runner{Clock: p.Board.Clock, Log: p.Log, Sources: a.core.schedules(), Streams: p.Streams,
		Changes: a.core.schedule}
	if a.core.rules != nil {
		a.runner.Round = a.core.round
	}
	return a, nil
}

func (a *Agent) newCommander() error {
	p := &a.parts
	verbs, err := actuators.NewSet(actuators.Options{Allow: p.Allow, Clock: p.Board.Clock},
		append([]actuators.Verb{a.ping(), a.sample()}, a.poking(p.Verbs)...)...)
	if err != nil {
		return fmt.Errorf("commands: %w", err)
	}
	a.commands = &commander{verbs: verbs, admits: a.core.safety.admits, clock: p.Board.Clock, log: p.Log, record: a.keep, answer: a.answer,
		in: make(chan json.RawMessage, 16), lane: make(chan deed, 4), done: make(chan deed, 4)}
	a.commands.ledger, a.commands.broken = openLedger(p.Board.Files)
	a.core.commands, a.core.broken = a.commands.in, a.commands.broken
	a.core.relays = func(ctx context.Context, name string, on bool) error {
		_, err := verbs.Do(actuators.WithReason(ctx, "shadow"), "relay.set", actuators.Args{"name": name, "on": on})
		return err
	}
	return nil
}

// Updates is how an agent brings updates.
type Updates struct {
	Kinds []string // that the warden knows: "system", "agent", "content"
	Ask   func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error)
	Open  func(job *UpdateJob) (Repository, error)
}

func (a *Agent) newUpdating() {
	p := a.parts.Updates
	if p == nil || len(p.Kinds) == 0 {
		return
	}
	g := &updating{kinds: p.Kinds, jobs: make(chan json.RawMessage, 1), poke: make(chan struct{}, 1), core: a.core, record: a.keep,
		files: a.parts.Board.Files, ended: endings(a.parts.Board.Files)}
	g.u = &Updater{Ask: p.Ask, Open: p.Open, Clock: a.parts.Board.Clock, Log: a.parts.Log,
		Health: func(ctx context.Context) (h Health, err error) {
			err = a.core.look(ctx, func(c *core) { h = c.health() })
			return h, err
		}}
	a.updates, a.core.jobs = g, g.job
}

// poking returns the verbs with those of updates waking the goroutine that drives them.
func (a *Agent) poking(verbs []actuators.Verb) []actuators.Verb {
	if a.updates == nil {
		return verbs
	}
	out := slices.Clone(verbs)
	for i, v := range out {
		if !strings.HasPrefix(v.Name, "update.") {
			continue
		}
		out[i].Do = func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			result, err := v.Do(ctx, args)
			select {
			case a.updates.poke <- struct{}{}:
			default:
			}
			return result, err
		}
	}
	return out
}

// keep puts an event on flash and returns when it is there.
func (a *Agent) keep(ctx context.Context, kind string, body map[string]any) error {
	durable := make(chan error, 1) // the drain never waits for who asked
	select {
	case a.drain.in <- put{[]spool.Record{a.recorder.event(kind, body)}, durable}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-durable:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer hands a command's answer to the core, which sends it until it has arrived.
func (a *Agent) answer(ctx context.Context, body json.RawMessage) {
	select {
	case a.core.answers <- body:
	case <-ctx.Done():
	}
}

// Run works until ctx ends or a part fails, and returns after every goroutine it started has returned. The end is in
// order: the sources and commands stop, the cloud is told, what is not delivered is kept, the link is closed.
func (a *Agent) Run(ctx context.Context) error {
	failed := make(chan error, 1) // the first to fail ends them all; the others' words are not kept
	start := func(ctx context.Context, name string, run func(context.Context) error) (ended <-chan struct{}) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := run(ctx); err != nil && ctx.Err() == nil {
				select {
				case failed <- fmt.Errorf("%s: %w", name, err):
				default:
				}
			}
		}()
		return done
	}
	apart := context.WithoutCancel(ctx) // these end in turn, not when ctx does
	work, stopWork := context.WithCancelCause(apart)
	carry, stopLink := context.WithCancelCause(apart)
	defer stopWork(nil)
	defer stopLink(nil)
	var working []<-chan struct{}
	for _, side := range a.parts.Side {
		working = append(working, start(work, "side", side))
	}
	a.core.recall() // before the first sample
	a.runner.Sources = a.core.schedules()
	if r := a.recovery; r.Skipped > 0 || r.CutBytes > 0 {
		a.parts.Log.Warn("the spool was damaged", "skipped", r.Skipped, "cut", r.CutBytes, "kept", r.Records)
	}
	link := start(carry, "link", func(ctx context.Context) error { return a.parts.Conn.Run(ctx, a.core.hear) })
	drain := start(apart, "spool", a.drain.run)
	a.core.drained = drain
	core := start(apart, "core", a.core.run)
	working = append(working,
		start(work, "collectors", func(ctx context.Context) error { return a.runner.Run(ctx, a.core.feel) }),
		start(work, "commands", a.commands.run),
		start(work, "commands", a.commands.slow))
	if a.updates != nil {
		working = append(working, start(work, "updates", a.updates.run))
	}
	asks, stopAsks := context.WithCancelCause(apart) // the warden may be at a side of this process, and hears the end
	defer stopAsks(nil)
	var asking <-chan struct{}
	if a.repairs != nil {
		asking = start(asks, "repairs", a.repairs.run)
	}
	if a.parts.Crashes != nil {
		c := &crashes{read: a.parts.Crashes, files: a.parts.Board.Files, clock: a.parts.Board.Clock, log: a.parts.Log, facts: a.parts.Board.Facts, record: a.keep, told: a.crashed}
		working = append(working, start(work, "crashes", c.run))
	}
	if a.parts.Ready != nil {
		a.parts.Ready()
	}
	var cause error
	select {
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case cause = <-failed:
	}
	a.parts.Log.Info("stopping", "cause", cause)
	if stopAsks(cause); a.repairs != nil {
		<-asking
	}
	stopWork(cause)
	for _, done := range working {
		<-done
	}
	close(a.core.leave)
	<-core
	<-drain
	stopLink(cause)
	<-link
	select {
	case err := <-failed: // the end of what was being kept is told at last
		a.parts.Log.Error("stopped", "err", err)
	default:
	}
	if ctx.Err() != nil {
		return nil
	}
	return cause
}
