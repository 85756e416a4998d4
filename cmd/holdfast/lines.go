package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

const linesLimit = 8 << 20 // a soft limit; with less the collector never rests, since what Go itself holds counts

func linesCommand(ctx context.Context, args []string, std streams) error {
	f := flags("lines", "own the GPIO lines: outputs within their interlocks, safe without the agent; inputs", "holdfast lines --list", std)
	var o overrides
	o.flags(f)
	list := f.Bool("list", false, "show the chips and lines of this machine, and end")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	if *list {
		return listLines(c, std.out)
	}
	level := new(slog.LevelVar)
	log := logger(std.err, level)
	if len(c.Lines) == 0 {
		notify(log, daemon.SdNotifyReady+"\nSTATUS=no lines are configured") // systemd takes an end before that for a failure
		return hinted{errors.New("no lines are configured"), "holdfast lines --list shows what there is; name them as in [lines.pump] line = \"GPIO17\"", exitNothing}
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(linesLimit)
	runtime.GOMAXPROCS(1)
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return err
	}
	if err := wire.Become(c, version, false, false, log); err != nil {
		log.Error("the program that was brought by an update is not run", "err", err)
	}
	l, err := wire.NewLines(wire.LinesOptions{Config: c, Log: log, Progress: watchdog(log)})
	if err != nil {
		return err
	}
	go slim(ctx, log, settled)
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		for board.Wait(ctx, &linux.Clock{}, time.Minute) {
			if l.Outdated(c) {
				log.Info("an update brought another program; this one ends, so that the other is started")
				end()
			}
		}
	}()
	err = l.Run(ctx, func() { notify(log, daemon.SdNotifyReady) })
	notify(log, daemon.SdNotifyStopping)
	return err
}

// listLines shows the chips of this machine.
func listLines(c config.Config, w io.Writer) error {
	chips, err := wire.Chips(c)
	var b strings.Builder
	for _, chip := range chips {
		fmt.Fprintf(&b, "%s  %s, %d lines\n", chip.Name, chip.Label, len(chip.Lines))
		for _, l := range chip.Lines {
			use := "free"
			if l.Used {
				use = "used by " + l.Consumer
			}
			direction := "input"
			if l.Output {
				direction = "output"
			}
			if l.ActiveLow {
				direction += ", active low"
			}
			fmt.Fprintf(&b, "  %3d  %-24s %s, %s\n", l.Offset, l.Name, direction, use)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	switch {
	case err != nil:
		return hinted{err, "root, and members of the group that owns /dev/gpiochip*, may look", exitFailed}
	case len(chips) == 0:
		return hinted{errors.New("this machine has no GPIO chips"), "the kernel wants CONFIG_GPIO_CDEV and a driver of the chip", exitFailed}
	}
	return nil
}
