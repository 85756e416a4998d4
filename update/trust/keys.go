package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// KeyID returns the id of an Ed25519 key as securesystemslib computes it: the SHA-256 of its canonical form.
func KeyID(public ed25519.PublicKey) string {
	const form = `{"keytype":"ed25519","keyval":{"public":"%x"},"scheme":"ed25519"}`
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, form, []byte(public))))
}

// A publicKey is comparable, so that a key counts once whatever ids it goes by.
type publicKey [ed25519.PublicKeySize]byte

// weak are the encodings, without the sign, of the points whose order divides 8: anybody can sign for such a key. 0 and 1
// come in two forms each.
var weak = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// parseKey reads a public key from 64 lower-case hex digits.
func parseKey(text string) (key publicKey, err error) {
	if !unhex(key[:], text) {
		return key, fmt.Errorf("%w: %.70q is no Ed25519 key", ErrKey, text)
	}
	y := key
	y[31] &= 0x7f
	plain := hex.EncodeToString(y[:])
	for _, w := range weak {
		if plain == w {
			return key, fmt.Errorf("%w: anybody can sign for %s", ErrKey, text)
		}
	}
	return key, nil
}

// unhex fills to from exactly as many lower-case hex digits. There is one spelling of a value, so that two readers cannot
// differ.
func unhex(to []byte, text string) bool {
	if len(text) != 2*len(to) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

type keyText struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

// A ring is the keys of one file by their ids, which are names and nothing more: what counts is the key.
type ring map[string]publicKey

func parseRing(texts map[string]keyText) (ring, error) {
	if len(texts) > mostKeys {
		return nil, fmt.Errorf("%w: %d keys, at most %d", ErrFormat, len(texts), mostKeys)
	}
	r := make(ring, len(texts))
	for id, k := range texts {
		if id == "" || len(id) > 2*roleBytes {
			return nil, fmt.Errorf("%w: a key's id has %d bytes", ErrFormat, len(id))
		}
		if k.Type != "ed25519" || k.Scheme != "ed25519" {
			return nil, fmt.Errorf("%w: %.70q is of type %.40q, scheme %.40q, and only ed25519 is", ErrKey, id, k.Type, k.Scheme)
		}
		var err error
		if r[id], err = parseKey(k.Value.Public); err != nil {
			return nil, err
		}
	}
	return r, nil
}

type quorumText struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int64    `json:"threshold"`
}

// A quorum is who must sign for a role.
type quorum struct {
	keys      ring
	threshold int
}

// quorum reads who signs for a role. One that could never be reached is refused where it is introduced, and not when it
// is too late.
func (r ring) quorum(role string, text quorumText) (quorum, error) {
	q := quorum{keys: make(ring, len(text.KeyIDs))}
	distinct := map[publicKey]bool{}
	for _, id := range text.KeyIDs {
		key, known := r[id]
		if !known {
			return q, fmt.Errorf("%w: role %s names the key %.70q, which is not listed", ErrKey, role, id)
		}
		if _, twice := q.keys[id]; twice {
			return q, fmt.Errorf("%w: role %s names the key %.70q twice", ErrFormat, role, id)
		}
		q.keys[id] = key
		distinct[key] = true
	}
	if text.Threshold < 1 || text.Threshold > int64(len(distinct)) {
		return q, fmt.Errorf("%w: role %s wants %d signatures of %d keys", ErrFormat, role, text.Threshold, len(distinct))
	}
	q.threshold = int(text.Threshold)
	return q, nil
}

// check counts the keys that signed, not the signatures: a key under two ids counts once. Signatures by others, and
// broken ones beside enough good ones, are no fault.
func (q quorum) check(d *document) error {
	good := map[publicKey]bool{}
	for id, key := range q.keys {
		var sig [ed25519.SignatureSize]byte
		if unhex(sig[:], d.signatures[id]) && ed25519.Verify(key[:], d.signed, sig[:]) {
			if good[key] = true; len(good) == q.threshold {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %d of %d that are wanted", ErrSignature, len(good), q.threshold)
}
