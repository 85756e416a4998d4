package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate"
)

// core is the loop in the middle. It owns the settings, the shadow, the batch and the present view of the machine; every
// other goroutine sends to it and never waits for more than the next turn of the loop.
type core struct {
	parts    *Parts
	clock    board.Clock
	log      *slog.Logger
	recorder *recorder
	counters func(Counters)

	samples  chan collectors.Sample // room for a round of all sources
	events   chan link.Event        // room for a few; while it is full the broker is not read
	answers  chan json.RawMessage   // a few commands' answers
	settled  chan settled           // publications of the core's own that are over; room for every one that is awaited
	stats    chan spoolStats        // the newest counts, so one
	ask      chan func(*core)       // status and sample look at the core from inside
	leave    chan struct{}          // closed when the rest has stopped
	gone     chan struct{}          // closed when the core has returned
	schedule chan []collectors.Schedule
	puts     chan<- put
	drained  <-chan struct{}        // closed when the drain has kept everything and returned; set by Run
	linked   chan bool              // room for one: only the newest counts
	commands chan<- json.RawMessage // set with the commander
	broken   error                  // why the command ledger cannot be trusted
	relays   func(ctx context.Context, name string, on bool) error
	jobs     func(json.RawMessage) // takes update jobs; nil where there are none
	rules    *remediate.Rules      // nil where nothing is judged
	pace     time.Duration         // at which the model wants the sources that it asks for
	paced    map[string]bool
	sent     map[series]time.Time // when a reading of these sources was last sent

	asks   chan<- remediate.Ask // set with the repairer; nil where nothing is repaired
	safety safety

	facts    map[string]any // of the board, as they are reported
	base     Settings
	settings Settings
	desired  *desired
	refused  map[string]string // of the document in force
	trial    trial
	batch    batch
	reducer  reducer
	outbox   outbox
	latest   map[series]collectors.Sample
	link     linkState
	reported reportedState
	results  []json.RawMessage // answers not yet at the broker, oldest first
	attempt  uint64            // counts the attempts to send an answer
	flying   uint64            // the attempt at the first of results that is under way, 0 for none
	awaited  int               // publications that will come back through settled
	job      jobState
	askAgain bool            // the question for the desired state was refused
	locked   map[string]bool // desired levels of outputs that could not be set yet
	applied  bool            // some settings were brought into force
	streams  map[string]bool // sources that speak for themselves, whose samples are not reduced
	spool    spoolStats
	lastFed  time.Time
	tooLarge uint64 // samples dropped because no record holds them
}

// linkState is what is known of the connection.
type linkState struct {
	up         bool
	since      time.Time
	broker     string
	err        error
	retry      time.Time
	reconnects uint64
	seen       link.Watermark // of this connection
}

// settled closes one publication of the core: at most one of the marks is set.
type settled struct {
	err    error
	report string // token of a report of state
	result uint64 // attempt at an answer
	status bool
	job    bool
}

// awaitedAtMost bounds the publications under way whose end the core wants to know. There are rarely more than two; a
// link that goes up and down may leave some of each life.
const awaitedAtMost = 32

// Sizes of the core's bounds.
const (
	maxLatest   = 256 // series in the present view
	maxResults  = 32
	coreTick    = 10 * time.Second
	feedPause   = 5 * time.Second
	outageEvent = time.Minute // a shorter outage is counted, and not told as an event
)

func newCore(a *Agent) *core {
	p := &a.parts
	c := &core{
		parts: p, clock: p.Board.Clock, log: p.Log, recorder: a.recorder,
		counters: func(n Counters) { a.counters.Store(&n) },
		samples:  make(chan collectors.Sample, 256), events: make(chan link.Event, 32),
		answers: make(chan json.RawMessage, 8), settled: make(chan settled, awaitedAtMost), stats: make(chan spoolStats, 1),
		ask: make(chan func(*core)), leave: make(chan struct{}), gone: make(chan struct{}),
		schedule: make(chan []collectors.Schedule, 1),
		puts:     a.drain.in, linked: a.drain.link,
		facts: factsTree(p.Board.Facts), base: p.Settings, settings: p.Settings, batch: batch{limit: a.batchLimit()},
		latest: map[series]collectors.Sample{}, streams: map[string]bool{"collector": true},
	}
	c.outbox.gap = a.recorder.gap
	for _, s := range p.Streams {
		c.streams[s.Name()] = true
	}
	a.drain.stats = c.stats
	c.link.since = c.clock.Now()
	c.newRules()
	return c
}

// hear takes what the connection has to say.
func (c *core) hear(e link.Event) {
	select {
	case c.events <- e:
	case <-c.gone:
	}
}

// feel takes one sample.
func (c *core) feel(s collectors.Sample) {
	select {
	case c.samples <- s:
	case <-c.gone:
	}
}

// run is the loop.
func (c *core) run(ctx context.Context) error {
	defer close(c.gone)
	tick, stopTick := c.clock.Timer(0)
	var linger <-chan time.Time
	stopLinger := func() {}
	var wake alarm
	defer func() { stopTick(); stopLinger(); wake.off() }()
	for {
		wake.set(c)
		if c.batch.count > 0 && linger == nil {
			linger, stopLinger = c.clock.Timer(c.parts.Policy.Linger)
		}
		var puts chan<- put
		var first put
		if len(c.outbox.queue) > 0 {
			puts, first = c.puts, c.outbox.queue[0]
		}
		select {
		case puts <- first:
			c.outbox.taken()
		case s := <-c.samples:
			c.observe(s)
		case <-linger:
			c.flush()
			linger = nil
		case e := <-c.events:
			c.heard(e)
		case body := <-c.answers:
			c.answer(body)
			c.report(c.clock.Now()) // a relay may have been switched
		case s := <-c.settled:
			c.settle(s)
		case c.spool = <-c.stats:
			c.count()
		case look := <-c.ask:
			look(c)
		case <-wake.fired:
			wake.off()
			c.rules.Tick()
		case <-tick:
			c.housekeep()
			tick, stopTick = c.clock.Timer(coreTick)
		case <-c.leave:
			return c.farewell(ctx)
		}
	}
}

// observe takes one reading into the present view, gives it to the rules, and its reduction into the batch.
func (c *core) observe(s collectors.Sample) {
	if c.judge(&s); s.Source == "" {
		return
	}
	key := series{s.Source, s.Instance}
	if _, known := c.latest[key]; known || len(c.latest) < maxLatest {
		c.latest[key] = s
	}
	if c.streams[s.Source] { // it says each thing once
		c.gather(s)
		return
	}
	period, window, deadband := c.settings.schedule(s.Source)
	if c.sooner(key, s.Time, period, window) {
		return
	}
	if out, ok := c.reducer.pass(s, window, deadband, 10*period); ok {
		c.gather(out)
	}
}

func (c *core) gather(s collectors.Sample) {
	if c.batch.add(&s) {
		return
	}
	c.flush()
	if !c.batch.add(&s) {
		c.tooLarge++
		c.log.Warn("sample dropped: larger than a record may be", "source", s.Source, "instance", s.Instance)
	}
}

// flush sends the batch on its way.
func (c *core) flush() {
	if c.batch.count > 0 {
		c.put(c.batch.take(c.recorder))
	}
}

// put queues a record for the drain.
func (c *core) put(r spool.Record) { c.outbox.add(r) }

// event queues an event.
func (c *core) event(kind string, body map[string]any) { c.put(c.recorder.event(kind, body)) }

// heard handles one thing the connection says.
func (c *core) heard(e link.Event) {
	now := c.clock.Now()
	switch {
	case e.Up != nil:
		c.cameUp(now, e.Up)
	case e.Down != nil:
		c.wentDown(now, e.Down)
	case e.Message != nil:
		in, err := c.parts.Dialect.Decode(*e.Message)
		if err != nil {
			c.log.Warn("message dropped", "topic", e.Message.Topic, "err", err)
			return
		}
		c.inbound(in)
	}
}

func (c *core) cameUp(now time.Time, up *link.Up) {
	outage := now.Sub(c.link.since)
	reason := ""
	if c.link.err != nil {
		reason = c.link.err.Error()
	}
	c.link = linkState{up: true, since: now, broker: up.Broker, reconnects: c.link.reconnects + 1}
	c.trial.down = time.Time{}
	c.tellDrain(true)
	c.linkChanged(true, outage, reason)
	c.log.Info("link up", "broker", up.Broker, "resumed", up.Resumed)
	if outage >= outageEvent && c.link.reconnects > 1 {
		c.event("link", map[string]any{"down_seconds": outage.Round(time.Second).Seconds(), "reason": reason})
	}
	c.open()
	c.sayStatus(true, "")
	c.reported.unsure()
	c.report(now)
	c.flying = 0
	c.sendResult()
	c.job.again()
	c.sendJob()
	c.count()
}

// open asks what the dialect wants to know after every connect.
func (c *core) open() {
	c.askAgain = false
	for _, m := range c.parts.Dialect.Opening(c.recorder.session) {
		c.publish(m, settled{})
	}
}

// tellDrain says whether the link is up. What the drain has not yet heard is replaced: the core never waits for a disk.
func (c *core) tellDrain(up bool) {
	select {
	case <-c.linked:
	default:
	}
	c.linked <- up
}

func (c *core) wentDown(now time.Time, down *link.Down) {
	if c.link.up || c.link.reconnects == 0 && c.link.err == nil {
		why := ""
		if down.Err != nil {
			why = down.Err.Error()
		}
		c.linkChanged(false, 0, why)
	}
	if c.link.up {
		c.link.up, c.link.since = false, now
		c.tellDrain(false)
		c.trial.down = now
		c.log.Warn("link down", "err", down.Err, "retry", down.Retry)
	} else if c.link.err == nil || down.Err == nil || c.link.err.Error() != down.Err.Error() {
		c.log.Warn("link", "err", down.Err, "retry", down.Retry)
	}
	c.link.err, c.link.retry = down.Err, now.Add(down.Retry)
}

// inbound handles one thing the cloud says.
func (c *core) inbound(in link.Inbound) {
	for _, m := range in.Publish {
		c.publish(m, settled{})
	}
	switch {
	case in.Desired != nil:
		c.want(in.Desired)
	case in.Command != nil:
		select {
		case c.commands <- in.Command:
		default:
			id := idOf(in.Command)
			c.log.Warn("command refused", "id", id, "err", "too many at once")
			if id != "" {
				body, _ := json.Marshal(answer{ID: id, Error: "too many commands at once; try again"})
				c.answer(body)
			}
		}
	case in.Job != nil && c.jobs != nil:
		c.jobs(in.Job.Body)
	case in.Answer != nil:
		var err error
		if in.Answer.Code != 0 {
			err = fmt.Errorf("the cloud answers %d: %s", in.Answer.Code, in.Answer.Reason)
			c.log.Warn("shadow", "err", err)
			c.askAgain = c.askAgain || in.Answer.Token == c.recorder.session
		}
		c.reported.answered(in.Answer.Token, err)
		if err == nil {
			c.report(c.clock.Now())
		}
	}
}

// housekeep is what is done every few seconds.
func (c *core) housekeep() {
	now := c.clock.Now()
	if c.parts.Progress != nil && now.Sub(c.lastFed) >= feedPause {
		c.lastFed = now
		c.parts.Progress()
	}
	commit, rollBack := c.trial.verdict(now, c.parts.Policy.ShadowTrial, c.parts.Policy.LinkGrace)
	switch {
	case commit:
		c.trial = trial{}
		if err := c.desired.commit(); err != nil {
			c.log.Warn("desired state", "err", err)
		}
	case rollBack != "":
		c.rollBack(rollBack)
	case c.desired.unsaved:
		if err := c.desired.save(); err != nil {
			c.log.Debug("desired state", "err", err)
		}
	}
	if len(c.locked) > 0 {
		c.hold(c.locked)
	}
	if c.rules != nil {
		c.rules.Overflows()
	}
	if c.askAgain && c.link.up {
		c.open()
	}
	c.sendResult()
	c.sendJob()
	c.report(now)
}

func (c *core) count() {
	c.counters(Counters{SpoolBytes: c.spool.FlashBytes, RecordsWaiting: uint64(c.spool.Waiting[0] + c.spool.Waiting[1]), RecordsDropped: c.dropped(),
		Reconnects: max(c.link.reconnects, 1) - 1, Linked: c.link.up})
}

func (c *core) dropped() uint64 {
	return c.spool.Dropped[0] + c.spool.Dropped[1] + c.spool.Refused + c.outbox.lost
}
