package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"holdfast/board"
)

const pemBytes = 1 << 20

// trust says whom to believe on TLS, and what to show.
type trust struct {
	authorities *x509.CertPool // nil is the system's
	own         []tls.Certificate
	clock       board.Clock
	earliest    time.Time
}

func loadTrust(o Options) (*trust, error) {
	t := &trust{clock: o.Clock, earliest: o.Earliest}
	if o.CAFile != "" {
		pem, err := readPEM(o.CAFile)
		if err != nil {
			return nil, err
		}
		if t.authorities = x509.NewCertPool(); !t.authorities.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in CA file %s", o.CAFile)
		}
	}
	if o.CertFile != "" {
		cert, err := readPEM(o.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := readPEM(o.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", o.CertFile, o.KeyFile, err)
		}
		t.own = []tls.Certificate{pair}
	}
	return t, nil
}

// config is for one host, which is shown our certificate or not. Its chain is judged as crypto/tls judges it, but where
// the clock is not trusted by a time no earlier than t.earliest and the chain's own beginning: a board without a battery
// wakes up in 1970.
func (t *trust) config(host string, show bool) *tls.Config {
	// VerifyConnection takes the place of what is skipped.
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: true}
	if show {
		c.Certificates = t.own
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if host == "" || len(s.PeerCertificates) == 0 { // an empty name would not be compared
			return errors.New("the server has no name or no certificate")
		}
		o := x509.VerifyOptions{
			Roots: t.authorities, DNSName: host, Intermediates: x509.NewCertPool(),
			CurrentTime: t.time(s.PeerCertificates),
		}
		for _, intermediate := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(intermediate)
		}
		_, err := s.PeerCertificates[0].Verify(o)
		return err
	}
	return c
}

func (t *trust) time(chain []*x509.Certificate) time.Time {
	now := t.clock.Now()
	if t.clock.Trusted() {
		return now
	}
	if t.earliest.After(now) {
		now = t.earliest
	}
	for _, c := range chain {
		if c.NotBefore.After(now) {
			now = c.NotBefore
		}
	}
	return now
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
