package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A request is one for a file of a repository, and how much of that was given.
type request struct {
	file   string
	ranged bool  // a part of it was asked for, from a byte to the end
	from   int64 // that byte
	given  int64
}

// A site serves a repository over HTTP, keeps account of what is asked for, and can be made to stop in the middle of a
// file. Nobody trusts it.
type site struct {
	dir      string
	listener net.Listener

	mu     sync.Mutex // each request has a goroutine
	asked  []*request // of payloads
	dammed string     // a file of which nothing is given behind dam
	dam    int64
	lifted chan struct{} // closed when nothing is dammed
}

// raise opens a site on any port of loopback.
func raise(dir string) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	return &site{dir: dir, listener: l}, nil
}

func (s *site) url() string { return "http://" + s.listener.Addr().String() }

// run serves until ctx ends. around is what stands between it and who asks; nil for nothing.
func (s *site) run(ctx context.Context, around func(http.Handler) http.Handler, log *slog.Logger) {
	var handler http.Handler = s
	if around != nil {
		handler = around(handler)
	}
	// What was given is to have arrived, not to wait in a buffer for somebody who is without power.
	small := func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(chunkBytes)
		}
		return ctx
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ConnContext: small,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	_ = server.Serve(s.listener) // ends when it is closed
}

// ServeHTTP gives what `holdfastctl update serve` gives.
func (s *site) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	name := strings.TrimPrefix(q.URL.Path, "/")
	part, _, _ := strings.Cut(name, "/")
	f, err := os.OpenInRoot(s.dir, filepath.FromSlash(name))
	if err != nil || (part != "metadata" && part != "targets" && part != "payload") {
		http.NotFound(w, q)
		return
	}
	defer f.Close()
	r := &request{file: name}
	if text := q.Header.Get("Range"); text != "" {
		_, err := fmt.Sscanf(text, "bytes=%d-", &r.from)
		r.ranged = err == nil
	}
	if part == "payload" {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
	}
	http.ServeContent(&meter{ResponseWriter: w, site: s, r: r, ctx: q.Context()}, q, "", time.Time{}, f)
}

// block gives nothing of a file behind a byte, until lift.
func (s *site) block(file string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dammed, s.dam, s.lifted = file, at, make(chan struct{})
}

func (s *site) lift() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dammed != "" {
		s.dammed = ""
		close(s.lifted)
	}
}

// requests returns those for payloads so far, in their order.
func (s *site) requests() (all []request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		all = append(all, *r)
	}
	return all
}

// ahead returns how much may be given at a byte of a file, and where there is nothing, what ends that.
func (s *site) ahead(file string, at int64) (int64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if file == s.dammed && at+chunkBytes > s.dam {
		return max(0, s.dam-at), s.lifted
	}
	return chunkBytes, nil
}

// chunkBytes is what is given at a time.
const chunkBytes = 16 << 10

// A meter counts what is given.
type meter struct {
	http.ResponseWriter
	site *site
	r    *request
	ctx  context.Context // the request's
}

// Write implements io.Writer.
func (m *meter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		may, lifted := m.site.ahead(m.r.file, m.r.from+m.sent())
		if may == 0 {
			select {
			case <-lifted:
				continue
			case <-m.ctx.Done():
				return n, io.ErrClosedPipe
			}
		}
		k, err := m.ResponseWriter.Write(p[n : n+int(min(int64(len(p)-n), may))])
		n += k
		if err == nil {
			err = http.NewResponseController(m.ResponseWriter).Flush()
		}
		if err != nil {
			return n, err
		}
		m.site.mu.Lock()
		m.r.given += int64(k)
		m.site.mu.Unlock()
	}
	return n, nil
}

func (m *meter) sent() int64 {
	m.site.mu.Lock()
	defer m.site.mu.Unlock()
	return m.r.given
}
