package fetch_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

func TestRedirects(t *testing.T) {
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "server", time.Hour)
	files := func(w http.ResponseWriter, q *http.Request) {
		if _, _, ok := q.BasicAuth(); ok {
			http.Error(w, "not for me", http.StatusTeapot)
			return
		}
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader("0123456789"))
	}
	other := httptest.NewServer(http.HandlerFunc(files))
	defer other.Close()
	secure := tlsServer(t, cert, key, nil, files)
	secured := strings.TrimPrefix(secure, "https://")
	to := func(u string) string { return answer("302 Found", "Location: "+u+"\r\nContent-Length: 0\r\n", "") }
	for _, tt := range []struct {
		name   string
		says   string
		base   string // OWN is the redirecting server
		secure bool   // it speaks TLS
		allow  string
		data   string
		want   string
	}{
		{"to itself for ever", to("f"), "", false, "", "", "more than 3 times"},
		{"to another host", to(other.URL + "/f"), "", false, "", "3456789", ""},
		{"without the password", to(other.URL + "/f"), "http://me:geheim@OWN", false, "", "3456789", ""},
		{"308", answer("308 Permanent", "Location: "+other.URL+"\r\nContent-Length: 0\r\n", ""), "", false, "", "3456789", ""},
		{"up to https", to(secure + "/f"), "", false, "", "3456789", ""},
		{"from https down to http", to(other.URL + "/f"), "https://OWN", true, "", "", "from https to http"},
		{"from https down to http that is allowed", to(other.URL + "/f"), "https://OWN", true, "https://OWN " + other.URL, "", "from https to http"},
		{"from https to https", to(secure + "/f"), "https://OWN", true, "", "3456789", ""},
		{"to a host that is allowed", to(other.URL + "/f"), "", false, "http://OWN/x " + other.URL + "/elsewhere", "3456789", ""},
		{"to a host that is not", to(other.URL + "/f"), "", false, "http://OWN https://updates.example", "", "host that is not allowed"},
		{"to http where https is allowed", to(other.URL + "/f"), "", false, "http://OWN " + strings.Replace(other.URL, "http", "https", 1), "", "host that is not allowed"},
		{"to a host that ends like one", to("http://evil.localhost:1/"), "", false, "http://OWN http://localhost:1", "", "host that is not allowed"},
		{"to https where http is allowed", to(secure + "/f"), "", false, "http://OWN http://" + secured, "3456789", ""},
		{"to its own host, which is always allowed", to("f"), "", false, "https://updates.example", "", "more than 3 times"},
		{"to another port", to("http://127.0.0.1:1/"), "", false, "http://OWN", "", "host that is not allowed"},
		{"to a password", to("http://a:geheim@127.0.0.1:1/"), "", false, "", "", "with a password"},
		{"to a file", to("file:///etc/passwd"), "", false, "", "", "neither http nor https"},
		{"to a script", to("javascript:alert(1)"), "", false, "", "", "neither http nor https"},
		{"to no host", to("http:///f"), "", false, "", "", "without a host"},
		{"to no URL", to("http://[::1"), "", false, "", "", "what is no URL"},
		{"to nowhere", answer("302 Found", "Content-Length: 0\r\n", ""), "", false, "", "", "to nowhere"},
		{"to far too long", to("http://127.0.0.1:1/" + strings.Repeat("x", 5000)), "", false, "", "", "more than 2000 bytes"},
		{"300", answer("300 Multiple", "Location: g\r\nContent-Length: 0\r\n", ""), "", false, "", "", "answers 300"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			r := serve(t, func(r *rogue, w net.Conn, q *http.Request) bool {
				requests.Add(1)
				return says(tt.says)(r, w, q)
			})
			own := r.addr
			if tt.secure {
				own = strings.TrimPrefix(tlsServer(t, cert, key, nil, func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Location", strings.TrimSpace(strings.Split(strings.Split(tt.says, "Location: ")[1], "\r\n")[0]))
					w.WriteHeader(http.StatusFound)
				}), "https://")
			}
			h := closing(t, client(own, func(h *fetch.HTTP) {
				h.CAFile = pki.CAFile
				h.Allow = strings.Fields(strings.ReplaceAll(tt.allow, "OWN", own))
				if tt.base != "" {
					h.Base = strings.Replace(tt.base, "OWN", own, 1)
				}
			}))
			data, err := get(t.Context(), h, "f", 3)
			if string(data) != tt.data || (err != nil) != (tt.want != "") {
				t.Errorf("%q, %v", data, err)
			}
			if tt.want != "" {
				contains(t, err, tt.want)
			}
			if n := requests.Load(); n > 4 || tt.want == "more than 3 times" && n != 4 {
				t.Errorf("%d requests", n)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("error tells the password: %v", err)
			}
		})
	}
}

func TestARedirectOnOneHostKeepsThePassword(t *testing.T) {
	r := serve(t, func(_ *rogue, w net.Conn, q *http.Request) bool {
		text := answer("302 Found", "Location: ../g\r\nContent-Length: 0\r\n", "")
		if q.RequestURI == "/g" {
			user, password, _ := q.BasicAuth()
			text = answer("200 OK", "Connection: close\r\n", user+":"+password)
			io.WriteString(w, text)
			return false
		}
		_, err := io.WriteString(w, text)
		return err == nil
	})
	h := closing(t, client("", func(h *fetch.HTTP) { h.Base = "http://me:geheim@" + r.addr + "/r" }))
	if data, err := get(t.Context(), h, "f", 0); string(data) != "me:geheim" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
}
