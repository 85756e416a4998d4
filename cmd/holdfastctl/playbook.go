package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/playbooks"
	"holdfast/remediate"
)

func newPlaybook(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "playbook",
		Short: "Check playbooks, and tell what they would do",
		Long: `A playbook says what a device does about one fault, mildest first. These commands read files of playbooks as a device does,
without one. Which units, files, interfaces and scripts there are only the device knows: its log says which playbooks are not in
force there, and why.`,
		Example: "  holdfastctl playbook check playbooks.d/*.toml\n  holdfastctl playbook explain playbooks.d/mem_leak.toml",
	}
	cmd.AddCommand(newPlaybookCheck(c), newPlaybookExplain(c))
	return cmd
}

const playbookHint = "docs/playbooks.md has every key"

func newPlaybookCheck(c *connection) *cobra.Command {
	var pedantic bool
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "Read playbooks, and tell what is wrong", Args: cobra.MinimumNArgs(1), ValidArgsFunction: fileArgs("toml"),
		Long: `check reads files strictly: unknown keys, wrong types, numbers out of range, a milder rung after a harder one, a restart of
the device for what is wrong beyond it, places for values that are none, and two playbooks for one fault are errors. The
precondition and the symptom are compiled.

It warns of values that the precondition does not have. The rule that names the fault may have them.`,
		Example: "  holdfastctl playbook check playbooks.d/*.toml\n  holdfastctl playbook check --json mem_leak.toml",
	}
	cmd.Flags().BoolVar(&pedantic, "strict", false, "exit 1 for a warning, too")
	cmd.RunE = deed(func(cmd *cobra.Command, files []string) error {
		report, err := playbooks.Check(files)
		if err != nil {
			err = fmt.Errorf("playbook check: %w", err)
			if errors.Is(err, syscall.EISDIR) {
				err = hinted(err, "name its files: holdfastctl playbook check "+files[0]+"/*.toml")
			}
			return err
		}
		if c.json {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			err = showPlaybooks(cmd, report)
		}
		switch {
		case err != nil:
			return err
		case report.Broken():
			return hinted(errors.New("playbook check: not all would be in force; a device leaves those that are wrong out"), playbookHint)
		case pedantic && len(report.Problems) > 0:
			return errors.New("playbook check: there are warnings")
		}
		return nil
	})
	return cmd
}

func showPlaybooks(cmd *cobra.Command, report *playbooks.Report) error {
	out := cmd.OutOrStdout()
	for _, p := range report.Playbooks {
		fmt.Fprintf(out, "%s  %s\n", p.Fault, p.File)
		for i, r := range p.Rungs {
			fmt.Fprintf(out, "  %d  %-12s %s\n", i+1, r.Name, r.Do)
		}
	}
	for _, p := range report.Problems {
		if _, err := fmt.Fprintln(cmd.ErrOrStderr(), message.Clean(p.String(), 4000)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d playbooks are right\n", len(report.Playbooks))
	return err
}

func newPlaybookExplain(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain FILE", Short: "Tell in words what a playbook would do", Args: cobra.ExactArgs(1), ValidArgsFunction: fileArgs("toml"),
		Example: "  holdfastctl playbook explain playbooks.d/mem_leak.toml",
	}
	cmd.RunE = deed(func(cmd *cobra.Command, files []string) error {
		p, err := playbooks.Read(files[0])
		if err == nil {
			err = remediate.CheckPlaybook(p)
		}
		if err != nil {
			return hinted(fmt.Errorf("playbook explain: %w", err), playbookHint)
		}
		if c.json {
			report, err := playbooks.Check(files)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), report.Playbooks[0])
		}
		for _, line := range playbooks.Explain(p) {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), message.Clean(line, 8000)); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}
