package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/actuators/clean"
	"holdfast/actuators/iface"
	"holdfast/board/linux"
	"holdfast/board/strict"
	"holdfast/cmd/internal/wire"
)

// errands are what the warden starts this program for, each with power of its own. They print one JSON object, and are no
// commands for people.
func errands() []command {
	return []command{
		{wire.CleanErrand, "delete the files of an entry", cleanErrand},
		{wire.CycleErrand, "take an interface down and up", cycleErrand},
		{wire.RaiseErrand, "take an interface up", raiseErrand},
	}
}

func cleanErrand(_ context.Context, args []string, std streams) error {
	f := flag.NewFlagSet(wire.CleanErrand, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	dry := f.Bool("dry", false, "")
	if err := f.Parse(args); err != nil {
		return hinted{err, "the warden runs this", exitUsage}
	}
	var e clean.Entry
	if err := strict.Unmarshal([]byte(f.Arg(0)), &e, strict.Limits{Bytes: 64 << 10, Depth: 3, Members: 64}); err != nil {
		return hinted{err, "the warden runs this", exitUsage}
	}
	r, err := clean.Sweep(e, time.Now(), *dry)
	if err != nil {
		return err
	}
	return json.NewEncoder(std.out).Encode(r)
}

func cycleErrand(ctx context.Context, args []string, std streams) error {
	if len(args) != 2 {
		return hinted{errors.New("wants an interface and a file"), "the warden runs this", exitUsage}
	}
	if err := os.MkdirAll(filepath.Dir(args[1]), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	r, err := iface.Cycle(ctx, &linux.Clock{}, args[0], args[1])
	if err != nil {
		return err
	}
	return json.NewEncoder(std.out).Encode(r)
}

func raiseErrand(_ context.Context, args []string, std streams) error {
	if len(args) != 2 {
		return hinted{errors.New("wants an interface and a file"), "the warden runs this", exitUsage}
	}
	if _, err := iface.Raise(args[0], args[1]); err != nil {
		return err
	}
	if err := os.Remove(args[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
