package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/rules"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func dirOf(path string) string { return filepath.Dir(path) }

// withEvents opens a file of events, or takes what comes on standard input for -.
func withEvents(cmd *cobra.Command, path string, f func(*rules.Reader) error) error {
	if path == "-" {
		return f(rules.NewReader("-", cmd.InOrStdin()))
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return f(rules.NewReader(path, file))
}

func newRulesTest(c *connection, o *rules.Options) *cobra.Command {
	var rest time.Duration
	cmd := &cobra.Command{
		Use: "test RULES... EVENTS", Short: "Run rules over events, and print what matches", Args: cobra.MinimumNArgs(2), ValidArgsFunction: fileArgs("epl", "jsonl"),
		Long: `test gives rules the events of a file, or of standard input for -, and prints a JSON line for all rows that a rule puts
out together: rule, time, new, and old where there are any. The rules begin at the time of the first event.`,
		Example: "  holdfastctl rules test hot.epl events.jsonl\n  holdfastctl rules test hot.epl edges.epl - --for 1h < events.jsonl",
	}
	ruleFlags(cmd, o)
	cmd.Flags().DurationVar(&rest, "for", 0, "how long the time goes on after the last event, for what waits")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		files, events := args[:len(args)-1], args[len(args)-1]
		if rest < 0 || rest > 366*24*time.Hour {
			return usage("--for %s: wants at most a year", rest)
		}
		var tally rules.Tally
		err := withEvents(cmd, events, func(r *rules.Reader) (err error) {
			tally, err = rules.Test(cmd.Context(), *o, files, r, rest, func(m rules.Match) error { return printJSON(cmd.OutOrStdout(), m) })
			return err
		})
		if err != nil {
			return rulesFailed("test", err)
		}
		return sayTally(cmd, c.json, tally)
	})
	return cmd
}

// sayTally tells what went on, beside the matches.
func sayTally(cmd *cobra.Command, asJSON bool, t rules.Tally) error {
	w := cmd.ErrOrStderr()
	if asJSON {
		return printJSON(w, t)
	}
	fmt.Fprintf(w, "%d events, %d matches\n", t.Events, t.Matches)
	if t.Backwards > 0 {
		fmt.Fprintf(w, "%d events are of a time before that of an earlier one: they were taken for as late as that\n", t.Backwards)
	}
	if t.Overflows > 0 {
		fmt.Fprintf(w, "%d things did not fit into what the rules may hold\n", t.Overflows)
	}
	return nil
}

func newRulesExplain(c *connection, o *rules.Options) *cobra.Command {
	var rest time.Duration
	var name string
	cmd := &cobra.Command{
		Use: "explain RULES... EVENTS", Short: "Tell step by step why a rule matches, or does not", Args: cobra.MinimumNArgs(2), ValidArgsFunction: fileArgs("epl", "jsonl"),
		Long: `explain gives rules the events of a file and tells of each: which filter it passed, or which condition was not true and
with what values; which parts of a pattern began, came true or ended; what an aggregate came to. At the end it counts
what stopped events most.`,
		Example: "  holdfastctl rules explain hot.epl events.jsonl\n  holdfastctl rules explain rules.d/*.epl events.jsonl --rule cpu-high --for 5m",
	}
	ruleFlags(cmd, o)
	cmd.Flags().DurationVar(&rest, "for", 0, "how long the time goes on after the last event, for what waits")
	cmd.Flags().StringVar(&name, "rule", "", "`NAME` of the only rule to tell of")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		files, events := args[:len(args)-1], args[len(args)-1]
		if rest < 0 || rest > 366*24*time.Hour {
			return usage("--for %s: wants at most a year", rest)
		}
		out := cmd.OutOrStdout()
		var failed error
		tell := func(t rules.Told) {
			var err error
			if c.json {
				err = printJSON(out, t)
			} else {
				_, err = fmt.Fprintln(out, message.Clean(t.String(), 4000))
			}
			failed = errors.Join(failed, err)
		}
		var outcomes []rules.Outcome
		err := withEvents(cmd, events, func(r *rules.Reader) (err error) {
			outcomes, err = rules.Explain(cmd.Context(), *o, files, r, name, rest, tell)
			return err
		})
		if err != nil {
			return rulesFailed("explain", err)
		}
		return errors.Join(failed, showOutcomes(out, c.json, outcomes))
	})
	return cmd
}

const shownStops = 5 // of each rule, on a terminal

func showOutcomes(out io.Writer, asJSON bool, outcomes []rules.Outcome) error {
	if asJSON {
		return printJSON(out, map[string]any{"outcomes": outcomes})
	}
	fmt.Fprintln(out)
	for _, o := range outcomes {
		if _, err := fmt.Fprintf(out, "%s matched %d times, and holds %d states and events\n", o.Rule, o.Matches, o.Holds); err != nil {
			return err
		}
		for _, s := range o.Stopped[:min(shownStops, len(o.Stopped))] {
			fmt.Fprintf(out, "  %d times stopped at %s, in %s\n", s.Times, s.Condition, s.Part)
		}
	}
	return nil
}

func newRulesBench(c *connection, o *rules.Options) *cobra.Command {
	var d time.Duration
	cmd := &cobra.Command{
		Use: "bench RULES... [EVENTS]", Short: "Measure what rules cost", Args: cobra.MinimumNArgs(1), ValidArgsFunction: fileArgs("epl", "jsonl"),
		Long: `bench runs each rule alone, with those that make the events it takes, and then all together, and prints the time and
allocations of an event, and memory. The last argument is a file of events where it ends in .jsonl; they are run through
again and again. Without one, events are made up: of 100 devices, 50 a second, with numbers spread over 0 to 100.

A figure holds for this machine; a board takes longer.`,
		Example: "  holdfastctl rules bench hot.epl\n  holdfastctl rules bench rules.d/*.epl events.jsonl --time 5s",
	}
	ruleFlags(cmd, o)
	cmd.Flags().DurationVar(&d, "time", time.Second, "how long to measure each")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		if d < time.Millisecond || d > time.Hour {
			return usage("--time %s: wants 1ms to 1h", d)
		}
		var costs []rules.Cost
		measure := func(files []string, r *rules.Reader) error {
			return rules.Bench(cmd.Context(), *o, files, r, d, func(cost rules.Cost) error {
				costs = append(costs, cost)
				if c.json {
					return printJSON(cmd.OutOrStdout(), cost)
				}
				return nil
			})
		}
		var err error
		if n := len(args) - 1; n > 0 && (args[n] == "-" || filepath.Ext(args[n]) == ".jsonl") {
			err = withEvents(cmd, args[n], func(r *rules.Reader) error { return measure(args[:n], r) })
		} else {
			err = measure(args, nil)
		}
		if err != nil {
			return rulesFailed("bench", err)
		}
		if c.json {
			return nil
		}
		return showCosts(cmd.OutOrStdout(), costs)
	})
	return cmd
}

func showCosts(out io.Writer, costs []rules.Cost) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rule\tns an event\tallocations\theld\tat most\tevents\tmatches\tdid not fit\t")
	for _, c := range costs {
		name := c.Rule
		if name == "" {
			name = "all together"
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%s\t%s\t%d\t%d\t%d\t\n", name, c.NanosPerEvent, c.AllocsPerEvent, sizeText(c.BytesHeld), sizeText(int64(c.MaxBytes)), c.Events, c.Matches, c.Overflows)
	}
	return w.Flush()
}
