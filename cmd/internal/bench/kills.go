package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"time"
)

// A siege is an agent that is kept busy while it or its broker is killed.
type siege struct {
	*workshop
	o       options
	rng     *rand.Rand
	port    string // of the broker
	gate    *gate
	witness *witness
	state   string
	conf    string

	broker *process
	ear    *subscriber
	op     *operator
	calm   context.CancelFunc // ends the operator's work, and returns when it has
}

// kills runs both parts. The moments are random, and come again with the seed as far as the machine lets them.
func kills(w *workshop, o options, t *table) error {
	for _, tool := range []string{"mosquitto", "mosquitto_sub", "stdbuf"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: apt-get install mosquitto mosquitto-clients coreutils", err)
		}
	}
	if o.brokerKills > 0 {
		if err := brokerKills(w, o, t); err != nil {
			return fmt.Errorf("of the broker: %w", err)
		}
	}
	if o.agentKills > 0 {
		if err := agentKills(w, o, t); err != nil {
			return fmt.Errorf("of the agent: %w", err)
		}
	}
	return nil
}

func newSiege(w *workshop, o options, name string, salt uint64) (*siege, error) {
	s := &siege{workshop: w, o: o, rng: rand.New(rand.NewPCG(o.seed, salt)), witness: newWitness(), state: w.path(name)}
	var err error
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if s.gate, err = newGate(w, s.port); err != nil {
		return nil, err
	}
	s.op = &operator{port: s.port, rng: rand.New(rand.NewPCG(o.seed, salt+1)), prefix: fmt.Sprintf("%s-%x", name, o.seed)}
	s.conf, err = w.write(name+".toml", fmt.Sprintf("id = \"killed\"\nclock_vouched = true\nstate_dir = %q\nrun_dir = %q\n[broker]\nurls = [\"mqtt://127.0.0.1:%s\"]\n"+
		"min_backoff = \"100ms\"\nmax_backoff = \"200ms\"\n[telemetry]\nperiod = \"100ms\"\nlinger = \"20ms\"\n[spool]\nhold_off = \"100ms\"\n[units]\nrestart = [%q]\n"+
		"[limits]\nrepairs_per_hour = 1000\nrepairs_per_day = 1000\n", s.state, s.state, s.gate.port, absentUnit))
	if err != nil {
		return nil, err
	}
	if _, err := w.write(name+".conf", fmt.Sprintf("user root\nlistener %s 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n", s.port)); err != nil {
		return nil, err
	}
	return s, s.raise(name)
}

// raise starts a broker, and lets the agent in when an independent subscriber listens.
func (s *siege) raise(name string) error {
	var err error
	if s.broker, err = s.start("mosquitto", exec.Command("mosquitto", "-c", s.path(name+".conf"))); err != nil {
		return err
	}
	if err := s.until("mosquitto", 10*time.Second, func() bool { return reachable(s.port) || s.broker.gone() }); err != nil || s.broker.gone() {
		return errors.Join(err, fmt.Errorf("mosquitto: %s", s.words("mosquitto")))
	}
	if s.ear, err = s.witness.subscribe(s.workshop, s.port); err != nil {
		return err
	}
	if err := s.op.connect(); err != nil {
		return err
	}
	s.gate.set(true)
	return nil
}

// harass lets the operator work until calm is called.
func (s *siege) harass() {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.op.pester(ctx) }()
	s.calm = func() { cancel(); <-done }
}

func (s *siege) agent() (*process, error) {
	return s.start("killed", exec.Command(s.o.agent, "run", "--single", "--config", s.conf))
}

// pause waits for a random time.
func (s *siege) pause(from, to time.Duration) error {
	return s.sleep(from + time.Duration(s.rng.Int64N(int64(to-from))))
}

// brokerKills kills mosquitto under an agent that lives on. The agent counts its records in one session, so that what is
// missing shows as a hole.
func brokerKills(w *workshop, o options, t *table) error {
	s, err := newSiege(w, o, "broker-kills", 1)
	if err != nil {
		return err
	}
	agent, err := s.agent()
	if err != nil {
		return err
	}
	s.harass()
	began := time.Now()
	if err := s.until("the agent's first words", 10*time.Second, func() bool { return s.witness.count() > 20 }); err != nil {
		return fmt.Errorf("%w: %s", err, w.words("killed"))
	}
	if err := s.rekindle("broker-kills"); err != nil { // what is opened once is open at the start
		return err
	}
	start, err := s.atRest()
	if err != nil {
		return err
	}
	s.harass()
	for range o.brokerKills {
		if err := s.pause(20*time.Millisecond, 300*time.Millisecond); err != nil {
			return err
		}
		if err := s.rekindle("broker-kills"); err != nil {
			return err
		}
	}
	end, err := s.backAt(start)
	if err != nil {
		return err
	}
	if agent.gone() {
		return fmt.Errorf("the agent ended: %s", w.words("killed"))
	}
	missing := s.witness.holes()
	for deadline := time.Now().Add(20 * time.Second); missing > 0 && time.Now().Before(deadline); missing = s.witness.holes() {
		if err := s.sleep(100 * time.Millisecond); err != nil {
			return err
		}
	}
	if err := agent.stop(); err != nil {
		return err
	}
	left, err := readSpool(w, s.state+"/spool")
	if err != nil {
		return err
	}
	heard := s.witness
	t.atLeast("broker_kills", "kills -9 of mosquitto", float64(o.brokerKills), float64(o.brokerKills))
	t.atLeast("broker_kills_events", "  events heard", float64(heard.events), float64(o.brokerKills))
	t.beside("  readings heard; duplicates dropped; seconds", fmt.Sprintf("%d; %d; %.0f", heard.telemetry, heard.duplicates, time.Since(began).Seconds()))
	t.atMost("broker_kills_missing", "  records of either class missing", float64(missing+heard.gaps+len(left)), 0)
	t.atMost("broker_kills_changed", "  duplicates that differ", float64(heard.conflicts), 0)
	t.atMost("goroutines", "  goroutines after, against those before", end.Goroutines, start.Goroutines)
	t.atMost("descriptors", "  descriptors after, against those before", end.Descriptors, start.Descriptors)
	t.note("broker kills: each is a SIGKILL of mosquitto, 20 to 300 ms after the agent was let in again; a gate lets it in when mosquitto_sub has " +
		"subscribed. Records are numbered within the agent's one session: what is missing is a hole in the numbers, a drop the agent admits, or left in the spool")
	return nil
}

// rekindle kills the broker and starts another.
func (s *siege) rekindle(name string) error {
	s.broker.kill()
	s.gate.set(false)
	go func(ear *subscriber) { <-ear.drained; ear.kill() }(s.ear)
	return s.raise(name)
}

// atRest stops the operator, and returns what the agent says of itself when it has been left alone for a moment: the
// least of some readings, because other collectors may be at work while one is taken.
func (s *siege) atRest() (gauges, error) {
	s.calm()
	if err := s.sleep(500 * time.Millisecond); err != nil {
		return gauges{}, err
	}
	const enough = 10
	s.witness.lookAnew()
	err := s.until("what the agent says of itself", 20*time.Second, func() bool { _, ok := s.witness.seen(enough); return ok })
	least, _ := s.witness.seen(enough)
	return least, err
}

// backAt waits until the agent says no more of itself than it did at the start, for 30 s at most, and returns the least it
// said. Waiting hides no leak: what leaked does not go away, what was busy at a loaded machine does.
func (s *siege) backAt(start gauges) (gauges, error) {
	least, err := s.atRest()
	for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); {
		least, _ = s.witness.seen(1)
		if least.Goroutines <= start.Goroutines && least.Descriptors <= start.Descriptors {
			break
		}
		err = s.sleep(100 * time.Millisecond)
	}
	return least, err
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.records)
}

// holes counts, over all sessions, the numbers below the highest that were not heard.
func (w *witness) holes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	highest := map[string]uint64{}
	for i := range w.records {
		highest[i.session] = max(highest[i.session], i.seq)
	}
	sum := 0
	for _, n := range highest {
		sum += int(n)
	}
	return sum - len(w.records)
}
