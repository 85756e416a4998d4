package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"holdfast/agent/spool"
)

// agentKills kills the agent, with a link that comes and goes. What must arrive is known in two ways that do not ask the
// agent: every record that is on flash at the moment of a kill, read by this program from a copy of the spool; and both
// events of every command that was answered, because an answer is given only when its events are durable.
func agentKills(w *workshop, o options, t *table) error {
	s, err := newSiege(w, o, "agent-kills", 3)
	if err != nil {
		return err
	}
	s.harass()
	calmGate := s.swing()
	promised, began := map[id]spool.Class{}, time.Now()
	for range o.agentKills {
		agent, err := s.agent()
		if err != nil {
			return err
		}
		if err := s.pause(100*time.Millisecond, 1500*time.Millisecond); err != nil {
			return err
		}
		if agent.gone() {
			return fmt.Errorf("the agent ended by itself: %s", w.words("killed"))
		}
		agent.kill()
		records, err := readSpool(w, s.state+"/spool")
		if err != nil {
			return err
		}
		for _, r := range records {
			promised[id{r.Session, r.Seq}] = r.Class
		}
	}
	calmGate()
	s.calm()
	s.gate.set(true)
	agent, err := s.agent()
	if err != nil {
		return err
	}
	missing := s.missing(promised)
	for deadline := time.Now().Add(30 * time.Second); missing != [3]int{} && time.Now().Before(deadline); missing = s.missing(promised) {
		if err := s.sleep(100 * time.Millisecond); err != nil {
			return err
		}
	}
	if err := agent.stop(); err != nil {
		return err
	}
	s.tell(t, promised, missing, time.Since(began))
	return nil
}

// swing opens and shuts the gate at random, so that readings reach flash too, until the returned function is called.
func (s *siege) swing() (calm func()) {
	rng, stop, done := rand.New(rand.NewPCG(s.o.seed, 5)), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for open := true; ; open = !open {
			s.gate.set(open)
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(100+rng.IntN(600)) * time.Millisecond):
			}
		}
	}()
	return func() { close(stop); <-done }
}

// missing counts promised records that were not heard, by class, and answered commands without both their events.
func (s *siege) missing(promised map[id]spool.Class) (n [3]int) {
	w := s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, class := range promised {
		if _, heard := w.records[i]; !heard {
			n[class]++
		}
	}
	for _, phases := range w.answered() {
		if phases != "begun failed " && phases != "failed begun " {
			n[2]++
		}
	}
	return n
}

// answered returns the phases heard of each command that was taken on, as its answer shows: it names the unit, or says
// that the warden's limit was reached. The others were refused, and leave no events.
func (w *witness) answered() map[string]string {
	out := map[string]string{}
	for name, text := range w.answers {
		if strings.Contains(text, absentUnit) || strings.Contains(text, "limit reached") {
			out[name] = w.audits[name]
		}
	}
	return out
}

func (s *siege) tell(t *table, promised map[id]spool.Class, missing [3]int, took time.Duration) {
	w := s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	var on [2]int
	for _, class := range promised {
		on[class]++
	}
	kills, answered := float64(s.o.agentKills), len(w.answered())
	t.atLeast("agent_kills", "kills -9 of the agent", kills, kills)
	t.atLeast("agent_kills_events", "  events found on flash at a kill", float64(on[spool.Event]), math.Floor(kills/10))
	t.atLeast("agent_kills_readings", "  records of readings found on flash at a kill", float64(on[spool.Telemetry]), math.Floor(kills/10))
	t.atLeast("agent_kills_answers", "  commands answered", float64(answered), kills)
	t.beside("  events heard; readings heard; duplicates dropped; seconds", fmt.Sprintf("%d; %d; %d; %.0f", w.events, w.telemetry, w.duplicates, took.Seconds()))
	t.atMost("agent_kills_events_missing", "  events missing", float64(missing[spool.Event]), 0)
	t.atMost("agent_kills_readings_missing", "  spooled readings missing", float64(missing[spool.Telemetry]), 0)
	t.atMost("agent_kills_audits_missing", "  answered commands without both their events", float64(missing[2]), 0)
	t.atMost("agent_kills_changed", "  duplicates that differ", float64(w.conflicts), 0)
	t.note("agent kills: each 0.1 to 1.5 s after its start, while the link comes and goes. What is on flash is read from a copy of the spool after each kill, " +
		"and must be heard; a command that was answered must have both its events. What the kernel had is kept: power cuts are the spool's crash tests' part")
}
