package fetch_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

// tlsServer returns the URL of a server with this certificate.
func tlsServer(t *testing.T, cert, key string, change func(*tls.Config), do http.HandlerFunc) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(do)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestTLS(t *testing.T) {
	pki, stranger := linktest.NewPKI(t), linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour)
	oldCert, oldKey := pki.Issue(t, "old", -time.Hour)
	otherCert, otherKey := pki.Issue(t, "other", time.Hour, "other.example")
	ownCert, ownKey := pki.Issue(t, "device", time.Hour)
	hello := func(w http.ResponseWriter, q *http.Request) {
		name := "nobody"
		if len(q.TLS.PeerCertificates) > 0 {
			name = q.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s over %s to %q", name, q.Proto, q.TLS.ServerName)
	}
	authorities := x509.NewCertPool()
	pem, err := os.ReadFile(pki.CAFile)
	if err != nil || !authorities.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	asks := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, authorities }
	wants := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authorities }
	good := tlsServer(t, cert, key, asks, hello)
	expired := tlsServer(t, oldCert, oldKey, asks, hello)
	own := func(h *fetch.HTTP) { h.CertFile, h.KeyFile = ownCert, ownKey }
	boot := func(trusted bool, earliest time.Time) func(*fetch.HTTP) {
		return func(h *fetch.HTTP) {
			h.Clock, h.Earliest = clock{now: func() time.Time { return time.Unix(0, 0) }, untrusted: !trusted}, earliest
		}
	}
	for _, tt := range []struct {
		name, url  string
		change     func(*fetch.HTTP)
		data, want string
		is         any // a pointer errors.As takes
	}{
		{"all in order", good, nil, `nobody over HTTP/1.1 to ""`, "", nil},
		{"by name", strings.Replace(good, "127.0.0.1", "localhost", 1), nil, `nobody over HTTP/1.1 to "localhost"`, "", nil},
		{"with our certificate", tlsServer(t, cert, key, wants, hello), own, `device over HTTP/1.1 to ""`, "", nil},
		{"without our certificate", tlsServer(t, cert, key, wants, hello), nil, "", "certificate required", nil},
		{"unknown authority", good, func(h *fetch.HTTP) { h.CAFile = stranger.CAFile }, "", "unknown authority", new(x509.UnknownAuthorityError)},
		{"the system's authorities", good, func(h *fetch.HTTP) { h.CAFile = "" }, "", "unknown authority", new(x509.UnknownAuthorityError)},
		{"expired", expired, nil, "", "is after", new(x509.CertificateInvalidError)},
		{"of another", tlsServer(t, otherCert, otherKey, nil, hello), nil, "", "127.0.0.1", new(x509.HostnameError)},
		{"of another, by name", strings.Replace(tlsServer(t, otherCert, otherKey, nil, hello), "127.0.0.1", "localhost", 1), nil, "", "localhost", new(x509.HostnameError)},
		{"TLS 1.1", tlsServer(t, cert, key, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, hello), nil, "", "protocol version", nil},
		{"plain to a port with TLS", strings.Replace(good, "https", "http", 1), nil, "", "answers 400", nil},
		{"TLS to a plain port", "https://" + serve(t, says("")).addr, nil, "", "", nil},
		{"the clock is in 1970 and not trusted", good, boot(false, time.Time{}), `nobody over HTTP/1.1 to ""`, "", nil},
		{"the clock is in 1970 and not trusted, unknown authority", good, func(h *fetch.HTTP) {
			boot(false, time.Time{})(h)
			h.CAFile = stranger.CAFile
		}, "", "unknown authority", new(x509.UnknownAuthorityError)},
		{"the clock is in 1970 and not trusted, expired by then", expired, boot(false, time.Now()), "", "is after", new(x509.CertificateInvalidError)},
		{"the clock is in 1970 and trusted", good, boot(true, time.Time{}), "", "not yet valid", new(x509.CertificateInvalidError)},
		{"a server that does not shake hands", "https://" + listen(t, func(_ *rogue, w net.Conn) { io.Copy(io.Discard, w) }).addr, func(h *fetch.HTTP) {
			h.Stall = brief
		}, "", fetch.ErrSlow.Error(), nil},
		{"a server that stalls within the head", tlsServer(t, cert, key, nil, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-")
				io.Copy(io.Discard, conn)
				conn.Close()
			}
		}), func(h *fetch.HTTP) { h.Stall = brief }, "", fetch.ErrSlow.Error(), nil},
		{"no CA file", good, func(h *fetch.HTTP) { h.CAFile += ".gone" }, "", "no such file", nil},
		{"no certificate in the CA file", good, func(h *fetch.HTTP) { h.CAFile = key }, "", "no certificate in CA file", nil},
		{"a CA file without an end", good, func(h *fetch.HTTP) { h.CAFile = "/dev/zero" }, "", "larger than", nil},
		{"a key of another", good, func(h *fetch.HTTP) { h.CertFile, h.KeyFile = ownCert, otherKey }, "", "does not match", nil},
		{"a certificate without key", good, func(h *fetch.HTTP) { h.CertFile = ownCert }, "", "only good together", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := leaks(t)
			h := client("", func(h *fetch.HTTP) { h.Base, h.CAFile = tt.url, pki.CAFile })
			if tt.change != nil {
				tt.change(h)
			}
			data, err := get(t.Context(), h, "f", 0)
			if string(data) != tt.data || (err == nil) != (tt.data != "") {
				t.Errorf("%q, %v", data, err)
			}
			if tt.want != "" {
				contains(t, err, tt.want)
			}
			if tt.is != nil && !errors.As(err, tt.is) {
				t.Errorf("error %v is no %T", err, tt.is)
			}
			done(h, nil)
		})
	}
}

func TestOurCertificateIsForTheHostOfTheBaseAlone(t *testing.T) {
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour)
	shown := make(chan int, 2)
	look := func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }
	other := tlsServer(t, cert, key, look, func(w http.ResponseWriter, q *http.Request) { shown <- len(q.TLS.PeerCertificates) })
	own := tlsServer(t, cert, key, look, func(w http.ResponseWriter, q *http.Request) {
		shown <- len(q.TLS.PeerCertificates)
		http.Redirect(w, q, other, http.StatusFound)
	})
	h := closing(t, client("", func(h *fetch.HTTP) { h.Base, h.CAFile = own, pki.CAFile }))
	h.CertFile, h.KeyFile = pki.Issue(t, "device", time.Hour)
	if _, err := get(t.Context(), h, "f", 0); err != nil {
		t.Fatal(err)
	}
	if first, second := <-shown, <-shown; first != 1 || second != 0 {
		t.Errorf("%d certificates for its own host and %d for another, want 1 and 0", first, second)
	}
}

// A record of TLS that comes a byte at a time reaches nobody above.
func TestARecordOfTLSThatDripsIsLeft(t *testing.T) {
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour)
	behind := tlsServer(t, cert, key, nil, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 1000))
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	})
	slow, tokens := ticking()
	relay := listen(t, func(r *rogue, w net.Conn) {
		up, err := net.Dial("tcp", strings.TrimPrefix(behind, "https://"))
		if err != nil {
			return
		}
		defer up.Close()
		r.wg.Go(func() { io.Copy(up, w); up.Close() })
		io.CopyN(w, up, 1000) // the handshake, more or less
		for p := make([]byte, 1); ; {
			select {
			case <-tokens:
			case <-r.done:
				return
			}
			if _, err := up.Read(p); err != nil {
				return
			}
			if _, err := w.Write(p); err != nil {
				return
			}
		}
	})
	h := closing(t, client("", func(h *fetch.HTTP) { h.Base, h.CAFile, h.Clock = "https://"+relay.addr, pki.CAFile, slow }))
	if data, err := get(t.Context(), h, "f", 0); !errors.Is(err, fetch.ErrSlow) {
		t.Errorf("%d bytes and then %v", len(data), err)
	}
}

func TestFilesForTLSMayComeLater(t *testing.T) {
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour)
	url := tlsServer(t, cert, key, nil, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "hello") })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	h := closing(t, client("", func(h *fetch.HTTP) { h.Base, h.CAFile = url, ca }))
	if _, err := get(t.Context(), h, "f", 0); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(pki.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := get(t.Context(), h, "f", 0); string(data) != "hello" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
}
