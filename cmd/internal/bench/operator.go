package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// An operator keeps the agent busy at random moments: commands that are audited, each an event when begun and one when
// over, and desired changes, each an event when applied.
type operator struct {
	port string
	rng  *rand.Rand

	mu     sync.Mutex
	client mqtt.Client
	seq    int
	prefix string
}

// pester works until ctx ends.
func (p *operator) pester(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		c := p.client
		p.mu.Unlock()
		if c != nil && c.IsConnectionOpen() {
			p.say(c)
		}
		select {
		case <-time.After(time.Duration(5+p.rng.IntN(60)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// say publishes and does not wait: who is not there does not hear it.
func (p *operator) say(c mqtt.Client) {
	p.seq++
	if p.seq%5 == 0 {
		c.Publish("holdfast/killed/shadow/desired", 1, true, fmt.Sprintf(`{"epoch":"%s","version":%d,"state":{"labels":{"round":"%d"}}}`, p.prefix, p.seq, p.seq))
		return
	}
	c.Publish("holdfast/killed/command", 1, false, p.command())
}

// command is a restart of a unit that no machine has: it is done, audited, and harms nobody.
func (p *operator) command() string {
	return fmt.Sprintf(`{"id":"%s-%d","issuer":"bench","seq":%d,"expires":"%s","name":"unit.restart","args":{"unit":%q}}`,
		p.prefix, p.seq, p.seq, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), absentUnit)
}

const absentUnit = "holdfast-bench-absent.service"

// connect goes to the broker anew.
func (p *operator) connect() error {
	o := mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:" + p.port).SetAutoReconnect(false).SetConnectTimeout(5 * time.Second).SetWriteTimeout(time.Second)
	c := mqtt.NewClient(o)
	if t := c.Connect(); !t.WaitTimeout(5*time.Second) || t.Error() != nil {
		return fmt.Errorf("operator: %w", t.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		go p.client.Disconnect(0)
	}
	p.client = c
	return nil
}
