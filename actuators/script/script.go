// Package script is a driver: it runs the scripts an administrator installed, and nothing of theirs outlives its run.
//
// There is no shell between the arguments and the script. A script has a clean environment, no input, limits, and an output
// of which the tail is kept. A file NAME.toml beside it declares its arguments and its limits.
package script

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/confined"
	"holdfast/board"
)

// Options say which scripts there are and what bounds them.
type Options struct {
	Dir   string        // where they are; empty means /usr/lib/holdfast/scripts
	Owner int           // user id that must own Dir and every script in it; 0, root, on a real machine
	Limit time.Duration // for one run; 0 means 60 s
	Grace time.Duration // between TERM and KILL; 0 means 3 s
	Clock board.Clock   // required
	// Turn has one slot, and is the same for all that run programs in a process. Nil where there is no other.
	Turn  chan struct{}
	Units bool     // run them as units of systemd, where there is one
	Env   []string // beside a few variables that are always there; for All
}

const (
	scriptsMost  = 256
	argumentMost = 16
)

// Verb returns script, which runs one of the executables in o.Dir with args. Directory and files are looked at again
// before every run. It is not an error when the directory is not there: then there are no scripts. Scripts that are not
// offered, each with the reason, are the faults; the others are.
func Verb(o Options) (verb actuators.Verb, faults []error, err error) {
	o = o.orDefaults()
	names, err := list(o.Dir, o.Owner)
	if err != nil {
		return actuators.Verb{}, nil, fmt.Errorf("scripts: %w", err)
	}
	var offered []string
	for _, name := range names {
		if _, _, err := o.look(name); err != nil {
			faults = append(faults, fmt.Errorf("script %s is not offered: %w", name, err))
			continue
		}
		offered = append(offered, name)
	}
	if len(offered) == 0 {
		offered = []string{""} // an empty list of choices would mean any text
	}
	return actuators.Verb{
		Name: "script",
		Help: "run an installed script",
		Params: []actuators.Param{
			{Name: "name", Kind: actuators.Text, Required: true, Choices: offered, Help: "which script"},
			{Name: "args", Kind: actuators.List, Most: argumentMost, Help: "its arguments, as its NAME.toml declares them"},
		},
		Class: actuators.Repair,
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			return o.declared(ctx, args.Text("name"), args.List("args"))
		},
	}, faults, nil
}

func (o Options) orDefaults() Options {
	if o.Dir == "" {
		o.Dir = "/usr/lib/holdfast/scripts"
	}
	if o.Limit == 0 {
		o.Limit = time.Minute
	}
	return o
}

// All runs every script of a directory, in the order of their names, with the same arguments, until one does not
// succeed: the error names it and says how it ended and what it printed last. A directory that is not there has none. These
// are hooks: they have what power this process has, a time limit, and no declarations.
func All(ctx context.Context, o Options, args ...string) error {
	o = o.orDefaults()
	names, err := list(o.Dir, o.Owner)
	if err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	for _, name := range names {
		if _, err := find(o.Dir, name, o.Owner); err != nil {
			return fmt.Errorf("scripts: %s: %w", name, err)
		}
	}
	o.Units = false
	for _, name := range names {
		path, err := find(o.Dir, name, o.Owner)
		if err != nil {
			return fmt.Errorf("script %s: %w", name, err)
		}
		result, err := o.run(ctx, confined.Program{Name: name, Argv: append([]string{path}, args...), Env: o.Env,
			Limits: confined.Limits{Time: o.Limit, Grace: o.Grace}, Powers: confined.Powers{Network: true}})
		if err != nil {
			if said, _ := result["output"].(string); strings.TrimSpace(said) != "" {
				lines := strings.Split(strings.TrimSpace(said), "\n")
				err = fmt.Errorf("%w: %.160s", err, lines[len(lines)-1])
			}
			return err
		}
	}
	return nil
}

// look returns the path of a script and what is declared of it.
func (o Options) look(name string) (string, declaration, error) {
	path, err := find(o.Dir, name, o.Owner)
	if err != nil {
		return "", declaration{}, err
	}
	d, err := declared(path+".toml", o.Owner)
	return path, d, err
}

// declared runs a script with what its declaration allows.
func (o Options) declared(ctx context.Context, name string, args []string) (actuators.Result, error) {
	path, d, err := o.look(name)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", name, err)
	}
	if err := d.check(args); err != nil {
		return nil, fmt.Errorf("script %s: %w: %w", name, actuators.ErrInvalid, err)
	}
	p := d.program(o)
	p.Name, p.Argv = name, append([]string{path}, args...)
	return o.run(ctx, p)
}

func (o Options) run(ctx context.Context, p confined.Program) (actuators.Result, error) {
	began := o.Clock.Now()
	end, err := confined.Runner{Clock: o.Clock, Turn: o.Turn, Units: o.Units}.Run(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", p.Name, err)
	}
	result := actuators.Result{
		"name":      p.Name,
		"exit_code": end.Code,
		"seconds":   o.Clock.Now().Sub(began).Seconds(),
		"output":    strings.ToValidUTF8(string(end.Output), "\uFFFD"),
		"cut":       end.Cut,
	}
	if len(end.Loose) > 0 {
		result["unlimited"] = end.Loose
	}
	switch {
	case end.Why != nil:
		return result, fmt.Errorf("script %s: %w", p.Name, end.Why)
	case end.Code != 0:
		return result, fmt.Errorf("script %s: %s", p.Name, end.Status)
	}
	return result, nil
}
