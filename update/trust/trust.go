// Package trust is a leaf: it verifies the metadata of a repository of updates as The Update Framework sets it out (TUF
// 1.0, sections 5.2 to 5.7), and reads what the signers of a release say about it.
//
// A Client touches nothing. It says which file it wants next, is given the bytes from wherever they come (a web server,
// a USB stick, a message), and says what is trusted so far, which its owner keeps:
//
//	c, err := trust.New(state, trust.Options{Now: buildTime})
//	for name, most, ok := c.Want(); ok; name, most, ok = c.Want() {
//		raw, err := fetch(name, most)
//		// c.Give(raw), or c.Absent() where there is no such file; after each nil keep c.State()
//	}
//	t, err := c.Target("gateway/1.4.0.json")
//
// Nothing that was verified is forgotten because something else was refused, and a file is never half accepted. Every
// length and number of things is bounded (Bounds below), and nothing is compared with a value that may be absent: what
// must be there and is not, is refused.
//
// The subset: Ed25519 keys alone, canonical JSON as OLPC wrote it down, SHA-256 and SHA-512, delegations by path. Hashed
// bins (path_hash_prefixes, TAP 15) are refused. The whole is described in docs/trust.md.
package trust

import (
	"errors"
	"time"
)

// Why something is refused. Every error of this package is one of these, wrapped with the file and the particulars.
var (
	// ErrFormat means that a document is not one that can be accepted: not JSON of the strict kind, a member missing,
	// doubled, of the wrong type or out of bounds, a name that could mislead.
	ErrFormat = errors.New("not an acceptable document")
	// ErrType means that a document is of another kind than the one asked for, or that a role says what it may not say.
	ErrType = errors.New("of another kind")
	// ErrKey means that a key is of a kind, or has a value, that is not usable, or that nobody lists it.
	ErrKey = errors.New("not a usable key")
	// ErrSignature means that too few of the keys in force signed it.
	ErrSignature = errors.New("not signed by enough keys")
	// ErrRollback means that it is older than what was trusted before, or takes a file away that was listed.
	ErrRollback = errors.New("older than what is trusted")
	// ErrMismatch means that length, hash or version are not those that the file above it vouches for.
	ErrMismatch = errors.New("not the file that is vouched for")
	// ErrExpired means that it is genuine and out of date. Newer metadata heals it.
	ErrExpired = errors.New("expired")
	// ErrNotFound means that there is no such file or target, or that it was not verified yet.
	ErrNotFound = errors.New("not there")
)

// Bounds of files in bytes, and of what is in them.
const (
	rootBytes      = 64 << 10
	timestampBytes = 16 << 10
	snapshotBytes  = 256 << 10
	targetsBytes   = 1 << 20 // and of each delegated role

	mostRoots      = 256 // walked by one Client
	mostRoles      = 16  // delegated, in the whole tree
	mostDepth      = 4   // of delegations; what targets delegates has 1
	mostKeys       = 64  // in one file
	mostSignatures = 64  // on one file
	mostTargets    = 4096
	nameBytes      = 200 // of a target
	roleBytes      = 64  // of a role's name, and of a key's id twice that
	patternBytes   = 200
	mostPatterns   = 64 // of one delegated role
)

// State is what is trusted so far, to be kept by the caller across power cuts: the files as they were signed, byte for
// byte. Root is never empty; it begins as the one in the image. The rest may be missing. The order in which its parts
// are written does not matter: what does not go with the root any more is dropped by New.
type State struct {
	Root, Timestamp, Snapshot, Targets []byte
	Delegated                          map[string][]byte // by role: 1 to 64 of [A-Za-z0-9_.-], no leading dot

	// Clock is a time that has certainly passed. It never falls.
	Clock time.Time
}

// Options are the caller's part.
type Options struct {
	// Now is a lower bound of the present time: the time of the build, or the wall clock once that is trusted.
	Now time.Time
}
