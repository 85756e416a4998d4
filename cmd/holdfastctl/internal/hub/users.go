package hub

import (
	"bufio"
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Users are names and the digests of their passwords. A name that begins with "operator" may everything; any other is
// a device's id, and may what the device may.
type Users map[string]secret

type secret struct {
	rounds     int
	salt, hash []byte
}

const (
	rounds   = 60_000
	keyBytes = 32
)

// HashPassword returns the line of a password file for the name: name:pbkdf2-sha256:rounds:salt:hash.
func HashPassword(name, password string) (string, error) {
	if !ValidDevice(name) {
		return "", fmt.Errorf("user %q: a name is 1 to 64 of A-Z a-z 0-9 _ . -", name)
	}
	if password == "" || len(password) > 256 {
		return "", errors.New("a password has 1 to 256 bytes")
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	h, err := pbkdf2.Key(sha256.New, password, salt, rounds, keyBytes)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%s:pbkdf2-sha256:%d:%s:%s", name, rounds, b64(salt), b64(h)), nil
}

// ReadUsers parses a password file: one line of HashPassword's form each, # begins a comment. An error names the line.
func ReadUsers(file []byte) (Users, error) {
	u := Users{}
	sc := bufio.NewScanner(bytes.NewReader(file))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, ":")
		if len(f) != 5 || f[1] != "pbkdf2-sha256" || !ValidDevice(f[0]) {
			return nil, fmt.Errorf("line %d: not of the form name:pbkdf2-sha256:rounds:salt:hash", n)
		}
		s, err := parseSecret(f[2:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := u[f[0]]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", n, f[0])
		}
		u[f[0]] = s
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return u, nil
}

func parseSecret(f []string) (s secret, err error) {
	if s.rounds, err = strconv.Atoi(f[0]); err != nil || s.rounds < 1000 || s.rounds > 10_000_000 {
		return s, errors.New("rounds are from 1000 to 10000000")
	}
	if s.salt, err = base64.RawStdEncoding.DecodeString(f[1]); err != nil || len(s.salt) < 8 {
		return s, errors.New("salt: at least 8 bytes of base64")
	}
	if s.hash, err = base64.RawStdEncoding.DecodeString(f[2]); err != nil || len(s.hash) != keyBytes {
		return s, fmt.Errorf("hash: %d bytes of base64", keyBytes)
	}
	return s, nil
}

// check takes as long for a name it does not know as for a wrong password.
func (u Users) check(name, password string) bool {
	s, known := u[name]
	if !known {
		s = secret{rounds: rounds, salt: make([]byte, 16), hash: make([]byte, keyBytes)}
	}
	if len(password) > 256 {
		return false
	}
	h, err := pbkdf2.Key(sha256.New, password, s.salt, s.rounds, keyBytes)
	return err == nil && subtle.ConstantTimeCompare(h, s.hash) == 1 && known
}

// ServerTLS reads the certificate chain and key of a TLS listener and, if clientCA is not empty, the CA whose
// certificates clients may show. With passwords set a client may come without a certificate.
func ServerTLS(cert, key, clientCA string, passwords bool) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("client CA: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client CA: %s: no certificate in it", clientCA)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if passwords {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}
