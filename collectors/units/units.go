// Package units is a driver: it asks systemd how its units do.
package units

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/collectors"
)

// mostUnits is how many units can be watched.
const mostUnits = 64

// A Bus is a connection to systemd. It is used by one goroutine at a time.
type Bus interface {
	// States returns what systemd knows of these units, in their order. An error that is ErrRefused leaves the connection
	// good; after any other it is closed.
	States(ctx context.Context, names []string) ([]State, error)
	Close()
}

// ErrRefused means that systemd, or the bus, answered with an error.
var ErrRefused = errors.New("refused")

// A State is how one unit does.
type State struct {
	Load, Active, Sub string        // as systemctl shows them: "loaded", "active", "running"
	Restarts          int           // by systemd itself, since the unit was started by hand; -1 where units of its type have none
	Since             time.Duration // since its state changed; -1 where it never has
	Group             string        // its control group, "/system.slice/ssh.service"; empty where it has none
}

// Units is the source "units": one sample a unit, with its name as instance and the fields active (true or false), state
// ("active/running", or "not-found"), restarts_count where it is a service, since_seconds where its state ever changed,
// and memory_bytes, tasks_count and cpu_seconds where its control group tells.
type Units struct {
	Groups string // where control groups are mounted; empty: /sys/fs/cgroup

	dial  func(ctx context.Context) (Bus, error)
	names atomic.Pointer[[]string] // replaced whole by Watch, from another goroutine than Collect's
	bus   Bus
	buf   [512]byte // of what a control group says
}

// New returns a source without units. dial is called when there is no connection; what it makes is kept. An error of dial
// that is collectors.ErrNoData says that this machine has no systemd.
func New(dial func(ctx context.Context) (Bus, error)) *Units {
	u := &Units{dial: dial}
	u.names.Store(new([]string))
	return u
}

// Watch replaces the units that are asked for: full names, at most 64, each once. It may be called from any goroutine, and
// changes nothing when it returns an error.
func (u *Units) Watch(names []string) error {
	if len(names) > mostUnits {
		return fmt.Errorf("watch %d units: more than %d", len(names), mostUnits)
	}
	for i, n := range names {
		if err := collectors.CheckUnitName(n); err != nil {
			return fmt.Errorf("watch units: %w", err)
		}
		if slices.Contains(names[:i], n) {
			return fmt.Errorf("watch units: %s is named twice", n)
		}
	}
	own := slices.Clone(names)
	u.names.Store(&own)
	return nil
}

// Name implements collectors.Source.
func (*Units) Name() string { return "units" }

// Collect implements collectors.Source.
func (u *Units) Collect(ctx context.Context, emit collectors.Emit) error {
	names := *u.names.Load()
	if len(names) == 0 {
		u.Close()
		return fmt.Errorf("no units are watched: %w", collectors.ErrNoData)
	}
	states, err := u.ask(ctx, names)
	if err != nil {
		return err
	}
	for i, s := range states {
		out := sample(names[i], s)
		u.usage(s.Group, &out)
		emit(out)
	}
	return nil
}

// Close gives the connection up. It must not be called while Collect runs; Collect may be called again afterwards.
func (u *Units) Close() {
	if u.bus != nil {
		u.bus.Close()
		u.bus = nil
	}
}

// ask gets the states, over a new connection when the kept one is lost: systemd or the bus may have been restarted since.
func (u *Units) ask(ctx context.Context, names []string) ([]State, error) {
	for {
		kept := u.bus != nil
		if !kept {
			bus, err := u.dial(ctx)
			if err != nil {
				return nil, fmt.Errorf("connect to systemd: %w", err)
			}
			u.bus = bus
		}
		states, err := u.bus.States(ctx, names)
		if err == nil && len(states) != len(names) {
			err = fmt.Errorf("%d answers for %d units", len(states), len(names))
		}
		if err == nil {
			return states, nil
		}
		if !errors.Is(err, ErrRefused) {
			u.Close()
			if kept && ctx.Err() == nil {
				continue
			}
		}
		return nil, fmt.Errorf("ask systemd: %w", err)
	}
}

func sample(name string, s State) collectors.Sample {
	state := s.Active + "/" + s.Sub
	if s.Load == "not-found" {
		state = s.Load
	}
	active := s.Active == "active" || s.Active == "reloading" || s.Active == "refreshing"
	out := collectors.Sample{Source: "units", Instance: name, Fields: make([]collectors.Field, 0, 7)}
	out.Fields = append(out.Fields, collectors.Field{Name: "active", Value: collectors.Bool(active)})
	out.Str("state", state)
	if s.Restarts >= 0 {
		out.Num("restarts_count", float64(s.Restarts))
	}
	if s.Since >= 0 {
		out.Num("since_seconds", s.Since.Truncate(time.Millisecond).Seconds())
	}
	return out
}
