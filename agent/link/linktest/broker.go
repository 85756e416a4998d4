// Package linktest is a driver: a broker in memory that carries agent/link's Conn without sockets, starters for real
// brokers, a proxy that cuts and stalls, and the contract of Conn as a test function.
package linktest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/agent/link"
)

// heldAtMost bounds what the broker keeps for a client that is away, as real ones do.
const heldAtMost = 1000

// A Publication is one message as the broker got it.
type Publication struct {
	link.Message
	Client string // who published it; "" is the operator, the will bears the client that vanished
	Will   bool
	At     time.Time
}

// A Broker is an MQTT broker in memory: persistent sessions, retained messages, wills. It has no goroutine and no socket
// of its own, so that it works in a synctest bubble. Its methods may be called from any goroutine.
type Broker struct {
	Retry time.Duration // how long a Conn waits after a loss; set it before Conn is called

	mu       sync.Mutex
	clients  map[string]*client
	retained map[string]link.Message
	heard    []Publication
	down     bool
	refuse   func(s link.Session, user, password string) error
	deny     func(client, topic string, write bool) bool
	delay    time.Duration
	stalled  bool
	waiting  []chan struct{}
}

// client is a session, connected or not.
type client struct {
	id      string
	filters []string
	queue   []link.Message
	conn    *MemoryConn // nil while it is away
}

// NewBroker returns a broker that takes everybody.
func NewBroker() *Broker {
	return &Broker{Retry: time.Second, clients: map[string]*client{}, retained: map[string]link.Message{}}
}

// set changes a control and wakes whoever may wait for it.
func (b *Broker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	for _, c := range b.clients {
		c.conn.wake()
	}
}

// Down makes the broker unreachable: connections are cut, wills are published, attempts are refused, until Up.
func (b *Broker) Down() {
	b.set(func() { b.down = true })
	b.Cut("")
}

// Up ends Down.
func (b *Broker) Up() { b.set(func() { b.down = false }) }

// Refuse asks f before it accepts a session; an error is what the device is told. nil accepts everybody.
func (b *Broker) Refuse(f func(s link.Session, user, password string) error) {
	b.set(func() { b.refuse = f })
}

// Deny asks f about every publication (write) and subscription. A denied publication is acknowledged and dropped, as
// mosquitto does; a denied subscription is refused.
func (b *Broker) Deny(f func(client, topic string, write bool) bool) { b.set(func() { b.deny = f }) }

// Delay makes the broker acknowledge publications after d.
func (b *Broker) Delay(d time.Duration) { b.set(func() { b.delay = d }) }

// Stall makes the broker take publications and neither acknowledge nor pass anything on, until it is called with false.
func (b *Broker) Stall(on bool) { b.set(func() { b.stalled = on }) }

// Cut breaks the connection of the client, of all with "", without a goodbye: the will is published.
func (b *Broker) Cut(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.clients {
		if c.conn != nil && (id == "" || id == c.id) {
			b.drop(c, errors.New("the broker or the network closed the connection"), true)
		}
	}
}

// Connected returns the ids of the clients that are there, sorted.
func (b *Broker) Connected() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, c := range b.clients {
		if c.conn != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Publish publishes as the operator.
func (b *Broker) Publish(m link.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publish(Publication{Message: m})
}

// Retained returns what the broker keeps for topic.
func (b *Broker) Retained(topic string) (m link.Message, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok = b.retained[topic]
	return m, ok
}

// Heard returns every publication so far, in order, as an observer of everything sees them.
func (b *Broker) Heard() []Publication {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.heard)
}

// Next returns a channel that is closed at the next publication. Ask for it before looking at Heard.
func (b *Broker) Next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(chan struct{})
	b.waiting = append(b.waiting, next)
	return next
}

// connect opens a session for conn. It is called with what the dialect said.
func (b *Broker) connect(conn *MemoryConn, user, password string) (resumed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := conn.session
	if b.down {
		return false, errors.New("TCP: connection refused, nothing listens there")
	}
	if b.refuse != nil {
		if err := b.refuse(s, user, password); err != nil {
			return false, err
		}
	}
	c := b.clients[s.ClientID]
	if c != nil && c.conn != nil { // MQTT 3.1.1, 3.1.4: the new one takes over
		b.drop(c, errors.New("the broker or the network closed the connection"), true)
	}
	if resumed = c != nil && !s.Clean; !resumed {
		c = &client{id: s.ClientID}
		b.clients[s.ClientID] = c
	}
	for _, f := range s.Filters {
		if b.deny != nil && b.deny(s.ClientID, f, false) {
			return false, fmt.Errorf("subscription to %s refused by the broker", f)
		}
	}
	c.conn, conn.client, conn.lost = conn, c, nil
	c.filters = slices.Clone(s.Filters)
	for _, f := range s.Filters {
		for _, topic := range sortedTopics(b.retained) {
			if Match(f, topic) {
				m := b.retained[topic]
				m.Retain = true
				c.hold(m)
			}
		}
	}
	return resumed, nil
}

func sortedTopics(m map[string]link.Message) []string {
	topics := make([]string, 0, len(m))
	for t := range m {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	return topics
}

// drop ends a connection; abrupt publishes the will.
func (b *Broker) drop(c *client, why error, abrupt bool) {
	conn := c.conn
	c.conn = nil
	if conn.session.Clean {
		delete(b.clients, c.id)
	}
	conn.lose(why)
	if w := conn.session.Will; w != nil && abrupt {
		b.publish(Publication{Message: *w, Client: c.id, Will: true})
	}
}

// publish delivers to everybody who subscribed, there or away.
func (b *Broker) publish(p Publication) {
	p.At = time.Now()
	p.Payload = slices.Clone(p.Payload)
	b.heard = append(b.heard, p)
	for _, next := range b.waiting {
		close(next)
	}
	b.waiting = nil
	if p.Retain {
		if len(p.Payload) == 0 {
			delete(b.retained, p.Topic)
		} else {
			b.retained[p.Topic] = p.Message
		}
	}
	m := p.Message
	m.Retain = false // MQTT 3.1.1, 3.3.1.3: only set when it was retained before the subscription
	for _, c := range b.clients {
		if slices.ContainsFunc(c.filters, func(f string) bool { return Match(f, m.Topic) }) {
			c.hold(m)
		}
	}
}

// hold queues m for the client.
func (c *client) hold(m link.Message) {
	if c.conn == nil && (m.QoS == 0 || len(c.queue) >= heldAtMost) {
		return
	}
	c.queue = append(c.queue, m)
	c.conn.wake()
}

// Match tells whether a filter selects a topic (MQTT 3.1.1, 4.7).
func Match(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t):
			return false
		case level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}
