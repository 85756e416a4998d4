package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages", Args: cobra.ExactArgs(1),
		Long:    "man writes a page for every command, in section 1, to the directory.",
		Example: "  holdfastctl man /usr/local/share/man/man1",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			date := time.Unix(0, 0) // the same input makes the same pages
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Title: "HOLDFASTCTL", Section: "1", Source: "Holdfast", Date: &date}, args[0])
		}),
	}
}
