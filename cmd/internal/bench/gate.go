package main

import (
	"io"
	"net"
	"sync"
)

// A gate stands between the agent and a broker. Shut, it breaks what is connected and turns away who comes.
type gate struct {
	port, target string
	l            net.Listener

	mu    sync.Mutex
	open  bool
	conns map[net.Conn]bool
}

func newGate(w *workshop, target string) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	g := &gate{port: port, target: "127.0.0.1:" + target, l: l, conns: map[net.Conn]bool{}}
	w.later(func() { l.Close(); g.set(false) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(c)
		}
	}()
	return g, nil
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	if !open {
		for c := range g.conns {
			c.Close()
		}
	}
}

// keep remembers both ends, unless the gate is shut.
func (g *gate) keep(ends ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range ends {
		if g.open {
			g.conns[c] = true
		} else {
			c.Close()
		}
	}
	return g.open
}

func (g *gate) pass(device net.Conn) {
	if !g.keep(device) {
		return
	}
	broker, err := net.Dial("tcp", g.target)
	if err != nil {
		device.Close()
		return
	}
	if g.keep(broker) {
		var both sync.WaitGroup
		for _, way := range [][2]net.Conn{{device, broker}, {broker, device}} {
			both.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				device.Close()
				broker.Close()
			})
		}
		both.Wait()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, device)
	delete(g.conns, broker)
}
