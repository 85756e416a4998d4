// Package delta is the operator's `delta` commands: patches between images made, applied, looked at and converted.
package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"holdfast/update/bsdiff"
)

// Command returns `delta` with its commands. Their errors are Errors, except those cobra finds in the arguments, which
// are wrong usage.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delta",
		Short: "Make, apply and convert patches between images",
		Long: `A patch turns one image into another. Ours resume anywhere, notice a segment that does not come out right, and
are applied in a few megabytes of memory; bzip2 patches are also read by icedream/go-bsdiff, bsdiff40 ones by bspatch.`,
		Example: "  holdfastctl delta create old.img new.img update.hfd --manifest update.json --verify\n  holdfastctl delta apply old.img update.hfd new.img",
	}
	cmd.AddCommand(newCreate(), newApply(), newInfo(), newConvert(), newFull())
	return cmd
}

// An Error is a deed that did not succeed.
type Error struct {
	err  error
	hint string
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// ExitCode is the program's.
func (e *Error) ExitCode() int {
	if errors.Is(e.err, context.DeadlineExceeded) {
		return 3
	}
	return 1
}

// Hints are lines for the operator, of what to do next.
func (e *Error) Hints() []string {
	if e.hint == "" {
		return nil
	}
	return []string{e.hint}
}

// deed makes a cobra RunE of a function.
func deed(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := do(cmd, args)
		if err == nil {
			return nil
		}
		e := &Error{err: err}
		switch {
		case errors.Is(err, bsdiff.ErrOld):
			e.hint = "apply it to the image it was made from; `holdfastctl delta info` on the patch shows that image's SHA-256"
		case errors.Is(err, bsdiff.ErrOutput):
			e.hint = "the old image was written to or has decayed; a full image repairs it on a device, here take the original"
		case errors.Is(err, bsdiff.ErrStream), errors.Is(err, bsdiff.ErrFormat):
			e.hint = "fetch the patch again, or look at it with `holdfastctl delta info`"
		case errors.Is(err, fs.ErrPermission):
			e.hint = "check who owns the file or directory"
		}
		return e
	}
}

// thousands prints a number as people read it.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
