//go:build linux

package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// serve makes the repository public and notes what is asked for.
func (r *rig) serve() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	small := func(_ context.Context, c net.Conn) (ctx context.Context) { // what was given has gone out
		_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
		return r.ctx
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, ConnContext: small, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := strings.TrimPrefix(q.URL.Path, "/")
		r.mu.Lock()
		raw, ok := r.repo.Files[name]
		r.asked = append(r.asked, name+" "+q.Header.Get("Range"))
		r.mu.Unlock()
		if !ok {
			http.NotFound(w, q)
			return
		}
		http.ServeContent(&meter{w, r, name}, q, "", time.Time{}, bytes.NewReader(raw))
	})}
	r.later(func() { server.Close() })
	go func() { _ = server.Serve(ln) }()
	r.site = "http://" + ln.Addr().String() + "/"
	return nil
}

// A meter counts what is given of a file, and slows it down where that is wanted.
type meter struct {
	http.ResponseWriter
	r    *rig
	name string
}

func (m *meter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		k := 0
		m.r.mu.Lock()
		slow := m.r.slow
		m.r.mu.Unlock()
		piece := p
		if slow {
			piece = p[:min(len(p), 16<<10)]
			if err = m.r.sleep(2 * time.Millisecond); err != nil {
				break
			}
		}
		k, err = m.ResponseWriter.Write(piece)
		if f, ok := m.ResponseWriter.(http.Flusher); ok && slow {
			f.Flush()
		}
		m.r.mu.Lock()
		m.r.sent[m.name] += int64(k)
		m.r.mu.Unlock()
		n, p = n+k, p[k:]
	}
	return n, err
}

// given is how much of a file was given so far.
func (r *rig) given(name string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[name]
}

func (r *rig) slowly(slow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = slow
}

// askedFor reports whether a file was asked for since requests was called last.
func (r *rig) askedFor(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.asked, name+" ")
}

// requests returns what was asked for of payloads since it was called last.
func (r *rig) requests() (payload []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.asked {
		if strings.HasPrefix(a, "payload/") {
			payload = append(payload, a)
		}
	}
	r.asked = nil
	return payload
}
