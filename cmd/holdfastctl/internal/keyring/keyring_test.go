package keyring_test

import (
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"holdfast/cmd/holdfastctl/internal/keyring"
)

func ring(dir, secret string) *keyring.Ring {
	return &keyring.Ring{Dir: dir, Work: 10, Ask: func(bool) (string, error) { return secret, nil }}
}

func make1(t *testing.T, dir, secret, role string) keyring.Key {
	t.Helper()
	k, err := ring(dir, secret).New(role)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyIsOpenedWithItsPassphraseAlone(t *testing.T) {
	dir := t.TempDir()
	k := make1(t, dir, "one", "root")
	private, err := ring(dir, "one").Private(k)
	if err != nil || !private.Public().(ed25519.PublicKey).Equal(k.Public) {
		t.Fatalf("%v", err)
	}
	if _, err := ring(dir, "two").Private(k); !errors.Is(err, keyring.ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	if _, err := ring(dir, "").Private(k); !errors.Is(err, keyring.ErrPassphrase) {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := ring(dir, "two").New("targets"); !errors.Is(err, keyring.ErrPassphrase) {
		t.Errorf("a second key with another passphrase: %v", err)
	}
	keys, err := ring(dir, "").List()
	if err != nil || len(keys) != 1 || keys[0].ID != k.ID {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestFileIsOneOfAge(t *testing.T) {
	dir := t.TempDir()
	make1(t, dir, "one", "targets")
	names, err := filepath.Glob(filepath.Join(dir, "targets-*.age"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	i, err := os.Stat(names[0])
	if err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", i.Mode(), err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, err := age.NewScryptIdentity("one")
	if err != nil {
		t.Fatal(err)
	}
	in, err := age.Decrypt(armor.NewReader(f), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil || !strings.HasPrefix(string(text), "-----BEGIN PRIVATE KEY-----") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestChangeThatWasInterruptedIsDoneAgain(t *testing.T) {
	dir := t.TempDir()
	a := make1(t, dir, "old", "root")
	if n, err := ring(dir, "old").Change("new"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	other := t.TempDir() // a key that the change did not reach
	b := make1(t, other, "old", "targets")
	names, _ := filepath.Glob(filepath.Join(other, "*"))
	for _, n := range names {
		if err := os.Rename(n, filepath.Join(dir, filepath.Base(n))); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := ring(dir, "old").Change("new"); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for _, k := range []keyring.Key{a, b} {
		if _, err := ring(dir, "new").Private(k); err != nil {
			t.Error(err)
		}
	}
}

func TestHalvesThatDoNotBelongTogetherAreNoticed(t *testing.T) {
	dir := t.TempDir()
	a, b := make1(t, dir, "one", "root"), make1(t, dir, "one", "root")
	from, to := filepath.Join(dir, "root-"+a.ID[:16]+".age"), filepath.Join(dir, "root-"+b.ID[:16]+".age")
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := ring(dir, "one").Private(b); err == nil || !strings.Contains(err.Error(), "not the other half") {
		t.Errorf("%v", err)
	}
}

func FuzzPublicKey(f *testing.F) {
	k := keyring.Key{Role: "root", Public: make(ed25519.PublicKey, 32)}
	f.Add([]byte(k.Text()))
	f.Add([]byte(strings.Replace(k.Text(), "root", "toor", 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := keyring.Parse(text)
		if err != nil {
			return
		}
		again, err := keyring.Parse([]byte(k.Text()))
		if err != nil || again.ID != k.ID || again.Role != k.Role {
			t.Errorf("%v: %+v is not %+v", err, again, k)
		}
	})
}
