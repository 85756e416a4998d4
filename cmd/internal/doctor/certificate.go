package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	pemBytes   = 1 << 20 // as the agent reads
	deviceDays = 30      // of the device's certificate left before it is time to renew it: somebody may have to go there
)

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, pemBytes+1))
	if err == nil && len(b) > pemBytes {
		err = fmt.Errorf("%s is larger than %d bytes", name, pemBytes)
	}
	return b, err
}

// certificate looks at the device's own.
func (x *examination) certificate() {
	b := x.o.Config.Broker
	if b.CertFile == "" {
		why := "none is configured: the device logs in by name and password"
		if b.User == "" {
			why = "none is configured, and no user either: the device logs in as nobody"
		}
		x.skip("certificate", "", why)
		return
	}
	c := Check{Name: "certificate", Outcome: OK}
	defer func() { x.add(c) }()
	cert, err := readBounded(b.CertFile)
	var key []byte
	if err == nil {
		key, err = readBounded(b.KeyFile)
	}
	var pair tls.Certificate
	if err == nil {
		if pair, err = tls.X509KeyPair(cert, key); err != nil {
			err = fmt.Errorf("%s with %s: %w", b.CertFile, b.KeyFile, err)
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
		c.Outcome, c.Seen = Skipped, "needs root: "+err.Error()
		return
	case errors.Is(err, fs.ErrNotExist):
		c.Outcome, c.Seen = Fail, err.Error()
		c.Hint = "put it there, or correct broker.cert_file and broker.key_file; holdfastctl pki issue --device " + x.id + " makes a pair"
		return
	case err != nil:
		c.Outcome, c.Seen = Fail, err.Error()
		c.Hint = "cert_file is a PEM certificate and key_file the key it was made for: install both of one pair"
		return
	}
	leaf := pair.Leaf
	days := daysLeft(leaf, x.now)
	c.Seen = fmt.Sprintf("CN=%s, good for %d days", leaf.Subject.CommonName, days)
	c.Detail = []string{describe(leaf, x.now)}
	switch renew := "renew " + b.CertFile + "; the agent takes a new pair by itself"; {
	case x.now.Before(leaf.NotBefore) && x.o.Clock.Trusted():
		c.Outcome, c.Seen, c.Hint = Fail, c.Seen+", from "+leaf.NotBefore.UTC().Format(time.DateOnly)+" on", "wait, or make one that is valid now"
	case x.now.After(leaf.NotAfter):
		c.Outcome, c.Hint = Fail, renew
		c.Seen = fmt.Sprintf("CN=%s, expired on %s", leaf.Subject.CommonName, leaf.NotAfter.UTC().Format(time.DateOnly))
	case days < deviceDays:
		c.Outcome, c.Hint = Warn, renew
	case leaf.Subject.CommonName != x.id:
		c.Outcome, c.Seen = Warn, c.Seen+"; the device is "+x.id
		c.Hint = fmt.Sprintf("brokers that take the device's name from its certificate keep it off its topics: set id = %q, or issue one for %s", leaf.Subject.CommonName, x.id)
	default:
		x.keyMode(&c, b.KeyFile)
	}
}

// keyMode warns of a key that others can read, and fails one the agent cannot.
func (x *examination) keyMode(c *Check, name string) {
	info, err := os.Stat(name)
	if err != nil {
		return // it was there a moment ago
	}
	mode := info.Mode().Perm()
	user := x.o.Config.Warden.User
	if uid, gid, ok := x.o.Account(user); ok && x.underSystemd() && !readable(info, uid, gid) {
		c.Outcome, c.Seen = Fail, fmt.Sprintf("the user %s cannot read %s (mode %04o)", user, name, mode)
		c.Hint = fmt.Sprintf("chgrp %s %s && chmod 640 %s", user, name, name)
		return
	}
	if mode&0o027 != 0 {
		c.Outcome, c.Seen = Warn, c.Seen+fmt.Sprintf("; the key has mode %04o", mode)
		c.Hint = "chmod 640 " + name
	}
}

// readable reports whether the file's mode lets a user read it. The directories above are not looked at.
func readable(info fs.FileInfo, uid, gid int) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok || uid == 0:
		return true
	case int(s.Uid) == uid:
		return mode&0o400 != 0
	case int(s.Gid) == gid:
		return mode&0o040 != 0
	}
	return mode&0o004 != 0
}

// authorities looks at what the broker's certificate is judged by.
func (x *examination) authorities() {
	name := x.o.Config.Broker.CAFile
	if name == "" {
		x.skip("authorities", "", "no ca_file is configured: the system's authorities are trusted")
		return
	}
	c := Check{Name: "authorities", Outcome: OK}
	defer func() { x.add(c) }()
	b, err := readBounded(name)
	if errors.Is(err, fs.ErrPermission) && x.o.UID != 0 {
		c.Outcome, c.Seen = Skipped, "needs root: "+err.Error()
		return
	}
	if err != nil {
		c.Outcome, c.Seen, c.Hint = Fail, err.Error(), "put the PEM certificate of the authority that signed the broker's there"
		return
	}
	good, bad := 0, 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			bad++
			continue
		}
		if x.now.Before(cert.NotAfter) {
			good++
		}
		if len(c.Detail) < 8 {
			c.Detail = append(c.Detail, describe(cert, x.now))
		}
	}
	c.Seen = fmt.Sprintf("%s has %d that are good", name, good)
	switch {
	case len(c.Detail) == 0:
		c.Outcome, c.Seen = Fail, "no certificate in "+name
		c.Hint = "ca_file is PEM, and holds the authority that signed the broker's certificate: not a key, not DER"
	case good == 0:
		c.Outcome, c.Seen = Fail, "every authority in "+name+" has expired"
		c.Hint = "install the authority's new certificate; if the check clock is not ok, set the clock first"
	case bad > 0:
		c.Outcome, c.Seen, c.Hint = Warn, c.Seen+fmt.Sprintf(", and %d blocks that are no certificates", bad), "take the other blocks out of "+name
	}
}

func daysLeft(c *x509.Certificate, now time.Time) int {
	return int(math.Floor(c.NotAfter.Sub(now).Hours() / 24))
}

// describe is one line about a certificate.
func describe(c *x509.Certificate, now time.Time) string {
	s := c.Subject.String()
	if n := names(c); n != "no name" {
		s += " for " + n
	}
	if c.Issuer.String() != c.Subject.String() {
		s += ", signed by " + c.Issuer.String()
	}
	return s + fmt.Sprintf(", until %s (%d days)", c.NotAfter.UTC().Format(time.DateOnly), daysLeft(c, now))
}

// names are those a certificate is for, as far as they fit a line.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames[:min(len(c.DNSNames), 8)]...)
	for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), 8)] {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all, ", ")
}
