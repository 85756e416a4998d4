//go:build linux

// Command story tells what happens to a board in the field on one in QEMU: arm64, with Debian's U-Boot, kernel and systemd,
// the package as it is shipped, two slots, an environment in two copies and a hardware watchdog. Around it stand a broker, a
// repository of updates, a server of time and an operator. What it checks it sees on the broker or in the guest.
//
//	story [-only 1,2] [-keep]    the steps, each with what was checked
//	story -try                   the board, and a shell beside it
//
// It wants root on Debian. Exit codes: 0 passed, 1 failed, 77 could not run here. The last line is for machines.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"holdfast/cmd/internal/lab"
)

type options struct {
	cache, bin, deb string
	only            []string
	keep, try       bool
	dir             string // set in the process that tells the story
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) == 3 && args[0] == "board" {
		return board(ctx, args[1], args[2])
	}
	var o options
	f := flag.NewFlagSet("story", flag.ContinueOnError)
	f.StringVar(&o.cache, "cache", cmp.Or(os.Getenv("HOLDFAST_LAB"), "/var/cache/holdfast-lab"), "directory for what takes minutes to make")
	f.StringVar(&o.bin, "bin", "bin", "directory of holdfastctl")
	f.StringVar(&o.deb, "deb", "", "the package for arm64")
	only := f.String("only", "", "comma-separated numbers of steps; 1 is always among them, and with 3 also 2")
	f.BoolVar(&o.keep, "keep", false, "leave the disk, the logs and the keys")
	f.BoolVar(&o.try, "try", false, "boot the board and open a shell beside it")
	f.StringVar(&o.dir, "in", "", "used by the program itself")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
		if slices.Contains(o.only, "3") {
			o.only = append(o.only, "2") // it begins where that ends
		}
	}
	err := tell(ctx, o)
	switch {
	case errors.Is(err, lab.ErrNotHere):
		fmt.Println("story:", err)
		return lab.NotHere
	case errors.Is(err, errFailed):
		return 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "story:", err)
		return 1
	}
	return 0
}

// tell prepares what needs the network of this machine, and then goes on as a process with a network of its own: the
// broker, the board and all between them are in it, and it ends with them.
func tell(ctx context.Context, o options) error {
	if o.dir != "" {
		return inside(ctx, o)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it wants root", lab.ErrNotHere)
	}
	if err := lab.Need(tools); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lab-") // short: sockets lie in it
	if err != nil {
		return err
	}
	if o.keep {
		defer fmt.Println("kept", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := prepare(ctx, o, dir); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, slices.Concat([]string{"-in", dir}, os.Args[1:])...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return errFailed // it has said why
	}
	return err
}

// errFailed is what was told already.
var errFailed = errors.New("failed")
