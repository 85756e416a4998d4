package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
)

func doctorCommand(ctx context.Context, args []string, std streams) error {
	f := flags("doctor", "find what is wrong, from the configuration to the broker, and say what to do", "holdfast doctor --json", std)
	var o overrides
	o.flags(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	file := o.path
	if file == "" {
		file = config.DefaultPath
	}
	if err != nil {
		c = config.Default()
	}
	r := doctor.Run(ctx, doctor.Options{Config: c, File: file, ConfigErr: err, Version: version, UID: os.Getuid()})
	if *asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.Text(std.out)
	}
	switch {
	case err != nil:
		return fmt.Errorf("print: %w", err)
	case r.Misconfigured():
		return verdict(exitUsage)
	case !r.OK:
		return verdict(exitFailed)
	}
	return nil
}

// A verdict is an exit code whose reasons have been printed already.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }
