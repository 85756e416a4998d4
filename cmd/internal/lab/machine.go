//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Machine is one in QEMU: off at first, on after Start, off again after Cut or when the guest powers down. The exported
// fields are set before the first Start. One goroutine uses it.
type Machine struct {
	Dir     string   // where the sockets and console.log lie; the path may have some 80 bytes, for the sockets' sake
	Program string   // qemu-system-aarch64, or another
	Args    []string // all but the console, the shell and QMP, which Start adds
	Console *Console // made by the first Start

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone and its console was read to the end
	log   *os.File
}

// Start turns the machine on, and returns when its process runs.
func (m *Machine) Start() error {
	if m.On() {
		return errors.New("machine: start: it is on")
	}
	if m.log == nil {
		var err error
		if m.log, err = os.OpenFile(m.path("console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return fmt.Errorf("machine: %w", err)
		}
		m.Console = NewConsole(m.log)
	}
	for _, socket := range []string{"shell", "qmp"} { // a process that was killed leaves them
		if err := os.Remove(m.path(socket)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("machine: %w", err)
		}
	}
	args := append([]string{"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=shell,server=on,wait=off,path=" + m.path("shell"),
		"-device", "virtconsole,chardev=shell",
		"-qmp", "unix:" + m.path("qmp") + ",server=on,wait=off"}, m.Args...)
	cmd := exec.Command(m.Program, args...)
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	defer in.Close()
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		out.Close()
		return fmt.Errorf("machine: %w", err)
	}
	m.cmd, m.ended = cmd, make(chan struct{})
	m.Console.turn(true) // before anybody waits
	go func(ended chan struct{}) {
		defer close(ended)
		_ = m.Console.Follow(out)
		out.Close()
		_ = cmd.Wait()
	}(m.ended)
	return nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.Dir, name) }

// On reports whether the machine runs.
func (m *Machine) On() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// Cut takes the supply away: SIGKILL. What the guest wrote to a plain file is in the page cache of this machine and stays,
// flushed or not; a disk behind an NBD server can lose it.
func (m *Machine) Cut() error {
	if m.cmd == nil {
		return nil
	}
	err := m.cmd.Process.Kill()
	<-m.ended
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("machine: cut: %w", err)
	}
	return nil
}

// Close cuts the machine off for good.
func (m *Machine) Close() error {
	err := m.Cut()
	if m.log != nil {
		err = errors.Join(err, m.log.Close())
		m.log = nil
	}
	return err
}

// Off waits until the machine is off by itself.
func (m *Machine) Off(ctx context.Context) error {
	if m.cmd == nil {
		return nil
	}
	select {
	case <-m.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine: wait until it is off: %w", context.Cause(ctx))
	}
}

// CPU returns the processor time that QEMU took since the last Start, in steps of 10 ms: what tells a busy machine from a
// busy host.
func (m *Machine) CPU() (time.Duration, error) {
	raw, err := m.proc("stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(raw[strings.LastIndexByte(raw, ')')+1:]) // from field 3 on; utime and stime are 14 and 15
	if len(f) < 13 {
		return 0, fmt.Errorf("machine: stat has %d fields", len(f))
	}
	var sum time.Duration
	for _, s := range f[11:13] {
		ticks, err := strconv.ParseInt(s, 10, 64) // of USER_HZ, 100 on every Linux that runs QEMU
		if err != nil {
			return 0, fmt.Errorf("machine: stat: %w", err)
		}
		sum += time.Duration(ticks) * 10 * time.Millisecond
	}
	return sum, nil
}

func (m *Machine) proc(name string) (string, error) {
	if !m.On() {
		return "", fmt.Errorf("machine: %s: %w", name, ErrOff)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", m.cmd.Process.Pid, name))
	if err != nil {
		return "", fmt.Errorf("machine: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(raw), err
}

// Shell opens the root shell that the guest runs on its virtio console, /dev/hvc0, and waits until it answers. There is
// one at a time: close the one before, also when the guest has started again.
func (m *Machine) Shell(ctx context.Context) (*Shell, error) { return DialShell(ctx, m.path("shell")) }

// QMP gives QEMU one command of its machine protocol, and returns what it answers.
func (m *Machine) QMP(ctx context.Context, command string, args any) ([]byte, error) {
	return AskQMP(ctx, m.path("qmp"), command, args)
}
