package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/rules"
	"holdfast/remediate/epl"
)

func newRules(c *connection) *cobra.Command {
	o := &rules.Options{}
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, try and measure rules",
		Long: `Devices notice what is wrong by rules in EPL, Esper's event processing language. These commands compile and run files of
rules as a device does, without one, over events in a file: a JSON object a line,

  {"type": "DeviceStatus", "time": "2026-01-02T03:04:05Z", "values": {"deviceId": "gate-7", "cpuUtilization": 95.5}}

with a time of RFC 3339 or in milliseconds. What is missing in values is null. A line without a type only moves the time.`,
		Example: "  holdfastctl rules check rules.d/*.epl\n  holdfastctl rules test hot.epl events.jsonl\n  holdfastctl rules explain hot.epl events.jsonl",
	}
	cmd.AddCommand(newRulesCheck(c, o), newRulesTest(c, o), newRulesExplain(c, o), newRulesFormat(), newRulesBench(c, o), newRulesReplay(c))
	return cmd
}

// ruleFlags are those that say what rules may name.
func ruleFlags(cmd *cobra.Command, o *rules.Options) {
	cmd.Flags().StringVar(&o.Types, "types", "", "`FILE` of event types beside the device's own: {\"Door\": {\"id\": \"string\", \"open\": \"boolean\"}}")
	cmd.Flags().Var(limits{o}, "limit", "`NAME=NUMBER` that limit('NAME') is, instead of a device's default; may be given again")
}

// limits is --limit.
type limits struct{ o *rules.Options }

func (l limits) String() string { return "" }
func (l limits) Type() string   { return "limit" }

func (l limits) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	var v float64
	if _, err := fmt.Sscanf(value+" .", "%g .", &v); !ok || name == "" || err != nil {
		return errors.New("wants NAME=NUMBER")
	}
	if l.o.Limits == nil {
		l.o.Limits = map[string]float64{}
	}
	l.o.Limits[name] = v
	return nil
}

// fileArgs completes files that end so.
func fileArgs(endings ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}

// rulesFailed gives an error the form that the commands share: a line for each thing that is wrong.
func rulesFailed(deed string, err error) error {
	broken := rules.Broken(nil)
	if errors.As(err, &broken) {
		return hinted(fmt.Errorf("rules %s: the rules do not compile:\n%w", deed, broken), "`holdfastctl rules check` says more; docs/rules.md has the language")
	}
	if errors.Is(err, rules.ErrOptions) {
		return usage("%w", err)
	}
	return fmt.Errorf("rules %s: %w", deed, err)
}

func newRulesCheck(c *connection, o *rules.Options) *cobra.Command {
	var pedantic bool
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "Compile rules, and tell what they do and hold", Args: cobra.MinimumNArgs(1), ValidArgsFunction: fileArgs("epl"),
		Long: `check compiles files, in the order that is given, and shows for each rule what it takes, what makes a row, and how much
memory it holds at most. Of what does not compile it says where and why.

It warns of what compiles and is likely not meant: a pattern that begins anew with each sample of a measure that stays
high, and a limit('…') that no device has.`,
		Example: "  holdfastctl rules check rules.d/*.epl\n  holdfastctl rules check --json hot.epl",
	}
	ruleFlags(cmd, o)
	cmd.Flags().BoolVar(&pedantic, "strict", false, "exit 1 for a warning, too")
	cmd.RunE = deed(func(cmd *cobra.Command, files []string) error {
		report, err := rules.Check(*o, files)
		if err != nil {
			return rulesFailed("check", err)
		}
		if c.json {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			err = showChecked(cmd, report)
		}
		switch {
		case err != nil:
			return err
		case report.Broken():
			return hinted(errors.New("rules check: the rules do not compile; a device would keep those it has"), "docs/rules.md has the language")
		case pedantic && len(report.Problems) > 0:
			return errors.New("rules check: there are warnings")
		}
		return nil
	})
	return cmd
}

func showChecked(cmd *cobra.Command, report *rules.Report) error {
	out := cmd.OutOrStdout()
	for _, r := range report.Rules {
		fmt.Fprintf(out, "%s  %s:%d\n", r.Name, r.File, r.Line)
		fmt.Fprintf(out, "  %-8s %s\n", r.Kind, r.From)
		fmt.Fprintf(out, "  takes    %s\n  row of   %s: %s\n", strings.Join(r.Types, ", "), r.Rows, strings.Join(r.Columns, ", "))
		if r.Output != "" {
			fmt.Fprintf(out, "  output   %s\n", r.Output)
		}
		if r.Into != "" {
			fmt.Fprintf(out, "  becomes  %s\n", r.Into)
		}
		fmt.Fprintf(out, "  memory   %s at most\n", sizeText(int64(r.MaxBytes)))
		for _, name := range sortedKeys(r.Annotations) {
			if name != "name" {
				fmt.Fprintf(out, "  %-8s %s\n", "@"+name, r.Annotations[name])
			}
		}
	}
	for _, p := range report.Problems {
		if _, err := fmt.Fprintln(cmd.ErrOrStderr(), message.Clean(p.String(), 4000)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d rules, %s at most\n", len(report.Rules), sizeText(int64(report.MaxBytes)))
	return err
}

func newRulesFormat() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use: "fmt FILE...", Short: "Write rules in their canonical form", Args: cobra.MinimumNArgs(1), ValidArgsFunction: fileArgs("epl"),
		Long: `fmt prints files with a line for each clause and one space where there is one. Comments and line ends within a clause
stay. A column without a name of its own stays as it is written, since that is its name.`,
		Example: "  holdfastctl rules fmt hot.epl\n  holdfastctl rules fmt -w rules.d/*.epl",
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files anew instead, those that change; their names are printed")
	cmd.RunE = deed(func(cmd *cobra.Command, files []string) error {
		for _, path := range files {
			if err := formatFile(cmd.OutOrStdout(), path, write); err != nil {
				if told := (*epl.Error)(nil); errors.As(err, &told) {
					return hinted(fmt.Errorf("rules fmt: %w", err), "a file that does not compile is left as it is")
				}
				return rulesFailed("fmt", err)
			}
		}
		return nil
	})
	return cmd
}

func formatFile(out io.Writer, path string, write bool) error {
	text, err := rules.ReadFile(path)
	if err != nil {
		return err
	}
	formatted, err := epl.Format(path, text)
	if err != nil {
		return err
	}
	if !write {
		_, err = io.WriteString(out, formatted)
		return err
	}
	if formatted == text {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dirOf(path), ".holdfast-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(formatted)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

func newRulesReplay(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay FILE...", Short: "Compare the engine with observations of another", Args: cobra.MinimumNArgs(1), ValidArgsFunction: fileArgs("json", "gz"),
		Long: `replay runs the cases of files, JSON that may be compressed by gzip: statements, events, and what the listeners of an
engine were seen to be called with. It prints those that come out otherwise and why; the last line is "N of M cases agree".`,
		Example: "  holdfastctl rules replay own.json.gz grammar.json.gz",
	}
	cmd.RunE = deed(func(cmd *cobra.Command, files []string) error {
		out := cmd.OutOrStdout()
		agree, all := 0, 0
		for _, path := range files {
			a, n, err := rules.Replay(cmd.Context(), path, func(id, why string) {
				if c.json {
					_ = printJSON(out, map[string]string{"id": id, "why": why})
					return
				}
				fmt.Fprintf(out, "%s: %s\n", id, why)
			})
			if err != nil {
				return rulesFailed("replay", err)
			}
			agree, all = agree+a, all+n
		}
		fmt.Fprintf(out, "%d of %d cases agree\n", agree, all)
		if agree < all || all == 0 {
			return errTold // the last line is for machines
		}
		return nil
	})
	return cmd
}
