package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
)

const (
	defaultRate  = 256
	defaultStall = 30 * time.Second
	redirects    = 3
	drainBytes   = 4 << 10
)

// HTTP is a repository below a URL. Only GET is used, over HTTP/1.1, through the proxy the environment names
// (HTTPS_PROXY and so on, as net/http reads it; one that is itself spoken to over TLS is not supported). Its methods may
// be called from several goroutines.
type HTTP struct {
	// Base is http:// or https:// with host and path. User and password in it go to its own host alone, as Basic
	// authorisation; a query in it goes with every request that is not redirected.
	Base string
	Options

	dial   dial       // nil: TCP
	mu     sync.Mutex // of what follows; Open may come from several goroutines
	client *client
}

// client is what the options lead to.
type client struct {
	Options
	base  *url.URL
	trust *trust
	dial  dial

	mu   sync.Mutex
	idle []*conn // the longest idle first
}

// check finds what is wrong with the options before a file of them is read.
func (h *HTTP) check() (place, error) {
	at, err := parsePlace(h.Base)
	switch {
	case err != nil:
		return place{}, err
	case at.url == nil:
		return place{}, errors.New("repository: a directory is not a URL")
	case h.Clock == nil:
		return place{}, errors.New("repository: no clock")
	case (h.CertFile == "") != (h.KeyFile == ""):
		return place{}, errors.New("repository: certificate and key are only good together")
	}
	return at, nil
}

// ready reads the files for TLS when it is called for the first time, and again until they can be read.
func (h *HTTP) ready() (*client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		return h.client, nil
	}
	at, err := h.check()
	if err != nil {
		return nil, err
	}
	c := &client{Options: h.Options, base: at.url, dial: h.dial}
	if c.MinRate <= 0 {
		c.MinRate = defaultRate
	}
	if c.Stall <= 0 {
		c.Stall = defaultStall
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{Timeout: c.Stall, KeepAlive: -1}).DialContext // silence has its own end
	}
	if c.trust, err = loadTrust(h.Options); err != nil {
		return nil, err
	}
	h.client = c
	return c, nil
}

// Open implements agent.Repository. It returns when the answer has begun, which takes at most a few times Stall, unless
// the server knows no ranges: then it returns when offset bytes, at most 64 MiB, have come and been dropped. The reader
// must be closed; it reads as it is asked, no more than 4 KiB ahead.
func (h *HTTP) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := check(ctx, name, offset); err != nil {
		return nil, err
	}
	c, err := h.ready()
	if err != nil {
		return nil, err
	}
	u := c.file(name)
	for hop := 0; ; hop++ {
		k, answer, err := c.ask(ctx, u, offset)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plain(u), c.explain(ctx, err))
		}
		if !moved(answer) {
			return c.take(ctx, u, k, answer, offset)
		}
		c.drain(k, answer)
		if hop == redirects {
			return nil, fmt.Errorf("%s: redirected more than %d times", plain(c.file(name)), redirects)
		}
		next, err := c.follow(u, answer.Header.Get("Location"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plain(u), err)
		}
		u = next
	}
}

// Close drops the connections that wait for another file; without it they end after 15 s. Readers stay open.
func (h *HTTP) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		h.client.dropIdle()
	}
	return nil
}

// file returns the URL of a file.
func (c *client) file(name string) *url.URL {
	u := *c.base
	u.Path = path.Join("/", c.base.Path, name)
	u.RawPath = strings.ReplaceAll((&url.URL{Path: u.Path}).EscapedPath(), "+", "%2B") // S3 takes a plus for a space
	return &u
}

// ask sends one request and returns when the head of the answer is there.
func (c *client) ask(ctx context.Context, u *url.URL, offset int64) (*conn, *http.Response, error) {
	request := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{
		"Accept-Encoding": {"identity"},
		"User-Agent":      {"holdfast"},
	}}
	if offset > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if user := c.base.User; user != nil && origin(u) == origin(c.base) {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	for {
		k, err := c.connect(ctx, u)
		if err != nil {
			return nil, nil, err
		}
		introduce(request, k.proxy)
		answer, err := k.exchange(request)
		if err == nil {
			return k, answer, nil
		}
		k.shut()
		if !k.used || k.heard > 0 || k.late {
			return nil, nil, err
		}
		// The server closed it while it was idle, and we hear that only now.
	}
}

// origin is what credentials are given to.
func origin(u *url.URL) string { return u.Scheme + "://" + host(u) }

func moved(answer *http.Response) bool {
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow returns where a redirect leads, if it may be followed.
func (c *client) follow(from *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, errors.New("redirected to nowhere")
	}
	bare := *from
	bare.User = nil
	to, err := bare.Parse(location)
	switch {
	case err != nil:
		return nil, errors.New("redirected to what is no URL")
	case to.Scheme != "https" && to.Scheme != "http" || checkHost(to) != nil || to.User != nil:
		return nil, fmt.Errorf("redirected to %s: neither http nor https, or without a host, or with a password", plain(to))
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, fmt.Errorf("redirected to %s: from https to http", plain(to))
	case len(to.String()) > placeBytes:
		return nil, fmt.Errorf("redirected to a URL of more than %d bytes", placeBytes)
	}
	to.Fragment, to.RawFragment = "", ""
	if len(c.Allow) == 0 || welcomes(c.base, to) {
		return to, nil
	}
	for _, text := range c.Allow {
		if entry, err := parsePlace(text); err == nil && entry.url != nil && welcomes(entry.url, to) {
			return to, nil
		}
	}
	return nil, fmt.Errorf("redirected to %s: a host that is not allowed", plain(to))
}

// welcomes tells whether a redirect may lead from anywhere to a host that is known by a URL: over the URL's scheme, or
// over https. Where on that host is the server's business.
func welcomes(known, to *url.URL) bool {
	return host(known) == host(to) && (known.Scheme == to.Scheme || to.Scheme == "https")
}

// drain ends an answer that nobody wants. A short one is read, so that the connection can serve again.
func (c *client) drain(k *conn, answer *http.Response) {
	n := answer.ContentLength
	if n > 0 && n <= drainBytes {
		_, err := io.CopyN(io.Discard, answer.Body, n)
		if err == nil {
			n = 0
		}
	}
	if n == 0 && !answer.Close && answer.StatusCode >= 200 {
		c.park(k)
	} else {
		k.shut()
	}
}
