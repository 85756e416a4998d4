package fetch_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast/agent/fetch"
)

// In time is seen elsewhere, by a clock that waits for nobody; this is the kernel's.
func TestASocketThatStallsIsLeft(t *testing.T) {
	for name, text := range map[string]string{
		"before the head": "",
		"within the body": answer("200 OK", "Content-Length: 9\r\n", "01234"),
	} {
		t.Run(name, func(t *testing.T) {
			done := leaks(t)
			r := serve(t, func(r *rogue, w net.Conn, _ *http.Request) bool {
				io.WriteString(w, text)
				<-r.done
				return false
			})
			h := client(r.addr, func(h *fetch.HTTP) { h.Stall = brief })
			if _, err := get(t.Context(), h, "f", 3); !errors.Is(err, fetch.ErrSlow) {
				t.Errorf("error %v, want %v", err, fetch.ErrSlow)
			}
			done(h, r)
		})
	}
}

func TestAWaitEndsWithTheContext(t *testing.T) {
	for name, head := range map[string]string{
		"on a connection that served": "",
		"before the head":             "",
		"at a deadline":               "",
		"in the body":                 answer("200 OK", "Content-Length: 100\r\n", "0"),
		"while dropping":              answer("200 OK", "Content-Length: 100\r\n", "0"),
	} {
		t.Run(name, func(t *testing.T) {
			done := leaks(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the window is over")
			if name == "at a deadline" {
				why = context.DeadlineExceeded // which says of itself that it is a timeout
				ctx, cancel = deadline(ctx)
			}
			r := serve(t, func(r *rogue, w net.Conn, q *http.Request) bool {
				if q.URL.Path == "/releases/first" {
					_, err := io.WriteString(w, answer("200 OK", "Content-Length: 3\r\n", "012"))
					return err == nil
				}
				io.WriteString(w, head)
				if name != "in the body" {
					cancel(why)
				}
				<-r.done
				return false
			})
			h := client(r.addr, nil)
			if name == "on a connection that served" {
				if data, err := get(t.Context(), h, "first", 0); string(data) != "012" || err != nil {
					t.Errorf("%q, %v", data, err)
				}
			}
			offset := int64(0)
			if name == "while dropping" {
				offset = 50
			}
			f, err := h.Open(ctx, "f", offset)
			if name == "in the body" {
				if err != nil {
					t.Fatal(err)
				}
				p := make([]byte, 1)
				if _, err := f.Read(p); err != nil {
					t.Fatal(err)
				}
				go cancel(why)
				_, err = f.Read(p)
				f.Close()
			}
			if !errors.Is(err, why) || errors.Is(err, fetch.ErrSlow) {
				t.Errorf("error %v", err)
			}
			done(h, r)
		})
	}
}

// deadline is a context at whose deadline cancel is called.
func deadline(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithTimeout(ctx, brief)
	return ctx, func(error) {
		<-ctx.Done()
		cancel()
	}
}

// watchers is a context that counts who waits for its end.
type watchers struct {
	context.Context
	n atomic.Int32
}

func (w *watchers) AfterFunc(f func()) (stop func() bool) {
	w.n.Add(1)
	stop = context.AfterFunc(w.Context, f)
	return func() bool {
		w.n.Add(-1)
		return stop()
	}
}

func TestNobodyWaitsForAContextThatIsNoLongerNeeded(t *testing.T) {
	ctx := &watchers{Context: t.Context()}
	for _, text := range []string{
		answer("200 OK", "Content-Length: 3\r\n", "012"), answer("200 OK", "Content-Length: 4\r\nConnection: close\r\n", "012"),
		answer("404 No", "Content-Length: 0\r\n", ""), answer("404 No", "Content-Length: 10000\r\n", ""), "garbage\r\n\r\n",
		answer("302 Found", "Location: f\r\nContent-Length: 0\r\n", ""), answer("206 Part", "Content-Length: 3\r\n", "012"),
	} {
		r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
			io.WriteString(w, text)
			return !strings.Contains(text, "close") && !strings.Contains(text, "garbage") && !strings.Contains(text, "10000")
		})
		h := closing(t, client(r.addr, nil))
		for range 3 {
			get(ctx, h, "f", 0)
			if n := ctx.n.Load(); n != 0 {
				t.Errorf("%.40q: %d still wait", text, n)
			}
		}
	}
}
