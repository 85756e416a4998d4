package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/actuators"
)

// Errors of Client.Do besides those of package actuators.
var (
	ErrBusy        = errors.New("whoever does it is busy")                     // nothing was done
	ErrUnreachable = errors.New("nobody answers")                              // nothing was done
	ErrLost        = errors.New("whoever does it was lost before it answered") // the deed may have been done
	ErrStranger    = errors.New("only the agent and root may ask")             // nothing was done
)

const protocol = 1

// A hello says that the server will take a request, or why not.
type hello struct {
	Protocol int    `json:"protocol"`
	Code     string `json:"code,omitempty"`
}

// A request asks for one deed.
type request struct {
	ID        string          `json:"id"`
	Verb      string          `json:"verb"`
	Args      json.RawMessage `json:"args,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	TimeoutMS int64           `json:"timeout_ms,omitempty"`
	Streams   []announcement  `json:"streams,omitempty"`
}

// An announcement says that the caller has bytes the deed may pull.
type announcement struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Open  bool   `json:"open,omitempty"` // Bytes is only the most
}

// A response says what came of a request. A long result follows in body frames.
type response struct {
	ID          string          `json:"id"`
	OK          bool            `json:"ok"`
	Result      json.RawMessage `json:"result,omitempty"`
	ResultBytes int             `json:"result_bytes,omitempty"`
	Error       string          `json:"error,omitempty"`
	Code        string          `json:"code,omitempty"`
}

const (
	streamsMost = 4
	failed      = "failed"
)

func (r *request) valid() error {
	switch {
	case r.ID == "" || len(r.ID) > 64 || len(r.Verb) > 64 || len(r.Reason) > 256:
		return fmt.Errorf("%w: id, verb or reason is too long or missing", errFrame)
	case r.TimeoutMS < 0:
		return fmt.Errorf("%w: timeout %d ms", errFrame, r.TimeoutMS)
	case len(r.Streams) > streamsMost:
		return fmt.Errorf("%w: %d streams, at most %d", errFrame, len(r.Streams), streamsMost)
	}
	for i, s := range r.Streams {
		twice := slices.ContainsFunc(r.Streams[:i], func(o announcement) bool { return o.Name == s.Name })
		if s.Name == "" || len(s.Name) > 64 || s.Bytes < 0 || s.Bytes > 1<<53 || twice {
			return fmt.Errorf("%w: stream %d: wants a name of its own and 0 to 2^53 bytes", errFrame, i)
		}
	}
	return nil
}

// codes are how errors a caller branches on cross the wire, in the order they are looked for.
var codes = []struct {
	code string
	err  error
}{
	{"limited", actuators.ErrLimited},
	{"locked", actuators.ErrLocked},
	{"denied", actuators.ErrDenied},
	{"unknown", actuators.ErrUnknown},
	{"invalid", actuators.ErrInvalid},
	{"busy", ErrBusy},
	{"stranger", ErrStranger},
	{"late", context.DeadlineExceeded},
	{"cancelled", context.Canceled},
}

func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return failed
}

// A refusal is the server's error as the caller sees it: its words, and the sentinel its code stands for.
type refusal struct {
	words string
	is    error
}

func (r *refusal) Error() string { return r.words }
func (r *refusal) Unwrap() error { return r.is }

func refusalOf(code, words string) error {
	if words == "" {
		words = "refused: " + code
	}
	for _, c := range codes {
		if c.code == code {
			return &refusal{words, c.err}
		}
	}
	return &refusal{words: words}
}

// clip keeps words short enough for a frame, whatever their escapes.
func clip(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
