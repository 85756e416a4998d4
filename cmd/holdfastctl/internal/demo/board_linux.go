package demo

import (
	"context"
	"io"
	"log/slog"
	"os/exec"
	"syscall"
	"time"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// Board is the board of the chapters about updates, in a process of its own: what `holdfast run --single` does with the
// configuration at path. A restart of the machine begins the program anew, in its own place. It returns when ctx ends.
func Board(ctx context.Context, path, version string, log io.Writer) error {
	started := time.Now()
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	ctx, phoenix := wire.Rebirth(ctx)
	r, err := wire.Run(wire.Options{Config: c, Version: version, Level: level, Single: true, Started: started, Power: phoenix, Again: phoenix.Reboot,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level})).With("machine", c.ID)})
	if err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil || !phoenix.Reborn() {
		return err
	}
	return wire.Again()
}

// dependent makes a process end with this one, and lets only this one hear Ctrl-C.
func dependent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
