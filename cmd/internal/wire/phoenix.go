package wire

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"holdfast/cmd/internal/config"
)

// A Phoenix begins the process anew: the agent, where no systemd does that, and the machine that a process with the model
// of a bootloader stands for.
type Phoenix struct {
	stop context.CancelFunc
	done atomic.Bool
}

// Rebirth returns a phoenix that ends ctx.
func Rebirth(ctx context.Context) (context.Context, *Phoenix) {
	p := &Phoenix{}
	ctx, p.stop = context.WithCancel(ctx)
	return ctx, p
}

// Reboot implements board.Power.
func (p *Phoenix) Reboot(context.Context) error {
	p.done.Store(true)
	p.stop()
	return nil
}

// Reborn reports whether that is why ctx has ended.
func (p *Phoenix) Reborn() bool { return p.done.Load() }

// Variables by which a program that took another's place knows of it.
const (
	slotEnv    = "HOLDFAST_PROGRAM_SLOT"
	packageEnv = "HOLDFAST_PROGRAM"
)

// Again begins the program that was started first anew, in the place of this one and with the same arguments. It returns
// when that cannot be.
func Again() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if first := os.Getenv(packageEnv); first != "" {
		self = first
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, slotEnv+"=") || strings.HasPrefix(s, packageEnv+"=")
	})
	return fmt.Errorf("begin anew: %w", unix.Exec(self, os.Args, env))
}

// HoldProgram has everybody see that this program runs, where an update brought it; see linux.Links. It is held until
// closed, and where there is nothing to hold it is nil.
func HoldProgram() (io.Closer, error) {
	if os.Getenv(slotEnv) == "" {
		return nil, nil
	}
	f, err := os.Open("/proc/self/exe")
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	}
	if err != nil {
		return nil, fmt.Errorf("hold the program: %w", err)
	}
	return f, nil
}

// Become runs the program that an update brought in the place of this one, where there is one; see Program. launch says
// that this is the start of the agent, which nobody else has prepared. It returns where this program is to go on.
func Become(c config.Config, version string, trial, launch bool, log *slog.Logger) error {
	if os.Getenv(slotEnv) != "" {
		return nil
	}
	if launch {
		if err := Launch(c, version, log); err != nil {
			return err
		}
	}
	path, slot, err := Program(c, trial, log)
	if err != nil || path == "" {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return unix.Exec(path, append([]string{path}, os.Args[1:]...), append(os.Environ(), slotEnv+"="+slot, packageEnv+"="+self))
}
