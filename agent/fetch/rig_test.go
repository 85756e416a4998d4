package fetch_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

// clock is the machine's, or what now says.
type clock struct {
	now       func() time.Time
	untrusted bool
}

func (c clock) Now() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}
func (c clock) Trusted() bool { return !c.untrusted }
func (c clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// A manual clock stands still until it is moved.
type manual struct {
	mu sync.Mutex
	at time.Time
}

func (m *manual) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *manual) move(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = m.at.Add(d)
}

// A rogue is a server that does on a connection whatever it likes.
type rogue struct {
	addr string
	done chan struct{} // closed at the end

	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	count    int
	wg       sync.WaitGroup
}

// serve starts a server that calls do for every request of a connection until it returns false. It ends with the test,
// or earlier with stop.
func serve(t testing.TB, do func(r *rogue, w net.Conn, q *http.Request) bool) *rogue {
	return listen(t, func(r *rogue, w net.Conn) {
		in := bufio.NewReader(w)
		for {
			q, err := http.ReadRequest(in)
			if err != nil || !do(r, w, q) {
				return
			}
		}
	})
}

func listen(t testing.TB, do func(r *rogue, w net.Conn)) *rogue {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{addr: l.Addr().String(), listener: l, done: make(chan struct{})}
	r.wg.Go(func() {
		for {
			w, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, w)
			r.count++
			r.mu.Unlock()
			r.wg.Go(func() {
				defer w.Close()
				do(r, w)
			})
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rogue) stop() {
	select {
	case <-r.done:
		return
	default:
	}
	close(r.done)
	r.listener.Close()
	r.mu.Lock()
	for _, w := range r.conns {
		w.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *rogue) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// says answers every request with the same bytes and leaves the connection open.
func says(text string) func(*rogue, net.Conn, *http.Request) bool {
	return func(_ *rogue, w net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(w, text)
		return err == nil
	}
}

// answer is a whole answer with a body.
func answer(status, header, body string) string {
	return "HTTP/1.1 " + status + "\r\n" + header + "\r\n" + body
}

const (
	stall = 30 * time.Second       // where the clock is a bubble's
	brief = 100 * time.Millisecond // where it is the kernel's: for servers that say nothing
)

var padding = strings.Repeat("x", 300)

// client makes a repository at addr.
func client(addr string, change func(*fetch.HTTP)) *fetch.HTTP {
	h := &fetch.HTTP{Base: "http://" + addr + "/releases", Options: fetch.Options{Clock: clock{}, Stall: 20 * time.Second}}
	if change != nil {
		change(h)
	}
	return h
}

func closing(t *testing.T, h *fetch.HTTP) *fetch.HTTP {
	t.Cleanup(func() { h.Close() })
	return h
}

// get opens and reads a file, at most a MiB of it.
func get(ctx context.Context, r agent.Repository, name string, offset int64) (data []byte, err error) {
	f, err := r.Open(ctx, name, offset)
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(f, 1<<20))
	if e := f.Close(); err == nil {
		err = e
	}
	return data, err
}

// leaks counts what is in use now. What it returns closes both ends and waits until no more is than then. Meanwhile
// garbage is not collected: that would close what was forgotten.
func leaks(t *testing.T) (done func(*fetch.HTTP, *rogue)) {
	t.Helper()
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	before := linktest.InUse()
	return func(h *fetch.HTTP, r *rogue) {
		t.Helper()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if r != nil {
			r.stop()
		}
		settle(t, before)
	}
}

// settle waits until no more is in use than most.
func settle(t *testing.T, most linktest.Use) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for range 5000 {
		if now := linktest.InUse(); now.Goroutines <= most.Goroutines && now.Descriptors <= most.Descriptors {
			return
		}
		<-again.C
	}
	t.Errorf("in use %+v, want at most %+v", linktest.InUse(), most)
}

func contains(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
	if err != nil && (len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\n\r\x00")) {
		t.Errorf("error is no line: %q", err)
	}
}
