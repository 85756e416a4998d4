package power

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"holdfast/board"
)

var _ board.Power = Command{}

// A Command restarts a machine without systemd: a program and its arguments.
type Command []string

// Reboot implements board.Power. It returns when the program has ended, which it does within a minute, or ctx.
func (c Command) Reboot(ctx context.Context) error {
	if len(c) == 0 {
		return errors.New("no program to restart with")
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", c[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
