package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/repo"
)

func newReleaseVerify(r *release) *cobra.Command {
	c := repo.Check{}
	var root string
	cmd := &cobra.Command{
		Use: "verify DIR|URL", Short: "Walk a repository as devices do, and read all of it", Args: cobra.ExactArgs(1),
		Long: `verify has the device's own client and go-tuf's walk the metadata, and reads every payload: its length, its hash and the
checksum of each segment; with --deep also what each makes. Of a web server it asks for a part of a file, too, since
devices resume. It reads everything: of a large repository that takes a while.

Without --root the repository's own first root is believed. Give the file that devices have.`,
		Example: `  holdfastctl release verify repo --deep
  holdfastctl release verify https://updates.example.com --root root.json`,
	}
	cmd.Flags().StringVar(&root, "root", "", "`FILE` that devices trust from the beginning (default: the repository's 1.root.json)")
	cmd.Flags().BoolVar(&c.Deep, "deep", false, "make every image from its payloads and compare it")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		source, err := repo.NewSource(args[0])
		if err != nil {
			return err
		}
		c.Now, c.Progress = time.Now().UTC(), bar(cmd)
		if root != "" {
			if c.Root, err = os.ReadFile(root); err != nil {
				return err
			}
		}
		report, err := repo.Verify(cmd.Context(), source, c)
		if report == nil {
			return fmt.Errorf("release verify: %w", err)
		}
		if errShow := r.showReport(cmd, report); errShow != nil {
			return errShow
		}
		if err != nil {
			return fmt.Errorf("release verify: %w", err)
		}
		return nil
	})
	return cmd
}

func (r *release) showReport(cmd *cobra.Command, p *repo.Report) error {
	if r.json {
		return printJSON(cmd.OutOrStdout(), p)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, s := range p.Roles {
		fmt.Fprintf(w, "%s\t%d\tgood until %s, %d days\n", s.Role, s.Version, s.Expires.Format(time.DateOnly), int(time.Until(s.Expires)/day))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d releases, %d payloads of %s in all, %d decoded\n", len(p.Releases), p.Payloads, sizeText(p.Bytes), p.Decoded)
	if len(p.Problems) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "the device's client and go-tuf's take it")
	}
	return nil
}
