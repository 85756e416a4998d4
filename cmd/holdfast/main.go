// Command holdfast is the agent: it measures the board it runs on, keeps its shadow, obeys commands, and loses nothing
// when the link goes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"holdfast/cmd/internal/config"
)

// version is set by the linker.
var version = "dev"

// builtAt is when, in seconds since 1970; set by the linker, too.
var builtAt = ""

// built is a time that has certainly passed; zero when the program was built without a word about it.
func built() time.Time {
	n, err := strconv.ParseInt(builtAt, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// Exit codes of both programs.
const (
	exitDone    = 0
	exitFailed  = 1 // the deed did not succeed
	exitUsage   = 2 // wrong usage or configuration
	exitTimeout = 3 // nobody answered in time
	exitNothing = 4 // there is nothing to do, by the configuration
)

// A hinted error knows what to do next.
type hinted struct {
	error
	hint string
	exit int
}

func (h hinted) Unwrap() error { return h.error }

// command is one of the program's verbs.
type command struct {
	name, short string
	run         func(ctx context.Context, args []string, std streams) error
}

type streams struct{ out, err io.Writer }

func commands() []command {
	return []command{
		{"run", "measure, keep the shadow, obey commands", runCommand},
		{"warden", "do what needs power, on behalf of run", wardenCommand},
		{"lines", "own the GPIO lines, and keep the outputs safe without run", linesCommand},
		{"launch", "begin a start of the agent; its unit does that", launchCommand},
		{"update", "move this board to another release, without a server", updateCommand},
		{"status", "show what the running agent does", statusCommand},
		{"doctor", "find what is wrong, and say what to do", doctorCommand},
		{"version", "print the version", versionCommand},
	}
}

const usage = `holdfast keeps a Linux board within reach of its cloud.

Usage:
  holdfast COMMAND [flags]

Commands:
%s
Examples:
  holdfast run --config /etc/holdfast/holdfast.toml
  holdfast run --single --broker mqtt://127.0.0.1:1883   one process, nothing installed
  holdfast status
  holdfast doctor

holdfast COMMAND --help tells more.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(dispatch(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// dispatch runs one command and returns the exit code.
func dispatch(ctx context.Context, args []string, std streams) int {
	var lines string
	for _, c := range commands() {
		lines += fmt.Sprintf("  %-8s %s\n", c.name, c.short)
	}
	if len(args) == 0 {
		fmt.Fprintf(std.err, usage, lines)
		return exitUsage
	}
	name, rest := args[0], args[1:]
	if name == "-h" || name == "--help" || name == "help" {
		fmt.Fprintf(std.out, usage, lines)
		return exitDone
	}
	if name == "--version" {
		name = "version"
	}
	for _, c := range append(commands(), errands()...) {
		if c.name == name {
			return explain(std.err, name, c.run(ctx, rest, std))
		}
	}
	fmt.Fprintf(std.err, "holdfast: no such command %q\nhint: holdfast --help lists them\n", name)
	return exitUsage
}

// explain prints an error for the operator and returns its exit code.
func explain(w io.Writer, name string, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	}
	var told verdict
	if errors.As(err, &told) {
		return int(told)
	}
	code := exitFailed
	fmt.Fprintf(w, "holdfast: %s: %v\n", name, err)
	var bad *config.Error
	if errors.As(err, &bad) {
		code = exitUsage
	}
	for _, h := range hints(err) {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
	var h hinted
	if errors.As(err, &h) && h.exit != 0 {
		code = h.exit
	}
	return code
}

// hints collects the hints of every error that is wrapped or joined in err.
func hints(err error) []string {
	var out []string
	switch e := err.(type) {
	case hinted:
		if e.hint != "" {
			out = append(out, e.hint)
		}
	case *config.Error:
		if e.Hint != "" {
			out = append(out, e.Hint)
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			out = append(out, hints(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, hints(inner)...)
		}
	}
	return out
}

// flags makes a flag set that prints help to std.out and errors as the rest of the program does.
func flags(name, synopsis, example string, std streams) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fs.SetOutput(std.out)
		fmt.Fprintf(std.out, "holdfast %s: %s\n\nUsage:\n  holdfast %s [flags]\n\nFlags:\n", name, synopsis, name)
		fs.PrintDefaults()
		fmt.Fprintf(std.out, "\nExample:\n  %s\n", example)
	}
	return fs
}

// parse reads the flags; anything left over is wrong.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return hinted{err, "holdfast " + fs.Name() + " --help lists the flags", exitUsage}
	}
	if fs.NArg() > 0 {
		return hinted{fmt.Errorf("unexpected argument %q", fs.Arg(0)), "holdfast " + fs.Name() + " --help", exitUsage}
	}
	return nil
}

func versionCommand(_ context.Context, args []string, std streams) error {
	fs := flags("version", "print the version", "holdfast version", std)
	if err := parse(fs, args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, "holdfast", version)
	return err
}
