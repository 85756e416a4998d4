package delta

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/update/bsdiff"
)

// facts are what a patch says of itself. Hashes are absent where it has none.
type facts struct {
	Kind       string  `json:"kind"`
	PatchBytes int64   `json:"patch_bytes"`
	OldBytes   *int64  `json:"old_bytes,omitempty"`
	OldSHA256  string  `json:"old_sha256,omitempty"`
	NewBytes   int64   `json:"new_bytes"`
	NewSHA256  string  `json:"new_sha256,omitempty"`
	Segments   int     `json:"segments,omitempty"`
	SpanBytes  int64   `json:"span_bytes,omitempty"`
	BlockBytes int64   `json:"block_bytes,omitempty"`
	Largest    int64   `json:"largest_segment_bytes,omitempty"`
	Ratio      float64 `json:"ratio"`
}

func newInfo() *cobra.Command {
	return &cobra.Command{
		Use:     "info PATCH",
		Short:   "Say what a patch is, and what it was made from",
		Example: "  holdfastctl delta info update.hfd",
		Args:    cobra.ExactArgs(1),
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			f, err := look(args[0])
			if err != nil {
				return err
			}
			if wish := cmd.Flag("json"); wish != nil && wish.Value.String() == "true" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(f)
			}
			return f.print(cmd.OutOrStdout())
		}),
	}
}

func look(path string) (*facts, error) {
	patch, kind, err := openPatch(path)
	if err != nil {
		return nil, err
	}
	defer patch.Close()
	f := &facts{Kind: string(kind), PatchBytes: patch.Bytes}
	if kind == bsdiff.KindZstd {
		m, err := bsdiff.ReadContainer(patch, patch.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.OldBytes, f.NewBytes = &m.Old.Bytes, m.New.Bytes
		f.Segments, f.SpanBytes, f.BlockBytes = len(m.Segments), m.SpanBytes(), m.BlockBytes
		for _, s := range m.Segments {
			f.Largest = max(f.Largest, s.Length)
		}
		if !m.Unhashed {
			f.OldSHA256, f.NewSHA256 = fmt.Sprintf("%x", m.Old.SHA256), fmt.Sprintf("%x", m.New.SHA256)
		}
	} else if f.NewBytes, err = bsdiff.ForeignBytes(patch.Reader); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.NewBytes > 0 {
		f.Ratio = float64(f.PatchBytes) / float64(f.NewBytes)
	}
	return f, nil
}

func (f *facts) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "kind\t%s\n", f.Kind)
	fmt.Fprintf(w, "patch\t%s bytes, %s of the new image\n", thousands(f.PatchBytes), percent(f.PatchBytes, f.NewBytes))
	switch {
	case f.OldBytes == nil:
		fmt.Fprintln(w, "old\tnot said")
	case *f.OldBytes == 0:
		fmt.Fprintln(w, "old\tnone: this is a full image")
	default:
		fmt.Fprintf(w, "old\t%s bytes%s\n", thousands(*f.OldBytes), hash(f.OldSHA256))
	}
	fmt.Fprintf(w, "new\t%s bytes%s\n", thousands(f.NewBytes), hash(f.NewSHA256))
	if f.Segments > 0 {
		fmt.Fprintf(w, "segments\t%d of %s bytes, the largest %s in the patch\n", f.Segments, thousands(f.SpanBytes), thousands(f.Largest))
	}
	return w.Flush()
}

func hash(sum string) string {
	if sum == "" {
		return ", no hash"
	}
	return ", SHA-256 " + sum
}

func newConvert() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "convert IN OUT --to KIND",
		Short: "Write a patch as another kind",
		Long: `Neither image is needed. Hashes are kept where both kinds have them; a zstd patch made from one without is marked so,
and no device takes it.`,
		Example: "  holdfastctl delta convert update.hfd update.bsdiff --to bsdiff40",
	}
	cmd.Flags().StringVar(&to, "to", "", "zstd, bzip2 (icedream/go-bsdiff) or bsdiff40 (bspatch)")
	_ = cmd.MarkFlagRequired("to")
	check := cobra.ExactArgs(2)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch bsdiff.Kind(to) {
		case bsdiff.KindZstd, bsdiff.KindBzip2, bsdiff.KindBsdiff40, "":
			return check(cmd, args)
		}
		return fmt.Errorf("--to %s: it is zstd, bzip2 or bsdiff40", to)
	}
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		in, _, err := openPatch(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := newOutput(args[1])
		if err != nil {
			return err
		}
		defer out.drop()
		if err := bsdiff.Convert(cmd.Context(), in.Reader, bsdiff.Kind(to), out); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := out.finish(); err != nil {
			return err
		}
		info, err := look(args[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s bytes of %s\n", args[1], thousands(info.PatchBytes), to)
		return nil
	})
	return cmd
}
