package config

import (
	"maps"
	"slices"
	"time"
)

// Line is one GPIO line.
type Line struct {
	Driver       string   `toml:"driver" doc:"What drives it: gpio; pwm, an output that pulses while it is high; or sim, a line of memory. Empty: gpio."`
	Line         string   `toml:"line" doc:"Which line: the kernel's name of it, such as GPIO17, or a chip's device or label and an offset, such as gpiochip0:17. holdfast lines --list shows them. For pwm a chip and a channel, such as pwmchip0:1."`
	Output       bool     `toml:"output" doc:"An output, which relay.set may switch; else an input."`
	ActiveLow    bool     `toml:"active_low" doc:"The pin is the other way round: high is 0 V."`
	Bias         string   `toml:"bias" doc:"as-is, disabled, pull-up or pull-down. Empty: as-is."`
	Debounce     Duration `toml:"debounce" doc:"How long an input's level must stay to count; by the kernel. At most 10s."`
	Edges        string   `toml:"edges" doc:"Which edges of an input are told: rising, falling or both. Empty: none."`
	Period       Duration `toml:"period" doc:"Of pwm: how long one pulse and the pause after it take. 1us to 10s."`
	Duty         float64  `toml:"duty" doc:"Of pwm: the share of the period that is high while the output is. Above 0, 1 at most; 0 means 1."`
	Initial      bool     `toml:"initial" doc:"The level an output has from the start of holdfast lines until it is set, or 1.5 s have passed without an agent."`
	Safe         bool     `toml:"safe" doc:"The level an output gets 1.5 s after the agent's last sign of life, and after its line did not obey."`
	Shutdown     bool     `toml:"shutdown" doc:"The level an output gets when holdfast lines ends."`
	MinOff       Duration `toml:"min_off" doc:"How long an output stays low before it may go high again."`
	MinOn        Duration `toml:"min_on" doc:"How long an output stays high before it may go low again."`
	MaxOn        Duration `toml:"max_on" doc:"How long an output may be high; then it goes low by itself. 0s: for good."`
	MaxPerMinute int      `toml:"max_per_minute" doc:"Changes of an output within any minute. At most 1000; 0: any number."`
	Excludes     []string `toml:"excludes" doc:"Outputs that are never high together with this one. It is enough that one of two says so."`
}

const (
	mostLines    = 64
	longestHold  = 24 * time.Hour
	mostDebounce = 10 * time.Second
)

// checkLines finds what is wrong with the lines.
func (c *Config) checkLines(bad func(ok bool, key, problem string, args ...any), span func(d Duration, key string, lo, hi time.Duration)) {
	bad(len(c.Lines) <= mostLines, "lines", "%d lines, at most %d", len(c.Lines), mostLines)
	taken := map[string]string{}
	for _, n := range slices.Sorted(maps.Keys(c.Lines)) {
		v, key := c.Lines[n], "lines."+n
		bad(idPattern(n), key, "a name is 1 to 64 letters, digits, '-', '_' or '.'")
		switch v.Driver {
		case "", "gpio":
			bad(v.Line != "", key, "which line is it? Say line = \"GPIO17\", or driver = \"sim\" for one of memory")
			bad(taken[v.Line] == "", key+".line", "%s has it already", taken[v.Line])
			taken[v.Line] = n
		case "pwm":
			bad(v.Line != "" && v.Output, key, "pwm wants output = true, and line = \"pwmchip0:1\", a chip and a channel")
			bad(taken[v.Line] == "", key+".line", "%s has it already", taken[v.Line])
			taken[v.Line] = n
			bad(!v.ActiveLow && v.Bias == "", key, "pwm has neither active_low nor bias")
			span(v.Period, key+".period", time.Microsecond, 10*time.Second)
			bad(v.Duty >= 0 && v.Duty <= 1, key+".duty", "%g is not between 0 and 1", v.Duty)
		case "sim":
			bad(v.Line == "", key+".line", "a line of memory is no line of the machine's")
		default:
			bad(false, key+".driver", "%q is none of gpio, pwm, sim", v.Driver)
		}
		bad(v.Driver == "pwm" || v.Period == 0 && v.Duty == 0, key, "period and duty are for driver = \"pwm\"")
		bad(slices.Contains([]string{"", "as-is", "disabled", "pull-up", "pull-down"}, v.Bias), key+".bias", "%q is none of as-is, disabled, pull-up, pull-down", v.Bias)
		bad(slices.Contains([]string{"", "rising", "falling", "both"}, v.Edges), key+".edges", "%q is none of rising, falling, both", v.Edges)
		span(v.Debounce, key+".debounce", 0, mostDebounce)
		span(v.MinOff, key+".min_off", 0, longestHold)
		span(v.MinOn, key+".min_on", 0, longestHold)
		span(v.MaxOn, key+".max_on", 0, longestHold)
		bad(v.MaxPerMinute >= 0 && v.MaxPerMinute <= 1000, key+".max_per_minute", "%d is not between 0 and 1000", v.MaxPerMinute)
		if v.Output {
			bad(v.Edges == "" && v.Debounce == 0, key, "an output has no edges and no debounce")
			c.checkOutput(n, bad)
		} else {
			idle := v.MinOff == 0 && v.MinOn == 0 && v.MaxOn == 0 && v.MaxPerMinute == 0 && len(v.Excludes) == 0
			bad(idle && !v.Safe && !v.Shutdown && (!v.Initial || v.Driver == "sim"), key, "interlocks and levels are for outputs: say output = true")
		}
	}
}

// checkOutput finds what is wrong with the interlocks of an output.
func (c *Config) checkOutput(n string, bad func(ok bool, key, problem string, args ...any)) {
	v, key := c.Lines[n], "lines."+n
	bad(v.MaxOn == 0 || v.MaxOn >= v.MinOn, key+".max_on", "%s is less than min_on, %s", v.MaxOn, v.MinOn)
	bad(v.MaxOn == 0 || !v.Safe, key+".safe", "high for good, and at most for %s: one of the two", v.MaxOn)
	for _, other := range v.Excludes {
		o, ok := c.Lines[other]
		bad(ok && o.Output && other != n, key+".excludes", "%q is no other output", other)
		bad(!v.Initial || !o.Initial, key+".initial", "so is %s, and they exclude one another", other)
		bad(!v.Safe || !o.Safe, key+".safe", "so is %s, and they exclude one another", other)
		bad(!v.Shutdown || !o.Shutdown, key+".shutdown", "so is %s, and they exclude one another", other)
	}
}
