package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An ending is how a run came to its end.
type ending struct {
	code   int    // exit status, -1 after a signal
	status string // in the system's words: "exit status 3", "signal: killed"
	output []byte
	cut    bool  // output is only the tail
	why    error // why it was stopped; nil when it ended by itself
}

// execute runs the script to its end, or to the limit's, and returns when nothing that descends from it is left.
func (o Options) execute(ctx context.Context, path string, args []string) (ending, error) {
	release, err := adopt()
	if err != nil {
		return ending{}, err
	}
	defer release()
	read, write, err := os.Pipe()
	if err != nil {
		return ending{}, err
	}
	defer read.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}, o.Env...)
	cmd.Stdout, cmd.Stderr = write, write // files, so that Wait waits for the script alone
	// A session of its own: no terminal, one group to signal, and a mark that its descendants cannot shake off.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return ending{}, err
	}
	var kept tail
	drained := make(chan struct{})
	go func() { kept.drain(read); close(drained) }()
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }() // its error is in cmd.ProcessState
	why := o.supervise(ctx, cmd.Process.Pid, gone)
	<-gone
	swept := o.sweep()
	if swept != nil {
		read.Close() // somebody holds the other end
	}
	<-drained
	if why == nil {
		why = swept
	}
	end := ending{code: cmd.ProcessState.ExitCode(), status: cmd.ProcessState.String(), why: why}
	end.output, end.cut = kept.bytes()
	return end, nil
}

// supervise waits until the script is gone, and sees to it that it goes: TERM at the limit or when ctx ends, KILL after
// the grace. It returns why it had to.
func (o Options) supervise(ctx context.Context, pid int, gone <-chan struct{}) error {
	late, stop := o.Clock.Timer(o.Limit)
	defer stop()
	var why error
	select {
	case <-gone:
		return nil
	case <-late:
		why = fmt.Errorf("%w of %v", errLate, o.Limit)
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM) // it may just have gone
	grace, stopGrace := o.Clock.Timer(o.Grace)
	defer stopGrace()
	select {
	case <-gone:
	case <-grace:
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	return why
}

// adopt makes this process the parent of every orphan below it, and returns what undoes that.
func adopt() (undo func(), err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become subreaper: %w", err)
	}
	return func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }, nil
}

// sweep kills and reaps what the script left behind. Orphans come to us as their parents die, so it looks again until
// nothing is left; a script that forks faster than that for a thousand rounds is reported. A grandchild could in theory
// have gone since it was listed and its number be taken by a stranger; numbers go round too slowly for that here.
func (o Options) sweep() error {
	for round := range 1000 {
		left, err := orphans()
		if err != nil {
			return fmt.Errorf("look for what is left: %w", err)
		}
		if len(left) == 0 {
			return nil
		}
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		for _, p := range left {
			if p.ours { // children of other parts are waited for by those
				_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil) // a next round finds it if it is still there
			}
		}
		if round > 0 { // the kernel needs a moment to let them go
			pause, stop := o.Clock.Timer(time.Millisecond)
			<-pause
			stop()
		}
	}
	return errors.New("something of it is left, and cannot be killed")
}
