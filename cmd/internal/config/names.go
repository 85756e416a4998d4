package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast/board/strict"
)

// CollectorNames are the sources a section may be for. A board without lines has no gpio, one without chips no i2c.
func CollectorNames() []string {
	return []string{"clock", "cooling", "cpu", "disk", "disk_io", "files", "flash", "gpio", "hwmon", "i2c", "iio", "load",
		"memory", "network", "power_supply", "pressure", "probe", "processes", "self", "temperature", "units", "uptime", "w1"}
}

// CommandNames are the commands that can be allowed.
func CommandNames() []string {
	return []string{"ping", "sample", "relay.set", "relay.pulse", "unit.restart", "reboot", "log.tail", "script", "clean", "interface.cycle", "update.status", "update.history",
		"update.pause", "update.resume", "update.cancel", "safe.leave"}
}

// names finds collectors and commands that there are not.
func (c *Config) names(file string, text []byte) []error {
	var errs []error
	known := func(name, key, kind string, all []string) {
		if slices.Contains(all, name) {
			return
		}
		line, column := place(text, key)
		e := &Error{File: file, Line: line, Column: column, Problem: fmt.Sprintf("%s: no such %s %q", key, kind, name),
			Hint: "there are " + strings.Join(all, ", ")}
		if near := strict.Nearest(name, all); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		errs = append(errs, e)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Collectors)) {
		known(name, "collectors."+name, "collector", CollectorNames())
	}
	for _, name := range c.Commands.Allow {
		known(name, "commands.allow", "command", CommandNames())
	}
	return errs
}
