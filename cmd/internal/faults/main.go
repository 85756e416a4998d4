//go:build linux

// Command faults injects real faults into a device with the agent on it, and sees what it makes of them. The device is a Debian
// with a systemd of its own in namespaces and control groups, with the package as it is shipped, an application and a wire to a
// cloud. What it measures with each fault can be recorded with labels, to train a model on.
//
// It wants root on Debian. Exit codes: 0 passed, 1 failed, 77 could not run here. The last line is for machines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/cmd/internal/lab"
)

type options struct {
	bin, deb, base string
	only           []string
	repetitions    int
	seed           uint64
	record, model  string
	short, keep    bool
	control        float64       // length of the control, in that of the faults
	rest           time.Duration // its least
	parallel       bool
	dir, device    string // set in the process that does it
}

var tools = []lab.Tool{{File: "mosquitto", Package: "mosquitto"}, {File: "mosquitto_sub", Package: "mosquitto-clients"}, {File: "mkfs.ext4", Package: "e2fsprogs"}, {File: "losetup", Package: "mount"},
	{File: "ip", Package: "iproute2"}, {File: "mmdebstrap", Package: "mmdebstrap"}}

func main() {
	runtime.LockOSThread() // the process that does it ends with this thread
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) == 2 && args[0] == "app" {
		if err := app(ctx, args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "sensor-app:", err)
			return 1
		}
		return 0
	}
	var o options
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of holdfastctl")
	f.StringVar(&o.deb, "deb", "", "the package for this machine")
	f.StringVar(&o.base, "base", "/var/tmp/holdfast-debian-root.tar", "a minimal Debian, which is made where it is missing")
	only := f.String("only", "", "comma-separated faults")
	f.IntVar(&o.repetitions, "n", 2, "repetitions of each fault on each device")
	f.Uint64Var(&o.seed, "seed", 2, "where chance begins; recordings for the model have 1")
	f.StringVar(&o.record, "record", "", "record to files in this `DIR`, with labels, and repair nothing")
	f.Float64Var(&o.control, "control", 1, "how long the control run is, in the length of the one with faults")
	f.StringVar(&o.model, "model", "", "`FILE` of a model in place of the package's")
	f.DurationVar(&o.rest, "rest", 0, "how long the control run is at least; with -n 0 there is nothing else")
	f.BoolVar(&o.short, "short", false, "one device, each fault once, in some three minutes")
	f.BoolVar(&o.keep, "keep", false, "leave logs and recordings")
	f.BoolVar(&o.parallel, "parallel", false, "both devices at a time, where there are cores for them")
	f.StringVar(&o.dir, "in", "", "used by the program itself")
	f.StringVar(&o.device, "device", "", "only this device: bench-a or bench-b")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if o.short {
		o.repetitions, o.control = 1, min(o.control, 0.2)
	}
	err := try(ctx, o)
	switch {
	case errors.Is(err, lab.ErrNotHere):
		fmt.Println("faults:", err)
		return lab.NotHere
	case errors.Is(err, errFailed):
		return 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	return 0
}

// errFailed is what was told already.
var errFailed = errors.New("failed")

// try prepares, and goes on as a process with mounts, a network and process numbers of its own: everything that it makes ends
// with it, also when it is killed, but for control groups, which the next start removes.
func try(ctx context.Context, o options) error {
	if o.dir != "" {
		return inside(ctx, o)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it wants root", lab.ErrNotHere)
	}
	if err := lab.Need(tools); err != nil {
		return err
	}
	free, err := claim(ctx)
	if err != nil {
		return err
	}
	defer free()
	if err := base(ctx, o.base); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "holdfast-faults-")
	if err != nil {
		return err
	}
	if o.keep {
		defer fmt.Println("kept", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if o.record != "" {
		if err := os.MkdirAll(o.record, 0o755); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	var chosen []string
	errs := make([]error, len(designs))
	for i, m := range designs {
		if o.device != "" && o.device != m.id || o.device == "" && (o.short && i > 0 || o.record == "" && m.id == "bench-c") {
			continue
		}
		chosen = append(chosen, m.id)
		all.Go(func() { errs[i] = apart(ctx, dir, m.id) })
		if !o.parallel {
			all.Wait()
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return judge(o, dir, chosen)
}

// apart has one device tried by a process of its own.
func apart(ctx context.Context, dir, id string) error {
	runtime.LockOSThread() // the process ends with this thread
	defer runtime.UnlockOSThread()
	g, err := newGroup(id)
	if err != nil {
		return fmt.Errorf("%w: %w", lab.ErrNotHere, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, slices.Concat(os.Args[1:], []string{"-in", dir, "-device", id})...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	// What a terminal sends comes to both; what is sent to this process alone is handed on.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	err = cmd.Wait()
	stop()
	if left := g.remove(); left != nil {
		fmt.Fprintln(os.Stderr, "faults:", left)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return errFailed // it has said why
	}
	return err
}

// claim waits for another run on this machine, and removes what one that was killed has left.
func claim(ctx context.Context) (free func(), err error) {
	f, err := os.OpenFile("/var/tmp/holdfast-faults.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			break
		}
		if first {
			fmt.Fprintln(os.Stderr, "faults: another run is under way; waiting for it")
		}
		if !wait(ctx, 1e9) {
			return nil, context.Cause(ctx)
		}
	}
	left, _ := os.ReadDir("/var/tmp")
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "holdfast-faults-") && e.IsDir() {
			os.RemoveAll("/var/tmp/" + e.Name())
		}
	}
	return func() { f.Close() }, nil
}

// base makes the Debian that every device begins as.
func base(ctx context.Context, tar string) error {
	if st, err := os.Stat(tar); err == nil && st.Size() > 0 {
		return nil
	}
	fmt.Fprintln(os.Stderr, "faults: making", tar, "which takes minutes")
	out, err := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--format=tar", "--variant=minbase",
		"--include=systemd,systemd-sysv,dbus,ca-certificates", "bookworm", tar+".new").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, out)
	}
	return os.Rename(tar+".new", tar)
}
