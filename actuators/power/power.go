// Package power is a driver: it restarts the machine in good order, through logind or systemd.
package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"

	"holdfast/actuators"
	"holdfast/board"
)

// Verb returns reboot, which asks p and answers once the restart is under way.
func Verb(p board.Power) actuators.Verb {
	return actuators.Verb{
		Name:        "reboot",
		Help:        "restart the machine in good order",
		Params:      []actuators.Param{{Name: "reason", Kind: actuators.Text, Max: 200, Help: "for the audit"}},
		Destructive: true,
		Class:       actuators.Reboot,
		Do: func(ctx context.Context, _ actuators.Args) (actuators.Result, error) {
			if err := p.Reboot(ctx); err != nil {
				return nil, fmt.Errorf("reboot: %w", err)
			}
			return actuators.Result{"rebooting": true}, nil
		},
	}
}

var _ board.Power = Systemd{}

// Systemd asks logind, and where that is not installed systemd itself, for an orderly restart. It never calls
// reboot(2): services stop, file systems are unmounted, and an inhibitor lock (a package being installed) is respected.
type Systemd struct {
	// Bus is the D-Bus address to dial; empty for the system bus, and for systemd's private socket when there is none.
	Bus string
	// Patience bounds each call; 0 means 25 s, the bus's own.
	Patience time.Duration
}

const privateSocket = "unix:path=/run/systemd/private"

// Reboot implements board.Power.
func (s Systemd) Reboot(ctx context.Context) error {
	patience := s.Patience
	if patience == 0 {
		patience = 25 * time.Second
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	bus, login, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if login {
		// org.freedesktop.login1(5): Reboot(in b interactive).
		err = bus.Object("org.freedesktop.login1", "/org/freedesktop/login1").
			CallWithContext(ctx, "org.freedesktop.login1.Manager.Reboot", 0, false).Err
		if err == nil {
			return nil
		}
		if !absent(err) {
			return fmt.Errorf("logind: %w", err)
		}
	}
	// What "systemctl reboot" does without logind. Manager.Reboot of org.freedesktop.systemd1(5) would not stop services.
	err = bus.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").
		CallWithContext(ctx, "org.freedesktop.systemd1.Manager.StartUnit", 0, "reboot.target", "replace-irreversibly").Err
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	return nil
}

// dial returns a bus, and whether logind can be on it.
func (s Systemd) dial(ctx context.Context) (bus *dbus.Conn, login bool, err error) {
	if s.Bus != "" {
		bus, err = dbus.Dial(s.Bus, dbus.WithContext(ctx))
	} else {
		bus, err = dbus.SystemBusPrivate(dbus.WithContext(ctx))
	}
	if err == nil {
		err = greet(bus, (*dbus.Conn).Hello)
	}
	if err == nil {
		return bus, true, nil
	}
	if s.Bus == "" {
		private, e := dbus.Dial(privateSocket, dbus.WithContext(ctx))
		if e == nil && greet(private, nil) == nil {
			return private, false, nil
		}
	}
	return nil, false, fmt.Errorf("open bus: %w", err)
}

// greet proves who we are, and says hello where that is not nil: on the private socket systemd itself answers, not a
// bus. A connection that cannot be used is closed.
func greet(bus *dbus.Conn, hello func(*dbus.Conn) error) error {
	err := bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil && hello != nil {
		err = hello(bus)
	}
	if err != nil {
		bus.Close()
	}
	return err
}

// absent reports whether the error says that nobody answers to the name, as opposed to somebody who said no.
func absent(err error) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked":
		return true
	}
	return false
}
