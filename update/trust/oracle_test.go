package trust_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"holdfast/update/trust"
)

// go-tuf is the oracle: what it makes must be verified here, what is made here it must verify, and of whatever is done to
// a repository the two must think the same.

// served is a repository as go-tuf fetches it.
type served map[string][]byte

func (s served) DownloadFile(url string, most int64, _ time.Duration) ([]byte, error) {
	raw, there := s[path.Base(url)]
	switch {
	case !there:
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: url}
	case int64(len(raw)) > most:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: "too long"}
	}
	return raw, nil
}

// theirs is a device that uses go-tuf. It keeps its metadata in dir.
func theirs(t testing.TB, dir string, root []byte, files map[string][]byte) (*updater.Updater, error) {
	t.Helper()
	if kept, err := os.ReadFile(filepath.Join(dir, "root.json")); err == nil {
		root = kept
	}
	cfg, err := config.New("https://repository.test/metadata", root)
	if err != nil {
		t.Fatal(err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = dir, dir, served(files)
	u, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	u.UnsafeSetRefTime(now)
	return u, u.Refresh()
}

func TestWhatIsMadeHereGoTUFVerifies(t *testing.T) {
	for _, hashes := range []bool{true, false} {
		for roots := range 4 {
			p := newPlan()
			p.hashes = hashes
			for i := range roots {
				p.rotate(func(c cast) {
					c["root"] = keyNamed(fmt.Sprint("r", i), fmt.Sprint("s", i), fmt.Sprint("t", i))
					c["timestamp"], c["targets"] = keyNamed(fmt.Sprint("ts", i)), keyNamed(fmt.Sprint("ta", i),
						fmt.Sprint("tb", i))
				})
			}
			files := p.files()
			u, err := theirs(t, t.TempDir(), p.roots[0], files)
			if err != nil {
				t.Fatalf("%d rotations: %v", roots, err)
			}
			c := begin(t, p.start())
			if err := pull(c, files); err != nil {
				t.Fatalf("%d rotations: %v", roots, err)
			}
			for _, name := range []string{"gateway/1.7.0.json", "operators.json", "content/rules.json"} {
				a, err := u.GetTargetInfo(name)
				if err != nil {
					t.Fatal(err)
				}
				b, err := c.Target(name)
				if err != nil || a.Length != b.Length || string(a.Hashes["sha256"]) != string(b.SHA256[:]) {
					t.Errorf("%s: %+v and %+v, %v", name, a, b, err)
				}
			}
		}
	}
}

func TestKeyIDsAreThoseOfGoTUF(t *testing.T) {
	k, err := metadata.KeyFromPublicKey(public(newKey("x")))
	if err != nil {
		t.Fatal(err)
	}
	if id, err := k.ID(); err != nil || id != keyID(newKey("x")) {
		t.Errorf("%s, %v; here it is %s", id, err, keyID(newKey("x")))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func signWith[T metadata.Roles](m *metadata.Metadata[T], pretty bool, keys ...key) []byte {
	m.ClearSignatures()
	for _, k := range keys {
		must(m.Sign(must(signature.LoadSigner(k, crypto.Hash(0)))))
	}
	return must(m.ToBytes(pretty))
}

func TestWhatGoTUFMakesIsVerified(t *testing.T) {
	for _, consistent := range []bool{true, false} {
		for rotations := range 5 {
			files, first := madeByGoTUF(consistent, rotations)
			c := begin(t, trust.State{Root: first})
			if err := pull(c, files); err != nil {
				t.Fatalf("consistent %t, %d rotations: %v", consistent, rotations, err)
			}
			for name, role := range map[string]string{"gateway/1.7.0.json": "targets", "content/rules.json": "content",
				"vendor/x/1": "vendor"} {
				got, err := c.Target(name)
				if err != nil || got.Role != role || got.Check([]byte("content of "+name)) != nil {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
				if r, err := got.Release(); role != "vendor" && (err != nil || r.Seq == 0) {
					t.Errorf("%s: %+v, %v", name, r, err)
				}
			}
			if _, err := theirs(t, t.TempDir(), first, files); err != nil {
				t.Errorf("go-tuf does not take what it made: %v", err)
			}
		}
	}
}

// madeByGoTUF is a repository made with go-tuf alone: two of three keys for root and targets, root's keys changed at
// every rotation, a role two deep, times with nanoseconds, files with and without indentation.
func madeByGoTUF(consistent bool, rotations int) (files map[string][]byte, first []byte) {
	expires := now.AddDate(0, 6, 0).Add(123456789)
	files = map[string][]byte{}
	add := func(version int64, role string, raw []byte) {
		if consistent || role == "root" {
			role = fmt.Sprintf("%d.%s", version, role)
		}
		files[role+".json"] = raw
	}
	keyOf := func(k key) *metadata.Key { return must(metadata.KeyFromPublicKey(public(k))) }
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	rootKeys := keyNamed("g1", "g2", "g3")
	root := metadata.Root(expires)
	root.Signed.ConsistentSnapshot = consistent
	for _, k := range rootKeys {
		check(root.Signed.AddKey(keyOf(k), "root"))
	}
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		check(root.Signed.AddKey(keyOf(newKey("g-"+role)), role))
	}
	check(root.Signed.AddKey(keyOf(newKey("g-targets2")), "targets"))
	root.Signed.Roles["root"].Threshold, root.Signed.Roles["targets"].Threshold = 2, 2
	first = signWith(root, true, rootKeys[:2]...)
	add(1, "root", first)
	for i := range rotations {
		old := rootKeys[i%3]
		rootKeys[i%3] = newKey(fmt.Sprint("rotated", i))
		check(root.Signed.RevokeKey(keyID(old), "root"))
		check(root.Signed.AddKey(keyOf(rootKeys[i%3]), "root"))
		root.Signed.Version++
		add(root.Signed.Version, "root", signWith(root, i%2 == 0, append([]key{old}, rootKeys...)...))
	}
	custom := func(o obj) *json.RawMessage { raw := json.RawMessage(encode(o)); return &raw }
	put := func(m *metadata.Metadata[metadata.TargetsType], name string, o obj) {
		file := must(metadata.TargetFile().FromBytes(name, []byte("content of "+name), "sha256", "sha512"))
		if o != nil {
			file.Custom = custom(o)
		}
		m.Signed.Targets[name] = file
	}
	delegateTo := func(m *metadata.Metadata[metadata.TargetsType], role string, paths ...string) {
		if m.Signed.Delegations == nil {
			m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		}
		m.Signed.Delegations.Roles = append(m.Signed.Delegations.Roles, metadata.DelegatedRole{Name: role,
			Threshold: 1, Paths: paths})
		check(m.Signed.AddKey(keyOf(newKey("g-"+role)), role))
	}
	targets, content, vendor := metadata.Targets(expires), metadata.Targets(expires), metadata.Targets(expires)
	put(targets, "gateway/1.7.0.json", system(7))
	put(content, "content/rules.json", rules(3))
	put(vendor, "vendor/x/1", nil)
	delegateTo(targets, "content", "content/*", "vendor/*/*")
	delegateTo(content, "vendor", "vendor/?/*")
	snapshot, timestamp := metadata.Snapshot(expires), metadata.Timestamp(expires)
	for role, m := range map[string]*metadata.Metadata[metadata.TargetsType]{"targets": targets, "content": content,
		"vendor": vendor} {
		m.Signed.Version = 4
		keys := keyNamed("g-" + role)
		if role == "targets" {
			keys = append(keys, newKey("g-targets2"))
		}
		raw := signWith(m, role == "content", keys...)
		add(4, role, raw)
		meta := metadata.MetaFile(4)
		file := must(metadata.TargetFile().FromBytes(role, raw, "sha512", "sha256"))
		meta.Length, meta.Hashes = file.Length, file.Hashes
		snapshot.Signed.Meta[role+".json"] = meta
	}
	add(1, "snapshot", signWith(snapshot, true, newKey("g-snapshot")))
	files["timestamp.json"] = signWith(timestamp, false, newKey("g-timestamp"))
	return files, first
}

// verdict is what a device makes of a target: the hash it would install by, or nothing.
type verdict map[string]string

// ours is empty, as go-tuf's is, unless all but delegated roles was verified anew; what was trusted before is beside the
// point here.
func ours(c *trust.Client, names []string) verdict {
	v := verdict{}
	if _, _, more := c.Want(); more {
		return v
	}
	for _, name := range names {
		if t, err := c.Target(name); err == nil {
			v[name] = fmt.Sprintf("%x", t.SHA256)
		}
	}
	return v
}

func theirVerdict(u *updater.Updater, err error, names []string) verdict {
	v := verdict{}
	if err != nil {
		return v
	}
	for _, name := range names {
		if t, err := u.GetTargetInfo(name); err == nil {
			v[name] = t.Hashes["sha256"].String()
		}
	}
	return v
}
