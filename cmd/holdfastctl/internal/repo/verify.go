package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"holdfast/update"
	"holdfast/update/trust"
)

// A Check is how a repository is verified.
type Check struct {
	Root     []byte // what devices trust from the beginning; nil means that the repository's first root is believed
	Now      time.Time
	Deep     bool // decode all payloads
	Progress func(what string) (step func(done, total int64), end func())
}

// A Report is what was verified.
type Report struct {
	Roles    []Standing `json:"roles"`
	Releases []string   `json:"releases"`
	Payloads int        `json:"payloads"`
	Bytes    int64      `json:"bytes"`   // of payloads
	Decoded  int        `json:"decoded"` // of them; a delta whose old image no release has is not
	Problems []string   `json:"problems"`
}

// A Standing is a role's file that was verified.
type Standing struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// Verify walks a repository as devices do, with their own client and with go-tuf's, and reads every payload: length, hash,
// the checksum of each segment, and, when Deep, what it makes. An error means that the metadata is refused, or that there are
// Problems.
func Verify(ctx context.Context, s *Source, c Check) (*Report, error) {
	if c.Progress == nil {
		c.Progress = func(string) (func(int64, int64), func()) { return func(int64, int64) {}, func() {} }
	}
	if c.Root == nil {
		var err error
		if c.Root, err = s.fetch(ctx, metadataDir+"/1.root.json", fileBytes); err != nil {
			return nil, err
		}
	}
	ours, err := trust.New(trust.State{Root: c.Root}, trust.Options{Now: c.Now})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := walk(ours, func(name string) ([]byte, error) { return s.fetch(ctx, path.Join(metadataDir, name), fileBytes) }); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	theirs, end, err := goTUF(ctx, s, c.Root, c.Now)
	if err != nil {
		return nil, fmt.Errorf("go-tuf's client refuses it, and the device's does not: %w", err)
	}
	defer end()
	v := &verifier{Check: c, source: s, ours: ours, report: &Report{Releases: []string{}, Problems: []string{}}}
	for _, st := range ours.Standing() {
		v.report.Roles = append(v.report.Roles, Standing(st))
	}
	names, err := targetNames(ours.State())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		v.note(name, v.target(ctx, name, theirs))
	}
	v.payloads(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n := len(v.report.Problems); n > 0 {
		return v.report, fmt.Errorf("%d problems: %s", n, strings.Join(v.report.Problems[:min(n, 5)], "; "))
	}
	return v.report, nil
}

type verifier struct {
	Check
	source    *Source
	ours      *trust.Client
	report    *Report
	manifests []*update.Manifest
}

func (v *verifier) note(what string, err error) {
	if err != nil {
		v.report.Problems = append(v.report.Problems, what+": "+err.Error())
	}
}

// targetNames lists what the roles that are trusted vouch for.
func targetNames(s trust.State) (names []string, err error) {
	for _, raw := range append([][]byte{s.Targets}, s.Delegated[Content]) {
		if raw == nil {
			return nil, fmt.Errorf("%w: a file of targets or %s is missing or refused", ErrRefused, Content)
		}
		m, err := new(targetsFile).FromBytes(raw)
		if err != nil {
			return nil, err
		}
		names = append(names, sortedKeys(m.Signed.Targets)...)
	}
	return names, nil
}

// target looks a target up with both clients and reads it.
func (v *verifier) target(ctx context.Context, name string, theirs *updater.Updater) error {
	t, err := v.ours.Target(name)
	if err != nil {
		return err
	}
	info, err := theirs.GetTargetInfo(name)
	if err != nil {
		return fmt.Errorf("go-tuf: %w", err)
	}
	if info.Length != t.Length || string(info.Hashes["sha256"]) != string(t.SHA256[:]) {
		return errors.New("go-tuf finds another file under this name")
	}
	raw, err := v.source.fetch(ctx, path.Join(targetsDir, t.File), t.Length)
	if err != nil {
		return err
	}
	if name == trust.OperatorsTarget {
		_, err := t.Operators(raw)
		return err
	}
	if err := t.Check(raw); err != nil {
		return err
	}
	r, err := t.Release()
	if err != nil {
		return err
	}
	m, err := update.ParseManifest(raw)
	if err != nil {
		return err
	}
	if m.Release != r.Name || r.Name+".json" != name {
		return fmt.Errorf("it says that it is %s and %s", r.Name, m.Release)
	}
	v.report.Releases = append(v.report.Releases, r.Name)
	v.manifests = append(v.manifests, m)
	return nil
}

// files is a repository as go-tuf's client fetches it.
type files struct {
	ctx    context.Context
	source *Source
}

const nowhereURL = "https://repository.invalid/metadata"

func (f files) DownloadFile(url string, most int64, _ time.Duration) ([]byte, error) {
	name := strings.TrimPrefix(strings.TrimPrefix(url, nowhereURL), "/")
	raw, err := f.source.fetch(f.ctx, path.Join(metadataDir, name), most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: url}
	case errors.Is(err, errLong):
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: err.Error()}
	}
	return raw, err
}

// goTUF has go-tuf's client walk the metadata. What it keeps is gone after end.
func goTUF(ctx context.Context, s *Source, root []byte, now time.Time) (u *updater.Updater, end func(), err error) {
	dir, err := os.MkdirTemp("", "holdfastctl-verify-")
	if err != nil {
		return nil, nil, err
	}
	end = func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			end()
		}
	}()
	cfg, err := config.New(nowhereURL, slices.Clone(root))
	if err != nil {
		return nil, nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = dir, dir, files{ctx, s}
	if u, err = updater.New(cfg); err != nil {
		return nil, nil, err
	}
	u.UnsafeSetRefTime(now)
	return u, end, u.Refresh()
}
