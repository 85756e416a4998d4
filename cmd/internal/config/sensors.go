package config

import (
	"path"
)

// Sensor is what somebody who knows the place says of some sensors. Patterns are the shell's.
type Sensor struct {
	Source     string   `toml:"source" doc:"Only of this source, such as w1. A pattern; empty: of any."`
	Instance   string   `toml:"instance" doc:"Only of the sensors this pattern matches, such as 28-* or lm75/*; a star does not match a slash. Empty: of all."`
	Field      string   `toml:"field" doc:"Only of this measure, such as temperature_celsius. A pattern; empty: of each."`
	Min        *float64 `toml:"min" doc:"A smaller value is out of range. Absent: what the chip can measure."`
	Max        *float64 `toml:"max" doc:"A larger value is out of range. Absent: what the chip can measure."`
	StuckAfter int      `toml:"stuck_after" doc:"So many equal readings in a row, and the sensor is stuck: 2 to 1000000. 0: never, which is right for what may stand still, such as a fan."`
}

func (c *Config) checkSensors(bad func(ok bool, key, problem string, args ...any)) {
	for n, v := range c.Sensors {
		key := "sensors." + n
		bad(idPattern.MatchString(n), key, "a name is 1 to 64 letters, digits, '-', '_' or '.'")
		for name, pattern := range map[string]string{"source": v.Source, "instance": v.Instance, "field": v.Field} {
			_, err := path.Match(pattern, "")
			bad(err == nil, key+"."+name, "%q is not a pattern", pattern)
		}
		bad(v.Min == nil || v.Max == nil || *v.Min < *v.Max, key+".max", "not above min")
		bad(v.StuckAfter == 0 || v.StuckAfter >= 2 && v.StuckAfter <= 1e6, key+".stuck_after", "%d is neither 0 nor between 2 and 1000000", v.StuckAfter)
	}
}
