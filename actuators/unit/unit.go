// Package unit is a driver: it restarts systemd units by name.
package unit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"holdfast/actuators"
	"holdfast/actuators/confined"
	"holdfast/board"
)

// A Bus restarts units.
type Bus interface {
	// Restart restarts the unit and waits for the job's result: done, canceled, timeout, failed, dependency, skipped
	// (org.freedesktop.systemd1(5), JobRemoved). The state is the unit's after that, also when the job did not end well; zero
	// when it is not known.
	Restart(ctx context.Context, unit string) (result string, after State, err error)
}

// A State is how a unit stands.
type State struct {
	Active   string // active, activating, deactivating, inactive, failed
	Sub      string // such as running, auto-restart
	Result   string // of a service's last run: success, exit-code, timeout, start-limit-hit
	Restarts uint32 // how often systemd started a service again by itself since somebody last did
}

// Verb returns unit.restart for the listed units and no others. A job that has not ended after limit (0: 90 s, as
// systemd gives a unit to stop) is left to systemd and reported.
func Verb(bus Bus, clock board.Clock, limit time.Duration, units ...string) (actuators.Verb, error) {
	if limit == 0 {
		limit = 90 * time.Second
	}
	for _, name := range units {
		if err := valid(name); err != nil {
			return actuators.Verb{}, fmt.Errorf("unit %q: %w", name, err)
		}
	}
	if len(units) == 0 {
		// An empty list of choices would mean any text.
		units = []string{""}
	}
	return actuators.Verb{
		Name:   "unit.restart",
		Help:   "restart a systemd unit",
		Params: []actuators.Param{{Name: "unit", Kind: actuators.Text, Required: true, Choices: units, Help: "which unit"}},
		Class:  actuators.Repair,
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			return restart(ctx, bus, clock, limit, args.Text("unit"))
		},
	}, nil
}

func restart(ctx context.Context, bus Bus, clock board.Clock, limit time.Duration, unit string) (actuators.Result, error) {
	if valid(unit) != nil {
		return nil, fmt.Errorf("unit %q: %w", unit, actuators.ErrDenied)
	}
	late := fmt.Errorf("job not ended after %v", limit)
	ctx, stop := context.WithTimeoutCause(ctx, limit, late)
	defer stop()
	began := clock.Now()
	job, after, err := bus.Restart(ctx, unit)
	var result actuators.Result
	if after.Active != "" {
		result = actuators.Result{"unit": unit, "seconds": clock.Now().Sub(began).Seconds(), "active": after.Active, "sub": after.Sub,
			"result": after.Result, "restarts": after.Restarts}
	}
	switch {
	case err != nil && errors.Is(context.Cause(ctx), late):
		return result, fmt.Errorf("restart %s: %w", unit, late)
	case err != nil:
		return result, fmt.Errorf("restart %s: %w", unit, err)
	case job != "done" && after.Active != "":
		return result, fmt.Errorf("restart %s: job %s, and it is %s (%s)", unit, job, after.Active, after.Result)
	case job != "done":
		return nil, fmt.Errorf("restart %s: job %s", unit, job)
	case after.Active == "failed" || after.Sub == "auto-restart": // it was forked, which was all the job waited for, and has died
		return result, fmt.Errorf("restart %s: it is %s (%s)", unit, after.Active, after.Result)
	}
	if result == nil {
		result = actuators.Result{"unit": unit, "seconds": clock.Now().Sub(began).Seconds()}
	}
	return result, nil
}

// valid reports what keeps name from being one unit's full name (systemd.unit(5)).
func valid(name string) error {
	if name == "" || len(name) > 255 || strings.HasPrefix(name, ".") {
		return errors.New("wants 1 to 255 bytes that do not begin with a dot")
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(`:-_.\@`, r) {
			return fmt.Errorf("%q in the name", r)
		}
	}
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice", "scope", "device":
		return nil
	}
	return errors.New("wants its type at the end, as in ssh.service")
}

var _ Bus = Systemd{}

// Systemd is the running systemd. It connects for each restart, so that nothing is held while nothing is done.
type Systemd struct {
	// Address is the D-Bus address to dial; empty for the system bus, and for systemd's private socket when there is
	// none.
	Address string
	// Clock waits a second between the end of a job and the look at the state: most services count as started once they are
	// forked, and die after that. Nil: it is looked at at once.
	Clock board.Clock
}

// Restart implements Bus.
func (s Systemd) Restart(ctx context.Context, unit string) (string, State, error) {
	hold, release := context.WithCancel(context.WithoutCancel(ctx)) // the state is asked for also when the time is over
	defer release()
	conn, err := s.dial(hold)
	if err != nil {
		return "", State{}, fmt.Errorf("open bus: %w", err)
	}
	defer conn.Close()
	job := make(chan string, 1) // the library's reader must never wait for us
	if _, err := conn.RestartUnitContext(ctx, unit, "replace", job); err != nil {
		return "", State{}, err
	}
	result := ""
	select {
	case result = <-job:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if s.Clock != nil && result == "done" {
		board.Wait(ctx, s.Clock, settle)
	}
	enough := time.AfterFunc(stateWithin, release)
	defer enough.Stop()
	return result, state(hold, conn, unit), err
}

const (
	settle      = time.Second
	stateWithin = 5 * time.Second // bounds how long systemd is asked for a state
)

func state(ctx context.Context, conn *systemd.Conn, unit string) (s State) {
	text := func(p *systemd.Property, err error) string {
		if err != nil || p == nil {
			return ""
		}
		v, _ := p.Value.Value().(string)
		return v
	}
	s.Active = text(conn.GetUnitPropertyContext(ctx, unit, "ActiveState"))
	s.Sub = text(conn.GetUnitPropertyContext(ctx, unit, "SubState"))
	if strings.HasSuffix(unit, ".service") {
		s.Result = text(conn.GetServicePropertyContext(ctx, unit, "Result"))
		if p, err := conn.GetServicePropertyContext(ctx, unit, "NRestarts"); err == nil {
			s.Restarts, _ = p.Value.Value().(uint32)
		}
	}
	return s
}

func (s Systemd) dial(ctx context.Context) (*systemd.Conn, error) {
	if s.Address == "" {
		return systemd.NewWithContext(ctx)
	}
	return confined.Dial(ctx, s.Address)
}
