package fetch_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/agent/fetch"
)

// A second passes whenever the time is asked for, and a token is left for a server that sends a byte each.
func ticking() (clock, chan struct{}) {
	tokens := make(chan struct{}, 1) // one is enough to go on
	m := &manual{at: time.Now()}
	return clock{now: func() time.Time {
		m.move(time.Second)
		select {
		case tokens <- struct{}{}:
		default:
		}
		return m.now()
	}}, tokens
}

func TestServersThatDripAreLeft(t *testing.T) {
	for _, tt := range []struct {
		name, head, drip string
		most             int // bytes that are given
	}{
		{"the head", "HTTP/1.1 200 OK\r\nA: ", "x", 0},
		{"bytes of the body", answer("200 OK", "Content-Length: 100000\r\n", "0"), "x", 100},
		{"chunks of a byte", answer("200 OK", "Transfer-Encoding: chunked\r\n", "1\r\n0\r\n"), "1\r\nx\r\n", 100},
		// Here the connection sees no fault: it is the reader of the body who has to.
		{"chunks that are nearly all head", answer("200 OK", "Transfer-Encoding: chunked\r\n", "1\r\n0\r\n"), "1;" + strings.Repeat("x", 400) + "\r\nx\r\n", 100},
		// Nothing reaches a reader of the body here: the connection has to notice.
		{"the head of a chunk", answer("200 OK", "Transfer-Encoding: chunked\r\n", "1\r\n0\r\n1;"), "x", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := leaks(t)
			slow, tokens := ticking()
			r := serve(t, func(r *rogue, w net.Conn, _ *http.Request) bool {
				_, err := io.WriteString(w, tt.head)
				for err == nil {
					select {
					case <-tokens:
						_, err = io.WriteString(w, tt.drip)
					case <-r.done:
						return false
					}
				}
				return false
			})
			h := client(r.addr, func(h *fetch.HTTP) { h.Clock = slow })
			data, err := get(t.Context(), h, "f", 0)
			if !errors.Is(err, fetch.ErrSlow) || tt.most > 0 && len(data) == 0 || len(data) > tt.most {
				t.Errorf("%d bytes and then %v", len(data), err)
			}
			done(h, r)
		})
	}
}

func TestOnlyTimeSpentWaitingCounts(t *testing.T) {
	done := leaks(t)
	body := strings.Repeat("0123456789", 10_000)
	r := serve(t, says(answer("200 OK", fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)))
	m := &manual{at: time.Now()}
	h := client(r.addr, func(h *fetch.HTTP) { h.Clock = clock{now: m.now} })
	for range 3 { // an hour idle between files, too, on the same connection
		f, err := h.Open(t.Context(), "f", 0)
		if err != nil {
			t.Fatal(err)
		}
		n, p := 0, make([]byte, 100)
		for err == nil {
			var k int
			k, err = f.Read(p)
			n += k
			m.move(time.Hour) // as a slow disk does
		}
		if err != io.EOF || n != len(body) {
			t.Errorf("%d bytes and then %v", n, err)
		}
		f.Close()
	}
	if n := r.connections(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
	done(h, r)
}

// The clock of a bubble moves only while everybody waits.
func TestAConnectionWaitsAsLongAsItSays(t *testing.T) {
	read := func(c net.Conn, n int) (took time.Duration, err error) {
		began := time.Now()
		_, err = io.ReadFull(c, make([]byte, n))
		return time.Since(began), err
	}
	ours := func() (ours, theirs net.Conn) {
		a, b := net.Pipe()
		return fetch.Paced(a, stall, 256, clock{}), b
	}
	for name, do := range map[string]func(t *testing.T, ours, theirs net.Conn){
		"silence": func(t *testing.T, ours, _ net.Conn) {
			if took, err := read(ours, 1); err == nil || took != stall {
				t.Errorf("%v after %v", err, took)
			}
		},
		"nobody takes what we write": func(t *testing.T, ours, _ net.Conn) {
			began := time.Now()
			if _, err := ours.Write([]byte("?")); err == nil || time.Since(began) != stall {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		},
		"time to think is no time to send": func(t *testing.T, ours, theirs net.Conn) {
			go func() {
				theirs.Read(make([]byte, 1))
				time.Sleep(29 * time.Second)
				theirs.Write([]byte("!"))
				drip(theirs, strings.Repeat("x", 300), time.Second)
			}()
			ours.Write([]byte("?"))
			if _, err := read(ours, 1+300*1000); err != nil {
				t.Error(err)
			}
		},
		"nor is it more than once": func(t *testing.T, ours, theirs net.Conn) {
			go func() {
				theirs.Read(make([]byte, 1))
				drip(theirs, "x", time.Second)
			}()
			ours.Write([]byte("?"))
			if took, err := read(ours, 1000); !errors.Is(err, fetch.ErrSlow) || took > 2*stall {
				t.Errorf("%v after %v", err, took)
			}
		},
		"a byte a second": func(t *testing.T, ours, theirs net.Conn) {
			go drip(theirs, "x", time.Second)
			if took, err := read(ours, 1000); !errors.Is(err, fetch.ErrSlow) || took != stall {
				t.Errorf("%v after %v", err, took)
			}
		},
		"just fast enough": func(t *testing.T, ours, theirs net.Conn) {
			go drip(theirs, strings.Repeat("x", 256), time.Second)
			if _, err := read(ours, 256*1000); err != nil {
				t.Error(err)
			}
		},
		"fast at first": func(t *testing.T, ours, theirs net.Conn) {
			go func() {
				theirs.Write(make([]byte, 100_000))
				drip(theirs, "x", time.Second)
			}()
			if took, err := read(ours, 200_000); !errors.Is(err, fetch.ErrSlow) || took > 2*stall {
				t.Errorf("%v after %v", err, took)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := ours()
				do(t, ours, theirs)
				ours.Close()
				theirs.Close()
				time.Sleep(time.Minute) // until the last drip has been refused
			})
		})
	}
}

func drip(w net.Conn, text string, every time.Duration) {
	for {
		time.Sleep(every)
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}
