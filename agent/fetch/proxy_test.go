package fetch_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

// net/http reads the environment once, and never uses a proxy for this machine itself: it takes a process of its own.
func TestTheProxyOfTheEnvironmentIsUsed(t *testing.T) {
	if base := os.Getenv("HOLDFAST_TEST_BASE"); base != "" {
		h := closing(t, client("", func(h *fetch.HTTP) { h.Base, h.CAFile = base, os.Getenv("HOLDFAST_TEST_CA") }))
		for range 2 { // the second over the same connection
			data, err := get(t.Context(), h, "f", 0)
			fmt.Printf("got %q, %v\n", data, err)
		}
		return
	}
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour, "updates.invalid")
	behind := strings.TrimPrefix(tlsServer(t, cert, key, nil, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }), "https://")
	for _, tt := range []struct {
		name, base, proxy string
		do                func(r *rogue, w net.Conn, q *http.Request) bool
		want              string
	}{
		{"http", "http://updates.invalid", "http://me:geheim@PROXY", func(_ *rogue, w net.Conn, q *http.Request) bool {
			text := q.RequestURI + " " + q.Header.Get("Proxy-Authorization")
			_, err := io.WriteString(w, answer("200 OK", fmt.Sprintf("Content-Length: %d\r\n", len(text)), text))
			return err == nil
		}, `got "http://updates.invalid/f Basic bWU6Z2VoZWlt", <nil>`},
		{"https", "https://updates.invalid", "http://me:geheim@PROXY", tunnel(behind), `got "hello", <nil>`},
		{"https to another", "https://other.invalid", "http://me:geheim@PROXY", tunnel(behind), "not other.invalid"},
		{"a refusal", "https://updates.invalid", "http://PROXY", says(answer("407 Proxy", "Content-Length: 0\r\n", "")), ": the server answers 407"},
		{"a server that is not there", "https://updates.invalid", "http://PROXY", says(answer("404 No", "Content-Length: 0\r\n", "")), ": the server answers 404"},
		{"more than an answer", "https://updates.invalid", "http://PROXY", says(answer("200 OK", "", "hello")), "speaks before"},
		{"TLS to the proxy", "http://updates.invalid", "https://PROXY", nil, "only http:// and a host are supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.do)
			proxy := strings.Replace(tt.proxy, "PROXY", r.addr, 1)
			cmd := exec.Command(os.Args[0], "-test.run=^TestTheProxyOfTheEnvironmentIsUsed$")
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "HOLDFAST_TEST_BASE="+tt.base, "HOLDFAST_TEST_CA="+pki.CAFile, "no_proxy=", "NO_PROXY=",
				"http_proxy="+proxy, "HTTP_PROXY="+proxy, "https_proxy="+proxy, "HTTPS_PROXY="+proxy)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Count(string(out), tt.want) != 2 || bytes.Contains(out, []byte("geheim")) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// tunnel is a proxy whose every way leads to one server.
func tunnel(to string) func(*rogue, net.Conn, *http.Request) bool {
	return func(r *rogue, w net.Conn, q *http.Request) bool {
		if q.Method != http.MethodConnect || !strings.HasSuffix(q.RequestURI, ".invalid:443") || q.UserAgent() != "holdfast" ||
			q.Header.Get("Proxy-Authorization") == "" {
			return false
		}
		up, err := net.Dial("tcp", to)
		if err != nil {
			return false
		}
		defer up.Close()
		io.WriteString(w, answer("200 Connected", "", ""))
		r.wg.Go(func() {
			io.Copy(up, w)
			up.Close()
		})
		io.Copy(w, up)
		return false
	}
}
