package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/demo"
)

func newDemo(c *connection) *cobra.Command {
	var o demo.Options
	var logPath string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See all of it work on this machine, within a minute",
		Long: `demo runs a broker on loopback and an agent of this machine, with two simulated lines and a link that can be cut, and
tells what it does with them: telemetry arrives; a change is desired and applied, and a bad one refused; a relay is
switched; an input changes; a service leaks, the fault is named, and it is restarted; the link is cut for ten seconds; and a subscriber that knows nothing of the agent counts whether
any record is missing. Then a second board, in a process of its own with two files for slots, is updated by a delta; its power
is cut in the middle, and it goes on from there; a release that is no good is tried and rolled back. The agent measures the
machine and can change nothing on it. It needs Linux.

It ends by itself with a table. With --stay it is left running afterwards, to play with, until it is interrupted.

Exit codes: 0 all of it happened, 1 something did not; the table says what.`,
		Example: "  holdfastctl demo\n  holdfastctl demo --stay\n  holdfastctl demo --json | jq -r .seen",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&o.Stay, "stay", false, "leave it running afterwards, to play with")
	f.DurationVar(&o.Cut, "cut", 0, "how long the link is cut, 1s to 20s (default 10s)")
	f.DurationVar(&o.Limit, "limit", 55*time.Second, "the most it takes; a slow machine may want more, 10m at most")
	f.StringVar(&logPath, "log", "", "`FILE` for the log of agent and broker (default: a temporary one, kept if the demo fails)")
	f.BoolVar(&verbose, "verbose", false, "write that log to stderr instead")
	cmd.MarkFlagsMutuallyExclusive("log", "verbose")
	cmd.AddCommand(newDemoBoard(), newDemoLeak())
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Board, o.Leak = []string{self, "demo", "board"}, []string{self, "demo", "leak", strconv.Itoa(demo.LeakStep), "0"}
		if f.Changed("cut") && (o.Cut < demo.ShortestCut || o.Cut > demo.LongestCut) {
			return usage("--cut %s: wants %s to %s", o.Cut, demo.ShortestCut, demo.LongestCut)
		}
		if o.Limit < time.Second || o.Limit > 10*time.Minute {
			return usage("--limit %s: wants 1s to 10m", o.Limit)
		}
		o.Out, o.JSON, o.Version = cmd.OutOrStdout(), c.json, ownVersion()
		restore := func() {}
		if _, _, tty := terminal(o.Out); tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
			o.Color, restore = true, ansi(o.Out)
		}
		defer restore()
		done, err := demoLog(&o, logPath, verbose, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if !signal.Ignored(syscall.SIGHUP) { // as under nohup
			var stop context.CancelFunc
			ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP) // a terminal that is closed leaves no files behind
			defer stop()
		}
		_, err = demo.Run(ctx, o)
		done(err == nil)
		return demoHint(err, o.LogName)
	})
	return cmd
}

// newDemoBoard is a process that the demo starts, and kills.
func newDemoBoard() *cobra.Command {
	return &cobra.Command{
		Use:    "board FILE",
		Short:  "Be the board that the demo updates",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: deed(func(cmd *cobra.Command, words []string) error {
			return demo.Board(cmd.Context(), words[0], ownVersion(), cmd.ErrOrStderr())
		}),
	}
}

// newDemoLeak is a process that the demo has the agent look after.
func newDemoLeak() *cobra.Command {
	return &cobra.Command{
		Use:    "leak STEP BALLAST",
		Short:  "Be the service that has BALLAST bytes, and takes STEP more ten times a second, once it is told to",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: deed(func(cmd *cobra.Command, words []string) error {
			var bytes [2]int
			for i, word := range words {
				n, err := strconv.Atoi(word)
				if err != nil || n < 0 || n > 64<<20 {
					return usage("%s: wants 0 to 67108864 bytes", word)
				}
				bytes[i] = n
			}
			return demo.Leak(cmd.Context(), bytes[0], bytes[1])
		}),
	}
}

// demoLog opens the log. A temporary one is removed when all went well.
func demoLog(o *demo.Options, path string, verbose bool, errOut io.Writer) (done func(well bool), err error) {
	if verbose {
		o.Log = errOut
		return func(bool) {}, nil
	}
	var file *os.File
	if path != "" {
		file, err = os.Create(path)
	} else {
		file, err = os.CreateTemp("", "holdfast-demo-*.log")
	}
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	o.Log, o.LogName = file, file.Name()
	return func(well bool) {
		file.Close()
		if well && path == "" {
			os.Remove(file.Name())
		}
	}, nil
}

// demoHint says what to do about an error.
func demoHint(err error, log string) error {
	switch {
	case errors.Is(err, demo.ErrLinux):
		return hinted(err, "run it on a Linux machine, in a virtual one, or in a container; every other command works here")
	case errors.Is(err, demo.ErrFailed):
		f := &failure{code: exitFailed, err: err} // whatever it wraps: something did not happen
		if log != "" {
			f.hints = []string{"the agent's own words are in " + log}
		}
		return f
	}
	return err
}
