package pki

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// An encrypted key is PKCS #8 with PBES2 (RFC 8018: PBKDF2 with HMAC-SHA-256, AES-256-CBC), as openssl writes and
// reads it.
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

const (
	rounds    = 600_000
	maxRounds = 10_000_000
	keyBlock  = "PRIVATE KEY"
	sealBlock = "ENCRYPTED PRIVATE KEY"
)

type encryptedKey struct {
	Algorithm struct {
		ID     asn1.ObjectIdentifier
		Params pbes2
	}
	Data []byte
}

type pbes2 struct {
	KDF struct {
		ID     asn1.ObjectIdentifier
		Params pbkdf2Params
	}
	Cipher struct {
		ID asn1.ObjectIdentifier
		IV []byte
	}
}

type pbkdf2Params struct {
	Salt   []byte
	Rounds int
	PRF    struct {
		ID   asn1.ObjectIdentifier
		Null asn1.RawValue
	}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sealKey returns the key as PEM, encrypted unless the passphrase is empty.
func sealKey(key *ecdsa.PrivateKey, passphrase string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if passphrase == "" {
		return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
	}
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	block, err := stretch(passphrase, salt, rounds)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	for range pad {
		der = append(der, byte(pad))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(der, der)

	e := encryptedKey{Data: der}
	e.Algorithm.ID = oidPBES2
	p := &e.Algorithm.Params
	p.KDF.ID, p.Cipher.ID, p.Cipher.IV = oidPBKDF2, oidAES256CBC, iv
	p.KDF.Params.Salt, p.KDF.Params.Rounds = salt, rounds
	p.KDF.Params.PRF.ID, p.KDF.Params.PRF.Null = oidHMACSHA256, asn1.NullRawValue
	out, err := asn1.Marshal(e)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: sealBlock, Bytes: out}), nil
}

func stretch(passphrase string, salt []byte, n int) (cipher.Block, error) {
	k, err := pbkdf2.Key(sha256.New, passphrase, salt, n, 32)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(k)
}

// openKey reads what sealKey wrote.
func openKey(b []byte, passphrase string) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	der := block.Bytes
	switch block.Type {
	case keyBlock:
	case sealBlock:
		if passphrase == "" {
			return nil, fmt.Errorf("it is encrypted: %w", ErrPassphrase)
		}
		var err error
		if der, err = decrypt(der, passphrase); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("a PEM block of type %q instead of a key", block.Type)
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that cannot sign")
	}
	return s, nil
}

func decrypt(der []byte, passphrase string) ([]byte, error) {
	var e encryptedKey
	if rest, err := asn1.Unmarshal(der, &e); err != nil || len(rest) > 0 {
		return nil, errors.New("encrypted in a way that is not known here: wants PBES2 with PBKDF2 and AES-256-CBC")
	}
	p := e.Algorithm.Params
	if !e.Algorithm.ID.Equal(oidPBES2) || !p.KDF.ID.Equal(oidPBKDF2) || !p.KDF.Params.PRF.ID.Equal(oidHMACSHA256) ||
		!p.Cipher.ID.Equal(oidAES256CBC) || len(p.Cipher.IV) != aes.BlockSize || len(e.Data) == 0 ||
		len(e.Data)%aes.BlockSize != 0 || p.KDF.Params.Rounds < 1 || p.KDF.Params.Rounds > maxRounds {
		return nil, errors.New("encrypted in a way that is not known here: wants PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC")
	}
	block, err := stretch(passphrase, p.KDF.Params.Salt, p.KDF.Params.Rounds)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(e.Data))
	cipher.NewCBCDecrypter(block, p.Cipher.IV).CryptBlocks(out, e.Data)
	pad := int(out[len(out)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, ErrPassphrase
	}
	for _, b := range out[len(out)-pad:] {
		if int(b) != pad {
			return nil, ErrPassphrase
		}
	}
	// One wrong passphrase in 256 pads well; then the DER is garbage.
	if out = out[:len(out)-pad]; !asn1Sequence(out) {
		return nil, ErrPassphrase
	}
	return out, nil
}

func asn1Sequence(der []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	return err == nil && len(rest) == 0 && v.Tag == asn1.TagSequence
}

// Encrypted reports whether the CA's key in dir asks for a passphrase.
func Encrypted(dir string) (bool, error) {
	_, keyFile := CAFiles(dir)
	b, err := os.ReadFile(keyFile)
	if err != nil {
		return false, noCA(err, dir)
	}
	block, _ := pem.Decode(b)
	return block != nil && block.Type == sealBlock, nil
}

// ErrNoCA means that there is no CA in the directory.
var ErrNoCA = errors.New("there is no CA")

func noCA(err error, dir string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", dir, ErrNoCA)
	}
	return err
}

func open(dir, passphrase string) (*x509.Certificate, crypto.Signer, error) {
	certFile, keyFile := CAFiles(dir)
	cert, err := ReadCert(certFile)
	if err != nil {
		return nil, nil, noCA(err, dir)
	}
	b, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, nil, noCA(err, dir)
	}
	key, err := openKey(b, passphrase)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return cert, key, nil
}

// ReadCert reads the first certificate of a PEM file.
func ReadCert(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Certs returns the certificate files below dir, the CA's first.
func Certs(dir string) ([]string, error) {
	ca, _ := CAFiles(dir)
	if _, err := os.Stat(ca); err != nil {
		return nil, noCA(err, dir)
	}
	list := []string{ca}
	for _, r := range []Role{Server, Operator, Device} {
		m, err := filepath.Glob(filepath.Join(dir, string(r)+"s", "*.crt"))
		if err != nil {
			return nil, err
		}
		list = append(list, m...)
	}
	return list, nil
}
