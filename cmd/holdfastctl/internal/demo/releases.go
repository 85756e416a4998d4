package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update"
)

// imageBytes is three segments of an update.
const imageBytes = 12 << 20

// What an image says of its pump, on its second line. It is the same image otherwise.
const (
	turns = "the pump turns"
	stuck = "the pump does not turn"
)

// releases are pump/1 to pump/3, published.
type releases struct {
	repository string            // directory
	images     map[string][]byte // by release
	delta      update.Payload    // from pump/1 to pump/2
	full       update.Payload    // of pump/2
}

// imagesOf are three images that are much alike.
func imagesOf() map[string][]byte {
	var seed [32]byte
	noise := rand.NewChaCha8(seed)
	image := func(release, pump string, like []byte) []byte {
		b := slices.Clone(like)
		if b == nil {
			b = make([]byte, imageBytes)
			for at := 0; at < len(b); at += 128 << 10 { // packed files, and much that is free
				_, _ = noise.Read(b[at : at+32<<10])
			}
		}
		for at := 256 << 10; at < len(b); at += 512 << 10 { // a file is another
			_, _ = noise.Read(b[at : at+16<<10])
		}
		copy(b, fmt.Sprintf("%-30s\n%-30s\n", release, pump))
		return b
	}
	one := image("pump/1", turns, nil)
	two := image("pump/2", turns, one)
	return map[string][]byte{"pump/1": one, "pump/2": two, "pump/3": image("pump/3", stuck, two)}
}

// makeReleases founds a repository below dir, with new keys, and publishes the releases in it.
func makeReleases(ctx context.Context, dir string) (*releases, error) {
	r := &repo.Repo{Dir: filepath.Join(dir, "repo"), Ring: &keyring.Ring{Dir: filepath.Join(dir, "keys"), Work: cheapWork,
		Ask: func(bool) (string, error) { return "demo", nil }}}
	out := &releases{repository: r.Dir, images: imagesOf()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := r.Init(repo.Ceremony{}); err != nil {
		return nil, err
	}
	for _, name := range []string{"pump/1", "pump/2", "pump/3"} {
		image := filepath.Join(dir, "image")
		if err := os.WriteFile(image, out.images[name], 0o600); err != nil {
			return nil, err
		}
		if _, err := r.Add(ctx, repo.Release{Name: name, Compatible: []string{kind}, MinAgent: "0.0.0", FromNewest: 1,
			Images: []repo.Image{{Part: "root", Path: image}}}); err != nil {
			return nil, err
		}
	}
	if _, err := r.Sign("", false); err != nil {
		return nil, err
	}
	if _, err := r.Publish(); err != nil {
		return nil, err
	}
	all, err := r.Releases()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(l repo.Listed) bool { return l.Name == "pump/2" })
	if i < 0 || len(all[i].Manifest.Parts) != 1 || len(all[i].Manifest.Parts[0].Deltas) != 1 {
		return nil, errors.New("pump/2 is not published with a delta from pump/1")
	}
	out.full, out.delta = all[i].Manifest.Parts[0].Full, all[i].Manifest.Parts[0].Deltas[0]
	return out, nil
}

// cheapWork is the cost of a guess at a passphrase that everybody knows.
const cheapWork = 10
