// Package pki is a small certificate authority for brokers, devices and operators: one ECDSA P-256 key in a directory.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/hub"
)

// ErrExists means that a file is there already; nothing was written.
var ErrExists = errors.New("is there already and is not overwritten")

// ErrPassphrase means that the CA's key needs another passphrase than the one given.
var ErrPassphrase = errors.New("wrong passphrase")

// backdate allows for devices whose clock is behind.
const backdate = time.Hour

// Role says what a certificate is for.
type Role string

// The roles of leaf certificates.
const (
	Device   Role = "device"   // common name is the device's id
	Server   Role = "server"   // a broker: every name is a DNS name or IP address
	Operator Role = "operator" // organizational unit "operator"
)

// CAFiles are where a CA keeps its certificate and key below dir.
func CAFiles(dir string) (cert, key string) {
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
}

// Init makes a new CA in dir, valid for the given time. With a passphrase the key is encrypted.
func Init(dir, name, passphrase string, now time.Time, valid time.Duration) (*x509.Certificate, error) {
	certFile, keyFile := CAFiles(dir)
	if err := absent(certFile, keyFile); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(valid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sealed, err := sealKey(key, passphrase)
	if err != nil {
		return nil, err
	}
	if err := create(keyFile, sealed, 0o600); err != nil {
		return nil, err
	}
	if err := create(certFile, certPEM(der), 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// A Request asks for one leaf certificate.
type Request struct {
	Role  Role
	Names []string // the device's id, the operator's name, or every name of the server, the first as common name
	Valid time.Duration
}

func (r *Request) template(now time.Time) (*x509.Certificate, error) {
	if len(r.Names) == 0 || r.Role != Server && len(r.Names) != 1 {
		return nil, fmt.Errorf("a %s certificate: wants %s", r.Role, map[Role]string{Device: "one device id", Operator: "one name", Server: "at least one name"}[r.Role])
	}
	name := r.Names[0]
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(r.Valid),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	switch r.Role {
	case Device:
		if !hub.ValidDevice(name) || strings.HasPrefix(name, "operator") {
			return nil, fmt.Errorf("device id %q: wants 1 to 64 of A-Z a-z 0-9 _ . -, not beginning with \"operator\"", name)
		}
	case Operator:
		if !hub.ValidDevice(name) {
			return nil, fmt.Errorf("operator %q: wants 1 to 64 of A-Z a-z 0-9 _ . -", name)
		}
		t.Subject.OrganizationalUnit = []string{"operator"}
	case Server:
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, n := range r.Names {
			if ip := net.ParseIP(n); ip != nil {
				t.IPAddresses = append(t.IPAddresses, ip)
			} else if dnsName(n) {
				t.DNSNames = append(t.DNSNames, n)
			} else {
				return nil, fmt.Errorf("server %q: neither a DNS name nor an IP address", n)
			}
		}
	default:
		return nil, fmt.Errorf("role %q: wants device, server or operator", r.Role)
	}
	return t, nil
}

func dnsName(n string) bool {
	if len(n) > 253 {
		return false
	}
	for i, label := range strings.Split(n, ".") {
		if i == 0 && label == "*" {
			continue
		}
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label ||
			strings.ContainsFunc(label, func(r rune) bool { return !hub.ValidDevice(string(r)) || r == '.' }) {
			return false
		}
	}
	return true
}

// Issued are the files of a new certificate.
type Issued struct {
	Cert string            `json:"cert"`
	Key  string            `json:"key"`
	CA   string            `json:"ca"`
	Leaf *x509.Certificate `json:"-"`
}

// Issue signs a new key's certificate with the CA in dir and writes both below dir, as devices/ID.crt and .key,
// servers/NAME or operators/NAME. A leaf never outlives its CA.
func Issue(dir, passphrase string, r Request, now time.Time) (*Issued, error) {
	t, err := r.template(now)
	if err != nil {
		return nil, err
	}
	caCert, _ := CAFiles(dir)
	ca, caKey, err := open(dir, passphrase)
	if err != nil {
		return nil, err
	}
	if !now.Before(ca.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s", caCert, ca.NotAfter.Format(time.DateOnly))
	}
	if t.NotAfter.After(ca.NotAfter) {
		t.NotAfter = ca.NotAfter
	}
	if t.NotBefore.Before(ca.NotBefore) {
		t.NotBefore = ca.NotBefore
	}
	// Appended, not joined: a device may be called "..".
	base := filepath.Join(dir, string(r.Role)+"s") + string(filepath.Separator) + strings.NewReplacer("*", "_", ":", "_").Replace(r.Names[0])
	out := &Issued{Cert: base + ".crt", Key: base + ".key", CA: caCert}
	if err := absent(out.Cert, out.Key); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if out.Leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	plain, err := sealKey(key, "")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return nil, err
	}
	if err := create(out.Key, plain, 0o600); err != nil {
		return nil, err
	}
	return out, create(out.Cert, certPEM(der), 0o644)
}

// serial is 127 random bits (RFC 5280 4.1.2.2 allows up to 20 octets).
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil { // crypto/rand does not fail
		panic(err)
	}
	return n.Add(n, big.NewInt(1))
}

func absent(files ...string) error {
	for _, f := range files {
		if _, err := os.Lstat(f); err == nil {
			return fmt.Errorf("%s %w", f, ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func create(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}
