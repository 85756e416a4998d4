package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"holdfast/agent/warden"
	"holdfast/cmd/internal/wire"
)

func wardenCommand(ctx context.Context, args []string, std streams) (err error) {
	defer func() {
		if err != nil { // a second is slow enough for a log, and fast enough for whoever corrects the file and asks again
			warden.TurnAway(time.Second)
		}
	}()
	f := flags("warden", "do what needs power, on behalf of run", "holdfast warden --config /etc/holdfast/holdfast.toml", std)
	var o overrides
	o.flags(f)
	stay := f.Bool("stay", false, "keep running without work; the default where systemd does not hold the socket")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(wardenLimit)
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return err
	}
	// Only systemd starts it again when it is asked.
	idle := !*stay && os.Getenv("LISTEN_FDS") != ""
	log := logger(std.err, level)
	if err := wire.Become(c, version, false, false, log); err != nil {
		log.Error("the program that was brought by an update is not run", "err", err)
	}
	w, err := wire.NewWarden(wire.WardenOptions{Config: c, Version: version, Built: built(), Log: log, Idle: idle})
	if err != nil {
		return err
	}
	go slim(ctx, log, 0)
	return w.Run(ctx)
}
