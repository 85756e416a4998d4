package envelope

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lockAge is when a lock was left behind by a process that is gone: nobody holds one longer than a moment.
const lockAge = 10 * time.Second

// Next returns the next sequence number of the issuer's commands to the device, and remembers it in dir before it
// returns, so that no number is used twice: not by two processes at once, and not after a crash.
func Next(ctx context.Context, dir, issuer, device string) (seq uint64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("sequence: %w", err)
	}
	path := filepath.Join(dir, url.PathEscape(issuer)+" "+url.PathEscape(device))
	if len(filepath.Base(path)) > 200 {
		return 0, fmt.Errorf("sequence: issuer %q is too long", issuer)
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return 0, err
	}
	defer unlock()
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("sequence: %w", err)
	default:
		if seq, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 53); err != nil {
			return 0, fmt.Errorf("sequence: %s does not hold a number", path)
		}
	}
	seq++
	return seq, replace(path, strconv.AppendUint(nil, seq, 10))
}

func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	defer os.Remove(f.Name()) // no longer there when all went well
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	return nil
}

func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
			return func() { os.Remove(path) }, nil
		}
		// Windows says "access denied" while another process is just removing it.
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("sequence: lock: %w", err)
		}
		if i, statErr := os.Stat(path); statErr == nil && time.Since(i.ModTime()) > lockAge {
			os.Remove(path)
			continue
		}
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("sequence: %s is held by another holdfastctl: %w", path, ctx.Err())
		}
	}
}
