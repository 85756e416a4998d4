package probe

import (
	"math/rand/v2"
	"time"
)

// How often what is asked, in periods while all is well. Otherwise all is asked in each.
const (
	echoes    = 2 // in each
	namePace  = 3
	reachPace = 6
)

const (
	leastPause   = time.Second      // between two questions of a kind, however short the period
	mostPause    = 10 * time.Minute // while all is well, however long the period
	linkedPause  = 5 * time.Minute  // between connections to a broker that the agent is connected to, which may log each
	meteredPause = time.Minute      // on a metered link, while something is wrong
	urgentRounds = 6                // that all is asked in each of, after something failed: a broker that comes back is not run over
)

// A pause is the time until something is asked again. A part of it is random, so that a fleet does not ask in step.
type pause struct {
	last time.Time
	part float64
}

func (q *pause) over(now time.Time, length, period time.Duration) bool {
	if !q.last.IsZero() && now.Sub(q.last) < time.Duration(q.part*float64(length))-period/2 {
		return false
	}
	q.last, q.part = now, 0.8+0.4*rand.Float64()
	return true
}

// paces returns how long it is until each is asked again.
func (p *Probe) paces(now time.Time, period time.Duration, linked, metered bool) (echo, name, reach time.Duration) {
	_, _, gateway := p.gateway.loss()
	near := !p.way.Route || p.way.Carrier == Bad || gateway == Bad
	if near && !p.near {
		p.fell = now
	}
	if near != p.near { // what has been asked in vain is news again
		p.near, p.urgent = near, 0
	}
	reached := p.broker.good
	if len(p.broker.targets) == 0 {
		reached = p.dns.good
	}
	if p.urgent++; !p.troubled() && (!near || reached.After(p.fell)) {
		p.urgent = 0
	}
	switch {
	case metered && p.urgent > 0:
		return meteredPause, meteredPause, meteredPause
	case metered:
		return mostPause, mostPause, mostPause
	case p.urgent > 0 && p.urgent <= urgentRounds:
		return leastPause, leastPause, leastPause
	}
	echo, name, reach = leastPause, max(namePace*period, leastPause), max(reachPace*period, leastPause)
	if linked && p.urgent == 0 {
		reach = max(reach, linkedPause)
	}
	return echo, min(name, mostPause), min(reach, mostPause)
}

// begin asks what is due.
func (p *Probe) begin(now time.Time, period time.Duration) {
	metered := p.modem
	if p.o.Metered != nil {
		metered = *p.o.Metered
	}
	linked := p.o.Linked != nil && p.o.Linked()
	echo, names, reach := p.paces(now, period, linked, metered)
	if p.route.Gateway.IsValid() && p.due.gateway.over(now, echo, period) {
		p.gateway.ask(echoes, now)
	}
	if !p.dns.open && len(p.dns.servers) > 0 && p.due.dns.over(now, names, period) {
		p.turn = (p.turn + 1) % len(p.names)
		n := &p.names[p.turn]
		p.dns.ask(n.text, p.kind(n), now)
	}
	if p.broker.fd < 0 && len(p.broker.targets) > 0 && p.due.broker.over(now, reach, period) {
		if linked && metered && p.urgent == 0 {
			p.broker.finding, p.broker.took = Good, 0 // without a byte
		} else if !p.connect(&p.broker, now) {
			p.due.broker = pause{}
		}
	}
	if p.http.fd < 0 && len(p.http.targets) > 0 && p.due.http.over(now, reach, period) && !p.connect(&p.http, now) {
		p.due.http = pause{}
	}
}
