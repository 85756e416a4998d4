package fetch_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/agent"
	"holdfast/agent/fetch"
)

// A wire leads to a server in the same bubble, whose clock moves only while everybody waits: without sockets, which
// would wait for the machine's.
type wire struct {
	serve  func(w net.Conn, in *bufio.Reader)
	dialed atomic.Int32
	open   atomic.Int32 // connections the client has not closed
}

func (l *wire) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.dialed.Add(1)
	l.open.Add(1)
	go func() {
		defer theirs.Close()
		l.serve(theirs, bufio.NewReader(theirs))
	}()
	return &end{Conn: ours, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type end struct {
	net.Conn
	closed func()
}

func (e *end) Close() error {
	e.closed()
	return e.Conn.Close()
}

// client makes a repository with a stall of 30 s at the other end of the wire.
func (l *wire) client() *fetch.HTTP {
	h := client("127.0.0.1:80", func(h *fetch.HTTP) { h.Stall = stall }) // no proxy is used for this machine
	fetch.Dialing(h, l.dial)
	return h
}

// hears waits for a request.
func hears(in *bufio.Reader) bool {
	_, err := http.ReadRequest(in)
	return err == nil
}

func TestServersThatStallAreLeftInTime(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		is         error
		want       string
		took       time.Duration
	}{
		{"before the head", "", fetch.ErrSlow, "releases/f: the server is too slow", stall},
		{"within the head", "HTTP/1.1 200 OK\r\nContent-", fetch.ErrSlow, "", stall},
		{"within a field of the head", "HTTP/1.1 200 OK\r\nA: ", fetch.ErrSlow, "", stall},
		{"behind early hints", answer("103 Early Hints", "", ""), fetch.ErrSlow, "", stall},
		{"before the body", answer("200 OK", "Content-Length: 9\r\n", ""), fetch.ErrSlow, "at byte 0", stall},
		{"within what is dropped", answer("200 OK", "Content-Length: 9\r\n", "01"), fetch.ErrSlow, "at byte 2", stall},
		{"within the body", answer("200 OK", "Content-Length: 9\r\n", "01234"), fetch.ErrSlow, "at byte 5", stall},
		{"within the head of a chunk", answer("200 OK", "Transfer-Encoding: chunked\r\n", "1;"), fetch.ErrSlow, "at byte 0", stall},
		{"within a trailer", answer("200 OK", "Transfer-Encoding: chunked\r\n", "3\r\n012\r\n0\r\nA: "), fetch.ErrSlow, "at byte 3", stall},
		{"within a refusal", answer("429 No", "Content-Length: 9\r\n", "01"), nil, "answers 429", stall},
		{"within a refusal that is not waited for", answer("404 No", "Content-Length: 4097\r\n", "01"), agent.ErrAbsent, "404", 0},
		{"within each redirect", answer("302 OK", "Location: f\r\nContent-Length: 9\r\n", "01"), nil, "more than 3 times", 4 * stall},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &wire{serve: func(w net.Conn, in *bufio.Reader) {
					if hears(in) {
						_, _ = io.WriteString(w, tt.says)
					}
					_, _ = io.Copy(io.Discard, in) // until the client closes it
				}}
				h := l.client()
				began := time.Now()
				_, err := get(t.Context(), h, "f", 3)
				if contains(t, err, tt.want); tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v is not %q", err, tt.is)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if n := l.open.Load(); n != 0 { // before Close: nothing of this may serve again
					t.Errorf("%d connections are open", n)
				}
			})
		})
	}
}

// What is repeated is a question that the server closed the connection on, and nothing else.
func TestAStallOnAConnectionThatServedIsNoReasonForAnother(t *testing.T) {
	const deaf = "a server that takes no question"
	for _, tt := range []struct {
		name, second string
		took         time.Duration
		slow         bool
	}{
		{deaf, "", stall, true},
		{"silence", "", stall, true},
		{"half a head", "HTTP/1.1 200 OK\r\nA: ", stall, true},
		{"garbage", "garbage\r\n\r\n", 0, false},
		{"a head as long as on a new connection it may not be", answer("200 OK", "A: "+strings.Repeat(padding, 100)+"\r\n", ""), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &wire{serve: func(w net.Conn, in *bufio.Reader) {
					for _, text := range []string{answer("200 OK", "Content-Length: 3\r\n", "012"), tt.second} {
						if hears(in) {
							_, _ = io.WriteString(w, text)
						}
						if tt.name == deaf {
							time.Sleep(3 * stall) // a read would take it
							return
						}
					}
					_, _ = io.Copy(io.Discard, in)
				}}
				h := l.client()
				if data, err := get(t.Context(), h, "f", 0); string(data) != "012" || err != nil {
					t.Errorf("%q, %v", data, err)
				}
				time.Sleep(time.Second)
				began := time.Now()
				_, err := get(t.Context(), h, "f", 0)
				if took := time.Since(began).Truncate(time.Second); err == nil || errors.Is(err, fetch.ErrSlow) != tt.slow || took != tt.took {
					t.Errorf("%v after %v, want %v", err, took, tt.took)
				}
				if n, open := l.dialed.Load(), l.open.Load(); n != 1 || open != 0 {
					t.Errorf("%d connections, %d of them open; want 1 and 0", n, open)
				}
				time.Sleep(3 * stall) // until that server has ended, too
			})
		})
	}
}

func TestConnectionsWaitForAnotherFileNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &wire{serve: func(w net.Conn, in *bufio.Reader) {
			for hears(in) {
				_, _ = io.WriteString(w, answer("200 OK", "Content-Length: 3\r\n", "012"))
			}
		}}
		h := l.client()
		for i, idle := range []time.Duration{14 * time.Second, 14 * time.Second, 16 * time.Second, 0} {
			if data, err := get(t.Context(), h, "f", 0); string(data) != "012" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			time.Sleep(idle)
			synctest.Wait()
			dialed, open := int32(1), int32(1)
			if i == 2 {
				open = 0
			} else if i == 3 {
				dialed = 2
			}
			if n, o := l.dialed.Load(), l.open.Load(); n != dialed || o != open {
				t.Errorf("file %d, idle for %v: %d connections, %d open; want %d, %d", i, idle, n, o, dialed, open)
			}
		}
		if err := h.Close(); err != nil || l.open.Load() != 0 {
			t.Errorf("%v, %d connections are open", err, l.open.Load())
		}
	})
}
