//go:build linux

// Command field tries updates as they are in the field: the agent and the warden in two processes, slots on loop devices,
// U-Boot's environment in a file with two copies and fw_setenv on it. Beside them it plays the bootloader, as RAUC's
// script has it, and the supply.
//
//	field kills [-n 200] [-seed s]    kill both processes at random moments of updates
//	field program                     update the agent's own program, and content
//	field measure [-mb 200]           memory and time of one update, and what a cut costs
//
// It wants root, losetup and fw_setenv, and the programs in bin. The last line is for machines; exit code 1 when
// something is not as promised.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "field:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("kills, program or measure")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	bin := f.String("bin", "bin", "directory of holdfast and holdfastctl")
	keep := f.Bool("keep", false, "leave the logs")
	n := f.Int("n", 200, "runs")
	seed := f.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments")
	mb := f.Int64("mb", 200, "size of the image in MB")
	if err := f.Parse(args[1:]); err != nil {
		return flag.ErrHelp
	}
	if os.Geteuid() != 0 {
		return errors.New("loop devices want root")
	}
	r, err := newRig(ctx, *bin, *keep)
	if err != nil {
		return err
	}
	defer r.close()
	switch args[0] {
	case "kills":
		return r.kills(*n, *seed)
	case "program":
		return r.program()
	case "measure":
		return r.measure(*mb * 1e6)
	}
	return fmt.Errorf("no %s: kills, program or measure", args[0])
}
