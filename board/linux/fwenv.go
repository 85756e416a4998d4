package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/board/loaders"
)

var errTooMuch = errors.New("prints more than it should")

// printedBytes bounds what a program may print: some variables of at most some hundred bytes.
const printedBytes = 16 << 10

// An environment is U-Boot's, as fw_printenv and fw_setenv reach it.
type environment struct {
	printenv, setenv, config string
	oneCopy                  bool
	limit                    time.Duration
}

func (e *environment) defaults() {
	for _, d := range []struct {
		field *string
		value string
	}{{&e.printenv, "/usr/bin/fw_printenv"}, {&e.setenv, "/usr/bin/fw_setenv"}, {&e.config, "/etc/fw_env.config"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if e.limit <= 0 {
		e.limit = 20 * time.Second
	}
}

// noDefault is given as the file with a default environment. It cannot be opened: an environment that cannot be read is an
// error, and is neither taken for a default one nor written over with it.
const noDefault = "/dev/null/none"

// read returns the wanted variables; one that is not set is empty.
func (e *environment) read(ctx context.Context, wanted []string) (loaders.Vars, error) {
	out, err := e.run(ctx, nil, e.printenv, append([]string{"-c", e.config, "-f", noDefault}, wanted...)...)
	if err != nil {
		return nil, err
	}
	v, err := loaders.Printed(out, wanted)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.printenv, err)
	}
	return v, nil
}

// write sets the variables in one write, and sees to it that what is read next comes from the medium.
func (e *environment) write(ctx context.Context, v loaders.Vars) error {
	copies, err := e.copies()
	if err != nil {
		return err
	}
	if len(copies) < 2 && !e.oneCopy {
		return fmt.Errorf("%s: names one copy of the environment: a power cut while it is written would leave none", e.config)
	}
	script, err := v.Script()
	if err != nil {
		return err
	}
	// Not all versions know - for the standard input.
	if _, err := e.run(ctx, script, e.setenv, "-c", e.config, "-f", noDefault, "-s", "/dev/stdin"); err != nil {
		return err
	}
	_, err = e.carry()
	return err
}

// carry makes sure that the environment is on its medium, drops it from the page cache, and returns where it is.
func (e *environment) carry() ([]envCopy, error) {
	copies, err := e.copies()
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		if err := c.carry(); err != nil {
			return nil, err
		}
	}
	return copies, nil
}

// run runs a program to its end, without a shell and with nothing of our environment, and returns what it printed.
func (e *environment) run(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, e.limit)
	defer stop()
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return nil, fmt.Errorf("%s: has ended, and left a child that holds its output", name)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: has not ended after %v", name, e.limit)
	case stdout.over || stderr.over:
		return nil, fmt.Errorf("%s: %w", name, errTooMuch)
	case err != nil:
		return nil, fmt.Errorf("%s: %w%s", name, err, stderr.said())
	}
	return stdout.kept, nil
}

// A bounded buffer takes printedBytes and refuses the rest.
type bounded struct {
	kept []byte
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > printedBytes {
		b.over = true
		return 0, errTooMuch
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// said returns the printable text in one line, for an error.
func (b *bounded) said() string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, strings.TrimSpace(string(b.kept)))
	if text == "" {
		return ""
	}
	return fmt.Sprintf(": %.200s", text)
}

// An envCopy is one line of fw_env.config: where a copy of the environment is.
type envCopy struct {
	path string
	off  int64 // negative: from the end
	size int64
}

// copies reads fw_env.config in its table form: a device, an offset and a size on each line, for one copy or two.
func (e *environment) copies() ([]envCopy, error) {
	text, err := readSmall(e.config, 16<<10)
	if err != nil {
		return nil, fmt.Errorf("environment's place: %w", err)
	}
	copies, err := parseEnvConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.config, err)
	}
	return copies, nil
}

func parseEnvConfig(text string) ([]envCopy, error) {
	var copies []envCopy
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 3 || len(copies) == 2 {
			return nil, fmt.Errorf("line %.120q: want device, offset and size, on at most two lines", line)
		}
		off, err1 := strconv.ParseInt(fields[1], 0, 64)
		size, err2 := strconv.ParseInt(fields[2], 0, 64)
		if err1 != nil || err2 != nil || size < 16 || size > 16<<20 {
			return nil, fmt.Errorf("line %.120q: want an offset and a size in bytes", line)
		}
		copies = append(copies, envCopy{fields[0], off, size})
	}
	if len(copies) == 0 {
		return nil, errors.New("names no environment")
	}
	return copies, nil
}

// carry carries one copy, on a block device or in a file. Flash without a block layer (MTD, UBI) has no page cache.
func (c envCopy) carry() error {
	var st unix.Stat_t
	err := unix.Stat(c.path, &st)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR || errors.Is(err, unix.ENOENT) && strings.Contains(c.path, ":") {
		return nil // the latter is a UBI volume by its name
	}
	file, err := os.OpenFile(c.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	off, size := c.off, c.size
	if off < 0 {
		off, size = 0, 0 // all of it
	}
	if err := unix.Fadvise(int(file.Fd()), off, size, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("environment %s: drop cache: %w", c.path, err)
	}
	return nil
}
