package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/board/strict"
)

// A document is a file of which the form was read, and nothing believed.
type document struct {
	signed     []byte            // canonical: what the signatures are of
	body       []byte            // as it came
	signatures map[string]string // by the key's id
}

// open takes the envelope off.
func open(raw []byte, most int64) (*document, error) {
	var envelope struct {
		Signed     json.RawMessage `json:"signed"`
		Signatures []struct {
			KeyID string `json:"keyid"`
			Sig   string `json:"sig"`
		} `json:"signatures"`
	}
	if err := read(raw, &envelope, int(most)); err != nil {
		return nil, err
	}
	if len(envelope.Signed) == 0 || envelope.Signed[0] != '{' || envelope.Signatures == nil {
		return nil, fmt.Errorf("%w: wants members signed and signatures", ErrFormat)
	}
	if len(envelope.Signatures) > mostSignatures {
		return nil, fmt.Errorf("%w: %d signatures, at most %d", ErrFormat, len(envelope.Signatures), mostSignatures)
	}
	d := &document{body: envelope.Signed, signatures: make(map[string]string, len(envelope.Signatures))}
	for _, s := range envelope.Signatures {
		if _, twice := d.signatures[s.KeyID]; twice {
			return nil, fmt.Errorf("%w: two signatures by the key %.70q", ErrFormat, s.KeyID)
		}
		d.signatures[s.KeyID] = s.Sig
	}
	var err error
	d.signed, err = canonical(d.body)
	return d, err
}

// read is strict but for members it does not know, as TUF demands (section 4).
func read(raw []byte, v any, most int) error {
	if err := strict.Unmarshal(raw, v, limits(most)); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// header is what all roles say.
type header struct {
	Type    string `json:"_type"`
	Spec    string `json:"spec_version"`
	Version int64  `json:"version"`
	Expires date   `json:"expires"`
}

// decode reads what was signed as a file of one role. It comes after the signatures.
func (d *document) decode(role string, v any, h *header) error {
	var kind struct {
		Type string `json:"_type"`
	}
	if err := read(d.body, &kind, targetsBytes); err != nil {
		return err
	}
	if kind.Type != role {
		return fmt.Errorf("%w: it says %.40q, and not %q", ErrType, kind.Type, role)
	}
	if err := read(d.body, v, targetsBytes); err != nil {
		return err
	}
	if rest, first := strings.CutPrefix(h.Spec, "1."); !first || !dotted(rest) {
		return fmt.Errorf("%w: spec_version %.40q, 1.x is wanted", ErrFormat, h.Spec)
	}
	if h.Version < 1 {
		return fmt.Errorf("%w: version %d", ErrFormat, h.Version)
	}
	if h.Expires.at.IsZero() {
		return fmt.Errorf("%w: it has no time at which it expires", ErrFormat)
	}
	return nil
}

// dotted reports whether s is one or two numbers with a dot between.
func dotted(s string) bool {
	a, b, two := strings.Cut(s, ".")
	return number(a) && (!two || number(b))
}

func number(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

// expired compares with now: TUF wants the time of expiry to be higher.
func (h *header) expired(now time.Time) error {
	if h.Expires.at.After(now) {
		return nil
	}
	at, late := h.Expires.at.Format(time.RFC3339), now.UTC().Format(time.RFC3339)
	return fmt.Errorf("%w at %s: it is %s or later", ErrExpired, at, late)
}

// A date is written YYYY-MM-DDTHH:MM:SSZ. A fraction of a second, which go-tuf writes where it is handed one, is taken;
// other zones are not, nor a second spelling of the same time.
type date struct{ at time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil || t.Format(time.RFC3339Nano) != string(text) || !strings.HasSuffix(string(text), "Z") {
		return fmt.Errorf("%.40q is not a time such as 2026-01-02T15:04:05Z", text)
	}
	d.at = t
	return nil
}

// A size is a number of bytes that may be missing.
type size struct {
	bytes int64
	given bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *size) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%.40s is no length", text)
	}
	*s = size{n, true}
	return nil
}

// sums are hashes that may be missing as a whole. Where there are any, SHA-256 is one of them, so that there is no way
// to ask for a check and get none.
type sums struct {
	sha256      [sha256.Size]byte
	sha512      [sha512.Size]byte
	given, long bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *sums) UnmarshalJSON(text []byte) error {
	var by map[string]string
	if err := json.Unmarshal(text, &by); err != nil {
		return err
	}
	for algorithm, sum := range by {
		var ok bool
		switch algorithm {
		case "sha256":
			ok = unhex(s.sha256[:], sum)
			s.given = true
		case "sha512":
			ok = unhex(s.sha512[:], sum)
			s.long = true
		}
		if !ok {
			return fmt.Errorf("hash %.20q %.140q is not one that is known", algorithm, sum)
		}
	}
	if !s.given {
		return errors.New("no sha256 among the hashes")
	}
	return nil
}

// A meta is what one file says about another.
type meta struct {
	Version int64 `json:"version"`
	Length  size  `json:"length"`
	Hashes  sums  `json:"hashes"`
}

// check compares the bytes with what is said of them, before anything in them is read.
func (m *meta) check(raw []byte) error {
	switch {
	case m.Length.given && int64(len(raw)) != m.Length.bytes:
		return fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, len(raw), m.Length.bytes)
	case m.Hashes.given && sha256.Sum256(raw) != m.Hashes.sha256:
		return fmt.Errorf("%w: its SHA-256 is another", ErrMismatch)
	case m.Hashes.long && sha512.Sum512(raw) != m.Hashes.sha512:
		return fmt.Errorf("%w: its SHA-512 is another", ErrMismatch)
	}
	return nil
}

// valid refuses what could not be fetched: a version below 1, a length that is 0 or beyond most.
func (m *meta) valid(name string, most int64) error {
	if m.Version < 1 || m.Length.given && (m.Length.bytes < 1 || m.Length.bytes > most) {
		return fmt.Errorf("%w: %.80q of version %d and %d bytes, at most %d", ErrFormat, name, m.Version, m.Length.bytes, most)
	}
	return nil
}
