package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/agent/warden"
	"holdfast/cmd/internal/wire"
)

const (
	service = "holdfast.service"
	socket  = "holdfast-warden.socket"
)

// underSystemd reports whether systemd runs this machine (sd_booted(3)).
func (x *examination) underSystemd() bool {
	info, err := os.Stat(filepath.Join(x.o.Config.Root, "run/systemd/system"))
	return err == nil && info.IsDir()
}

func (x *examination) systemd(ctx context.Context) {
	if !x.underSystemd() {
		x.skip("systemd", "", "systemd does not run this machine")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	var out []byte
	var err error
	bad := func(why string) {
		x.add(Check{Name: "systemd", Outcome: Warn, Seen: "systemctl: " + why, Hint: "systemctl status holdfast, as root"})
	}
	if !within(ctx, localLimit, func() {
		out, err = x.o.Systemctl(ctx, "show", "--property=Id,LoadState,UnitFileState,ActiveState,SubState,Result,NRestarts,WatchdogUSec",
			service, socket)
	}) { // what it may still write is not looked at
		bad("no answer")
		return
	}
	units := ParseShow(out)
	if err == nil && len(units) < 2 {
		err = errors.New("no answer")
	}
	if err != nil {
		bad(err.Error())
		return
	}
	for _, u := range units {
		c := Unit(u)
		c.Name, c.Subject = "systemd", u["Id"]
		x.add(c)
	}
}

// ParseShow reads what systemctl show prints: lines of key=value, an empty line between units. At most 8 units.
func ParseShow(out []byte) []map[string]string {
	var units []map[string]string
	for block := range strings.SplitSeq(string(out[:min(len(out), 64<<10)]), "\n\n") {
		u := map[string]string{}
		for line := range strings.SplitSeq(block, "\n") {
			if key, value, ok := strings.Cut(line, "="); ok && key != "" {
				u[key] = value
			}
		}
		if len(u) > 0 && len(units) < 8 {
			units = append(units, u)
		}
	}
	return units
}

// manyRestarts of a service are more than updates and upgrades explain.
const manyRestarts = 5

// Unit judges the properties of a unit.
func Unit(u map[string]string) Check {
	name := u["Id"]
	restarts, _ := strconv.Atoi(u["NRestarts"]) // absent for a socket
	c := Check{Outcome: OK, Seen: fmt.Sprintf("%s, %s (%s)", u["UnitFileState"], u["ActiveState"], u["SubState"])}
	switch {
	case u["LoadState"] == "not-found":
		c.Outcome, c.Seen, c.Hint = Fail, "not installed", "install the package holdfast"
	case u["LoadState"] == "masked":
		c.Outcome, c.Seen, c.Hint = Fail, "masked: nothing can start it", "systemctl unmask "+name
	case u["LoadState"] != "loaded":
		c.Outcome, c.Seen, c.Hint = Fail, "unit file not loaded: "+u["LoadState"], "systemd-analyze verify "+name
	case u["ActiveState"] == "failed":
		c.Outcome, c.Seen, c.Hint = Fail, "failed: "+u["Result"], "journalctl -u "+name+" -n 50"
	case u["ActiveState"] == "activating" && restarts > 0:
		c.Outcome, c.Seen = Fail, fmt.Sprintf("ends and is started again, %d times so far", restarts)
		c.Hint = "journalctl -u " + name + " -n 50"
	case u["ActiveState"] != "active":
		c.Outcome, c.Hint = Fail, "systemctl enable --now "+name
	case u["UnitFileState"] != "enabled" && u["UnitFileState"] != "enabled-runtime" && u["UnitFileState"] != "static" && u["UnitFileState"] != "generated":
		c.Outcome, c.Hint = Warn, "it will not be there after the next boot: systemctl enable "+name
	case name == service && (u["WatchdogUSec"] == "" || u["WatchdogUSec"] == "0" || u["WatchdogUSec"] == "infinity"):
		c.Outcome, c.Seen = Warn, c.Seen+", no watchdog"
		c.Hint = "a hanging agent would not be restarted: set WatchdogSec=60 in the unit; systemctl cat " + name + " shows what overrides it"
	case restarts >= manyRestarts:
		c.Outcome, c.Seen = Warn, c.Seen+fmt.Sprintf(", restarted %d times", restarts)
		c.Hint = "journalctl -u " + name + " -p warning"
	case name == service:
		c.Seen += ", watchdog " + u["WatchdogUSec"]
	}
	return c
}

func (x *examination) warden(ctx context.Context) {
	c := Check{Name: "warden", Outcome: OK}
	defer func() { x.add(c) }()
	path := wire.Socket(x.o.Config)
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	left, fault, err := x.o.Limits(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, warden.ErrStranger):
		c.Outcome, c.Seen = Skipped, "needs root: only the agent and root may ask the warden"
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) && !x.underSystemd():
		c.Outcome, c.Seen = Skipped, "nothing listens at "+path+", which is as it should be for holdfast run --single"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		c.Outcome, c.Seen, c.Hint = Fail, "nothing listens at "+path, "systemctl enable --now "+socket
	case errors.Is(err, warden.ErrBusy):
		c.Outcome, c.Seen, c.Hint = Warn, "busy with a deed", "look again in a minute; journalctl -u holdfast-warden says with what"
	case err != nil:
		c.Outcome, c.Seen, c.Hint = Fail, err.Error(), "journalctl -u holdfast-warden -n 50"
	case fault != "":
		c.Outcome, c.Seen = Fail, "its record of deeds is damaged, so every limit counts as used up: "+fault
		c.Hint = "look at the disk (checks state and flash); once it is sound, remove the record below " + filepath.Clean(x.o.Config.StateDir) + "-warden"
	default:
		x.left(&c, left)
	}
}

// left says what may still be done.
func (x *examination) left(c *Check, left map[string]warden.Left) {
	words := []string{}
	for _, class := range slices.Sorted(maps.Keys(left)) {
		l := left[class]
		words = append(words, fmt.Sprintf("%d of class %s", l.Deeds, class))
		if l.Deeds == 0 && l.Seconds > 0 {
			c.Outcome = Warn
			c.Hint = "something asks for the same repair over and over: journalctl -u holdfast-warden shows who and why"
			c.Detail = append(c.Detail, fmt.Sprintf("the next of class %s in %s", class, time.Duration(l.Seconds)*time.Second))
		}
	}
	c.Seen = "answers; deeds left now: " + strings.Join(words, ", ")
}

func (x *examination) agent() {
	c := Check{Name: "agent", Outcome: OK}
	defer func() { x.add(c) }()
	s := x.status
	switch err := x.asked; {
	case errors.Is(err, fs.ErrPermission):
		c.Outcome, c.Seen = Skipped, "needs root or the group holdfast: "+err.Error()
		return
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		c.Outcome, c.Seen, c.Hint = Warn, "none runs", "holdfast run --config "+x.o.File
		if x.underSystemd() {
			c.Hint = "systemctl start holdfast, then journalctl -u holdfast -n 50"
		}
		return
	case err != nil:
		c.Outcome, c.Seen, c.Hint = Fail, "it is there and does not answer: "+err.Error(), "systemctl restart holdfast; journalctl -u holdfast says what came before"
		return
	}
	c.Seen = fmt.Sprintf("version %s, up %s", s.Version, (time.Duration(s.Uptime) * time.Second).String())
	for _, part := range slices.Sorted(maps.Keys(s.Problems)) {
		c.Detail = append(c.Detail, part+": "+s.Problems[part])
	}
	switch {
	case s.Board.ID != x.id:
		c.Outcome, c.Seen, c.Hint = Warn, c.Seen+", and calls itself "+s.Board.ID, "the configuration was changed since it started: systemctl restart holdfast"
	case len(s.Problems) > 0:
		c.Outcome, c.Seen = Warn, c.Seen+fmt.Sprintf(", %d problems", len(s.Problems))
		c.Hint = "the checks above say what to do; holdfast status shows more"
	case !s.Link.Up:
		c.Outcome, c.Seen, c.Hint = Warn, c.Seen+", not connected: "+s.Link.Error, "the checks above say why; it tries again by itself"
	case s.Version != x.o.Version:
		c.Outcome, c.Seen = Warn, c.Seen+"; the installed program is "+x.o.Version
		c.Hint = "systemctl restart holdfast starts the installed one"
	default:
		c.Seen += ", connected to " + s.Link.Broker
	}
}
