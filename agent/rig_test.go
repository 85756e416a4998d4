package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/relay"
	"holdfast/agent"
	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/board/sim"
	"holdfast/collectors"
)

// bubble is the clock of a synctest bubble.
type bubble struct{ untrusted atomic.Bool }

func (*bubble) Now() time.Time  { return time.Now() }
func (b *bubble) Trusted() bool { return !b.untrusted.Load() }
func (*bubble) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// source is a collector, or a stream, made of a function.
type source struct {
	name string
	do   func(ctx context.Context, emit collectors.Emit) error
}

func (s source) Name() string                                            { return s.name }
func (s source) Collect(ctx context.Context, emit collectors.Emit) error { return s.do(ctx, emit) }
func (s source) Stream(ctx context.Context, emit collectors.Emit) error  { return s.do(ctx, emit) }

// counting emits 1, 2, 3 as its fields say.
func counting(name string, fields ...string) source {
	n := 0.0
	return source{name, func(_ context.Context, emit collectors.Emit) error {
		n++
		s := collectors.Sample{Source: name}
		for _, f := range fields {
			s.Num(f, n)
		}
		emit(s)
		return nil
	}}
}

// mortal is a connection that can die with its process.
type mortal struct {
	link.Conn
	dead atomic.Bool
}

func (m *mortal) Publish(msg link.Message, done func(error)) {
	if m.dead.Load() {
		done(link.ErrDown)
		return
	}
	m.Conn.Publish(msg, done)
}

// rig is a device on a broker, in a bubble.
type rig struct {
	t      *testing.T
	broker *linktest.Broker
	disk   *sim.Disk
	clock  *bubble
	pump   *sim.Line
	parts  agent.Parts
	minOff time.Duration // the pump's interlock
	deeds  []string      // what the destructive verb was asked to do

	agent  *agent.Agent
	conn   *mortal
	cancel context.CancelFunc
	over   chan error
}

const device = "dev"

// live runs f with a device in a bubble, and stops the device at its end.
func live(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		f(r)
		r.stop()
	})
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, broker: linktest.NewBroker(), disk: sim.NewDisk(1), clock: &bubble{}, pump: sim.NewOutput("pump", false)}
	r.parts = agent.Parts{
		Version: "1.0.0", Dialect: link.Plain{Device: device}, Relays: []string{"pump"},
		Allow:    []string{"ping", "sample", "relay.set", "restart"},
		Sources:  []collectors.Source{counting("cpu", "busy_ratio")},
		Settings: agent.Settings{Period: 10 * time.Second, Thresholds: agent.Thresholds{CPU: 90, Memory: 90, Network: 90}},
		Spool:    spool.Options{LimitBytes: 4 << 20},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)), Level: new(slog.LevelVar),
	}
	return r
}

func (r *rig) start() {
	r.t.Helper()
	p := r.parts
	p.Board = &board.Board{Identity: board.Identity{ID: device, Model: "sim"}, Clock: r.clock, Files: r.disk.Files("state"),
		Logs: r.disk.Dir("spool"), Lines: map[string]board.Line{"pump": r.pump}}
	bank, err := relay.New(relay.Options{Clock: r.clock}, map[string]relay.Relay{"pump": {Line: r.pump, MinOff: r.minOff}})
	if err != nil {
		r.t.Fatal(err)
	}
	p.Verbs = append(slices.Clone(p.Verbs), bank.Verbs()[0], actuators.Verb{Name: "restart", Destructive: true,
		Params: []actuators.Param{{Name: "unit", Kind: actuators.Text}},
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			r.deeds = append(r.deeds, args.Text("unit"))
			return actuators.Result{"unit": args.Text("unit")}, nil
		}})
	r.conn = &mortal{Conn: r.broker.Conn(p.Dialect.Session())}
	p.Conn = r.conn
	if r.agent, err = agent.New(p); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.over = cancel, make(chan error, 1)
	go func() { r.over <- r.agent.Run(ctx) }()
	r.pass(0)
}

// pass lets time pass, and what it brings come to rest.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stop ends the agent in order, if it runs.
func (r *rig) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.over; err != nil {
		r.t.Errorf("Run = %v", err)
	}
}

// crash cuts the power: the disk is what the cut leaves, and nothing more is said.
func (r *rig) crash() {
	r.t.Helper()
	left := r.disk.Cut()
	r.conn.dead.Store(true)
	r.broker.Cut(device)
	r.stop()
	r.disk = left
	r.pump = sim.NewOutput("pump", false)
}

// say publishes as the operator.
func (r *rig) say(part string, retain bool, payload string) {
	r.broker.Publish(link.Message{Topic: "holdfast/" + device + "/" + part, Payload: []byte(payload), QoS: 1, Retain: retain})
	synctest.Wait()
}

// desire writes a desired document.
func (r *rig) desire(version int, state string) {
	r.say("shadow/desired", true, fmt.Sprintf(`{"epoch":"e","version":%d,"state":%s}`, version, state))
}

// heard returns what the device published on a topic, decoded.
func (r *rig) heard(part string) (all []map[string]any) {
	r.t.Helper()
	for _, p := range r.broker.Heard() {
		if p.Client != device || p.Topic != "holdfast/"+device+"/"+part {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(p.Payload, &m); err != nil {
			r.t.Fatalf("%s: %v in %s", part, err, p.Payload)
		}
		all = append(all, m)
	}
	return all
}

// reported returns the last report.
func (r *rig) reported() map[string]any {
	r.t.Helper()
	all := r.heard("shadow/reported")
	if len(all) == 0 {
		r.t.Fatal("nothing reported")
	}
	return all[len(all)-1]
}

// refused returns the reason the last report gives for a path.
func (r *rig) refused(path string) string {
	r.t.Helper()
	m, _ := r.reported()["refused"].(map[string]any)
	reason, _ := m[path].(string)
	return reason
}

// at returns a member of the last report's state, by keys.
func (r *rig) at(keys ...string) any {
	r.t.Helper()
	v := r.reported()["state"]
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// events returns the events of a kind.
func (r *rig) events(kind string) (some []map[string]any) {
	r.t.Helper()
	for _, e := range r.heard("event") {
		if e["kind"] == kind {
			some = append(some, e)
		}
	}
	return some
}

// result returns every answer to a command.
func (r *rig) result(id string) (some []map[string]any) {
	r.t.Helper()
	for _, e := range r.heard("command/result") {
		if e["id"] == id {
			some = append(some, e)
		}
	}
	return some
}

// status asks the agent itself.
func (r *rig) status() agent.Status {
	r.t.Helper()
	s, err := r.agent.Status(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// account is what an observer can say of the records of all sessions.
type account struct {
	records int
	twice   int
	missing []string // neither received nor told of
	told    int      // numbers that gap records tell of
}

func (r *rig) account() (a account) {
	r.t.Helper()
	seen, told, last := map[string]map[int]bool{}, map[string]map[int]bool{}, map[string]int{}
	put := func(m map[string]map[int]bool, session string, n int) bool {
		if m[session] == nil {
			m[session] = map[int]bool{}
		}
		was := m[session][n]
		m[session][n] = true
		return was
	}
	for _, m := range append(r.heard("telemetry"), r.heard("event")...) {
		session, n := m["session"].(string), int(m["seq"].(float64))
		if put(seen, session, n) {
			a.twice++
		}
		a.records++
		last[session] = max(last[session], n)
		if m["kind"] == "gap" {
			of := m["of"].(map[string]any)
			for i := int(of["from"].(float64)); i <= int(of["to"].(float64)); i++ {
				put(told, of["session"].(string), i)
			}
		}
	}
	for session, most := range last {
		for n := 1; n <= most; n++ {
			switch {
			case seen[session][n]:
			case told[session][n]:
				a.told++
			default:
				a.missing = append(a.missing, fmt.Sprintf("%s/%d", session, n))
			}
		}
	}
	return a
}

// whole fails the test unless every record arrived or is told of.
func (r *rig) whole() account {
	r.t.Helper()
	a := r.account()
	if len(a.missing) > 0 {
		r.t.Errorf("%d records are missing and not told of: %s", len(a.missing), strings.Join(a.missing[:min(8, len(a.missing))], " "))
	}
	return a
}

// manySizes emits one sample of each size.
func manySizes(sizes []int) func(context.Context, collectors.Emit) error {
	return func(_ context.Context, emit collectors.Emit) error {
		for i, n := range sizes {
			s := collectors.Sample{Source: "s", Instance: fmt.Sprint("i", i)}
			emit(*s.Str("text", strings.Repeat("x", n)))
		}
		return nil
	}
}
