// Package unit is a driver: it restarts systemd units by name.
package unit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"holdfast/actuators"
	"holdfast/board"
)

// A Bus restarts units.
type Bus interface {
	// Restart restarts the unit and waits for the job's result: done, canceled, timeout, failed, dependency, skipped
	// (org.freedesktop.systemd1(5), JobRemoved).
	Restart(ctx context.Context, unit string) (result string, err error)
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
	job, err := bus.Restart(ctx, unit)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), late):
		return nil, fmt.Errorf("restart %s: %w", unit, late)
	case err != nil:
		return nil, fmt.Errorf("restart %s: %w", unit, err)
	case job != "done":
		return nil, fmt.Errorf("restart %s: job %s", unit, job)
	}
	return actuators.Result{"unit": unit, "seconds": clock.Now().Sub(began).Seconds()}, nil
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
}

// Restart implements Bus.
func (s Systemd) Restart(ctx context.Context, unit string) (string, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return "", fmt.Errorf("open bus: %w", err)
	}
	defer conn.Close()
	job := make(chan string, 1) // the library's reader must never wait for us
	if _, err := conn.RestartUnitContext(ctx, unit, "replace", job); err != nil {
		return "", err
	}
	select {
	case result := <-job:
		return result, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (s Systemd) dial(ctx context.Context) (*systemd.Conn, error) {
	if s.Address == "" {
		return systemd.NewWithContext(ctx)
	}
	return systemd.NewConnection(func() (*dbus.Conn, error) {
		bus, err := dbus.Dial(s.Address, dbus.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		if err = bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err == nil {
			err = bus.Hello()
		}
		if err != nil {
			bus.Close()
			return nil, err
		}
		return bus, nil
	})
}
