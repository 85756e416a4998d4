package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"holdfast/update/bsdiff"
)

func newCreate() *cobra.Command {
	var codec, manifest string
	var verify bool
	cmd := &cobra.Command{
		Use:     "create OLD NEW PATCH",
		Short:   "Make the patch that turns one image into another",
		Example: "  holdfastctl delta create old.img new.img update.hfd --manifest update.json --verify",
		Args:    cobra.ExactArgs(3),
	}
	cmd.Flags().StringVar(&codec, "codec", "zstd", "zstd: smallest, for devices; bzip2: for icedream/go-bsdiff too")
	cmd.Flags().StringVar(&manifest, "manifest", "", "write sizes, hashes and the segment table to `FILE`, to be signed")
	cmd.Flags().BoolVar(&verify, "verify", false, "apply the patch and compare; a bzip2 one with icedream/go-bsdiff as well")
	check := cobra.ExactArgs(3)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if _, err := bsdiff.ParseCodec(codec); err != nil {
			return fmt.Errorf("--codec %s: it is zstd or bzip2", codec)
		}
		return check(cmd, args)
	}
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		c, err := bsdiff.ParseCodec(codec)
		if err != nil {
			return err
		}
		return create(cmd, args[0], args[1], args[2], manifest, c, verify)
	})
	return cmd
}

func newFull() *cobra.Command {
	return &cobra.Command{
		Use:   "full IMAGE OUT",
		Short: "Make the full image that any segment can be fetched from",
		Long: `A full image is a patch over nothing: the same container and the same segments, so that a device whose old image has
decayed fetches just the segments that did not come out right.`,
		Example: "  holdfastctl delta full new.img new.hfd",
		Args:    cobra.ExactArgs(2),
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			return create(cmd, "", args[0], args[1], "", bsdiff.Zstd, false)
		}),
	}
}

// create makes a patch, from nothing where oldPath is empty.
func create(cmd *cobra.Command, oldPath, newPath, patchPath, manifestPath string, c bsdiff.Codec, verify bool) error {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // large tables live long: waiting for their size again wastes it
	ctx := cmd.Context()
	old := &image{Reader: bsdiff.Reader{ReaderAt: bytes.NewReader(nil)}}
	if oldPath != "" {
		var err error
		if old, err = openImage(oldPath); err != nil {
			return err
		}
		defer old.Close()
	}
	neu, err := openImage(newPath)
	if err != nil {
		return err
	}
	defer neu.Close()
	out, err := newOutput(patchPath)
	if err != nil {
		return err
	}
	defer out.drop()
	step, end := progress(cmd.ErrOrStderr(), "creating")
	m, err := bsdiff.Create(ctx, old.Reader, neu.Reader, out, bsdiff.Options{Codec: c, Progress: step})
	end()
	if err != nil {
		return err
	}
	if verify {
		if err := check(cmd, old, m, out); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	if manifestPath != "" {
		if err := writeManifest(m, manifestPath); err != nil {
			return err
		}
	}
	if err := out.finish(); err != nil {
		return err
	}
	with := "bzip2"
	if c == bsdiff.Zstd {
		with = bsdiff.ZstdLibrary
	}
	patchBytes := max(m.PatchBytes(), 24)
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s bytes, %s of the image's %s; %d segments; %s\n", patchPath, thousands(patchBytes),
		percent(patchBytes, m.New.Bytes), thousands(m.New.Bytes), len(m.Segments), with)
	return nil
}

func writeManifest(m *bsdiff.Manifest, path string) error {
	text, err := m.Encode()
	if err != nil {
		return err
	}
	out, err := newOutput(path)
	if err != nil {
		return err
	}
	defer out.drop()
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return out.finish()
}

// check applies a patch with our applier, which compares each segment's hash, and a bzip2 one with icedream's.
func check(cmd *cobra.Command, old *image, m *bsdiff.Manifest, patch *output) error {
	ctx := cmd.Context()
	step, end := progress(cmd.ErrOrStderr(), "verifying")
	defer end()
	a := &bsdiff.Applier{Manifest: m, Old: old, New: nowhere{}}
	if err := a.Run(ctx, 0, bsdiff.RangeOf(patch), nil, func(next int) error {
		step(int64(next), int64(len(m.Segments)))
		return nil
	}); err != nil {
		return err
	}
	if m.Codec != bsdiff.Bzip2 {
		return nil
	}
	return checkIcedream(ctx, cmd.ErrOrStderr(), old, m, patch)
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// icedreamBytes is the largest image icedream's C code is asked about: it counts in ints, and holds both images.
const icedreamBytes = 1 << 30

// askIcedream says why not, where icedream would panic or would not fit.
func askIcedream(m *bsdiff.Manifest) error {
	switch {
	case m.Old.Bytes == 0 || m.New.Bytes == 0:
		return errors.New("it cannot take an empty image")
	case m.Old.Bytes > icedreamBytes || m.New.Bytes > icedreamBytes:
		return errors.New("it holds both images in memory, and these are larger than 1 GiB")
	}
	return nil
}

func checkIcedream(ctx context.Context, note io.Writer, old *image, m *bsdiff.Manifest, patch *output) error {
	if err := askIcedream(m); err != nil {
		fmt.Fprintf(note, "note: not applied with icedream/go-bsdiff: %v\n", err)
		return nil
	}
	if !haveIcedream {
		fmt.Fprintln(note, "note: not applied with icedream/go-bsdiff: this program was built without cgo")
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sum, err := icedreamSum(io.NewSectionReader(old, 0, old.Bytes), io.NewSectionReader(patch, 0, m.PatchBytes()))
	if err != nil {
		return fmt.Errorf("icedream/go-bsdiff: %w", err)
	}
	if sum != m.New.SHA256 {
		return errors.New("icedream/go-bsdiff makes another image of it")
	}
	return nil
}

// openPatch opens a patch of any kind.
func openPatch(path string) (*image, bsdiff.Kind, error) {
	p, err := openImage(path)
	if err != nil {
		return nil, "", err
	}
	kind, err := bsdiff.Identify(p.Reader)
	if err != nil {
		p.Close()
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return p, kind, nil
}
