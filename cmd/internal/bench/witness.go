package main

import (
	"bufio"
	"encoding/json"
	"hash/maphash"
	"io"
	"math"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// id names a record for all time.
type id struct {
	session string
	seq     uint64
}

// A witness is what independent subscribers have heard of the agent.
type witness struct {
	hash maphash.Seed

	mu         sync.Mutex
	records    map[id]uint64 // hash of the payload
	events     int
	telemetry  int
	duplicates int
	conflicts  int               // another payload under the same name
	gaps       int               // records the agent says it dropped
	audits     map[string]string // phases heard of a command, "begun " and "done " or "failed "
	answers    map[string]string // its answer's error
	gauges     gauges            // the least since it was asked for
	looks      int               // readings in it
}

// gauges are what the agent says of itself.
type gauges struct {
	Goroutines  float64 `json:"goroutines_count"`
	Descriptors float64 `json:"descriptors_count"`
}

func newWitness() *witness {
	return &witness{hash: maphash.MakeSeed(), records: map[id]uint64{}, audits: map[string]string{}, answers: map[string]string{}}
}

// lookAnew begins new least gauges.
func (w *witness) lookAnew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gauges, w.looks = gauges{math.Inf(1), math.Inf(1)}, 0
}

// seen returns the least gauges, once there are enough of them.
func (w *witness) seen(enough int) (gauges, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gauges, w.looks >= enough
}

// hear takes one message.
func (w *witness) hear(topic string, payload []byte) {
	var m struct {
		Session string
		Seq     uint64
		Kind    string
		ID      string
		Phase   string
		Error   string
		Count   int
		Samples []struct {
			Source string
			Fields gauges
		}
	}
	leaf := topic[strings.LastIndexByte(topic, '/')+1:]
	if leaf != "event" && leaf != "telemetry" && leaf != "result" || json.Unmarshal(payload, &m) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if leaf == "result" {
		w.answers[m.ID] = m.Error
		return
	}
	i, sum := id{m.Session, m.Seq}, maphash.Bytes(w.hash, payload)
	if before, again := w.records[i]; again {
		w.duplicates++
		if before != sum {
			w.conflicts++
		}
		return
	}
	w.records[i] = sum
	if leaf == "telemetry" {
		w.telemetry++
		for _, s := range m.Samples {
			if s.Source == "self" {
				w.gauges.Goroutines = min(w.gauges.Goroutines, s.Fields.Goroutines)
				w.gauges.Descriptors = min(w.gauges.Descriptors, s.Fields.Descriptors)
				w.looks++
			}
		}
		return
	}
	w.events++
	switch m.Kind {
	case "command":
		w.audits[m.ID] += m.Phase + " "
	case "gap":
		w.gaps += m.Count
	}
}

// A subscriber is one mosquitto_sub. It asks for QoS 0, so that it never writes: a write to a broker that was killed
// would end the connection before what the kernel still holds for it was read. Mosquitto hands a message to its
// subscribers' sockets before it acknowledges it to the publisher, so that nothing acknowledged is missed.
type subscriber struct {
	*process
	ready   chan struct{} // subscribed
	drained chan struct{} // connects again, so that its first connection is read to the end
}

func (w *witness) subscribe(shop *workshop, port string) (*subscriber, error) {
	read, write := io.Pipe()
	cmd := exec.Command("stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-q", "0", "-t", "holdfast/#", "-d", "-F", "M %t %p")
	cmd.Stdout = write
	p, err := shop.start("subscriber", cmd)
	if err != nil {
		return nil, err
	}
	s := &subscriber{p, make(chan struct{}), make(chan struct{})}
	go func() { <-p.ended; write.Close() }()
	go s.read(w, read)
	return s, shop.until("mosquitto_sub", 10*time.Second, func() bool {
		select {
		case <-s.ready:
			return true
		default:
			return p.gone()
		}
	})
}

func (s *subscriber) read(w *witness, from io.Reader) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	connects, subscribed := 0, false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "M "):
			topic, payload, _ := strings.Cut(line[2:], " ")
			w.hear(topic, []byte(payload))
		case strings.HasPrefix(line, "Subscribed") && !subscribed:
			subscribed = true
			close(s.ready)
		case strings.Contains(line, "sending CONNECT"):
			if connects++; connects == 2 {
				close(s.drained)
			}
		}
	}
	if connects < 2 {
		close(s.drained)
	}
}
