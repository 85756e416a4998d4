package repo

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/update/trust"
)

// Published is what a publish has put in force.
type Published struct {
	Files     []string         `json:"files"` // in the order in which they got their places
	Releases  []string         `json:"releases,omitempty"`
	Versions  map[string]int64 `json:"versions"`
	Warnings  []string         `json:"warnings,omitempty"`
	Refreshed time.Time        `json:"good_until"` // of the timestamp
}

// Publish signs snapshot and timestamp, and puts all that is staged in force. A reader finds a repository that holds
// together at any moment, also when this is interrupted; done again, it goes on. With nothing staged it signs the timestamp
// anew, and the snapshot when half its life is over.
func (r *Repo) Publish() (*Published, error) { return r.publish(false) }

// Refresh signs the timestamp anew, and the snapshot when half its life is over, and leaves alone what is staged.
func (r *Repo) Refresh() (*Published, error) { return r.publish(true) }

func (r *Repo) publish(refresh bool) (*Published, error) {
	w, unlock, err := r.open()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if refresh {
		if w.timestamp == nil {
			return nil, fmt.Errorf("%w: nothing is published yet", ErrUsage)
		}
		w.roots, w.staged = nil, map[string]*targetsFile{}
	}
	if err := unsigned(w.stagedSignings()); err != nil {
		return nil, err
	}
	p := &plan{r: r, w: w, refresh: refresh, files: map[string][]byte{}}
	if err := p.compose(); err != nil {
		return nil, err
	}
	if err := p.rehearse(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := p.place(); err != nil {
		return nil, err
	}
	return p.report()
}

// A plan is what is to be put in force.
type plan struct {
	r       *Repo
	w       *world
	refresh bool // nothing that is staged

	before, after []string // names of metadata files: until the timestamp, which changes all at once, and after it
	files         map[string][]byte
	moved         []string // payloads and targets
}

func (p *plan) add(list *[]string, name string, raw []byte) {
	name = path.Join(metadataDir, name)
	*list = append(*list, name)
	p.files[name] = raw
}

// compose signs what is missing and orders the files.
func (p *plan) compose() error {
	for i, m := range p.w.roots {
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		// The last root comes after the timestamp, except the first there is. See stageRoot.
		list := &p.before
		if p.w.root != nil && i == len(p.w.roots)-1 {
			list = &p.after
		}
		p.add(list, nameOf(m.Signed.Version, "root"), raw)
	}
	meta := map[string]*metadata.MetaFiles{}
	changed := p.w.snapshot == nil
	for _, role := range []string{Content, "targets"} {
		m := p.w.staged[role]
		if m == nil {
			if p.w.listed[role] == nil {
				return fmt.Errorf("there is no file of role %s", role)
			}
			meta[role+".json"] = p.w.snapshot.Signed.Meta[role+".json"]
			continue
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		p.add(&p.before, nameOf(m.Signed.Version, role), raw)
		meta[role+".json"] = metaOf(m.Signed.Version, raw)
		changed = true
	}
	return p.online(meta, changed)
}

func metaOf(version int64, raw []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(raw)
	return &metadata.MetaFiles{Version: version, Length: int64(len(raw)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// online makes the snapshot, where it is due, and the timestamp.
func (p *plan) online(meta map[string]*metadata.MetaFiles, changed bool) error {
	r, old := p.r, p.w.snapshot
	var snapshot *metadata.MetaFiles
	if !changed {
		life := r.expires("snapshot").Sub(r.now())
		changed = old.Signed.Expires.Sub(r.now()) < life/2 || p.w.next().VerifyDelegate("snapshot", old) != nil
		snapshot = p.w.timestamp.Signed.Meta["snapshot.json"]
	}
	if changed {
		m := metadata.Snapshot(r.expires("snapshot"))
		m.Signed.Meta = meta
		version, err := r.fresh("snapshot")
		if err != nil {
			return err
		}
		m.Signed.Version = version
		raw, err := signOnline(r, p.w, "snapshot", m)
		if err != nil {
			return err
		}
		p.add(&p.before, nameOf(version, "snapshot"), raw)
		snapshot = metaOf(version, raw)
	}
	m := metadata.Timestamp(r.expires("timestamp"))
	m.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": snapshot}
	if p.w.timestamp != nil {
		m.Signed.Version = p.w.timestamp.Signed.Version + 1
	}
	raw, err := signOnline(r, p.w, "timestamp", m)
	if err != nil {
		return err
	}
	p.add(&p.before, "timestamp.json", raw)
	return nil
}

// signOnline signs a file with the keys that are here, as many as are needed. The keys that go sign it too, if they are
// here: for who has asked for the next root just before it was published.
func signOnline[T metadata.Roles](r *Repo, w *world, role string, m *metadata.Metadata[T]) ([]byte, error) {
	d := w.next().Signed.Roles[role]
	have, err := signSome(r, d, m)
	if err != nil {
		return nil, err
	}
	if have < d.Threshold {
		return nil, fmt.Errorf("%s.json: %w: %d of its keys are in %s, it wants %d of %s", role, ErrUnsigned, have, r.Ring.Dir,
			d.Threshold, strings.Join(d.KeyIDs, ", "))
	}
	if w.root != nil {
		if _, err := signSome(r, w.root.Signed.Roles[role], m); err != nil {
			return nil, err
		}
	}
	return json.Marshal(m)
}

// signSome signs with keys of a role until there are enough signatures, and returns how many there are.
func signSome[T metadata.Roles](r *Repo, d *metadata.Role, m *metadata.Metadata[T]) (have int, err error) {
	keys, err := r.Ring.List()
	if err != nil {
		return 0, err
	}
	for _, s := range m.Signatures {
		if slices.Contains(d.KeyIDs, s.KeyID) {
			have++
		}
	}
	f := file[T]{m, 0}
	for _, k := range keys {
		if have >= d.Threshold || !slices.Contains(d.KeyIDs, k.ID) || slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == k.ID }) {
			continue
		}
		private, err := r.Ring.Private(k)
		if err != nil {
			return have, err
		}
		if err := f.sign(private); err != nil {
			return have, err
		}
		have++
	}
	return have, nil
}

// rehearse has devices walk what there will be: one that is new, and one that knows what is there now.
func (p *plan) rehearse() error {
	first, err := p.read("1.root.json")
	if err != nil {
		return err
	}
	known := trust.State{Root: first}
	if p.w.timestamp != nil {
		// What is there now may have expired: what it can be trusted for is trusted.
		if c, err := trust.New(known, trust.Options{}); err == nil {
			_ = walk(c, p.r.readMetadata)
			known = c.State()
		}
	}
	for _, state := range []trust.State{{Root: first}, known} {
		c, err := trust.New(state, trust.Options{Now: p.r.now()})
		if err != nil {
			return err
		}
		if err := walk(c, p.read); err != nil {
			return err
		}
		if err := every(c, p.w); err != nil {
			return err
		}
	}
	return nil
}

// every looks each release up as a device does.
func every(c *trust.Client, w *world) error {
	for _, role := range []string{"targets", Content} {
		for name := range w.latest(role).Signed.Targets {
			t, err := c.Target(name)
			if err == nil && t.Role != role {
				err = fmt.Errorf("role %s vouches for it", t.Role)
			}
			if err == nil && name != trust.OperatorsTarget {
				_, err = t.Release()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// walk brings a client up to date.
func walk(c *trust.Client, read func(string) ([]byte, error)) error {
	for name, most, more := c.Want(); more; name, most, more = c.Want() {
		raw, err := read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = c.Absent()
		case err == nil && int64(len(raw)) > most:
			err = fmt.Errorf("%d bytes, devices read %d", len(raw), most)
		case err == nil:
			err = c.Give(raw)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (r *Repo) readMetadata(name string) ([]byte, error) {
	return r.read(path.Join(metadataDir, name), fileBytes)
}

// read reads a metadata file as it will be.
func (p *plan) read(name string) ([]byte, error) {
	if raw, ok := p.files[path.Join(metadataDir, name)]; ok {
		return raw, nil
	}
	return p.r.readMetadata(name)
}

// place gives the files their places: what is named before what names it.
func (p *plan) place() error {
	staged := []string{payloadDir, targetsDir}
	if p.refresh {
		staged = nil
	}
	for _, dir := range staged {
		if err := p.move(dir); err != nil {
			return err
		}
	}
	for _, name := range slices.Concat(p.before, p.after) {
		if err := p.r.put(name, p.files[name]); err != nil {
			return err
		}
	}
	if p.refresh {
		return nil
	}
	signed, err := os.ReadDir(p.r.at(stagingDir, metadataDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range signed {
		if err := p.r.remove(path.Join(stagingDir, metadataDir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// move moves what is staged below a directory into the published one.
func (p *plan) move(dir string) error {
	from := p.r.at(stagingDir, dir)
	err := filepath.WalkDir(from, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		name := path.Join(dir, filepath.ToSlash(rel))
		p.moved = append(p.moved, name)
		return p.r.adopt(at, name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (p *plan) report() (*Published, error) {
	w, err := p.r.load()
	if err != nil {
		return nil, err
	}
	out := &Published{Files: slices.Concat(p.moved, p.before, p.after), Versions: map[string]int64{"root": w.root.Signed.Version,
		"timestamp": w.timestamp.Signed.Version, "snapshot": w.snapshot.Signed.Version}, Refreshed: w.timestamp.Signed.Expires}
	expire := map[string]time.Time{"root": w.root.Signed.Expires, "snapshot": w.snapshot.Signed.Expires, "timestamp": w.timestamp.Signed.Expires}
	for role, m := range w.listed {
		out.Versions[role], expire[role] = m.Signed.Version, m.Signed.Expires
		if p.w.staged[role] == nil {
			continue
		}
		for name := range m.Signed.Targets {
			if had := p.w.listed[role]; had == nil || had.Signed.Targets[name] == nil {
				out.Releases = append(out.Releases, strings.TrimSuffix(name, ".json"))
			}
		}
	}
	slices.Sort(out.Releases)
	for _, role := range slices.Sorted(maps.Keys(expire)) {
		life := p.r.expires(role).Sub(p.r.now())
		if left := expire[role].Sub(p.r.now()); left < min(life/4, 60*day) {
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s expires on %s: devices take no update after it; sign it anew: %s", role,
				expire[role].Format(time.DateOnly), renewHint(role)))
		}
	}
	return out, nil
}

func renewHint(role string) string {
	if role == "snapshot" || role == "timestamp" {
		return "publish where its key is"
	}
	return "release sign --renew --role " + role + ", then publish"
}
