package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdfast/agent"
	"holdfast/board"
)

const (
	discardBytes = 64 << 20
	retryMost    = time.Hour
)

// A statusError is an answer that is not the file.
type statusError struct {
	code  int
	after time.Duration
	told  bool // after was named by the server
}

func (e *statusError) Error() string {
	s := strings.TrimSpace("the server answers " + strconv.Itoa(e.code) + " " + http.StatusText(e.code))
	if e.told {
		s += fmt.Sprintf(", try again in %v", e.after)
	}
	return s
}

// RetryAfter returns how long the server wants to be left alone, 0 to an hour, when the error is one that says so (429 or
// 503 with Retry-After).
func RetryAfter(err error) (time.Duration, bool) {
	var s *statusError
	if errors.As(err, &s) && s.told {
		return s.after, true
	}
	return 0, false
}

// take makes a reader of an answer that begins at offset, or an error.
func (c *client) take(ctx context.Context, u *url.URL, k *conn, answer *http.Response, offset int64) (io.ReadCloser, error) {
	b, err := c.judge(answer, offset)
	if err != nil {
		c.drain(k, answer)
		return nil, fmt.Errorf("%s: %w", plain(u), err)
	}
	b.ctx, b.c, b.k, b.answer, b.name = ctx, c, k, answer, plain(u)
	b.pace = pace{stall: c.Stall, rate: c.MinRate}
	if b.at < offset {
		if err := b.skip(offset); err != nil {
			_ = b.Close()
			return nil, err
		}
	}
	return b, nil
}

// judge finds where in the file an answer begins and ends.
func (c *client) judge(answer *http.Response, offset int64) (*body, error) {
	ranges := answer.Header.Values("Content-Range")
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w (%d)", agent.ErrAbsent, answer.StatusCode)
	case http.StatusRequestedRangeNotSatisfiable:
		if offset > 0 {
			return nil, fmt.Errorf("from byte %d: %w (416)", offset, ErrBeyond)
		}
		fallthrough
	default:
		e := &statusError{code: answer.StatusCode}
		if e.code == http.StatusTooManyRequests || e.code == http.StatusServiceUnavailable {
			e.after, e.told = parseRetry(answer.Header.Get("Retry-After"), answer.Header.Get("Date"), c.Clock)
		}
		return nil, e
	}
	for _, coding := range answer.Header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return nil, fmt.Errorf("the server encodes the file with %q, which nobody asked for", clip(coding))
		}
	}
	if answer.StatusCode == http.StatusOK {
		switch {
		case answer.ContentLength >= 0 && offset > 0 && offset >= answer.ContentLength:
			return nil, fmt.Errorf("from byte %d of %d: %w", offset, answer.ContentLength, ErrBeyond)
		case offset > discardBytes:
			return nil, fmt.Errorf("the server serves no ranges, and from byte %d on would be too much to drop", offset)
		}
		return &body{end: answer.ContentLength, total: answer.ContentLength}, nil
	}
	if offset == 0 {
		return nil, errors.New("the server answers with a range to a request without one")
	}
	if len(ranges) != 1 {
		return nil, fmt.Errorf("the server answers with a range and %d Content-Range", len(ranges))
	}
	first, last, total, err := parseRange(ranges[0])
	switch length := answer.ContentLength; {
	case err != nil:
		return nil, err
	case first != offset:
		return nil, fmt.Errorf("the server answers from byte %d, asked for %d", first, offset)
	case length >= 0 && length != last-first+1:
		return nil, fmt.Errorf("the server announces %d bytes for the range %q", length, clip(ranges[0]))
	}
	return &body{at: offset, end: last + 1, total: total}, nil
}

// parseRange reads a Content-Range of one range (RFC 9110, 14.4); total is -1 where it is not known. The numbers agree
// with one another.
func parseRange(s string) (first, last, total int64, err error) {
	bad := fmt.Errorf("the server answers with the range %q", clip(s))
	unit, rest, _ := strings.Cut(s, " ")
	span, whole, slash := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(span, "-")
	if !strings.EqualFold(unit, "bytes") || !slash || !dash {
		return 0, 0, 0, bad
	}
	first, good := parseCount(from)
	last, ok := parseCount(to)
	total = -1
	if good = good && ok && first <= last; good && whole != "*" {
		total, good = parseCount(whole)
		good = good && last < total
	}
	if !good {
		return 0, 0, 0, bad
	}
	return first, last, total, nil
}

// parseCount reads 1 to 18 digits.
func parseCount(s string) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseRetry reads Retry-After (RFC 9110, 10.2.3): seconds, or a date, which is taken from the answer's own Date where
// there is one, because our clock may be anywhere.
func parseRetry(value, date string, clock board.Clock) (after time.Duration, told bool) {
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, fits := parseCount(value)
		if !fits || seconds > int64(retryMost/time.Second) {
			return retryMost, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(date)
	if err != nil {
		if !clock.Trusted() {
			return 0, false
		}
		now = clock.Now()
	}
	return min(max(at.Sub(now), 0), retryMost), true
}

// explain says what an error of the transport means to a caller: the end of ctx, a server that is too slow, or itself,
// as short as a line.
func (c *client) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var wait net.Error
	if errors.Is(err, ErrSlow) || errors.As(err, &wait) && wait.Timeout() {
		return fmt.Errorf("%w: %d bytes a second over %v are the least (%v)", ErrSlow, c.MinRate, c.Stall, clipped{err})
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // nobody shall take it for the end of the file
		return fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return clipped{err}
}

// A clipped error quotes what a server said, but not for pages.
type clipped struct{ error }

func (e clipped) Error() string { return clip(e.error.Error()) }
func (e clipped) Unwrap() error { return e.error }
