package fetch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// net/http has a client, too. It would add 512 KB to an armv7 program, where all of this package adds 128 KB; two
// goroutines to every connection; and a line to the log for a server that says more than it announced. Its errors hide
// that a head was broken off by a deadline.

const (
	headBytes   = 16 << 10
	bufferBytes = 4 << 10
	mostHints   = 5 // answers 1xx before the answer
	mostIdle    = 2 // connections that wait for another file: a server and the one it redirects to
	idleFor     = 15 * time.Second
)

var errHead = fmt.Errorf("the head of the answer is longer than %d bytes", headBytes)

// dial is as net.Dialer's DialContext.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// A conn is one connection to a server. It has one owner: a request, a body, or the client while it is idle.
type conn struct {
	*paced
	to      string   // the origin
	proxy   *url.URL // that requests are written for, nil for none
	top     net.Conn // what is spoken over: TLS, or the connection itself
	in      *bufio.Reader
	left    int // bytes that may still be read of a head; -1 for no bound
	heard   int // bytes since the last request
	used    bool
	release func() bool // ends the watch of a context, and reports whether that has not ended
	expiry  *time.Timer
}

// Read reads for the buffer.
func (k *conn) Read(p []byte) (int, error) {
	if k.left == 0 {
		return 0, errHead
	}
	if k.left > 0 {
		p = p[:min(len(p), k.left)]
	}
	n, err := k.top.Read(p)
	k.heard += n
	if k.left > 0 {
		k.left -= n
	}
	return n, err
}

// why is the reason for an error of the connection. Parsers may have taken its end for a fault of the text.
func (k *conn) why(err error) error {
	switch {
	case k.late:
		return ErrSlow
	case k.left == 0:
		return errHead
	}
	return err
}

// shut closes the connection without the farewell of TLS, which a stalled peer would hold up.
func (k *conn) shut() {
	k.release()
	k.paced.Close()
}

// watch closes the connection when ctx ends.
func (k *conn) watch(ctx context.Context) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		k.paced.Close()
	})
	k.release = sync.OnceValue(func() bool {
		if stop() {
			return true
		}
		<-done // no goroutine outlives its owner
		return false
	})
}

// exchange writes a request and reads the head of the answer.
func (k *conn) exchange(request *http.Request) (*http.Response, error) {
	var text bytes.Buffer
	write := request.Write
	if k.proxy != nil {
		write = request.WriteProxy
	}
	if err := write(&text); err != nil {
		return nil, err
	}
	k.left, k.heard = headBytes, 0
	if _, err := k.top.Write(text.Bytes()); err != nil {
		return nil, k.why(err)
	}
	for range mostHints + 1 {
		answer, err := http.ReadResponse(k.in, request)
		switch {
		case err != nil:
			return nil, k.why(err)
		case answer.ProtoMajor != 1:
			return nil, fmt.Errorf("the server answers in %s", clip(answer.Proto))
		case answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols:
			k.left = -1
			return answer, nil
		}
	}
	return nil, fmt.Errorf("the server answers more than %d times 1xx", mostHints)
}

// connect returns a connection to the host of u, an idle one or a new one.
func (c *client) connect(ctx context.Context, u *url.URL) (*conn, error) {
	if k := c.resume(origin(u)); k != nil {
		k.used = true
		k.watch(ctx)
		return k, nil
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil {
		return nil, fmt.Errorf("proxy of the environment: %w", clipped{err})
	}
	address := u
	if proxy != nil {
		if proxy.Scheme != "http" || proxy.Hostname() == "" {
			return nil, fmt.Errorf("proxy of the environment: only http:// and a host are supported, not %s", plain(proxy))
		}
		address = proxy
	}
	raw, err := c.dial(ctx, "tcp", hostPort(address))
	if err != nil {
		return nil, err
	}
	k := &conn{to: origin(u), left: headBytes}
	k.paced = &paced{Conn: raw, clock: c.Clock, pace: pace{stall: c.Stall, rate: c.MinRate}}
	k.top, k.in = k.paced, bufio.NewReaderSize(k, bufferBytes)
	k.watch(ctx)
	if u.Scheme == "https" {
		err = c.secure(k, u, proxy)
	} else {
		k.proxy = proxy
	}
	if err != nil {
		k.shut()
		return nil, k.why(err)
	}
	return k, nil
}

// secure goes through the proxy, if there is one, and shakes hands.
func (c *client) secure(k *conn, u, proxy *url.URL) error {
	if proxy != nil {
		request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostPort(u)}, Host: hostPort(u),
			Header: http.Header{"User-Agent": {"holdfast"}}}
		introduce(request, proxy)
		answer, err := k.exchange(request)
		if err != nil {
			return fmt.Errorf("proxy %s: %w", plain(proxy), clipped{err})
		}
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("proxy %s: %w", plain(proxy), &statusError{code: answer.StatusCode})
		}
		if k.in.Buffered() > 0 {
			return fmt.Errorf("proxy %s: speaks before the server does", plain(proxy))
		}
	}
	t := tls.Client(k.paced, c.trust.config(u.Hostname(), k.to == origin(c.base)))
	k.top = t
	return t.Handshake()
}

// introduce gives a proxy the password that the environment has for it.
func introduce(request *http.Request, proxy *url.URL) {
	if proxy != nil && proxy.User != nil {
		password, _ := proxy.User.Password()
		both := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+both)
	}
}

// hostPort returns what to dial.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// resume takes an idle connection that is still good.
func (c *client) resume(to string) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < len(c.idle); {
		k := c.idle[i]
		if k.to != to {
			i++
			continue
		}
		c.idle = slices.Delete(c.idle, i, i+1)
		k.expiry.Stop()
		if k.quiet() {
			return k
		}
		k.paced.Close()
	}
	return nil
}

// quiet reports whether an idle connection has nothing to say, its end included.
func (k *conn) quiet() bool {
	if err := k.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return false
	}
	n, err := k.paced.Conn.Read(make([]byte, 1))
	var wait net.Error
	return n == 0 && errors.As(err, &wait) && wait.Timeout()
}

// park keeps a connection whose answer was read to its end, if that was all it said.
func (c *client) park(k *conn) {
	if !k.release() || k.in.Buffered() > 0 {
		k.paced.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == mostIdle {
		c.idle[0].expiry.Stop()
		c.idle[0].paced.Close()
		c.idle = slices.Delete(c.idle, 0, 1)
	}
	c.idle = append(c.idle, k)
	k.expiry = time.AfterFunc(idleFor, func() { c.expire(k) })
}

func (c *client) expire(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.idle, k); i >= 0 { // otherwise it was resumed at the last moment
		c.idle = slices.Delete(c.idle, i, i+1)
		k.paced.Close()
	}
}

func (c *client) dropIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle {
		k.expiry.Stop()
		k.paced.Close()
	}
	c.idle = nil
}
