package repo_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update"
	"holdfast/update/trust"
)

// A reader finds a file of metadata.
type reader func(name string) ([]byte, error)

func from(files map[string][]byte) reader {
	return func(name string) ([]byte, error) {
		if raw, ok := files["metadata/"+name]; ok {
			return raw, nil
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
}

// ours brings a device up to date.
func ours(state trust.State, now time.Time, read reader) (trust.State, error) {
	c, err := trust.New(state, trust.Options{Now: now})
	if err != nil {
		return state, err
	}
	for name, _, more := c.Want(); more; name, _, more = c.Want() {
		raw, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = c.Absent()
		} else if err == nil {
			err = c.Give(raw)
		}
		if err != nil {
			return c.State(), fmt.Errorf("%s: %w", name, err)
		}
	}
	if c.State().Delegated[repo.Content] == nil {
		return c.State(), errors.New("content was passed over")
	}
	return c.State(), nil
}

type readerOfTUF struct{ reader }

func (r readerOfTUF) DownloadFile(url string, _ int64, _ time.Duration) ([]byte, error) {
	raw, err := r.reader(path.Base(url))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: url}
	}
	return raw, err
}

// theirs brings a device that uses go-tuf up to date. It keeps its metadata in dir.
func theirs(dir string, root []byte, now time.Time, read reader) error {
	if kept, err := os.ReadFile(filepath.Join(dir, "root.json")); err == nil {
		root = kept
	}
	cfg, err := config.New("https://repository.test/metadata", root)
	if err != nil {
		return err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = dir, dir, readerOfTUF{read}
	u, err := updater.New(cfg)
	if err != nil {
		return err
	}
	u.UnsafeSetRefTime(now)
	return u.Refresh()
}

// A fleet is devices that look at the repository at different times.
type fleet struct {
	t      *testing.T
	anchor []byte
	known  []trust.State
	dirs   []string
}

func newFleet(t *testing.T, anchor []byte, n int) *fleet {
	f := &fleet{t: t, anchor: anchor}
	for range n {
		f.known, f.dirs = append(f.known, trust.State{Root: anchor}), append(f.dirs, t.TempDir())
	}
	return f
}

// look has one device of each make look, and a new one.
func (f *fleet) look(i int, files map[string][]byte, now time.Time) error {
	var err error
	if f.known[i], err = ours(f.known[i], now, from(files)); err != nil {
		return fmt.Errorf("device %d: %w", i, err)
	}
	if err := theirs(f.dirs[i], f.anchor, now, from(files)); err != nil {
		return fmt.Errorf("go-tuf's device %d: %w", i, err)
	}
	return fresh(f.t, f.anchor, files, now)
}

// fresh has new devices look, and reads what they would read.
func fresh(t *testing.T, anchor []byte, files map[string][]byte, now time.Time) error {
	state, err := ours(trust.State{Root: anchor}, now, from(files))
	if err != nil {
		return fmt.Errorf("a new device: %w", err)
	}
	if err := theirs(t.TempDir(), anchor, now, from(files)); err != nil {
		return fmt.Errorf("a new device of go-tuf's: %w", err)
	}
	return there(state, files)
}

// there reports an error unless all that is vouched for is there: manifests, and the payloads these name.
func there(state trust.State, files map[string][]byte) error {
	c, err := trust.New(state, trust.Options{})
	if err != nil {
		return err
	}
	for _, raw := range [][]byte{state.Targets, state.Delegated[repo.Content]} {
		m, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(raw)
		if err != nil {
			return err
		}
		for name := range m.Signed.Targets {
			t, err := c.Target(name)
			if err != nil {
				return err
			}
			manifest, err := update.ParseManifest(files["targets/"+t.File])
			if err != nil || t.Check(files["targets/"+t.File]) != nil {
				return fmt.Errorf("targets/%s: %w, %w", t.File, err, t.Check(files["targets/"+t.File]))
			}
			for _, p := range manifest.Parts {
				for _, payload := range append([]update.Payload{p.Full}, p.Deltas...) {
					if int64(len(files[payload.File])) != payload.Bytes {
						return fmt.Errorf("%s has %d bytes, not %d", payload.File, len(files[payload.File]), payload.Bytes)
					}
				}
			}
		}
	}
	return nil
}
