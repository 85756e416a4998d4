package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"

	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/cmd/internal/wire"
)

const linesService = "holdfast-lines.service"

// lines asks the process that owns the lines, where there are lines.
func (x *examination) lines(ctx context.Context) {
	if len(x.o.Config.Lines) == 0 {
		return
	}
	c := Check{Name: "lines", Outcome: OK}
	defer func() { x.add(c) }()
	path := wire.LinesSocket(x.o.Config)
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	s, err := x.o.Levels(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, warden.ErrStranger):
		c.Outcome, c.Seen = Skipped, "needs root: only the agent and root may ask for the lines"
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) && !x.underSystemd():
		c.Outcome, c.Seen = Skipped, "nothing listens at "+path+", which is as it should be for holdfast run --single"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		c.Outcome, c.Seen, c.Hint = Fail, "nothing listens at "+path, "systemctl enable --now holdfast-lines.socket "+linesService
	case err != nil:
		c.Outcome, c.Seen, c.Hint = Fail, "it does not answer: "+err.Error(), "journalctl -u holdfast-lines -n 50"
	default:
		x.levels(&c, s)
	}
}

// levels judges how the lines stand.
func (x *examination) levels(c *Check, s lines.Standing) {
	outputs, strangers := 0, 0
	for _, name := range slices.Sorted(maps.Keys(x.o.Config.Lines)) {
		l, ok := s.Lines[name]
		switch {
		case !ok || l.Output != x.o.Config.Lines[name].Output:
			strangers++
			c.Detail = append(c.Detail, name+": not as it is configured")
		case l.Error != "":
			c.Outcome = Fail
			c.Detail = append(c.Detail, name+": "+l.Error)
		case l.Safe:
			c.Detail = append(c.Detail, name+": at its safe level, and not set since")
		}
		if l.Output {
			outputs++
		}
	}
	c.Seen = fmt.Sprintf("answers; %d outputs, %d inputs", outputs, len(s.Lines)-outputs)
	switch {
	case c.Outcome == Fail:
		c.Seen += ", and some cannot be used"
		c.Hint = "holdfast lines --list, as root, shows the names and who holds them; the user holdfast-lines must be able to open /dev/gpiochip*"
	case strangers > 0:
		c.Outcome, c.Hint = Warn, "the configuration was changed since they were taken: systemctl restart "+linesService+" "+service
	case s.Silent && outputs > 0: // for inputs alone the agent gives no beat
		c.Outcome = Warn
		c.Seen += fmt.Sprintf("; the outputs are safe, without a sign of life from the agent for %v", time.Duration(s.Seconds)*time.Second)
		c.Hint = "systemctl status holdfast"
	}
}
