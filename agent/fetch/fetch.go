// Package fetch is a driver: it is agent.Repository over HTTP(S), over a directory such as that of a USB stick, and over
// a few files given as bytes.
//
// What a server says is bounded here: how long it may be silent, how slow it may be, how much it may say before the file
// begins, and where else it may send us. Whether the bytes are the right ones is for those to judge who have signatures
// and sums.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"holdfast/agent"
	"holdfast/board"
)

// ErrSlow means that a server was silent, or slower than the minimum rate, for as long as is waited for it. What came
// before is good; another attempt may begin behind it.
var ErrSlow = errors.New("the server is too slow")

// ErrBeyond means that the offset is at or behind the end of the file. Offset 0 of an empty file is not.
var ErrBeyond = errors.New("the file ends before the offset")

// Options say whom to trust and how patient to be. Everything but Clock may be left out.
type Options struct {
	CAFile   string // PEM; "" trusts the system's authorities
	CertFile string // PEM chain of the device, shown to the host of the base alone; "" for none
	KeyFile  string // PEM
	// Earliest is a time that has passed for certain, such as that of the build: certificates are judged by it while
	// the clock says less and is not trusted.
	Earliest time.Time

	MinRate int64         // bytes per second; 0 is 256
	Stall   time.Duration // for an answer to begin, and the span the rate is taken over; 0 is 30 s
	Clock   board.Clock

	// Allow lists the bases a job may name, and what is below them. The host of each may also be redirected to. When it
	// is empty every URL is allowed, and no directory.
	Allow []string
}

// Open returns the repository at base: https:// or http:// and a host and path, file:/// and a path, or an absolute path.
// It neither connects nor looks; a directory that is not there is found by the first file asked for. What it returns is
// an *HTTP or a Dir.
func Open(base string, o Options) (agent.Repository, error) {
	at, err := parsePlace(base)
	if err != nil {
		return nil, err
	}
	within, err := at.allowed(o.Allow)
	if err != nil {
		return nil, err
	}
	if at.url == nil {
		// The links of a directory that is listed were made by who listed it; those below by who filled the stick.
		return Dir{Path: within.dir, below: strings.TrimPrefix(strings.TrimPrefix(at.dir, within.dir), "/")}, nil
	}
	h := &HTTP{Base: base, Options: o}
	if _, err := h.check(); err != nil {
		return nil, err
	}
	return h, nil
}

const nameBytes = 200

// CheckName reports whether a repository takes the name: at most 200 bytes of [A-Za-z0-9._+-], in parts that are joined by
// single slashes and are neither "." nor "..".
func CheckName(name string) error {
	if name == "" || len(name) > nameBytes {
		return fmt.Errorf("file name of %d bytes, wants 1 to %d", len(name), nameBytes)
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._+-/", c) >= 0:
		default:
			return fmt.Errorf("file name %q: character %q", name, c)
		}
	}
	if path.Clean(name) != name || name[0] == '/' || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return fmt.Errorf("file name %q: wants a relative path without dot, dot-dot and doubled slashes", name)
	}
	return nil
}

// check judges what is asked of every repository.
func check(ctx context.Context, name string, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("negative offset %d", offset)
	}
	if err := CheckName(name); err != nil {
		return err
	}
	return context.Cause(ctx)
}
