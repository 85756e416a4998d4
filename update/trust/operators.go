package trust

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"holdfast/board/strict"
)

// OperatorsTarget is the name of the target that lists the operators. The role targets alone may vouch for it.
const OperatorsTarget = "operators.json"

// ErrVerb means that an operator is known and may not do this.
var ErrVerb = errors.New("not among the operator's verbs")

// Operators are the people and programs whose signed commands a device obeys.
type Operators struct{ list []operator }

type operator struct {
	name  string
	key   publicKey
	verbs []string
}

// Bounds of the list.
const (
	operatorsBytes = 64 << 10
	mostOperators  = 64
	mostVerbs      = 64
	messageBytes   = 64 << 10
)

type operatorsText struct {
	Format    int `json:"format"`
	Operators []struct {
		Name  string   `json:"name"`
		Key   string   `json:"key"`
		Verbs []string `json:"verbs"`
	} `json:"operators"`
}

// Operators reads the list from the target's bytes, which are compared first with what is vouched for.
func (t *Target) Operators(raw []byte) (*Operators, error) {
	if t.Role != "targets" || t.Name != OperatorsTarget {
		return nil, fmt.Errorf("target %.200q: %w: role %s does not say who the operators are", t.Name, ErrType, t.Role)
	}
	if err := t.Check(raw); err != nil {
		return nil, err
	}
	return ParseOperators(raw)
}

// ParseOperators reads a list that was verified before. Every operator has a name and a key that nobody else has, and at
// least one verb: the whole name of an action, the beginning of one and a star ("unit.*"), or a star alone.
func ParseOperators(raw []byte) (*Operators, error) {
	var text operatorsText
	if err := strict.Unmarshal(raw, &text, strict.Limits{Bytes: operatorsBytes, Depth: 4, Members: 8192}); err != nil {
		return nil, fmt.Errorf("operators: %w: %w", ErrFormat, err)
	}
	if text.Format != 1 || text.Operators == nil || len(text.Operators) > mostOperators {
		return nil, fmt.Errorf("operators: %w: wants format 1 and 0 to %d operators", ErrFormat, mostOperators)
	}
	o := &Operators{}
	names, keys := map[string]bool{}, map[publicKey]bool{}
	for _, each := range text.Operators {
		key, err := parseKey(each.Key)
		if err != nil {
			return nil, fmt.Errorf("operator %.80q: %w", each.Name, err)
		}
		if !part(each.Name) || names[each.Name] || keys[key] {
			return nil, fmt.Errorf("operator %.80q: %w: the name is none, or name or key are there already", each.Name, ErrFormat)
		}
		names[each.Name], keys[key] = true, true
		if len(each.Verbs) < 1 || len(each.Verbs) > mostVerbs || firstNot(each.Verbs, verb) >= 0 {
			return nil, fmt.Errorf("operator %s: %w: wants 1 to %d verbs, such as unit.restart or unit.*", each.Name, ErrFormat,
				mostVerbs)
		}
		o.list = append(o.list, operator{each.Name, key, each.Verbs})
	}
	return o, nil
}

func verb(s string) bool {
	plain := strings.TrimSuffix(s, "*")
	return s != "" && len(s) <= partBytes && s[0] != '.' && letters(plain, "._-") &&
		(plain == s || plain == "" || strings.HasSuffix(plain, "."))
}

// Verify reports whether the operator called name signed the message, with 64 bytes of Ed25519, and may do what the verb
// names. The error is ErrKey for an operator that is not listed, ErrSignature, or ErrVerb. The message is whatever bytes
// the two agreed on; it must name the device and be good for one use, which is not looked at here.
func (o *Operators) Verify(name, verb string, message, signature []byte) error {
	for _, each := range o.list {
		if each.name != name {
			continue
		}
		if len(message) > messageBytes || len(signature) != ed25519.SignatureSize ||
			!ed25519.Verify(each.key[:], message, signature) {
			return fmt.Errorf("operator %s: %w", name, ErrSignature)
		}
		if !each.may(verb) {
			return fmt.Errorf("operator %s: %w: %.64q", name, ErrVerb, verb)
		}
		return nil
	}
	return fmt.Errorf("operator %.80q: %w: nobody of that name is listed", name, ErrKey)
}

func (o *operator) may(verb string) bool {
	for _, v := range o.verbs {
		if start, star := strings.CutSuffix(v, "*"); v == verb || star && strings.HasPrefix(verb, start) {
			return verb != ""
		}
	}
	return false
}
