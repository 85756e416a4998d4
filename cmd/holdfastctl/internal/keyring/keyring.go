// Package keyring keeps the keys that sign releases: a file for each, encrypted with a passphrase in the format of age, so
// that age itself opens it, and beside it one with the public half.
package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"holdfast/board/strict"
	"holdfast/update/trust"
)

// ErrPassphrase means that there is none, or that it is not the one of a key.
var ErrPassphrase = errors.New("the passphrase is missing or another")

// Roles are whom a key can be for.
var Roles = []string{"root", "targets", "snapshot", "timestamp", "content"}

// DefaultWork is the cost of a guess at a passphrase, as a power of two: about a second and 256 MiB of memory.
const DefaultWork = 18

// A Key is the public half, which says whose the other one is.
type Key struct {
	ID     string
	Role   string
	Public ed25519.PublicKey
}

// A Ring is a directory of keys.
type Ring struct {
	Dir string
	// Ask returns the passphrase. fresh says that keys will be encrypted with it: a person is to type it twice. It is asked
	// at most once.
	Ask  func(fresh bool) (string, error)
	Work int // the cost of a guess; 0 means DefaultWork

	secret string
	proved bool // a key here was opened or made with it
	opened map[string]ed25519.PrivateKey
}

type keyText struct {
	Type   string    `json:"keytype"`
	Scheme string    `json:"scheme"`
	Value  valueText `json:"keyval"`
	Role   string    `json:"role"`
}

type valueText struct {
	Public string `json:"public"`
}

// Text is the file of a public key: TUF's form of it, and the role.
func (k Key) Text() string {
	return fmt.Sprintf("{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"%x\"},\"role\":\"%s\"}\n", []byte(k.Public), k.Role)
}

// Parse reads the file of a public key.
func Parse(text []byte) (Key, error) {
	var t keyText
	if err := strict.Unmarshal(text, &t, strict.Limits{Bytes: 4096, Depth: 3, Members: 16}); err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	public, err := hex.DecodeString(t.Value.Public)
	if err != nil || len(public) != ed25519.PublicKeySize || t.Type != "ed25519" || t.Scheme != "ed25519" {
		return Key{}, errors.New("public key: wants an Ed25519 key of 64 hexadecimal digits")
	}
	if !slices.Contains(Roles, t.Role) {
		return Key{}, fmt.Errorf("public key: role %.40q, there are %s", t.Role, strings.Join(Roles, ", "))
	}
	return Key{ID: trust.KeyID(public), Role: t.Role, Public: public}, nil
}

func (r *Ring) path(k Key, ext string) string { return filepath.Join(r.Dir, k.Role+"-"+k.ID[:16]+ext) }

// List returns the keys that are here, by role and id. No passphrase is needed. A directory that is not there has none.
func (r *Ring) List() ([]Key, error) {
	names, err := os.ReadDir(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, n := range names {
		if filepath.Ext(n.Name()) != ".age" {
			continue
		}
		path := filepath.Join(r.Dir, strings.TrimSuffix(n.Name(), ".age")+".pub")
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		k, err := Parse(text)
		if err == nil && r.path(k, ".pub") != path {
			err = errors.New("the file is called like another key")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if a.Role != b.Role {
			return slices.Index(Roles, a.Role) - slices.Index(Roles, b.Role)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return keys, nil
}

func (r *Ring) passphrase(fresh bool) (string, error) {
	if r.secret != "" {
		return r.secret, nil
	}
	secret, err := r.Ask(fresh)
	if err == nil && secret == "" {
		err = ErrPassphrase
	}
	if err != nil {
		return "", err
	}
	r.secret = secret
	return secret, nil
}

// New makes a key for a role.
func (r *Ring) New(role string) (Key, error) {
	if !slices.Contains(Roles, role) {
		return Key{}, fmt.Errorf("role %.40q: there are %s", role, strings.Join(Roles, ", "))
	}
	have, err := r.List()
	if err != nil {
		return Key{}, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	k := Key{ID: trust.KeyID(public), Role: role, Public: public}
	secret, err := r.passphrase(len(have) == 0)
	if err != nil {
		return Key{}, err
	}
	if len(have) > 0 && !r.proved { // a slip of the finger would make a key that nobody opens
		if _, err := r.open(have[0], secret); err != nil {
			return Key{}, err
		}
	}
	r.proved = true
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return Key{}, err
	}
	if err := replace(r.path(k, ".pub"), []byte(k.Text()), 0o644); err != nil {
		return Key{}, err
	}
	if err := r.seal(k, private, secret); err != nil {
		return Key{}, err
	}
	r.keep(k, private)
	return k, nil
}

// keep spares the cost of opening a key once more.
func (r *Ring) keep(k Key, private ed25519.PrivateKey) {
	if r.opened == nil {
		r.opened = map[string]ed25519.PrivateKey{}
	}
	r.opened[k.ID] = private
}

func (r *Ring) seal(k Key, private ed25519.PrivateKey, secret string) error {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(secret)
	if err != nil {
		return err
	}
	if to.SetWorkFactor(DefaultWork); r.Work > 0 {
		to.SetWorkFactor(r.Work)
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err == nil {
		_, err = w.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err == nil {
		err = errors.Join(w.Close(), text.Close())
	}
	if err != nil {
		return fmt.Errorf("encrypt key %.16s: %w", k.ID, err)
	}
	return replace(r.path(k, ".age"), out.Bytes(), 0o600)
}

// Private opens a key.
func (r *Ring) Private(k Key) (ed25519.PrivateKey, error) {
	if private := r.opened[k.ID]; private != nil {
		return private, nil
	}
	secret, err := r.passphrase(false)
	if err != nil {
		return nil, err
	}
	private, err := r.open(k, secret)
	if err == nil {
		r.keep(k, private)
	}
	return private, err
}

// keyBytes is the longest file of a key.
const keyBytes = 16 << 10

func (r *Ring) open(k Key, secret string) (ed25519.PrivateKey, error) {
	path := r.path(k, ".age")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	from, err := age.NewScryptIdentity(secret)
	if err != nil {
		return nil, err
	}
	from.SetMaxWorkFactor(22)
	var wrong *age.NoIdentityMatchError
	in, err := age.Decrypt(armor.NewReader(io.LimitReader(f, keyBytes)), from)
	if errors.As(err, &wrong) {
		err = ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("key %s: no PEM in it", path)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := any.(ed25519.PrivateKey)
	if err != nil || !ok || !private.Public().(ed25519.PublicKey).Equal(k.Public) {
		return nil, fmt.Errorf("key %s: it is not the other half of %s", path, filepath.Base(r.path(k, ".pub")))
	}
	return private, nil
}

// Change encrypts every key with another passphrase. It can be done again after it was interrupted: keys that the new one
// opens already are left alone.
func (r *Ring) Change(fresh string) (int, error) {
	if fresh == "" {
		return 0, ErrPassphrase
	}
	keys, err := r.List()
	if err != nil {
		return 0, err
	}
	for i, k := range keys {
		private, err := r.Private(k)
		if errors.Is(err, ErrPassphrase) {
			if _, already := r.open(k, fresh); already == nil {
				continue
			}
		}
		if err == nil {
			err = r.seal(k, private, fresh)
		}
		if err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

// replace writes a file so that after a power cut there is the old one or the new one.
func replace(path string, raw []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
