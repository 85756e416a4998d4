// Package repo makes and keeps repositories of releases: TUF metadata, manifests and payloads in a directory that any web
// server serves. What is not signed or not published yet lies in staging/ below it; the keys lie elsewhere.
package repo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/cmd/holdfastctl/internal/keyring"
)

// What a caller branches on.
var (
	// ErrNone means that the directory is no repository.
	ErrNone = errors.New("no repository")
	// ErrUnsigned means that signatures are missing.
	ErrUnsigned = errors.New("not signed by enough keys yet")
	// ErrRefused means that devices would not take, or do not take, what is there.
	ErrRefused = errors.New("devices would refuse it")
	// ErrUsage means that something cannot be asked for.
	ErrUsage = errors.New("not possible")
)

// The parts of a repository that are published, and the one that is not.
const (
	metadataDir = "metadata"
	targetsDir  = "targets"
	payloadDir  = "payload"
	stagingDir  = "staging"
)

// Content is the role that content is delegated to, and its part of the names.
const Content = "content"

// Lives is how long the signatures of a role are good for, unless Repo.Life says otherwise.
var Lives = map[string]time.Duration{"root": 5 * 365 * day, "targets": 365 * day, Content: 365 * day, "snapshot": 30 * day, "timestamp": 30 * day}

const day = 24 * time.Hour

// A Repo is a repository in a directory. Nothing is kept between calls: all is read from the files.
type Repo struct {
	Dir  string
	Ring *keyring.Ring
	Now  func() time.Time         // nil: the clock
	Life map[string]time.Duration // by role, in place of Lives

	// Before is called before each step that changes a file for good; an error ends the deed there, as a power cut would.
	Before func(step string) error
}

type (
	rootFile    = metadata.Metadata[metadata.RootType]
	targetsFile = metadata.Metadata[metadata.TargetsType]
)

// A world is what the files say.
type world struct {
	root      *rootFile // in force; nil before the first is published
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	listed    map[string]*targetsFile // in force, by role

	roots  []*rootFile             // staged, each the next version
	staged map[string]*targetsFile // by role
}

var fileName = regexp.MustCompile(`^([1-9][0-9]{0,9})\.([a-z]+)\.json$`)

// fileBytes is the longest metadata file; devices have lower bounds.
const fileBytes = 1 << 20

func (r *Repo) now() time.Time {
	if r.Now != nil {
		return r.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

func (r *Repo) expires(role string) time.Time {
	return r.now().Add(cmp.Or(r.Life[role], Lives[role]))
}

func (r *Repo) at(name ...string) string { return filepath.Join(r.Dir, filepath.Join(name...)) }

func (r *Repo) read(name string, most int64) ([]byte, error) {
	i, err := os.Stat(r.at(name))
	if err == nil && i.Size() > most {
		err = fmt.Errorf("%s: %d bytes, at most %d are read", name, i.Size(), most)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(r.at(name))
}

// versions lists the versions of a role's file in a directory, in order.
func (r *Repo) versions(dir, role string) ([]int64, error) {
	names, err := os.ReadDir(r.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []int64
	for _, n := range names {
		if m := fileName.FindStringSubmatch(n.Name()); m != nil && m[2] == role {
			v, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all, nil
}

// fresh is a version of a role's file that nobody has ever seen.
func (r *Repo) fresh(role string) (int64, error) {
	all, err := r.versions(metadataDir, role)
	if err != nil || len(all) == 0 {
		return 1, err
	}
	return all[len(all)-1] + 1, nil
}

func nameOf(version int64, role string) string { return fmt.Sprintf("%d.%s.json", version, role) }

func parse[T metadata.Roles](r *Repo, dir, name string) (*metadata.Metadata[T], error) {
	raw, err := r.read(path.Join(dir, name), fileBytes)
	if err != nil {
		return nil, err
	}
	m, err := new(metadata.Metadata[T]).FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(dir, name), err)
	}
	return m, nil
}

// load reads the state of the repository.
func (r *Repo) load() (*world, error) {
	w := &world{listed: map[string]*targetsFile{}, staged: map[string]*targetsFile{}}
	roots, err := r.versions(metadataDir, "root")
	if err != nil {
		return nil, err
	}
	for i, v := range roots {
		if v != int64(i)+1 {
			return nil, fmt.Errorf("%s: there is no %s", r.Dir, nameOf(int64(i)+1, "root"))
		}
	}
	if n := int64(len(roots)); n > 0 {
		if w.root, err = parse[metadata.RootType](r, metadataDir, nameOf(n, "root")); err != nil {
			return nil, err
		}
	}
	if err := r.loadListed(w); err != nil {
		return nil, err
	}
	if err := r.loadStaged(w); err != nil {
		return nil, err
	}
	if w.next() == nil {
		return nil, fmt.Errorf("%s: %w", r.Dir, ErrNone)
	}
	return w, nil
}

func (r *Repo) loadListed(w *world) error {
	var err error
	w.timestamp, err = parse[metadata.TimestampType](r, metadataDir, "timestamp.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	meta := w.timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return errors.New("timestamp.json names no snapshot")
	}
	if w.snapshot, err = parse[metadata.SnapshotType](r, metadataDir, nameOf(meta.Version, "snapshot")); err != nil {
		return err
	}
	for name, meta := range w.snapshot.Signed.Meta {
		role := name[:max(0, len(name)-len(".json"))]
		if w.listed[role], err = parse[metadata.TargetsType](r, metadataDir, nameOf(meta.Version, role)); err != nil {
			return err
		}
	}
	if w.listed["targets"] == nil {
		return errors.New("the snapshot names no targets.json")
	}
	return nil
}

// loadStaged passes over what a publish that was interrupted has put in force already.
func (r *Repo) loadStaged(w *world) error {
	dir := path.Join(stagingDir, metadataDir)
	roots, err := r.versions(dir, "root")
	if err != nil {
		return err
	}
	next := int64(1)
	if w.root != nil {
		next = w.root.Signed.Version + 1
	}
	for _, v := range roots {
		if v < next {
			continue
		}
		if v != next {
			return fmt.Errorf("%s: staged is root %d, wanted is %d", r.Dir, v, next)
		}
		next++
		m, err := parse[metadata.RootType](r, dir, nameOf(v, "root"))
		if err != nil {
			return err
		}
		w.roots = append(w.roots, m)
	}
	for _, role := range []string{"targets", Content} {
		all, err := r.versions(dir, role)
		if err != nil {
			return err
		}
		if len(all) == 0 || w.listed[role] != nil && all[len(all)-1] <= w.listed[role].Signed.Version {
			continue
		}
		if w.staged[role], err = parse[metadata.TargetsType](r, dir, nameOf(all[len(all)-1], role)); err != nil {
			return err
		}
	}
	return nil
}

// next is the root that will be in force once all is published; nil where there is none at all.
func (w *world) next() *rootFile {
	if n := len(w.roots); n > 0 {
		return w.roots[n-1]
	}
	return w.root
}

// latest is a role's file as it will be in force.
func (w *world) latest(role string) *targetsFile {
	if m := w.staged[role]; m != nil {
		return m
	}
	return w.listed[role]
}

// edit returns a copy of a role's file that is to be changed and staged: with a version nobody has seen and no signatures.
func (r *Repo) edit(w *world, role string) (*targetsFile, error) {
	had := w.latest(role)
	if had == nil {
		had = metadata.Targets()
	}
	m, err := clone(had)
	if err != nil {
		return nil, err
	}
	m.ClearSignatures()
	m.Signed.Expires = r.expires(role)
	m.Signed.Version, err = r.fresh(role)
	return m, err
}

func clone[T metadata.Roles](m *metadata.Metadata[T]) (*metadata.Metadata[T], error) {
	raw, err := m.ToBytes(false)
	if err != nil {
		return nil, err
	}
	return new(metadata.Metadata[T]).FromBytes(raw)
}

// stage writes a file that is to be signed, in place of any other version of it.
func stage[T metadata.Roles](r *Repo, role string, version int64, m *metadata.Metadata[T]) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	dir := path.Join(stagingDir, metadataDir)
	if err := r.put(path.Join(dir, nameOf(version, role)), raw); err != nil {
		return err
	}
	if role == "root" {
		return nil
	}
	all, err := r.versions(dir, role)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v != version {
			if err := r.remove(path.Join(dir, nameOf(v, role))); err != nil {
				return err
			}
		}
	}
	return nil
}
