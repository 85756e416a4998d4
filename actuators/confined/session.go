package confined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// session runs the program below this process.
func (r Runner) session(ctx context.Context, p Program) (end Ending, err error) {
	release, err := adopt()
	if err != nil {
		return Ending{}, err
	}
	defer release()
	if len(p.After) > 0 {
		defer func() { // what ends the run does not end this
			last := Program{Name: p.Name, Argv: p.After, Powers: Powers{Network: true}, Limits: Limits{Time: p.Limits.Grace, Grace: time.Second, Output: 1 << 10}}
			_, e := r.session(context.WithoutCancel(ctx), last)
			err = errors.Join(err, e)
		}()
	}
	read, write, err := os.Pipe()
	if err != nil {
		return Ending{}, err
	}
	defer read.Close()
	cage, loose := newGroups(p.Limits)
	defer cage.remove(r.pause)
	cmd, err := r.start(p, cage, write, &loose)
	write.Close()
	if err != nil {
		return Ending{}, err
	}
	kept := tail{most: p.Limits.Output}
	drained := make(chan struct{})
	go func() { kept.drain(read, r.pause); close(drained) }()
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }() // its error is in cmd.ProcessState
	why := r.supervise(ctx, p.Limits, cmd.Process.Pid, gone)
	<-gone
	swept := r.sweep()
	if swept != nil {
		read.Close() // somebody holds the other end
	}
	<-drained
	if why == nil {
		why = swept
	}
	end = Ending{Code: cmd.ProcessState.ExitCode(), Status: cmd.ProcessState.String(), Why: why, Loose: loose}
	end.Output, end.Cut = kept.bytes()
	return end, nil
}

func (r Runner) pause(d time.Duration) {
	fired, stop := r.Clock.Timer(d)
	<-fired
	stop()
}

// start starts the program in a session of its own: no terminal, one group to signal, and a mark that its descendants
// cannot shake off. What cannot be kept from it is added to loose.
func (r Runner) start(p Program, cage groups, out *os.File, loose *[]string) (*exec.Cmd, error) {
	attr := syscall.SysProcAttr{Setsid: true}
	if p.User != "" {
		who, err := user.Lookup(p.User)
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(who.Uid) // both are numbers on Linux (getpwnam(3))
		gid, _ := strconv.Atoi(who.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	try := func(flags uintptr, traced bool) (*exec.Cmd, error) {
		cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
		cmd.Dir, cmd.Env = "/", p.environment()
		cmd.Stdout, cmd.Stderr = out, out // files, so that Wait waits for the program alone
		with := attr
		with.Cloneflags, with.Ptrace = flags, traced
		cmd.SysProcAttr = &with
		return cmd, begin(cmd, func(pid int) { cage.enter(pid); p.Limits.impose(pid) })
	}
	var flags uintptr
	if !p.Powers.Network {
		flags = unix.CLONE_NEWNET // wants CAP_SYS_ADMIN
	}
	cmd, err := try(flags, true)
	if errors.Is(err, unix.EPERM) && flags != 0 {
		*loose = append(*loose, "network")
		cmd, err = try(0, true)
	}
	if errors.Is(err, unix.EPERM) { // a process that may not be traced has a moment without limits
		cmd, err = try(0, false)
	}
	return cmd, err
}

// begin starts the command and has limit see its process before the first instruction of the program: a traced process
// stops in execve(2).
func begin(cmd *exec.Cmd, limit func(pid int)) error {
	runtime.LockOSThread() // whose thread started it alone may let it go (ptrace(2))
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	if !cmd.SysProcAttr.Ptrace {
		limit(pid)
		return nil
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			_ = cmd.Process.Kill()
			return fmt.Errorf("wait for its start: %w", err)
		}
	}
	if !status.Stopped() {
		return fmt.Errorf("it ended before its start: %v", status)
	}
	limit(pid)
	if err := syscall.PtraceDetach(pid); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("let it go: %w", err)
	}
	return nil
}

// nice is how far a program with a share of the processor stands back for others (nice(7)).
const nice = 5

// impose sets what the kernel bounds of a single process and hands down to its children (getrlimit(2)). What it refuses to
// lower was lower.
func (l Limits) impose(pid int) {
	set := func(what int, most int64) {
		if most > 0 {
			_ = unix.Prlimit(pid, what, &unix.Rlimit{Cur: uint64(most), Max: uint64(most)}, nil)
		}
	}
	set(unix.RLIMIT_DATA, l.Memory) // private memory; address space alone costs nothing
	set(unix.RLIMIT_FSIZE, l.File)
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	if l.CPU > 0 {
		set(unix.RLIMIT_CPU, int64(l.Time.Seconds()*float64(l.CPU)/100)+1)
		_ = unix.Setpriority(unix.PRIO_PROCESS, pid, nice)
	}
}

// supervise waits until the program is gone, and sees to it that it goes: TERM at the limit or when ctx ends, KILL after
// the grace. It returns why it had to.
func (r Runner) supervise(ctx context.Context, l Limits, pid int, gone <-chan struct{}) error {
	fired, stop := r.Clock.Timer(l.Time)
	defer stop()
	var why error
	select {
	case <-gone:
		return nil
	case <-fired:
		why = late(l.Time)
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM) // it may just have gone
	grace, stopGrace := r.Clock.Timer(l.Grace)
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

// sweep kills and reaps what the program left behind. Orphans come to us as their parents die, so it looks again until
// nothing is left; a program that forks faster than that for a thousand rounds is reported. A grandchild could in theory
// have gone since it was listed and its number be taken by a stranger; numbers go round too slowly for that here.
func (r Runner) sweep() error {
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
			r.pause(time.Millisecond)
		}
	}
	return errors.New("something of it is left, and cannot be killed")
}
