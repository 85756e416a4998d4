package repo_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A site is a repository, the machine its keys are on, and what time it is.
type site struct {
	*repo.Repo
	t   *testing.T
	now time.Time
}

func newSite(t *testing.T) *site {
	s := &site{t: t, now: epoch}
	s.Repo = &repo.Repo{Dir: filepath.Join(t.TempDir(), "repo"), Ring: ring(t, "keys"), Now: func() time.Time { return s.now }}
	return s
}

func ring(t *testing.T, name string) *keyring.Ring {
	return &keyring.Ring{Dir: filepath.Join(t.TempDir(), name), Work: 1, Ask: func(bool) (string, error) { return "secret", nil }}
}

// founded is a site with a repository in which nothing is released.
func founded(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	if _, err := s.Init(repo.Ceremony{}); err != nil {
		t.Fatal(err)
	}
	s.publish()
	return s
}

func (s *site) publish() *repo.Published {
	s.t.Helper()
	p, err := s.Publish()
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// image writes a file that an image is made of.
func (s *site) image(content []byte) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "image")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// add stages a release of one part, and signs it.
func (s *site) add(name string, content []byte) *repo.Added {
	s.t.Helper()
	a, err := s.Add(s.t.Context(), repo.Release{Name: name, Compatible: []string{"bench"}, MinAgent: "1.0.0", FromNewest: 2,
		Images: []repo.Image{{Part: "root", Path: s.image(content)}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.sign()
	return a
}

func (s *site) sign() []repo.Signing {
	s.t.Helper()
	all, err := s.Sign("", false)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// files are the published files by their paths.
func (s *site) files() map[string][]byte {
	s.t.Helper()
	all := map[string][]byte{}
	for _, dir := range []string{"metadata", "targets", "payload"} {
		err := filepath.WalkDir(filepath.Join(s.Dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(s.Dir, path)
			if err == nil {
				all[filepath.ToSlash(rel)], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
	}
	return all
}

// words is an image with structure.
func words(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "%x holdfast kelp %d\n", rnd.Uint64(), rnd.IntN(100))
	}
	return b[:n]
}

// altered is an image with a few other pieces.
func altered(old []byte, seed uint64) []byte {
	b := slices.Clone(old)
	copy(b[int(seed)*1000%(len(b)/2):], words(seed, min(len(b)/20, 20_000)))
	return b
}
