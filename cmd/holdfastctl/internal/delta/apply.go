package delta

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/update/bsdiff"
)

func newApply() *cobra.Command {
	return &cobra.Command{
		Use:   "apply OLD PATCH NEW",
		Short: "Make the new image from the old one and a patch",
		Long: `Patches of every kind are applied: ours, icedream/go-bsdiff's and bsdiff's. Where the patch has hashes, the old image
is checked before anything is written and the new one before it gets its name.`,
		Example: "  holdfastctl delta apply old.img update.hfd new.img",
		Args:    cobra.ExactArgs(3),
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			return apply(cmd, args[0], args[1], args[2])
		}),
	}
}

func apply(cmd *cobra.Command, oldPath, patchPath, newPath string) error {
	old, err := openImage(oldPath)
	if err != nil {
		return err
	}
	defer old.Close()
	patch, kind, err := openPatch(patchPath)
	if err != nil {
		return err
	}
	defer patch.Close()
	var m *bsdiff.Manifest
	if kind == bsdiff.KindZstd {
		if m, err = bsdiff.ReadContainer(patch, patch.Bytes); err != nil {
			return fmt.Errorf("%s: %w", patchPath, err)
		}
	}
	if m == nil || m.Unhashed {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s carries no hashes, so nothing vouches for the new image\n", patchPath)
	} else if err := m.CheckOld(cmd.Context(), old, old.Bytes); err != nil {
		return fmt.Errorf("%s: %w", oldPath, err)
	}
	out, err := newOutput(newPath)
	if err != nil {
		return err
	}
	defer out.drop()
	n, err := carryOut(cmd, old, patch, m, out)
	if err != nil {
		return fmt.Errorf("%s: %w", patchPath, err)
	}
	if !out.place {
		if err := out.Truncate(n); err != nil {
			return fmt.Errorf("write %s: %w", newPath, err)
		}
	}
	if err := out.finish(); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s bytes\n", newPath, thousands(n))
	return nil
}

// carryOut writes the new image and returns its size.
func carryOut(cmd *cobra.Command, old, patch *image, m *bsdiff.Manifest, out *output) (int64, error) {
	if m == nil {
		if out.place {
			return 0, fmt.Errorf("a patch without hashes is not written to %s: make a file first", out.path)
		}
		return bsdiff.ApplyForeign(cmd.Context(), old.Reader, patch.Reader, out)
	}
	step, end := progress(cmd.ErrOrStderr(), "applying")
	defer end()
	a := &bsdiff.Applier{Manifest: m, Old: old, New: out, Blank: !out.place}
	if out.place {
		a.Present = out
	}
	return m.New.Bytes, a.Run(cmd.Context(), 0, bsdiff.RangeOf(patch), nil, func(next int) error {
		begin(out.File)
		step(int64(next), int64(len(m.Segments)))
		return nil
	})
}
