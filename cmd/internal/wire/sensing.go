package wire

import (
	"maps"
	"slices"

	"holdfast/cmd/internal/config"
	"holdfast/collectors"
	"holdfast/collectors/doubt"
	"holdfast/collectors/sensors"
)

// sensing is every source that measures the world and not the machine's work.
func sensing(c config.Config) []collectors.Source {
	return sensors.All(sensors.Options{Root: c.Root, Rules: rules(c)})
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
