package linktest

import (
	"io"
	"net"
	"sync"
	"testing"
)

const bufferBytes = 16 << 10

// A Proxy stands between a Conn and a real broker, and is the bad network.
type Proxy struct {
	Addr   string // host:port to connect to
	target string
	l      net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	pairs   map[*pair]bool
	stalled chan struct{} // closed when bytes may flow
	budget  int64         // bytes until the next cut, in both directions together; negative for no cut
	cut     chan struct{} // closed at that cut
	refuse  bool
}

type pair struct{ device, broker net.Conn }

func (p *pair) close() {
	p.device.Close()
	p.broker.Close()
}

// NewProxy starts a proxy before target, a host:port. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flowing := make(chan struct{})
	close(flowing)
	p := &Proxy{Addr: l.Addr().String(), target: target, l: l, pairs: map[*pair]bool{}, stalled: flowing, budget: -1}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *Proxy) close() {
	p.l.Close()
	p.Stall(false)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		device, err := p.l.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.refuse {
			device.Close()
			if err == nil {
				broker.Close()
			}
			p.mu.Unlock()
			continue
		}
		_ = device.(*net.TCPConn).SetReadBuffer(bufferBytes) // so that a stall is felt at once
		c := &pair{device, broker}
		p.pairs[c] = true
		p.wg.Go(func() { p.pump(c, broker, device) })
		p.wg.Go(func() { p.pump(c, device, broker) })
		p.mu.Unlock()
	}
}

// pump moves bytes until either side ends.
func (p *Proxy) pump(c *pair, to io.Writer, from io.Reader) {
	defer p.drop(c)
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		gate := p.stalled
		p.mu.Unlock()
		<-gate
		allowed, cut := p.spend(n)
		if _, err := to.Write(buf[:allowed]); err != nil || cut {
			return
		}
	}
}

// spend takes n bytes off the budget and tells how many still pass.
func (p *Proxy) spend(n int) (allowed int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget < 0 {
		return n, false
	}
	if int64(n) < p.budget {
		p.budget -= int64(n)
		return n, false
	}
	allowed = int(p.budget)
	p.budget = -1
	close(p.cut)
	return allowed, true
}

func (p *Proxy) drop(c *pair) {
	c.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
}

// Cut breaks every connection at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.close()
	}
}

// CutAfter breaks the connection that carries the n-th byte from now, before the byte is passed on. The channel is closed
// when it has. One cut can be ordered at a time.
func (p *Proxy) CutAfter(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget, p.cut = n, make(chan struct{})
	return p.cut
}

// Refuse makes the proxy close every new connection at once.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Stall stops all bytes without closing anything, as a cable that is pulled does, until it is called with false.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
		if on {
			p.stalled = make(chan struct{})
		}
	default:
		if !on {
			close(p.stalled)
		}
	}
}
