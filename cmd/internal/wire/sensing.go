package wire

import (
	"maps"
	"slices"

	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/collectors"
	"holdfast/collectors/doubt"
	"holdfast/collectors/i2c"
	"holdfast/collectors/sensors"
)

// sensing is every source that measures the world and not the machine's work.
func sensing(c config.Config, clock board.Clock) []collectors.Source {
	all := sensors.All(sensors.Options{Root: c.Root, Rules: rules(c)})
	if len(c.I2C) == 0 {
		return all
	}
	o := i2c.Options{Clock: clock, Rules: rules(c)}
	for _, name := range slices.Sorted(maps.Keys(c.I2C)) {
		s := c.I2C[name]
		o.Chips = append(o.Chips, i2c.Chip{Name: name, Bus: s.Bus, Address: s.At(), Kind: s.Chip, FullScale: s.FullScale, Shunt: s.Shunt})
	}
	return append(all, i2c.New(o))
}

// OpenBus tries whether an I2C bus can be opened, and lets go of it.
func OpenBus(path string) error {
	d, err := i2c.Open(path)
	if err != nil {
		return err
	}
	return d.Close()
}

// rules are what a configuration believes of sensors, in the order of their names.
func rules(c config.Config) doubt.Rules {
	var all doubt.Rules
	for _, name := range slices.Sorted(maps.Keys(c.Sensors)) {
		s := c.Sensors[name]
		all = append(all, doubt.Rule{Source: s.Source, Instance: s.Instance, Field: s.Field, Low: s.Min, High: s.Max, StuckAfter: s.StuckAfter})
	}
	return all
}
