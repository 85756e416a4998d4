package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A workshop is a directory and what was started in it. All of it goes when it is closed.
type workshop struct {
	ctx  context.Context
	dir  string
	keep bool
	undo []func()
}

func newWorkshop(ctx context.Context, keep bool) (*workshop, error) {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	return &workshop{ctx: ctx, dir: dir, keep: keep}, nil
}

func (w *workshop) later(f func()) { w.undo = append(w.undo, f) }

func (w *workshop) close() {
	for i := len(w.undo) - 1; i >= 0; i-- {
		w.undo[i]()
	}
	if w.keep {
		fmt.Println("kept", w.dir)
		return
	}
	os.RemoveAll(w.dir)
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name) }

func (w *workshop) write(name, text string) (string, error) {
	path := w.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// sleep waits, or returns why not.
func (w *workshop) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// until tries f every 20 ms.
func (w *workshop) until(what string, limit time.Duration, f func() bool) error {
	for end := time.Now().Add(limit); !f(); {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %s", what, limit)
		}
		if err := w.sleep(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// do runs a command to its end.
func do(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// A process runs until it is stopped or the workshop closes.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// start runs a command; what it says goes to a file of that name.
func (w *workshop) start(log string, cmd *exec.Cmd) (*process, error) {
	f, err := os.OpenFile(w.path(log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	w.later(p.kill)
	return p, nil
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill is SIGKILL.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// stop asks, and then does not.
func (p *process) stop() error {
	_ = p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(10 * time.Second):
		p.kill()
		return errors.New("did not stop within 10 s")
	}
}

// words returns the end of what a process has said.
func (w *workshop) words(log string) string {
	b, _ := os.ReadFile(w.path(log + ".log"))
	return string(b[max(0, len(b)-2000):])
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// reachable reports whether something accepts connections.
func reachable(port string) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// disk mounts a new ext4 file system of its own and returns its device and where it is.
func (w *workshop) disk(name string) (device, dir string, err error) {
	image, dir := w.path(name+".img"), w.path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return "", "", err
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		return "", "", err
	}
	// Nothing is left for the kernel to initialise later: that would count as written.
	if _, err := do("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return "", "", err
	}
	if device, err = do("losetup", "--find", "--show", image); err != nil {
		return "", "", err
	}
	w.later(func() { _, _ = do("losetup", "-d", device) })
	if _, err := do("mount", "-t", "ext4", device, dir); err != nil {
		return "", "", err
	}
	w.later(func() { _, _ = do("umount", dir) })
	return device, dir, nil
}
