package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/collectors"
)

// Program is how journalctl is called: its path and, where wanted, arguments that come first. Empty means "journalctl".
type Program []string

// The bounds of Tail.
const (
	TailLines = 200
	TailBytes = 32 << 10 // of the entries as JSON
)

const (
	tailMessage = 2 << 10
	termDelay   = time.Second // between asking a child to end and killing it
	stderrBytes = 512
)

// Tail returns the newest entries of one unit, oldest first: at most lines of them, 1 to TailLines, of the given priority
// (0 to 7) or more important, and no more than make TailBytes of JSON.
func (p Program) Tail(ctx context.Context, unit string, lines, priority int) ([]Entry, error) {
	if err := collectors.CheckUnitName(unit); err != nil {
		return nil, err
	}
	if lines < 1 || lines > TailLines {
		return nil, fmt.Errorf("tail of %d lines: only 1 to %d can be asked for", lines, TailLines)
	}
	if priority < 0 || priority > 7 {
		return nil, fmt.Errorf("priority %d: not from 0 to 7", priority)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := p.start(ctx, "--lines="+strconv.Itoa(lines), "--priority="+strconv.Itoa(priority), "--unit="+unit)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	var sizes []int
	total := len("[]")
	for {
		line, err := c.line()
		if errors.Is(err, bufio.ErrTooLong) {
			continue
		}
		if err != nil {
			break
		}
		e, err := Parse(line, tailMessage)
		if err != nil {
			continue
		}
		b, err := json.Marshal(e)
		if err != nil {
			return nil, errors.Join(err, c.end(cancel))
		}
		entries, sizes, total = append(entries, e), append(sizes, len(b)+1), total+len(b)+1
		for total > TailBytes || len(entries) > lines { // the newest are at the end
			total -= sizes[0]
			entries, sizes = entries[1:], sizes[1:]
		}
	}
	if err := c.wait(); err != nil {
		return nil, err
	}
	return entries, nil
}

// A child is a journalctl that runs.
type child struct {
	cmd    *exec.Cmd
	lines  *bufio.Reader
	stderr head

	dropped int // lines left out since the last entry; Journal.read writes it
}

// start runs journalctl until ctx ends. The error is collectors.ErrNoData where the program is not installed.
func (p Program) start(ctx context.Context, args ...string) (*child, error) {
	if len(p) == 0 {
		p = Program{"journalctl"}
	}
	argv := append(append([]string{}, p[1:]...), "--output=json", "--no-pager", "--quiet", "--output-fields="+outputFields)
	c := &child{cmd: exec.CommandContext(ctx, p[0], append(argv, args...)...)}
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = termDelay
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to journalctl: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", collectors.ErrNoData, err)
		}
		return nil, fmt.Errorf("start journalctl: %w", err)
	}
	c.lines = bufio.NewReaderSize(out, lineBytes)
	return c, nil
}

// line returns the next line, which is good until the next call. A line that is too long is taken whole and answered
// with bufio.ErrTooLong.
func (c *child) line() ([]byte, error) {
	line, err := c.lines.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = c.lines.ReadSlice('\n')
	}
	if err != nil {
		return nil, err
	}
	return nil, bufio.ErrTooLong
}

// wait waits for the child, whose output has been read to its end.
func (c *child) wait() error {
	if err := c.cmd.Wait(); err != nil {
		if said := strings.TrimSpace(c.stderr.buf.String()); said != "" {
			said, _ = printable([]byte(said), stderrBytes)
			return fmt.Errorf("journalctl: %w: %s", err, said)
		}
		return fmt.Errorf("journalctl: %w", err)
	}
	return nil
}

// end ends the child, and returns after it is gone.
func (c *child) end(cancel func()) error {
	cancel()
	_, _ = io.Copy(io.Discard, c.lines)
	return c.wait()
}

// head keeps the first bytes written to it.
type head struct{ buf bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), max(stderrBytes-h.buf.Len(), 0))])
	return len(p), nil
}
