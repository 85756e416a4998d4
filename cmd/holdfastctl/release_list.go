package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update/trust"
)

func newReleaseList(r *release) *cobra.Command {
	return &cobra.Command{
		Use: "list DIR", Short: "List the releases", Args: cobra.ExactArgs(1),
		Example: "  holdfastctl release list repo",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			rp, err := r.repo(cmd, args[0])
			if err != nil {
				return err
			}
			all, err := rp.Releases()
			if err != nil {
				return fmt.Errorf("release list: %w", err)
			}
			if r.json {
				for _, l := range all {
					if err := printJSON(cmd.OutOrStdout(), listedJSON(l)); err != nil {
						return err
					}
				}
				return nil
			}
			return showListed(cmd.OutOrStdout(), all, time.Now())
		}),
	}
}

func listedJSON(l repo.Listed) map[string]any {
	full, deltas := sizesOf(l)
	waves := []map[string]any{}
	for _, w := range l.Wave {
		waves = append(waves, map[string]any{"after": w.After, "permille": w.Permille})
	}
	return map[string]any{"release": l.Name, "kind": l.Kind, "seq": l.Seq, "security_floor": l.Floor, "compatible": l.Compatible, "from": l.From,
		"full_bytes": full, "delta_bytes": deltas, "wave": waves, "min_agent": l.MinAgent.String(), "issued": l.Issued,
		"downgrade_max_seq": l.DowngradeMaxSeq, "staged": l.Staged}
}

// sizesOf adds a release's parts up: the full images, and the deltas, from the one that is least to the one that is most.
func sizesOf(l repo.Listed) (full int64, deltas []int64) {
	deltas = []int64{}
	for _, p := range l.Manifest.Parts {
		full += p.Full.Bytes
		for _, d := range p.Deltas {
			deltas = append(deltas, d.Bytes)
		}
	}
	slices.Sort(deltas)
	return full, deltas
}

func showListed(out io.Writer, all []repo.Listed, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no releases")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RELEASE\tKIND\tSEQ\tFLOOR\tBOARDS\tFULL\tDELTAS\tFROM\tOPEN TO\t")
	for _, l := range all {
		full, deltas := sizesOf(l)
		sizes := make([]string, len(deltas))
		for i, d := range deltas {
			sizes[i] = sizeText(d)
		}
		open := openTo(l.Wave, now)
		if l.Staged {
			open = "staged"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", l.Name, l.Kind, l.Seq, l.Floor, strings.Join(l.Compatible, " "), sizeText(full),
			cmp.Or(strings.Join(sizes, " "), "-"), cmp.Or(strings.Join(l.From, " "), "-"), open)
	}
	return w.Flush()
}

func openTo(wave []trust.Wave, now time.Time) string {
	open, next := 0, ""
	if len(wave) == 0 {
		open = 1000
	}
	for _, w := range wave {
		if !now.Before(w.After) {
			open = w.Permille
		} else if next == "" {
			next = fmt.Sprintf(", %s %% from %s", strconv.FormatFloat(float64(w.Permille)/10, 'f', -1, 64), w.After.Format(time.RFC3339))
		}
	}
	return strconv.FormatFloat(float64(open)/10, 'f', -1, 64) + " %" + next
}

// sizeText prints a size in a few letters.
func sizeText(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"MB", 1_000_000}, {"kB", 1000}} {
		if n >= u.of {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
