//go:build linux

package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Shell is a Bourne shell at the other end of a socket. One goroutine uses it; after an error it is of no more use.
type Shell struct {
	conn net.Conn
	n    int
	rest []byte // what was read and not yet taken
}

// outputBytes bounds what one script may say.
const outputBytes = 4 << 20

// DialShell connects to a shell, and waits until it answers.
func DialShell(ctx context.Context, socket string) (*Shell, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	s := &Shell{conn: conn}
	if err := s.greet(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// greet asks until there is an answer: what is sent before the guest has opened its end may be lost. The markers are put
// together by the shell, so that a terminal that echoes does not answer for it.
func (s *Shell) greet(ctx context.Context) error {
	for {
		s.n++
		if _, err := fmt.Fprintf(s.conn, "stty -echo -onlcr 2>/dev/null; PS1=; PS2=\necho '@@'%d:0:\n", s.n); err != nil {
			return fmt.Errorf("shell: %w", err)
		}
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, _, err := s.until(one, s.n)
		cancel()
		if err == nil {
			_, err = s.Do(ctx, ":") // what earlier questions still bring comes before this one's answer
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("shell: no answer: %w", context.Cause(ctx))
		}
		if !isTimeout(err) {
			return err
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// until reads up to a marker, and returns what came before it and the status in it.
func (s *Shell) until(ctx context.Context, n int) (out []byte, status int, err error) {
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	_ = s.conn.SetReadDeadline(time.Time{})
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	mark := []byte("@@" + strconv.Itoa(n) + ":")
	var piece [32 << 10]byte
	for {
		if before, after, ok := bytes.Cut(s.rest, mark); ok {
			if code, more, ok := bytes.Cut(after, []byte(":\n")); ok {
				out = bytes.Clone(before)
				s.rest = bytes.Clone(more)
				status, err = strconv.Atoi(string(code))
				return out, status, err
			}
		}
		if len(s.rest) > outputBytes {
			return nil, 0, fmt.Errorf("shell: more than %d bytes without an end", outputBytes)
		}
		k, err := s.conn.Read(piece[:])
		s.rest = append(s.rest, bytes.ReplaceAll(piece[:k], []byte("\r"), nil)...)
		if err != nil && k == 0 {
			return s.rest, 0, err
		}
	}
}

// A StatusError is how a script ended that did not end well.
type StatusError struct {
	Status int
	Output string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("exit status %d: %s", e.Status, e.Output[max(0, len(e.Output)-500):])
}

// Do runs a script and returns what it said, on either stream, without space around it. A status other than 0 is a
// *StatusError. A line of the script may have 4095 bytes, as the terminal has it. The script runs in a shell of its own.
func (s *Shell) Do(ctx context.Context, script string) (string, error) {
	s.n++
	if _, err := fmt.Fprintf(s.conn, "(\n%s\n) </dev/null 2>&1; echo '@@'%d:$?:\n", script, s.n); err != nil {
		return "", fmt.Errorf("shell: %w", err)
	}
	out, status, err := s.until(ctx, s.n)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("shell: %.60q: %w; it said %q", script, err, out[max(0, len(out)-300):])
	}
	text := strings.TrimSpace(string(out))
	if status != 0 {
		return text, fmt.Errorf("shell: %.60q: %w", script, &StatusError{status, text})
	}
	return text, nil
}

// Send gives the shell a line and does not wait: for what takes the shell itself away.
func (s *Shell) Send(line string) error {
	_, err := fmt.Fprintln(s.conn, line)
	return err
}

// Put writes a file in the guest; the guest needs base64. It is for some kilobytes.
func (s *Shell) Put(ctx context.Context, path string, data []byte) error {
	var b strings.Builder
	fmt.Fprintf(&b, "base64 -d >'%s' <<'@'\n", path)
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 0 {
		n := min(len(text), 1000)
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	_, err := s.Do(ctx, b.String()+"@")
	return err
}

// Close lets go of the shell; in the guest it stays.
func (s *Shell) Close() error { return s.conn.Close() }
