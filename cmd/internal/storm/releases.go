//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"holdfast/cmd/internal/lab"
	"holdfast/update/updatetest"
)

// The board is moved to and fro between two releases, and knows of no other.
var releases = [2]string{"pump/1", "pump/2"}

const (
	slotMiB = 8
	repoMiB = 32
	dataMiB = 24
)

// A world is what is the same for all boards: the images and the repository of their releases.
type world struct {
	images map[string][]byte
	repo   string // a file system with the repository in it
	anchor []byte
}

// newWorld makes two file systems that differ in some of their files, and a repository with both and the deltas between them.
func newWorld(ctx context.Context, dir string) (*world, error) {
	w := &world{images: map[string][]byte{}, repo: filepath.Join(dir, "repo.ext4")}
	for n, name := range releases {
		tree := filepath.Join(dir, "image")
		if err := os.RemoveAll(tree); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(tree, 0o755); err != nil {
			return nil, err
		}
		for i := range 20 {
			seed := uint64(i)
			if i%5 == 0 { // these differ between the two
				seed += 100 * uint64(n+1)
			}
			if err := os.WriteFile(filepath.Join(tree, fmt.Sprintf("file%d", i)), prose(seed, 120_000), 0o644); err != nil {
				return nil, err
			}
		}
		text := fmt.Sprintf("{\"release\":%q,\"seq\":%d}\n", name, n+1)
		if err := os.WriteFile(filepath.Join(tree, "release.json"), []byte(text), 0o644); err != nil {
			return nil, err
		}
		image := filepath.Join(dir, "image.ext4")
		if err := lab.Ext4(ctx, image, slotMiB, tree, "root", "7e57ab1e-0000-4000-8000-000000000001"); err != nil {
			return nil, err
		}
		var err error
		if w.images[name], err = os.ReadFile(image); err != nil {
			return nil, err
		}
	}
	repo := updatetest.New(time.Now().Add(-time.Hour), 7)
	for n, name := range releases {
		repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": w.images[name]}, Old: map[string][]byte{"root": w.images[releases[1-n]]},
			Span: 1 << 20, Custom: map[string]any{"seq": n + 1, "downgrade_max_seq": 9}})
	}
	repo.Publish(time.Now())
	w.anchor = repo.Anchor()
	tree := filepath.Join(dir, "repo")
	if err := os.RemoveAll(tree); err != nil {
		return nil, err
	}
	for name, raw := range repo.Files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			return nil, err
		}
	}
	return w, lab.Ext4(ctx, w.repo, repoMiB, tree, "repo", "7e57ab1e-0000-4000-8000-000000000002")
}

// prose is text with structure, the same for the same seed.
func prose(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		b = fmt.Appendf(b, "%x holdfast kelp %d\n", rnd.Uint64(), rnd.IntN(100))
	}
	return b[:n]
}
