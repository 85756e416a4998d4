package config

import (
	"path"
	"strings"
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

// I2C is a chip on an I2C bus.
type I2C struct {
	Bus       string  `toml:"bus" doc:"The bus, such as /dev/i2c-1."`
	Address   int     `toml:"address" doc:"The chip's address, such as 0x76. 0: the one it has when nothing else is wired: 0x76, 0x44, 0x48 or 0x40."`
	Chip      string  `toml:"chip" doc:"What it is: bme280, bmp280, sht4x, ads1115 or ina219."`
	FullScale float64 `toml:"full_scale_volts" doc:"For ads1115: the largest voltage to be measured, up to 6.144; the chip has six ranges, and takes the one above it. 0: 4.096."`
	Shunt     float64 `toml:"shunt_ohms" doc:"For ina219: the resistor that the current flows through. 0: 0.1."`
}

// addresses are those that a chip can be wired to; the first is the one with nothing else wired (data sheets).
var addresses = map[string][2]int{"bme280": {0x76, 0x77}, "bmp280": {0x76, 0x77}, "sht4x": {0x44, 0x46}, "ads1115": {0x48, 0x4b},
	"ina219": {0x40, 0x4f}}

func (c *Config) checkSensors(bad func(ok bool, key, problem string, args ...any)) {
	for n, v := range c.Sensors {
		key := "sensors." + n
		bad(idPattern(n), key, "a name is 1 to 64 letters, digits, '-', '_' or '.'")
		for name, pattern := range map[string]string{"source": v.Source, "instance": v.Instance, "field": v.Field} {
			_, err := path.Match(pattern, "")
			bad(err == nil, key+"."+name, "%q is not a pattern", pattern)
		}
		bad(v.Min == nil || v.Max == nil || *v.Min < *v.Max, key+".max", "not above min")
		bad(v.StuckAfter == 0 || v.StuckAfter >= 2 && v.StuckAfter <= 1e6, key+".stuck_after", "%d is neither 0 nor between 2 and 1000000", v.StuckAfter)
	}
	for n, v := range c.I2C {
		key := "i2c." + n
		bad(idPattern(n), key, "a name is 1 to 64 letters, digits, '-', '_' or '.'")
		bad(strings.HasPrefix(v.Bus, "/"), key+".bus", "%q is not the path of a bus such as /dev/i2c-1", v.Bus)
		at, known := addresses[v.Chip]
		bad(known, key+".chip", "%q is none of ads1115 bme280 bmp280 ina219 sht4x", v.Chip)
		bad(!known || v.Address == 0 || v.Address >= at[0] && v.Address <= at[1], key+".address", "a %s has none but %#x to %#x", v.Chip, at[0], at[1])
		bad(v.FullScale == 0 || v.FullScale >= 0.001 && v.FullScale <= 6.144, key+".full_scale_volts", "%g is not between 0.001 and 6.144", v.FullScale)
		bad(v.Shunt == 0 || v.Shunt >= 1e-4 && v.Shunt <= 100, key+".shunt_ohms", "%g is not between 0.0001 and 100", v.Shunt)
	}
	bad(len(c.I2C) <= 32, "i2c", "%d chips: at most 32", len(c.I2C))
}

// At returns the chip's address, also where the file leaves it out.
func (c I2C) At() uint16 {
	if c.Address == 0 {
		return uint16(addresses[c.Chip][0])
	}
	return uint16(c.Address)
}
