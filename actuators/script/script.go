// Package script is a driver: it runs the scripts an administrator installed, and nothing of theirs outlives its run.
//
// There is no shell between the arguments and the script. A script has its own session, a clean environment, no input,
// a time limit, and an output of which the tail is kept.
package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/board"
)

// Options say which scripts there are and what bounds them.
type Options struct {
	Dir   string        // where they are; empty means /usr/lib/holdfast/scripts
	Owner int           // user id that must own Dir and every script in it; 0, root, on a real machine
	Limit time.Duration // for one run; 0 means 60 s
	Grace time.Duration // between TERM and KILL; 0 means 5 s
	Clock board.Clock   // required
	// Turn has one slot, and is the same for all that run scripts in a process: what a run leaves behind is told from
	// the rest by there being one run at a time. Nil where there is no other.
	Turn chan struct{}
	Env  []string // beside a few variables that are always there
}

const (
	outputBytes  = 32 << 10 // of output kept: the tail
	scriptsMost  = 256
	argumentMost = 16
)

// Verb returns script, which runs one of the executables in o.Dir with args. Directory and files are looked at again
// before every run. It is not an error when the directory is not there: then there are no scripts.
//
// While a script runs, the whole process is a subreaper, and whatever descends from it in a session not its own is
// taken for the script's and killed at the end of the run: other parts of the process must start their children without
// Setsid. One script runs at a time.
func Verb(o Options) (actuators.Verb, error) {
	if o.Dir == "" {
		o.Dir = "/usr/lib/holdfast/scripts"
	}
	o = o.orDefaults()
	names, err := list(o.Dir, o.Owner)
	if err != nil {
		return actuators.Verb{}, fmt.Errorf("scripts: %w", err)
	}
	if len(names) == 0 {
		names = []string{""} // an empty list of choices would mean any text
	}
	return actuators.Verb{
		Name: "script",
		Help: "run an installed script",
		Params: []actuators.Param{
			{Name: "name", Kind: actuators.Text, Required: true, Choices: names, Help: "which script"},
			{Name: "args", Kind: actuators.List, Most: argumentMost, Help: "its arguments, as they are"},
		},
		Class: actuators.Repair,
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			release, err := o.take(ctx)
			if err != nil {
				return nil, err
			}
			defer release()
			return o.run(ctx, args.Text("name"), args.List("args"))
		},
	}, nil
}

func (o Options) orDefaults() Options {
	if o.Limit == 0 {
		o.Limit = time.Minute
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if o.Turn == nil {
		o.Turn = make(chan struct{}, 1)
	}
	return o
}

// take waits for the turn of this run, and returns what ends it.
func (o Options) take(ctx context.Context) (release func(), err error) {
	select {
	case o.Turn <- struct{}{}:
		return func() { <-o.Turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("script: wait for another: %w", context.Cause(ctx))
	}
}

// All runs every script of a directory, in the order of their names, with the same arguments, until one does not
// succeed: the error names it and says how it ended and what it printed last. A directory that is not there has none.
func All(ctx context.Context, o Options, args ...string) error {
	o = o.orDefaults()
	names, err := list(o.Dir, o.Owner)
	if err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	for _, name := range names {
		release, err := o.take(ctx)
		if err != nil {
			return err
		}
		result, err := o.run(ctx, name, args)
		release()
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

func (o Options) run(ctx context.Context, name string, args []string) (actuators.Result, error) {
	path, err := find(o.Dir, name, o.Owner)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", name, err)
	}
	began := o.Clock.Now()
	end, err := o.execute(ctx, path, args)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", name, err)
	}
	result := actuators.Result{
		"name":      name,
		"exit_code": end.code,
		"seconds":   o.Clock.Now().Sub(began).Seconds(),
		"output":    strings.ToValidUTF8(string(end.output), "\uFFFD"),
		"cut":       end.cut,
	}
	switch {
	case end.why != nil:
		return result, fmt.Errorf("script %s: %w", name, end.why)
	case end.code != 0:
		return result, fmt.Errorf("script %s: %s", name, end.status)
	}
	return result, nil
}

var errLate = errors.New("stopped at its time limit")
