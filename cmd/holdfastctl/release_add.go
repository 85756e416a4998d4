package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update/trust"
)

func newReleaseAdd(r *release) *cobra.Command {
	rel := repo.Release{}
	var kind string
	var images, waves []string
	var publish bool
	cmd := &cobra.Command{
		Use: "add DIR NAME/VERSION", Short: "Make a release of images and stage it", Args: cobra.ExactArgs(2),
		Long: `add makes the full images of a release and the deltas from releases before, and stages its description. The images of older
releases are made again from the repository: nothing else needs to be kept.

Waves open a release to a part of the fleet after another: --wave 2026-12-01T00:00:00Z=5 lets 5 % in from then on. Without,
it is open to all at once. They are signed with the release: to hurry one, make the next.`,
		Example: `  holdfastctl release add repo pump/1.4.0 --compatible acme,pump-2 --image root=root.img --image app=app.img
  holdfastctl release add repo pump/1.4.1 --compatible acme,pump-2 --image root=root.img --from pump/1.3.0 --from pump/1.4.0 \
    --wave 2026-12-01T00:00:00Z=5 --wave 2026-12-03T00:00:00Z=100 --publish`,
	}
	f := cmd.Flags()
	f.StringArrayVar(&rel.Compatible, "compatible", nil, "`BOARD` that may take it, such as acme,pump-2; may come more than once")
	f.StringArrayVar(&images, "image", nil, "`PART=FILE`: a part of the slot and the file or block device it becomes")
	f.Int64Var(&rel.Seq, "seq", 0, "number of the release, which devices only go up (default: the highest so far and 1)")
	f.Int64Var(&rel.Floor, "floor", 0, "number below which no device goes once it has taken this release (default: that of the release before, or 1)")
	f.StringArrayVar(&rel.From, "from", nil, "`RELEASE` to make a delta from; may come more than once (default: the last 2 with the same parts)")
	f.IntVar(&rel.FromNewest, "deltas", 2, "without --from: how many of the last releases deltas are made from")
	f.StringArrayVar(&waves, "wave", nil, "`TIME=PERCENT` of the fleet let in from a time on; may come more than once")
	f.StringVar(&rel.MinAgent, "min-agent", "", "oldest `VERSION` of holdfast that may take it, such as 1.4.0 (default: any)")
	f.Int64Var(&rel.Downgrade, "downgrade-max-seq", 0, "the permit to go down: devices that run at most this number may take it")
	f.StringVar(&kind, "kind", "system", "system, agent (the program on the device) or content")
	f.StringVar(&rel.Arch, "arch", "", "of an agent's program, such as armv7")
	f.BoolVar(&publish, "publish", false, "sign and publish at once")
	_ = cmd.MarkFlagRequired("compatible")
	_ = cmd.MarkFlagRequired("image")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		rel.Name, rel.Kind, rel.Progress = args[1], trust.Kind(kind), bar(cmd)
		if rel.MinAgent == "" && rel.Kind != trust.Content {
			rel.MinAgent = "0.0.0"
		}
		var err error
		if rel.Images, err = parseImages(images); err != nil {
			return err
		}
		if rel.Wave, err = parseWaves(waves); err != nil {
			return err
		}
		return r.add(cmd, args[0], rel, publish)
	})
	return cmd
}

func (r *release) add(cmd *cobra.Command, dir string, rel repo.Release, publish bool) error {
	rp, err := r.repo(cmd, dir)
	if err != nil {
		return err
	}
	added, err := rp.Add(cmd.Context(), rel)
	if err != nil {
		return fmt.Errorf("release add: %w", err)
	}
	if publish {
		return r.addPublish(cmd, rp, added)
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), added)
	}
	if err := showAdded(cmd.OutOrStdout(), added); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "next: holdfastctl release sign %s\n", dir)
	return err
}

func parseImages(texts []string) (images []repo.Image, err error) {
	for _, i := range texts {
		part, path, ok := strings.Cut(i, "=")
		if !ok || path == "" {
			return nil, usage("--image %s: wants PART=FILE", i)
		}
		images = append(images, repo.Image{Part: part, Path: path})
	}
	return images, nil
}

func (r *release) addPublish(cmd *cobra.Command, rp *repo.Repo, added *repo.Added) error {
	if _, err := rp.Sign("", false); err != nil {
		return fmt.Errorf("release add: %w", err)
	}
	p, err := rp.Publish()
	if err != nil {
		return fmt.Errorf("release add: %w", err)
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"added": added, "published": p})
	}
	if err := showAdded(cmd.OutOrStdout(), added); err != nil {
		return err
	}
	return r.showPublished(cmd, p)
}

func showAdded(out io.Writer, a *repo.Added) error {
	fmt.Fprintf(out, "%s  number %d, floor %d\n", a.Release, a.Seq, a.Floor)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "part\tfrom\tbytes\tof the image\t")
	for _, p := range a.Parts {
		share := func(n int64) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(p.Image)) }
		fmt.Fprintf(w, "%s\timage\t%d\t\t\n", p.Part, p.Image)
		fmt.Fprintf(w, "%s\tnothing\t%d\t%s\t\n", p.Part, p.Full, share(p.Full))
		for _, d := range p.Deltas {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t\n", p.Part, d.From, d.Bytes, share(d.Bytes))
		}
	}
	return w.Flush()
}

// parseWaves reads TIME=PERCENT, with at most one digit after the point.
func parseWaves(texts []string) (waves []trust.Wave, err error) {
	for _, text := range texts {
		at, share, _ := strings.Cut(text, "=")
		t, errTime := time.Parse(time.RFC3339, at)
		percent, errShare := strconv.ParseFloat(share, 64)
		if errTime != nil || errShare != nil || percent < 0 || percent > 100 || math.Abs(percent*10-math.Round(percent*10)) > 1e-9 {
			return nil, usage("--wave %s: wants a time and 0 to 100 percent, such as 2026-12-01T00:00:00Z=2.5", text)
		}
		waves = append(waves, trust.Wave{After: t.UTC(), Permille: int(math.Round(percent * 10))})
	}
	return waves, nil
}
