package doctor

import (
	"errors"
	"fmt"
	"strings"

	"holdfast/board/linux"
	"holdfast/cmd/internal/wire"
)

// board says which profile the board has, and whether anybody verified it on the board itself.
func (x *examination) board() {
	c := Check{Name: "board", Outcome: OK}
	p, err := wire.Profile(x.o.Config)
	switch {
	case err != nil:
		c.Outcome, c.Hint = Fail, "look at board in "+x.o.File+" and at /"+wire.BoardsDir
		c.Seen, c.Detail = several(err)
	case p == nil:
		x.skip("board", "", "no profile matches this board; docs/boards.md says how to write one")
		return
	case p.Verified:
		c.Seen = fmt.Sprintf("%s: %s", p.Name, p.Title)
	case x.o.Config.AcceptUnverified:
		c.Seen = fmt.Sprintf("%s: %s, which nobody verified on the board itself; accepted by the configuration", p.Name, p.Title)
	default:
		c.Outcome, c.Seen = Warn, fmt.Sprintf("%s: %s, which nobody verified on the board itself: no output is driven by its names", p.Name, p.Title)
		c.Hint = "try its lines as inputs first; then set accept_unverified_board = true, or write verified = true into your own copy, /" + wire.BoardsDir + "/" + p.Name + ".toml"
	}
	x.add(c)
}

// several takes joined errors apart: what was seen, and the rest when there is more than one.
func several(err error) (seen string, detail []string) {
	problems := configProblems(err)
	if len(problems) == 1 {
		return problems[0].Error(), nil
	}
	for _, p := range problems {
		detail = append(detail, p.Error())
	}
	return fmt.Sprintf("%d problems", len(problems)), detail
}

// slots says where the slots are. Where updates are off, it says what would be used.
func (x *examination) slots() {
	config := x.o.Config
	on := config.Update.Bootloader != ""
	f, err := wire.Placed(config)
	switch {
	case errors.Is(err, linux.ErrNoLayout) && !on:
		x.skip("slots", "", "the system is not updated, and nothing says where there are slots")
		return
	case err != nil:
		c := Check{Name: "slots", Outcome: Fail, Seen: err.Error(), Hint: `say where they are, as in [update.parts.root] a = "PARTLABEL=root-a" b = "PARTLABEL=root-b"`}
		if !on {
			c.Outcome = Warn
		}
		x.add(c)
		return
	}
	c := Check{Name: "slots", Outcome: OK, Seen: f.String()}
	if !on {
		c.Seen += "; the system is not updated: update.bootloader is not set"
	}
	if c.Detail = wire.Missing(config, f); len(c.Detail) > 0 {
		c.Outcome, c.Hint = Fail, "look at ls -l /dev/disk/by-partlabel, and whether udev runs"
		if !on {
			c.Outcome = Warn
		}
	}
	if strings.HasPrefix(f.Source, "/") && f.Bootloader != "" && on && f.Bootloader != config.Update.Bootloader {
		c.Outcome, c.Hint = Warn, "set bootloader in [update] to what the board has"
		c.Detail = append(c.Detail, fmt.Sprintf("%s is about the bootloader %s, the configuration about %s", f.Source, f.Bootloader, config.Update.Bootloader))
	}
	x.add(c)
}

// watchdog says whether a kernel that hangs is noticed by anybody.
func (x *examination) watchdog() {
	root := x.o.Config.Root
	var idle, silent, fed []string
	for _, w := range linux.Watchdogs(root) {
		name := strings.TrimSpace(w.Name + " " + w.Identity)
		if w.Timeout > 0 {
			name += fmt.Sprintf(" (%d s)", w.Timeout)
		}
		if w.Soft() {
			continue // it goes down with the kernel
		}
		switch {
		case w.Active:
			fed = append(fed, name)
		case w.Told:
			idle = append(idle, name)
		default:
			silent = append(silent, name)
		}
	}
	expected := ""
	if p, err := wire.Profile(x.o.Config); err == nil && p != nil {
		expected = p.Watchdog
	}
	const runtime = "set RuntimeWatchdogSec=30s in /etc/systemd/system.conf, and systemctl daemon-reexec"
	switch {
	case len(fed) > 0:
		x.add(Check{Name: "watchdog", Outcome: OK, Seen: strings.Join(fed, ", ") + " is fed"})
	case len(idle) > 0:
		x.add(Check{Name: "watchdog", Outcome: Warn, Seen: strings.Join(idle, ", ") + " is there and nobody feeds it: a kernel that hangs stays so", Hint: runtime})
	case len(silent) > 0: // built without CONFIG_WATCHDOG_SYSFS; it may well be fed, or be the kernel's own timer
		x.skip("watchdog", "", strings.Join(silent, ", ")+" is there, and the kernel does not say whether anybody feeds it: that wants CONFIG_WATCHDOG_SYSFS")
	case expected != "":
		x.add(Check{Name: "watchdog", Outcome: Warn, Seen: "no hardware watchdog, and this board has one: " + expected,
			Hint: "load its driver, with CONFIG_WATCHDOG_SYSFS in the kernel; then " + runtime})
	default:
		x.skip("watchdog", "", "the kernel knows no hardware watchdog")
	}
}

// power says how the board is fed, and what its firmware noticed.
func (x *examination) power() {
	p := linux.Power(x.o.Config.Root)
	var seen []string
	if p.Source != "" {
		seen = append(seen, p.Source+" supply")
	}
	if p.ChargePercent >= 0 {
		seen = append(seen, fmt.Sprintf("battery at %d %%", p.ChargePercent))
	}
	low := p.Undervoltage != nil && *p.Undervoltage
	switch {
	case low:
		seen = append(seen, "undervoltage now")
	case p.Undervoltage != nil:
		seen = append(seen, "no undervoltage")
	}
	switch {
	case len(seen) == 0:
		x.skip("power", "", "the kernel knows of no supplies")
	case low:
		x.add(Check{Name: "power", Outcome: Warn, Seen: strings.Join(seen, ", "), Hint: "use a stronger supply and a shorter cable: flash is damaged by writes at too low a voltage"})
	default:
		x.add(Check{Name: "power", Outcome: OK, Seen: strings.Join(seen, ", ")})
	}
}
