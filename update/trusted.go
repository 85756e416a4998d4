package update

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"holdfast/update/trust"
)

// Documents of what is trusted, beside the engine's own. They are kept as they were signed.
const (
	trustRoot      = "trust-root"
	trustTimestamp = "trust-timestamp"
	trustSnapshot  = "trust-snapshot"
	trustTargets   = "trust-targets"
	trustDelegated = "trust-role-"
	trustNotes     = "trust-notes"

	trustBytes = 1 << 20
)

// trustState is what is kept of the trust beside the files that were signed.
type trustState struct {
	Clock time.Time `json:"clock"`
	Roles []string  `json:"roles,omitempty"` // delegated ones that are kept
}

// trusted opens what is trusted so far.
func (e *Engine) trusted() error {
	s := trust.State{Delegated: map[string][]byte{}}
	load := func(name string) ([]byte, error) {
		raw, err := e.o.Files.ReadFile(e.store.prefix+name, trustBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return raw, err
	}
	var err error
	for name, to := range map[string]*[]byte{trustRoot: &s.Root, trustTimestamp: &s.Timestamp, trustSnapshot: &s.Snapshot, trustTargets: &s.Targets} {
		if *to, err = load(name); err != nil {
			return err
		}
	}
	var notes trustState
	if _, err := e.store.read(trustNotes, recordsBytes, &notes); err != nil {
		e.o.Log.Warn("the time of the newest release seen is not known", "err", err)
	}
	s.Clock = notes.Clock
	for _, role := range notes.Roles {
		if s.Delegated[role], err = load(trustDelegated + role); err != nil {
			return err
		}
	}
	e.client = nil
	if len(s.Root) > 0 {
		if e.client, err = trust.New(s, trust.Options{Now: e.lowest()}); err != nil {
			e.o.Log.Error("the root of trust that was kept cannot be used; the first one is taken", "err", err)
		}
	}
	if e.client == nil {
		if len(e.o.Anchor) == 0 {
			return errors.New("this device was given no root of trust")
		}
		s.Root = e.o.Anchor
		if e.client, err = trust.New(s, trust.Options{Now: e.lowest()}); err != nil {
			return err
		}
	}
	if lost := e.client.Lost(); lost != nil {
		e.o.Log.Warn("part of what was trusted cannot be used any more", "err", lost)
	}
	return nil
}

// lowest is what the time is at least.
func (e *Engine) lowest() time.Time {
	if now := e.o.Clock.Now(); e.o.Clock.Trusted() && now.After(e.o.Built) {
		return now
	}
	return e.o.Built
}

// keepTrust writes what was newly verified. What comes first in the chain is written first.
func (e *Engine) keepTrust() error {
	s := e.client.State()
	notes := trustState{Clock: s.Clock, Roles: slices.Sorted(maps.Keys(s.Delegated))}
	names, docs := []string{trustRoot, trustTimestamp, trustSnapshot, trustTargets}, [][]byte{s.Root, s.Timestamp, s.Snapshot, s.Targets}
	for _, role := range notes.Roles {
		names, docs = append(names, trustDelegated+role), append(docs, s.Delegated[role])
	}
	for i, name := range names {
		if err := e.keepFile(e.store.prefix+name, docs[i]); err != nil {
			return err
		}
	}
	var had trustState
	if _, err := e.store.read(trustNotes, recordsBytes, &had); err == nil && had.Clock.Equal(notes.Clock) && slices.Equal(had.Roles, notes.Roles) {
		return nil
	}
	return e.store.write(trustNotes, notes)
}

// keepFile replaces a file where it is another; nothing at all removes it.
func (e *Engine) keepFile(name string, raw []byte) error {
	had, err := e.o.Files.ReadFile(name, trustBytes)
	switch {
	case err == nil && bytes.Equal(had, raw), errors.Is(err, fs.ErrNotExist) && len(raw) == 0:
		return nil
	case len(raw) == 0:
		return e.o.Files.Remove(name)
	}
	return e.o.Files.WriteFile(name, raw)
}
