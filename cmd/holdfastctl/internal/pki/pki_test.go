package pki_test

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/pki"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func authority(t *testing.T, passphrase string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := pki.Init(dir, "test CA", passphrase, now, 1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLeavesVerifyForWhatTheyAreFor(t *testing.T) {
	dir := authority(t, "")
	ca, err := pki.ReadCert(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, tt := range []struct {
		role  pki.Role
		names []string
		dns   string
		use   x509.ExtKeyUsage
		not   x509.ExtKeyUsage
		file  string
	}{
		{pki.Device, []string{"gate-7"}, "", x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth, "devices/gate-7"},
		{pki.Device, []string{".."}, "", x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth, "devices/.."},
		{pki.Operator, []string{"ann"}, "", x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth, "operators/ann"},
		{pki.Server, []string{"hub.local", "10.0.0.5", "::1"}, "10.0.0.5", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, "servers/hub.local"},
		{pki.Server, []string{"*.example.com"}, "a.example.com", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, "servers/_.example.com"},
	} {
		out, err := pki.Issue(dir, "", pki.Request{Role: tt.role, Names: tt.names, Valid: 10 * time.Hour}, now)
		if err != nil {
			t.Errorf("%v: %v", tt.names, err)
			continue
		}
		if want := filepath.Join(dir, filepath.Dir(tt.file)) + string(filepath.Separator) + filepath.Base(tt.file) + ".crt"; out.Cert != want && tt.file != "devices/.." {
			t.Errorf("file %s, want %s", out.Cert, want)
		}
		if !strings.HasPrefix(out.Cert, dir+string(filepath.Separator)+filepath.Dir(tt.file)) {
			t.Errorf("file %s is not below %s", out.Cert, dir)
		}
		o := x509.VerifyOptions{Roots: roots, CurrentTime: now.Add(time.Hour), DNSName: tt.dns, KeyUsages: []x509.ExtKeyUsage{tt.use}}
		if _, err := out.Leaf.Verify(o); err != nil {
			t.Errorf("%v: %v", tt.names, err)
		}
		o.KeyUsages = []x509.ExtKeyUsage{tt.not}
		if _, err := out.Leaf.Verify(o); err == nil {
			t.Errorf("%v verifies for the other use", tt.names)
		}
		if out.Leaf.Subject.CommonName != tt.names[0] || (tt.role == pki.Operator) != (len(out.Leaf.Subject.OrganizationalUnit) == 1) {
			t.Errorf("subject %v", out.Leaf.Subject)
		}
		mode(t, out.Key)
	}
	mode(t, filepath.Join(dir, "ca.key"))
}

func mode(t *testing.T, key string) {
	t.Helper()
	i, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && i.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("%s has mode %v", key, i.Mode())
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := authority(t, "")
	if _, err := pki.Init(dir, "x", "", now, time.Hour); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second CA: %v", err)
	}
	r := pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: time.Hour}
	first, err := pki.Issue(dir, "", r, now)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(first.Key)
	if _, err := pki.Issue(dir, "", r, now); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second certificate: %v", err)
	}
	if err := os.Remove(first.Cert); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Issue(dir, "", r, now); !errors.Is(err, pki.ErrExists) {
		t.Errorf("over a key without a certificate: %v", err)
	}
	if after, _ := os.ReadFile(first.Key); string(after) != string(before) {
		t.Error("the key has changed")
	}
}

func TestLeafDoesNotOutliveItsCA(t *testing.T) {
	dir := authority(t, "")
	out, err := pki.Issue(dir, "", pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: 5000 * time.Hour}, now)
	if err != nil || out.Leaf.NotAfter.After(now.Add(1000*time.Hour)) {
		t.Errorf("until %v, %v", out.Leaf.NotAfter, err)
	}
	if _, err := pki.Issue(dir, "", pki.Request{Role: pki.Device, Names: []string{"e"}, Valid: time.Hour}, now.Add(1001*time.Hour)); err == nil {
		t.Error("an expired CA signs")
	}
}

func TestNamesThatCouldBeTakenForOthersAreRefused(t *testing.T) {
	dir := authority(t, "")
	for _, r := range []pki.Request{{Role: pki.Device}, {Role: pki.Device, Names: []string{"a", "b"}}, {Role: pki.Device, Names: []string{"a/b"}},
		{Role: pki.Device, Names: []string{"#"}}, {Role: pki.Device, Names: []string{"operator-1"}}, {Role: pki.Device, Names: []string{""}},
		{Role: pki.Device, Names: []string{strings.Repeat("x", 65)}}, {Role: pki.Operator, Names: []string{"../x"}}, {Role: "root", Names: []string{"x"}},
		{Role: pki.Server, Names: []string{"a b"}}, {Role: pki.Server, Names: []string{"../../x"}}, {Role: pki.Server, Names: []string{"x", ""}},
		{Role: pki.Server, Names: []string{"a.*.b"}}, {Role: pki.Server, Names: []string{"-a"}}} {
		r.Valid = time.Hour
		if out, err := pki.Issue(dir, "", r, now); err == nil {
			t.Errorf("%v: issued as %s", r, out.Cert)
		}
	}
}

func TestEncryptedKeyNeedsItsPassphrase(t *testing.T) {
	dir := authority(t, "open sesame")
	r := pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: time.Hour}
	for _, wrong := range []string{"", "open sesame "} {
		if _, err := pki.Issue(dir, wrong, r, now); !errors.Is(err, pki.ErrPassphrase) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := pki.Issue(dir, "open sesame", r, now); err != nil {
		t.Error(err)
	}
	if sealed, err := pki.Encrypted(dir); err != nil || !sealed {
		t.Errorf("sealed %v, %v", sealed, err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not there to read the key with: it is in the Debian package openssl")
	}
	key := filepath.Join(dir, "ca.key")
	if out, err := exec.Command("openssl", "pkey", "-in", key, "-passin", "pass:open sesame", "-noout", "-check").CombinedOutput(); err != nil {
		t.Errorf("openssl: %v: %s", err, out)
	}
	// And the other way: a key that openssl encrypted.
	theirs := filepath.Join(t.TempDir(), "k")
	if out, err := exec.Command("openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-in", key,
		"-passin", "pass:open sesame", "-passout", "pass:other", "-out", theirs).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Names = []string{"e"}
	if _, err := pki.Issue(dir, "other", r, now); err != nil {
		t.Errorf("with openssl's key: %v", err)
	}
}

func TestKeyOfAnotherCAIsNotUsed(t *testing.T) {
	dir, other := authority(t, ""), authority(t, "")
	b, err := os.ReadFile(filepath.Join(other, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Issue(dir, "", pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: time.Hour}, now); err == nil {
		t.Error("issued")
	}
	if _, err := pki.Issue(t.TempDir(), "", pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: time.Hour}, now); !errors.Is(err, pki.ErrNoCA) {
		t.Errorf("without a CA: %v", err)
	}
}

func FuzzReadCAKey(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	dir := f.TempDir()
	if _, err := pki.Init(dir, "x", "", now, time.Hour); err != nil {
		f.Fatal(err)
	}
	key := filepath.Join(dir, "ca.key")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(key, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.Issue(dir, "p", pki.Request{Role: pki.Device, Names: []string{"d"}, Valid: time.Hour}, now); err == nil {
			t.Error("a key from nowhere signed")
		}
	})
}
