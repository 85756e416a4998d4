package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
)

func newReleaseKeys(r *release) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Make, list and export the keys that sign releases",
		Long: `A key is two files in the directory of keys: ROLE-ID.age, which age opens too, and ROLE-ID.pub, which is no secret. To move one
to another machine, move both.`,
		Example: "  holdfastctl release keys list repo\n  holdfastctl release keys new --role root",
	}
	cmd.AddCommand(newKeysList(r), newKeysNew(r), newKeysExport(r), newKeysPassphrase(r))
	return cmd
}

func newKeysList(r *release) *cobra.Command {
	return &cobra.Command{
		Use: "list [DIR]", Short: "List the keys that are here, and those a repository wants", Args: cobra.MaximumNArgs(1),
		Example: "  holdfastctl release keys list repo",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			ring, err := r.ring(cmd)
			if err != nil {
				return err
			}
			keys, err := ring.List()
			if err != nil {
				return err
			}
			var seats []repo.Seat
			if len(args) > 0 {
				rp, err := r.repo(cmd, args[0])
				if err != nil {
					return err
				}
				if seats, err = rp.Seats(); err != nil {
					return err
				}
			}
			return r.showKeys(cmd, keys, seats, len(args) > 0)
		}),
	}
}

type keyLine struct {
	Role string `json:"role"`
	ID   string `json:"id"`
	Here bool   `json:"here"`
	Used string `json:"used,omitempty"`
}

func (r *release) showKeys(cmd *cobra.Command, keys []keyring.Key, seats []repo.Seat, known bool) error {
	var lines []keyLine
	here := map[string]bool{}
	for _, k := range keys {
		here[k.ID] = true
	}
	used := map[string]bool{}
	for _, s := range seats {
		used[s.ID] = true
		lines = append(lines, keyLine{s.Role, s.ID, here[s.ID], fmt.Sprintf("%d of %d sign", s.Threshold, s.Of)})
	}
	for _, k := range keys {
		if !used[k.ID] {
			line := keyLine{Role: k.Role, ID: k.ID, Here: true}
			if known {
				line.Used = "not used"
			}
			lines = append(lines, line)
		}
	}
	if r.json {
		for _, l := range lines {
			if err := printJSON(cmd.OutOrStdout(), l); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, l := range lines {
		where := "here"
		if !l.Here {
			where = "elsewhere"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Role, l.ID, where, l.Used)
	}
	return w.Flush()
}

func newKeysNew(r *release) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "new --role ROLE", Short: "Make a key", Args: cobra.NoArgs,
		Long:    "new makes a key for a role. Give its .pub to whoever calls `release init` or `release rotate`, with --key.",
		Example: "  holdfastctl release keys new --role root",
	}
	cmd.Flags().StringVar(&role, "role", "", "root, targets, snapshot, timestamp or content")
	_ = cmd.MarkFlagRequired("role")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		ring, err := r.ring(cmd)
		if err != nil {
			return err
		}
		k, err := ring.New(role)
		if err != nil {
			return fmt.Errorf("release keys new: %w", err)
		}
		if r.json {
			return printJSON(cmd.OutOrStdout(), keyLine{Role: k.Role, ID: k.ID, Here: true})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  key of role %s in %s\n", k.ID, k.Role, ring.Dir)
		return err
	})
	return cmd
}

func newKeysExport(r *release) *cobra.Command {
	return &cobra.Command{
		Use: "export KEYID", Short: "Print the public half of a key", Args: cobra.ExactArgs(1),
		Example: "  holdfastctl release keys export 3f2a9c > ann.pub",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			ring, err := r.ring(cmd)
			if err != nil {
				return err
			}
			keys, err := ring.List()
			if err != nil {
				return err
			}
			var found []keyring.Key
			for _, k := range keys {
				if strings.HasPrefix(k.ID, args[0]) {
					found = append(found, k)
				}
			}
			if len(found) != 1 {
				return hinted(fmt.Errorf("key %s: %d keys here are called so", args[0], len(found)), "holdfastctl release keys list")
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), found[0].Text())
			return err
		}),
	}
}

func newKeysPassphrase(r *release) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "passphrase", Short: "Change the passphrase of the keys that are here", Args: cobra.NoArgs,
		Example: "  holdfastctl release keys passphrase",
	}
	cmd.Flags().StringVar(&file, "new-passphrase-file", "", "`FILE` whose first line is the new one")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		ring, err := r.ring(cmd)
		if err != nil {
			return err
		}
		if _, err := os.Stat(ring.Dir); err != nil {
			return err
		}
		fresh, err := passphrase(cmd, "the keys from now on", file, true, true)
		if err != nil {
			return err
		}
		n, err := ring.Change(fresh)
		if err != nil {
			return fmt.Errorf("release keys passphrase: %d keys are changed: %w", n, err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d keys changed\n", n)
		return err
	})
	return cmd
}

func newReleaseOperators(r *release) *cobra.Command {
	return &cobra.Command{
		Use: "operators DIR FILE", Short: "Stage the list of those whose signed commands devices obey", Args: cobra.ExactArgs(2),
		Long: `operators stages FILE as operators.json, in place of the one before. Each operator has a name, an Ed25519 key in hexadecimal
and the verbs it may use; docs/trust.md has an example. It is signed and published as a release is.`,
		Example: "  holdfastctl release operators repo operators.json",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			rp, err := r.repo(cmd, args[0])
			if err != nil {
				return err
			}
			text, err := os.ReadFile(args[1])
			if err != nil {
				return err
			}
			if err := rp.SetOperators(text); err != nil {
				return fmt.Errorf("release operators: %w", err)
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"staged": args[1]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "operators.json is staged\nnext: holdfastctl release sign %s\n", args[0])
			return err
		}),
	}
}
