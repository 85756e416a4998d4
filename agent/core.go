package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/collectors"
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
	settled  chan settled           // publications of the core's own that are over: one report, one answer, one status, and those of connections just lost
	stats    chan spoolStats        // the newest counts, so one
	ask      chan func(*core)       // status and sample look at the core from inside
	leave    chan struct{}          // closed when the rest has stopped
	gone     chan struct{}          // closed when the core has returned
	schedule chan []collectors.Schedule
	puts     chan<- put
	linked   chan<- bool
	commands chan<- json.RawMessage // set with the commander
	broken   error                  // why the command ledger cannot be trusted
	relays   func(ctx context.Context, name string, on bool) error

	base      Settings
	settings  Settings
	desired   *desired
	refused   map[string]string // of the document in force
	trial     trial
	batch     batch
	reducer   reducer
	outbox    []put // not yet taken by the drain, oldest first
	latest    map[series]collectors.Sample
	link      linkState
	reported  reportedState
	results   []json.RawMessage // answers not yet at the broker, oldest first
	flying    bool              // the first of results is under way
	spool     spoolStats
	lastFed   time.Time
	lost      uint64 // telemetry records dropped before the spool, because it did not keep up
	truncated uint64 // desired documents that could not be read
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

// settled closes one publication of the core: exactly one of the marks is set.
type settled struct {
	err    error
	report string // token of a report of state
	result bool
	status bool
}

// Sizes of the core's bounds.
const (
	maxLatest   = 256 // series in the present view
	maxOutbox   = 256 // records between core and drain
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
		answers: make(chan json.RawMessage, 8), settled: make(chan settled, 32), stats: make(chan spoolStats, 1),
		ask: make(chan func(*core)), leave: make(chan struct{}), gone: make(chan struct{}),
		schedule: make(chan []collectors.Schedule, 1),
		puts:     a.drain.in, linked: a.drain.link,
		base: p.Settings, settings: p.Settings, batch: batch{limit: p.Policy.BatchBytes},
		latest: map[series]collectors.Sample{},
	}
	a.drain.stats = c.stats
	c.link.since = c.clock.Now()
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
	c.recall()
	tick, stopTick := c.clock.Timer(0)
	var linger <-chan time.Time
	stopLinger := func() {}
	defer func() { stopTick(); stopLinger() }()
	for {
		var puts chan<- put
		var first put
		if len(c.outbox) > 0 {
			puts, first = c.puts, c.outbox[0]
		}
		select {
		case puts <- first:
			c.outbox = slices.Delete(c.outbox, 0, 1)
		case s := <-c.samples:
			c.observe(s)
			if c.batch.count == 1 && linger == nil {
				linger, stopLinger = c.clock.Timer(c.parts.Policy.Linger)
			}
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
		case <-tick:
			c.housekeep()
			tick, stopTick = c.clock.Timer(coreTick)
		case <-c.leave:
			return c.farewell(ctx)
		}
	}
}

// observe takes one reading into the present view, and its reduction into the batch.
func (c *core) observe(s collectors.Sample) {
	key := series{s.Source, s.Instance}
	if _, known := c.latest[key]; known || len(c.latest) < maxLatest {
		c.latest[key] = s
	}
	period, window, deadband := c.settings.schedule(s.Source)
	if out, ok := c.reducer.pass(s, window, deadband, 10*period); ok {
		c.gather(out)
	}
}

func (c *core) gather(s collectors.Sample) {
	if c.batch.add(&s) {
		c.flush()
	}
}

// flush sends the batch on its way.
func (c *core) flush() {
	if c.batch.count > 0 {
		c.put(c.batch.take(c.recorder))
	}
}

// put queues a record for the drain. When the drain does not keep up, the oldest reading goes; events stay.
func (c *core) put(r spool.Record) {
	if len(c.outbox) >= maxOutbox {
		i := slices.IndexFunc(c.outbox, func(p put) bool { return p.records[0].Class == spool.Telemetry })
		i = max(i, 0)
		gone := c.outbox[i].records[0]
		c.outbox = slices.Delete(c.outbox, i, i+1)
		c.lost++
		rec, _ := c.recorder.gap(spool.Gap{Class: gone.Class, Session: gone.Session, From: gone.Seq, To: gone.Seq, Count: 1,
			Reason: "the spool did not keep up"})
		c.outbox = append(c.outbox, put{records: []spool.Record{rec}})
	}
	c.outbox = append(c.outbox, put{records: []spool.Record{r}})
}

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
	c.linked <- true
	c.log.Info("link up", "broker", up.Broker, "resumed", up.Resumed)
	if outage >= outageEvent && c.link.reconnects > 1 {
		c.event("link", map[string]any{"down_seconds": outage.Round(time.Second).Seconds(), "reason": reason})
	}
	for _, m := range c.parts.Dialect.Opening(c.recorder.session) {
		c.publish(m, settled{})
	}
	c.sayStatus(true, "")
	c.reported.unsure()
	c.report(now)
	c.flying = false
	c.sendResult()
	c.count()
}

func (c *core) wentDown(now time.Time, down *link.Down) {
	if c.link.up {
		c.link.up, c.link.since = false, now
		c.linked <- false
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
	case in.Answer != nil:
		var err error
		if in.Answer.Code != 0 {
			err = fmt.Errorf("the cloud answers %d: %s", in.Answer.Code, in.Answer.Reason)
		}
		c.reported.answered(in.Answer.Token, err)
	}
}

// publish hands over a message of the core's own.
func (c *core) publish(m link.Message, mark settled) {
	c.parts.Conn.Publish(m, func(err error) {
		mark.err = err
		if mark == (settled{err: err}) {
			return // nobody waits for it
		}
		select {
		case c.settled <- mark:
		case <-c.gone:
		}
	})
}

func (c *core) sayStatus(online bool, reason string) {
	m, err := c.parts.Dialect.Encode(link.Outbound{Status: &link.Status{Online: online, Since: c.clock.Now().UTC().Truncate(time.Second),
		Agent: c.parts.Version, Reason: reason}})
	if err != nil {
		c.log.Warn("status", "err", err)
		return
	}
	c.publish(m, settled{status: !online})
}

// answer queues a command's answer.
func (c *core) answer(body json.RawMessage) {
	if len(c.results) >= maxResults {
		c.results = slices.Delete(c.results, 0, 1)
		c.flying = false
	}
	c.results = append(c.results, body)
	c.sendResult()
}

func (c *core) sendResult() {
	if c.flying || !c.link.up || len(c.results) == 0 {
		return
	}
	m, err := c.parts.Dialect.Encode(link.Outbound{Result: c.results[0]})
	if err != nil {
		c.log.Warn("answer dropped", "err", err)
		c.results = slices.Delete(c.results, 0, 1)
		return
	}
	c.flying = true
	c.publish(m, settled{result: true})
}

// settle closes a publication of the core's own.
func (c *core) settle(s settled) {
	switch {
	case s.result:
		c.flying = false
		if s.err == nil && len(c.results) > 0 {
			c.results = slices.Delete(c.results, 0, 1)
			c.sendResult()
		}
	case s.report != "":
		c.reported.published(s.report, s.err, c.parts.Dialect.Session().Limits.AnswersState)
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
	}
	c.sendResult()
	c.report(now)
}

func (c *core) count() {
	c.counters(Counters{SpoolBytes: c.spool.FlashBytes, RecordsWaiting: uint64(c.spool.Waiting[0] + c.spool.Waiting[1]), RecordsDropped: c.dropped(),
		Reconnects: max(c.link.reconnects, 1) - 1})
}

func (c *core) dropped() uint64 {
	return c.spool.Dropped[0] + c.spool.Dropped[1] + c.spool.Refused + c.lost
}

// farewell says the last words: what is gathered goes to the drain, the cloud is told, the trial rests.
func (c *core) farewell(ctx context.Context) error {
	c.reducer.flush(c.gather)
	c.flush()
	for _, p := range c.outbox {
		c.puts <- p
	}
	if err := c.desired.rest(); err != nil {
		c.log.Warn("desired state", "err", err)
	}
	if !c.link.up {
		return nil
	}
	limit, stop := c.clock.Timer(c.parts.Policy.FarewellLimit)
	defer stop()
	c.sendResult()
	c.sayStatus(false, "stopped")
	for {
		select {
		case s := <-c.settled:
			if s.status {
				return nil
			}
			c.settle(s)
		case e := <-c.events:
			if e.Down != nil {
				return nil
			}
		case <-limit:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
