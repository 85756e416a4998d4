package wire

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"holdfast/board"
)

// A phoenix restarts the machine that this process stands for.
type phoenix struct {
	stop context.CancelFunc
	done atomic.Bool
}

// Reboot implements board.Power.
func (p *phoenix) Reboot(context.Context) error {
	p.done.Store(true)
	p.stop()
	return nil
}

// Rebirth makes the process the machine, where it stands for one: a restart ends ctx, and reborn says that it was one.
// power is nil where the process is not the machine.
func Rebirth(ctx context.Context, model bool) (_ context.Context, reborn func() bool, power board.Power) {
	if !model {
		return ctx, func() bool { return false }, nil
	}
	p := &phoenix{}
	ctx, p.stop = context.WithCancel(ctx)
	return ctx, p.done.Load, p
}

// Again begins this program anew, in its own place and with the same arguments. It returns when that cannot be.
func Again() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("begin anew: %w", unix.Exec(self, os.Args, os.Environ()))
}
