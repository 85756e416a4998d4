package config

import (
	"time"

	"holdfast/actuators/clean"
	"holdfast/actuators/iface"
	"holdfast/board/strict"
)

var entryPattern = strict.Pattern(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Entry is what the driver takes.
func (c Clean) Entry() clean.Entry {
	return clean.Entry{Paths: c.Paths, OlderThan: time.Duration(c.OlderThan), KeepBytes: int64(c.KeepBytes)}
}

// checkDeeds finds what the drivers of repairs would not take.
func (c *Config) checkDeeds(bad func(ok bool, key, problem string, args ...any)) {
	for name, v := range c.Clean {
		bad(entryPattern(name), "clean."+name, "a name is 1 to 32 of a-z, 0-9, '-' and '_'")
		if err := v.Entry().Valid(); err != nil {
			bad(false, "clean."+name+".paths", "%v", err)
		}
	}
	for _, name := range c.Interfaces.Cycle {
		if err := iface.Valid(name); err != nil {
			bad(false, "interfaces.cycle", "%v", err)
		}
	}
}
