package actuators

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/board"
)

// Options of a Set. The zero value allows nothing.
type Options struct {
	Allow   []string         // the verbs that may be done, by name; local configuration alone fills it in
	Clock   board.Clock      // required
	Limiter *Limiter         // nil where another process keeps the limits
	Audit   func(AuditEntry) // called before and after every deed, and once for one refused; nil for none
}

// An Outcome is how far a deed has come.
type Outcome string

// The outcomes of an AuditEntry.
const (
	Begun   Outcome = "begun"   // about to be done: said before anything has changed
	Done    Outcome = "done"    // without an error
	Broken  Outcome = "broken"  // with an error; it may have been done in part
	Refused Outcome = "refused" // nothing was done
)

// An AuditEntry says who wanted what, and what came of it.
type AuditEntry struct {
	Verb    string    `json:"verb"`
	Args    Args      `json:"args,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
	Trusted bool      `json:"trusted"` // the clock was set
	Outcome Outcome   `json:"outcome"`
	Error   string    `json:"error,omitempty"`
}

// A Set is what may be done on this board. It is safe for concurrent use unless it has a Limiter: then its owner does
// one deed at a time.
type Set struct {
	verbs   map[string]Verb
	allowed map[string]bool
	names   []string // of verbs, sorted
	o       Options
}

// NewSet returns the set of verbs of which o.Allow may be done. It is an error when two verbs share a name, when the
// allow-list names a verb that does not exist, or when the limiter knows no limit for a verb's class.
func NewSet(o Options, verbs ...Verb) (*Set, error) {
	s := &Set{verbs: make(map[string]Verb, len(verbs)), allowed: make(map[string]bool, len(o.Allow)), o: o}
	if o.Clock == nil {
		return nil, errors.New("verbs: no clock")
	}
	for _, v := range verbs {
		if err := v.valid(); err != nil {
			return nil, fmt.Errorf("verb %q: %w", v.Name, err)
		}
		if _, twice := s.verbs[v.Name]; twice {
			return nil, fmt.Errorf("verb %q: listed twice", v.Name)
		}
		if o.Limiter != nil && v.Class != "" && !o.Limiter.knows(v.Class) {
			return nil, fmt.Errorf("verb %q: no limit is set for class %q", v.Name, v.Class)
		}
		s.verbs[v.Name] = v
	}
	s.names = slices.Sorted(maps.Keys(s.verbs))
	for _, name := range o.Allow {
		if _, ok := s.verbs[name]; !ok {
			return nil, fmt.Errorf("allowed verb %q: %w%s", name, ErrUnknown, meant(name, s.names))
		}
		s.allowed[name] = true
	}
	return s, nil
}

func (v Verb) valid() error {
	if v.Name == "" || len(v.Name) > 64 || v.Do == nil {
		return errors.New("wants a name of at most 64 bytes and a deed")
	}
	for _, r := range v.Name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return fmt.Errorf("%q in the name", r)
		}
	}
	return nil
}

// Verbs returns what may be done, by name.
func (s *Set) Verbs() []Verb {
	var allowed []Verb
	for _, name := range s.names {
		if s.allowed[name] {
			allowed = append(allowed, s.verbs[name])
		}
	}
	return allowed
}

// Lookup returns the verb if it may be done. The error is ErrUnknown, with the nearest name, or ErrDenied.
func (s *Set) Lookup(name string) (Verb, error) {
	v, ok := s.verbs[name]
	switch {
	case !ok:
		return Verb{}, fmt.Errorf("%q: %w%s", clip(name), ErrUnknown, meant(name, s.names))
	case !s.allowed[name]:
		return Verb{}, fmt.Errorf("%s: %w", name, ErrDenied)
	}
	return v, nil
}

// Check returns raw, a JSON object, as arguments of the named verb. The error is ErrUnknown, ErrDenied or ErrInvalid,
// and says what is wrong. Nothing is done or counted.
func (s *Set) Check(name string, raw json.RawMessage) (Args, error) {
	v, err := s.Lookup(name)
	if err != nil {
		return nil, err
	}
	return v.Check(raw)
}

// Do does the named deed, once the allow-list, the arguments' types and the limiter, in that order, have nothing
// against it. The limiter has counted the deed on flash, and the audit has heard of it, before it begins.
func (s *Set) Do(ctx context.Context, name string, args Args) (Result, error) {
	entry := AuditEntry{Verb: clip(name), Args: args, Reason: Reason(ctx)}
	v, args, err := s.admit(name, args)
	if err != nil {
		entry.Args = nil // they were not checked, so they are not repeated
		s.audit(entry, Refused, err)
		return nil, err
	}
	entry.Args = args
	s.audit(entry, Begun, nil)
	result, err := v.Do(ctx, args)
	if err != nil {
		s.audit(entry, Broken, err)
		return result, err
	}
	s.audit(entry, Done, nil)
	return result, nil
}

func (s *Set) admit(name string, args Args) (Verb, Args, error) {
	v, err := s.Lookup(name)
	if err != nil {
		return v, nil, err
	}
	if args, err = v.check(args); err != nil {
		return v, nil, err
	}
	if s.o.Limiter != nil && v.Class != "" {
		err = s.o.Limiter.Take(v.Class)
	}
	return v, args, err
}

func (s *Set) audit(e AuditEntry, outcome Outcome, err error) {
	if s.o.Audit == nil {
		return
	}
	e.Time, e.Trusted, e.Outcome = s.o.Clock.Now(), s.o.Clock.Trusted(), outcome
	if err != nil {
		e.Error = err.Error()
	}
	s.o.Audit(e)
}

type reasonKey struct{}

// WithReason returns a context in which deeds are audited with reason, wherever they are done: "command 17 of
// anna", "rule disk_full". At most 256 bytes are kept.
func WithReason(ctx context.Context, reason string) context.Context {
	if len(reason) > 256 {
		reason = strings.ToValidUTF8(reason[:256], "")
	}
	return context.WithValue(ctx, reasonKey{}, reason)
}

// Reason returns what WithReason put in.
func Reason(ctx context.Context) string {
	reason, _ := ctx.Value(reasonKey{}).(string)
	return reason
}

// A Stream is bytes too many for an argument, which the deed reads as it needs them: an image's patch, its metadata.
type Stream struct {
	Name  string // 1 to 64 bytes
	Bytes int64  // how many there are, or the most there may be when Open
	Open  bool   // the end comes as io.EOF, at Bytes or before
	io.ReaderAt
}

type streamsKey struct{}

// WithStreams returns a context in which a deed may read streams, in this process or across the frames to another.
func WithStreams(ctx context.Context, streams ...Stream) context.Context {
	return context.WithValue(ctx, streamsKey{}, streams)
}

// Streams returns what WithStreams put in.
func Streams(ctx context.Context) []Stream {
	streams, _ := ctx.Value(streamsKey{}).([]Stream)
	return streams
}
