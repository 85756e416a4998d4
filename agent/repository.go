package agent

import (
	"context"
	"errors"
	"io"
)

// ErrAbsent means that a repository has no such file.
var ErrAbsent = errors.New("no such file in the repository")

// A Repository is where the files of releases are. What it gives is not believed by anybody.
type Repository interface {
	// Open opens a file from an offset on. name is a relative path of letters, digits and ._+-/ without dot-dot. The error
	// is ErrAbsent when there is no such file; any other may pass. Reading ends with ctx.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
}
