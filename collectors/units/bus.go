package units

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// System connects to systemd over the system bus, which every user may do.
func System(ctx context.Context) (Bus, error) {
	return connect(ctx, true, dbus.SystemBusPrivate)
}

// Private returns a function that connects to a systemd without a bus, over its own socket, which only its own user may
// do. The system's is /run/systemd/private.
func Private(path string) func(ctx context.Context) (Bus, error) {
	return func(ctx context.Context) (Bus, error) {
		return connect(ctx, false, func(opts ...dbus.ConnOption) (*dbus.Conn, error) {
			return dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(path), opts...)
		})
	}
}

// A bus is systemd at the other end of D-Bus. It lives on when the reading that made it is over.
type bus struct {
	conn   *systemd.Conn
	cancel context.CancelFunc
	groups map[string]group // by the name of the unit
}

// A group is a unit's control group as of the last change of its state. It is made before the unit is started, and does
// not move while the unit runs.
type group struct {
	changed uint64 // monotonic microseconds
	path    string
}

// connect makes a connection. ctx bounds only the making: godbus closes a connection when its context ends.
func connect(ctx context.Context, hello bool, dial func(...dbus.ConnOption) (*dbus.Conn, error)) (Bus, error) {
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		c, err := dial(dbus.WithContext(life))
		if err != nil {
			return nil, err
		}
		// The number, not the name: looking the name up would need the C library.
		err = c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
		if err == nil && hello {
			err = c.Hello()
		}
		if err != nil {
			_ = c.Close() // the first error tells more
			return nil, err
		}
		return c, nil
	})
	if err == nil && !stop() { // ctx ended meanwhile, and the connection with it
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", collectors.ErrNoData, err)
		}
		return nil, err
	}
	return &bus{conn: conn, cancel: cancel, groups: map[string]group{}}, nil
}

// Close implements Bus.
func (b *bus) Close() {
	b.conn.Close()
	b.cancel()
}

// States implements Bus with one call for all units, and one or two short ones for each that there is, three after its
// state has changed. Everything that systemd knows of a unit would be a hundred properties.
func (b *bus) States(ctx context.Context, names []string) ([]State, error) {
	list, err := b.conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, refusal(err)
	}
	if len(list) != len(names) {
		return nil, fmt.Errorf("%d units in the answer for %d: %w", len(list), len(names), ErrRefused)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return nil, fmt.Errorf("read the monotonic clock: %w", err)
	}
	if len(b.groups) > 2*mostUnits { // what is watched has changed
		clear(b.groups)
	}
	states := make([]State, len(list))
	for i, u := range list {
		s := State{Load: u.LoadState, Active: u.ActiveState, Sub: u.SubState, Restarts: -1, Since: -1}
		if u.LoadState != "not-found" {
			// Systemd answers in the order of the names, but with the name behind an alias.
			if err := b.detail(ctx, u.Name, time.Duration(ts.Nano()), &s); err != nil {
				return nil, err
			}
		}
		states[i] = s
	}
	return states, nil
}

// detail asks for what the list does not tell.
func (b *bus) detail(ctx context.Context, name string, now time.Duration, s *State) error {
	p, err := b.conn.GetUnitPropertyContext(ctx, name, "StateChangeTimestampMonotonic")
	if err != nil {
		return refusal(err)
	}
	us, ok := p.Value.Value().(uint64)
	if !ok {
		return fmt.Errorf("unit %s: time of change is %s: %w", name, p.Value.Signature(), ErrRefused)
	}
	if changed := time.Duration(us) * time.Microsecond; us > 0 && us < 1<<53 {
		s.Since = max(now-changed, 0)
	}
	if s.Group, err = b.group(ctx, name, us); err != nil {
		return err
	}
	if !strings.HasSuffix(name, ".service") {
		return nil
	}
	p, err = b.conn.GetServicePropertyContext(ctx, name, "NRestarts")
	if err != nil {
		if e := (dbus.Error{}); errors.As(err, &e) && e.Name == "org.freedesktop.DBus.Error.UnknownProperty" {
			return nil // before systemd 235
		}
		return refusal(err)
	}
	n, ok := p.Value.Value().(uint32)
	if !ok {
		return fmt.Errorf("unit %s: number of restarts is %s: %w", name, p.Value.Signature(), ErrRefused)
	}
	s.Restarts = int(n)
	return nil
}

// kinds are the interfaces of the units that can have a control group, by the end of the name.
var kinds = map[string]string{"service": "Service", "socket": "Socket", "mount": "Mount", "swap": "Swap", "slice": "Slice", "scope": "Scope"}

// group returns a unit's control group, which it asks for when the unit's state has changed.
func (b *bus) group(ctx context.Context, name string, changed uint64) (string, error) {
	kind := kinds[name[strings.LastIndexByte(name, '.')+1:]]
	if kind == "" {
		return "", nil
	}
	if g, known := b.groups[name]; known && g.changed == changed {
		return g.path, nil
	}
	p, err := b.conn.GetUnitTypePropertyContext(ctx, name, kind, "ControlGroup")
	if err != nil {
		if e := (dbus.Error{}); errors.As(err, &e) && e.Name == "org.freedesktop.DBus.Error.UnknownProperty" {
			return "", nil
		}
		return "", refusal(err)
	}
	path, ok := p.Value.Value().(string)
	if !ok {
		return "", fmt.Errorf("unit %s: control group is %s: %w", name, p.Value.Signature(), ErrRefused)
	}
	b.groups[name] = group{changed, path}
	return path, nil
}

// refusal tells the errors that systemd or the bus answered from those of the connection.
func refusal(err error) error {
	e := dbus.Error{}
	if !errors.As(err, &e) {
		return err
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return fmt.Errorf("no systemd on this bus: %w: %w", collectors.ErrNoData, errors.Join(ErrRefused, err))
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}
