package repo_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update/trust"
)

var errPower = errors.New("the power is gone")

// A deed stages something that is then published.
type deed struct {
	name string
	do   func(*site) error
}

func rotation(c repo.Rotation) func(*site) error {
	return func(s *site) error { _, err := s.Rotate(c); return err }
}

// lost is a rotation of a role whose old keys are gone.
func lost(role string) func(*site) error {
	return func(s *site) error { s.forget(role); return rotation(repo.Rotation{Role: role})(s) }
}

var deeds = []deed{
	{"nothing", func(*site) error { return nil }},
	{"a release", func(s *site) error { s.add("pump/2", words(2, 5_000)); return nil }},
	{"new keys of root", rotation(repo.Rotation{Role: "root"})},
	{"new keys of targets", rotation(repo.Rotation{Role: "targets"})},
	{"new keys of snapshot", rotation(repo.Rotation{Role: "snapshot"})},
	{"new keys of timestamp", rotation(repo.Rotation{Role: "timestamp"})},
	{"new keys of content", rotation(repo.Rotation{Role: repo.Content})},
	{"more keys of targets", rotation(repo.Rotation{Role: "targets", Number: 3, Threshold: 2})},
	{"lost keys of timestamp", lost("timestamp")},
	{"lost keys of snapshot", lost("snapshot")},
	{"lost keys of targets", lost("targets")},
	{"lost keys of content", lost(repo.Content)},
	{"all at once", func(s *site) error {
		for _, role := range keyring.Roles {
			if err := rotation(repo.Rotation{Role: role})(s); err != nil {
				return err
			}
		}
		s.add("pump/2", words(2, 5_000))
		return nil
	}},
}

// tried are the deeds; those that differ most, where everything takes long.
func tried() []deed {
	if !race {
		return deeds
	}
	return slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool {
		return !slices.Contains([]string{"a release", "new keys of targets", "lost keys of timestamp", "all at once"}, d.name)
	})
}

// copied is the same repository in another directory.
func (s *site) copied() *site {
	s.t.Helper()
	other := s.at(s.Ring)
	other.Dir = filepath.Join(s.t.TempDir(), "repo")
	if err := os.CopyFS(other.Dir, os.DirFS(s.Dir)); err != nil {
		s.t.Fatal(err)
	}
	return other
}

// prepared is a site on which a deed was done and is not published.
func prepared(t *testing.T, d deed) *site {
	t.Helper()
	s := founded(t)
	s.add("pump/1", words(1, 5_000))
	s.publish()
	if err := d.do(s); err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	return s
}

func TestPublishMayStopAnywhere(t *testing.T) {
	stops := 0
	for _, d := range tried() {
		s := prepared(t, d)
		anchor := s.files()["metadata/1.root.json"]
		for stop := 0; ; stop++ {
			c, step := s.copied(), 0
			f := newFleet(t, anchor, 1)
			if err := f.look(0, c.files(), c.now); err != nil {
				t.Fatal(err)
			}
			c.Before = func(string) error {
				if step++; step > stop {
					return errPower
				}
				return nil
			}
			_, err := c.Publish()
			if err == nil {
				break
			}
			if !errors.Is(err, errPower) {
				t.Fatalf("%s, stopped at step %d: %v", d.name, stop, err)
			}
			stops++
			if err := f.look(0, c.files(), c.now); err != nil {
				t.Errorf("%s, stopped at step %d: %v", d.name, stop, err)
			}
			c.Before = nil
			c.publish()
			if err := f.look(0, c.files(), c.now); err != nil {
				t.Errorf("%s, stopped at step %d and then done: %v", d.name, stop, err)
			}
			if all, err := c.Staged(); err != nil || len(all) > 0 {
				t.Errorf("%s, stopped at step %d and then done: staged is %+v, %v", d.name, stop, all, err)
			}
		}
	}
	if stops < 25 {
		t.Errorf("%d stops: the test saw too little", stops)
	}
	t.Logf("%d deeds stopped at %d steps in all", len(tried()), stops)
}

// A reader that has begun before a publish and ends after it is what the stops do not show.
func TestReadersMayBeOvertaken(t *testing.T) {
	walks, again := 0, 0
	for _, d := range tried() {
		s := prepared(t, d)
		anchor := s.files()["metadata/1.root.json"]
		var moments []map[string][]byte
		s.Before = func(string) error { moments = append(moments, s.files()); return nil }
		s.publish()
		moments = append(moments, s.files())
		for i, early := range moments {
			for _, late := range moments[i:] {
				for after := range 8 { // files that are read before the change
					n := 0
					_, err := ours(trust.State{Root: anchor}, s.now, func(name string) ([]byte, error) {
						if n++; n <= after {
							return from(early)(name)
						}
						return from(late)(name)
					})
					walks++
					if err == nil {
						continue
					}
					// Where the old keys are gone, who has asked for the next root too early has to ask again.
					if again++; !strings.HasPrefix(d.name, "lost ") || !errors.Is(err, trust.ErrSignature) {
						t.Errorf("%s: %d files read before: %v", d.name, after, err)
					}
					if _, err := ours(trust.State{Root: anchor}, s.now, from(late)); err != nil {
						t.Errorf("%s: asked again: %v", d.name, err)
					}
				}
			}
		}
	}
	if again == 0 || again > walks/10 {
		t.Errorf("%d of %d walks had to be done again", again, walks)
	}
	t.Logf("%d walks, %d of them done again", walks, again)
}

func TestAddMayStopAnywhere(t *testing.T) {
	s := founded(t)
	s.add("pump/1", words(1, 5_000))
	s.publish()
	anchor := s.files()["metadata/1.root.json"]
	two := s.image(words(2, 5_000))
	for stop := 0; ; stop++ {
		c, step := s.copied(), 0
		c.Before = func(string) error {
			if step++; step > stop {
				return errPower
			}
			return nil
		}
		rel := repo.Release{Name: "pump/2", Compatible: []string{"bench"}, MinAgent: "1.0.0", FromNewest: 2, Images: []repo.Image{{Part: "root", Path: two}}}
		_, err := c.Add(t.Context(), rel)
		c.Before = nil
		if err == nil {
			if stop < 3 {
				t.Errorf("%d steps: the test saw too little", stop)
			}
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		if _, err := c.Add(t.Context(), rel); err != nil && !strings.Contains(err.Error(), "already") {
			t.Errorf("stopped at step %d: %v", stop, err)
		}
		c.sign()
		c.publish()
		if err := fresh(t, anchor, c.files(), c.now); err != nil {
			t.Errorf("stopped at step %d: %v", stop, err)
		}
		if len(c.release("pump/2").Manifest.Parts[0].Deltas) != 1 {
			t.Errorf("stopped at step %d: the release is not whole", stop)
		}
	}
}

// Whatever is done in whatever order, devices that look now and then take what is there.
func TestCommandsInAnyOrder(t *testing.T) {
	seeds := uint64(4)
	if race {
		seeds = 1
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 9))
		s := founded(t)
		f := newFleet(t, s.files()["metadata/1.root.json"], 3)
		var done []string
		releases := 0
		commands := map[string]func() error{
			"add": func() error {
				releases++
				name := fmt.Sprintf("pump/%d", releases)
				rel := repo.Release{Name: name, Compatible: []string{"bench"}, MinAgent: "1.0.0", FromNewest: rnd.IntN(3),
					Images: []repo.Image{{Part: "root", Path: s.image(words(uint64(releases), 5000))}}}
				if rnd.IntN(4) == 0 {
					rel.Name, rel.Kind, rel.MinAgent = fmt.Sprintf("content/rules-%d", releases), trust.Content, ""
				}
				_, err := s.Add(t.Context(), rel)
				return err
			},
			"sign": func() error { _, err := s.Sign("", false); return err },
			"renew": func() error {
				_, err := s.Sign([]string{"root", "targets", repo.Content}[rnd.IntN(3)], true)
				return err
			},
			"rotate": func() error {
				_, err := s.Rotate(repo.Rotation{Role: keyring.Roles[rnd.IntN(5)], Number: 1 + rnd.IntN(3), Threshold: 1})
				return err
			},
			"publish": func() error {
				_, err := s.Publish()
				if errors.Is(err, repo.ErrUnsigned) {
					return nil
				}
				return err
			},
			"stop": func() error {
				n := rnd.IntN(6)
				s.Before = func(string) error {
					if n--; n < 0 {
						return errPower
					}
					return nil
				}
				_, err := s.Publish()
				s.Before = nil
				if errors.Is(err, repo.ErrUnsigned) || errors.Is(err, errPower) {
					return nil
				}
				return err
			},
			"refresh": func() error { _, err := s.Refresh(); return err },
			"wait": func() error {
				s.now = s.now.Add(time.Duration(rnd.IntN(96)) * time.Hour)
				_, err := s.Publish()
				return ignore(err, repo.ErrUnsigned)
			},
		}
		names := slices.Sorted(maps.Keys(commands))
		for range 60 {
			name := names[rnd.IntN(len(names))]
			done = append(done, name)
			if err := commands[name](); err != nil {
				t.Fatalf("seed %d, %v: %v", seed, done, err)
			}
			if expires(s.files()).Before(s.now) { // nobody published for a month
				continue
			}
			if err := f.look(rnd.IntN(3), s.files(), s.now); err != nil {
				t.Fatalf("seed %d, %v: %v", seed, done, err)
			}
		}
		t.Logf("seed %d: %d releases, %d files of metadata", seed, releases, len(s.files()))
	}
}

func ignore(err, that error) error {
	if errors.Is(err, that) {
		return nil
	}
	return err
}

// expires is when the timestamp does.
func expires(files map[string][]byte) time.Time {
	m, err := new(metadata.Metadata[metadata.TimestampType]).FromBytes(files["metadata/timestamp.json"])
	if err != nil {
		return time.Time{}
	}
	return m.Signed.Expires
}

func TestRefreshLeavesAloneWhatIsStaged(t *testing.T) {
	s := founded(t)
	for _, role := range []string{"root", "targets", repo.Content} { // where cron works there are no such keys
		s.forget(role)
	}
	anchor := s.files()["metadata/1.root.json"]
	rel := repo.Release{Name: "pump/1", Compatible: []string{"bench"}, MinAgent: "1.0.0", Images: []repo.Image{{Part: "root", Path: s.image(words(1, 5_000))}}}
	if _, err := s.Add(t.Context(), rel); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		s.now = s.now.Add(48 * time.Hour)
		if _, err := s.Publish(); !errors.Is(err, repo.ErrUnsigned) {
			t.Fatalf("%v", err)
		}
		if _, err := s.Refresh(); err != nil {
			t.Fatal(err)
		}
		if err := fresh(t, anchor, s.files(), s.now); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Staged(); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	snapshots := 0
	for name := range s.files() {
		if strings.HasSuffix(name, ".snapshot.json") {
			snapshots++
		}
	}
	if snapshots < 4 || snapshots > 8 { // 80 days, anew after 16 of its 30
		t.Errorf("%d snapshots", snapshots)
	}
	if _, err := newSite(t).Refresh(); !errors.Is(err, repo.ErrNone) {
		t.Errorf("%v", err)
	}
}
