package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A carrier carries what one end sends to the other until either end is closed.
type carrier func(agent, hub net.Conn)

// passOn carries everything unchanged. It closes both ends when one direction is over: MQTT has no use for half a
// connection.
func passOn(agent, hub net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{hub, agent}, {agent, hub}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // how it ended is the ends' own affair
			agent.Close()
			hub.Close()
		})
	}
	wg.Wait()
}

// A cable is the link between agent and hub: a listener that carries each connection on to the hub, and can be cut.
type cable struct {
	listener net.Listener
	hub      string
	carry    carrier

	mu     sync.Mutex // connections come and go on goroutines of their own
	broken bool
	ends   map[net.Conn]bool
	wg     sync.WaitGroup
}

// lay opens the cable's near end, on any port of loopback.
func lay(hub string, carry carrier) (*cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return &cable{listener: l, hub: hub, carry: carry, ends: map[net.Conn]bool{}}, nil
}

// addr is where the agent connects.
func (c *cable) addr() string { return c.listener.Addr().String() }

// run carries until ctx ends.
func (c *cable) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		c.listener.Close()
		c.cut()
	})
	defer stop()
	for {
		agent, err := c.listener.Accept()
		if err != nil {
			break // closed
		}
		c.wg.Go(func() { c.serve(agent) })
	}
	c.wg.Wait()
}

func (c *cable) serve(agent net.Conn) {
	defer agent.Close()
	if !c.hold(agent) {
		return
	}
	defer c.release(agent)
	hub, err := net.DialTimeout("tcp", c.hub, 5*time.Second)
	if err != nil {
		return
	}
	defer hub.Close()
	if c.hold(hub) {
		defer c.release(hub)
		c.carry(agent, hub)
	}
}

// hold enters an end, so that a cut closes it. It returns false while the cable is cut.
func (c *cable) hold(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		// A reset and not an orderly end, which is what a dead link looks like from here.
		if tcp, ok := end.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return false
	}
	c.ends[end] = true
	return true
}

func (c *cable) release(end net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ends, end)
}

// cut closes every connection, and every new one at once, until mend.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = true
	for end := range c.ends {
		end.Close()
	}
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = false
}
