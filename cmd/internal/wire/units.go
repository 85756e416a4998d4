package wire

import (
	"context"
	"path/filepath"

	"holdfast/actuators/unit"
	"holdfast/board"
	"holdfast/collectors/units"
)

// Units is what keeps units where systemd does not: for demonstrations and tests.
type Units struct {
	Groups string // where it has control groups, as below /sys/fs/cgroup
	Keeper
}

// A Keeper tells how units do, and restarts them. Both may be asked by several goroutines.
type Keeper interface {
	States(ctx context.Context, names []string) ([]UnitState, error)
	Restart(ctx context.Context, name string) (result string, after UnitAfter, err error)
	Close()
}

// UnitState is how one unit does, and UnitAfter how it stands after a restart.
type (
	UnitState = units.State
	UnitAfter = unit.State
)

// source returns the source of units.
func (u *Units) source(root string) *units.Units {
	if u == nil {
		s := units.New(units.System)
		s.Groups = filepath.Join(root, "sys/fs/cgroup")
		return s
	}
	s := units.New(func(context.Context) (units.Bus, error) { return u.Keeper, nil })
	s.Groups = u.Groups
	return s
}

// bus returns what restarts units.
func (u *Units) bus(clock board.Clock) unit.Bus {
	if u == nil {
		return unit.Systemd{Clock: clock}
	}
	return u.Keeper
}
