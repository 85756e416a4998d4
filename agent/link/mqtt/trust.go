package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

const pemBytes = 1 << 20 // a bundle of every public authority has a quarter of it

// files are the certificates of one Conn. Only Run's goroutine and the one that dials for it touch them, in turn.
type files struct {
	o     Options
	stamp string           // of what the last connection was opened with
	seen  string           // of the last change that was judged
	pair  *tls.Certificate // the last that was good
}

// dial opens transport and TLS.
func (c *Conn) dial(ctx context.Context, e endpoint) (net.Conn, error) {
	var config *tls.Config
	if e.tls {
		var err error
		if config, err = c.files.config(e.host); err != nil {
			return nil, err
		}
	}
	conn, err := c.o.Dial(ctx, e.addr)
	if err != nil || config == nil {
		return conn, err
	}
	t := tls.Client(conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// config reads the files anew.
func (f *files) config(host string) (*tls.Config, error) {
	f.stamp = f.look()
	f.seen = f.stamp
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.o.ServerName}
	if c.ServerName == "" {
		c.ServerName = host
	}
	earliest := f.o.Earliest
	if f.o.CAFile != "" {
		pem, err := readPEM(f.o.CAFile)
		if err != nil {
			return nil, err
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in CA file %s", f.o.CAFile)
		}
	}
	if f.o.CertFile != "" {
		pair, err := f.load()
		if err != nil && f.pair == nil {
			return nil, err
		}
		if err != nil { // half of a rotation: the old pair is better than none
			f.o.Log.Warn("certificate not loaded, the last good one stays in use", "reason", err)
			pair = f.pair
		}
		f.pair = pair
		earliest = latest(earliest, pair.Leaf)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	c.Time = f.o.Clock.Now
	if !f.o.Clock.Trusted() {
		if now := f.o.Clock.Now(); now.After(earliest) {
			earliest = now
		}
		judgeLate(c, earliest)
	}
	return c, nil
}

// judgeLate makes c judge the broker's chain as crypto/tls would, but by a time no earlier than earliest and the chain's
// own beginning: a board without a battery wakes up in 1970 and would trust nobody, and so never hear what time it is.
// Authority and name are checked as ever; a certificate that had expired by earliest is still refused.
func judgeLate(c *tls.Config, earliest time.Time) {
	c.InsecureSkipVerify = true // VerifyConnection takes its place
	c.VerifyConnection = func(s tls.ConnectionState) error {
		o := x509.VerifyOptions{
			Roots: c.RootCAs, DNSName: c.ServerName, Intermediates: x509.NewCertPool(),
			CurrentTime: latest(earliest, s.PeerCertificates...),
		}
		for _, intermediate := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(intermediate)
		}
		_, err := s.PeerCertificates[0].Verify(o)
		return err
	}
}

// latest returns t, or the beginning of the certificate that begins last.
func latest(t time.Time, certs ...*x509.Certificate) time.Time {
	for _, c := range certs {
		if c.NotBefore.After(t) {
			t = c.NotBefore
		}
	}
	return t
}

func (f *files) load() (*tls.Certificate, error) {
	cert, err := readPEM(f.o.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := readPEM(f.o.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.o.CertFile, f.o.KeyFile, err)
	}
	return &pair, nil
}

// changed reports whether the files differ from those of the present connection and can be used. A pair that does not
// match is being written, and is looked at again when it has changed once more.
func (f *files) changed(log *slog.Logger) bool {
	now := f.look()
	if now == f.stamp || now == f.seen {
		return false
	}
	f.seen = now
	if f.o.CertFile != "" {
		if _, err := f.load(); err != nil {
			log.Warn("changed certificate not loaded, the connection stays as it is", "reason", err)
			return false
		}
	}
	return true
}

// look returns what tells a changed file: rotation replaces it, or writes over it.
func (f *files) look() string {
	var b strings.Builder
	for _, name := range []string{f.o.CAFile, f.o.CertFile, f.o.KeyFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintf(&b, "%v;", err)
			continue
		}
		fmt.Fprintf(&b, "%d,%d;", info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

func readPEM(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	pem, err := io.ReadAll(io.LimitReader(file, pemBytes+1))
	if err != nil {
		return nil, err
	}
	if len(pem) > pemBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, pemBytes)
	}
	return pem, nil
}
