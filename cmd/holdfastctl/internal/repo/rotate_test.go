package repo_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/update/trust"
)

// at is the repository as another person has it, on a machine with other keys.
func (s *site) at(r *keyring.Ring) *site {
	other := *s.Repo
	other.Ring = r
	return &site{Repo: &other, t: s.t, now: s.now}
}

func newKey(t *testing.T, r *keyring.Ring, role string) keyring.Key {
	t.Helper()
	k, err := r.New(role)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRootOfThreePeopleIsSignedByTwo(t *testing.T) {
	s := newSite(t)
	ann, bob := ring(t, "ann"), ring(t, "bob")
	c := repo.Ceremony{Keys: map[string]int{"root": 3}, Threshold: map[string]int{"root": 2},
		Given: []keyring.Key{newKey(t, ann, "root"), newKey(t, bob, "root")}}
	all, err := s.Init(c)
	if err != nil {
		t.Fatal(err)
	}
	if w := all[0].Wants; len(w) != 1 || w[0].More != 1 || len(w[0].Keys) != 2 {
		t.Fatalf("%+v", all)
	}
	if _, err := s.Publish(); !errors.Is(err, repo.ErrUnsigned) {
		t.Fatalf("published with one signature: %v", err)
	}
	s.at(ann).sign()
	s.publish()
	if err := fresh(t, s.files()["metadata/1.root.json"], s.files(), s.now); err != nil {
		t.Error(err)
	}
	// The two others can do without this machine's key, which is lost.
	here := s.rootKeyHere()
	if _, err := s.at(ann).Rotate(repo.Rotation{Role: "root", Lost: []string{here}, Given: []keyring.Key{newKey(t, bob, "root")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.at(ann).Publish(); !errors.Is(err, repo.ErrUnsigned) {
		t.Fatalf("one of two has signed: %v", err)
	}
	s.at(bob).sign()
	s.publish()
	seats, err := s.Seats()
	if err != nil {
		t.Fatal(err)
	}
	for _, seat := range seats {
		if seat.ID == here {
			t.Error("the lost key has a seat")
		}
	}
	if err := fresh(t, s.files()["metadata/1.root.json"], s.files(), s.now); err != nil {
		t.Error(err)
	}
}

// rootKeyHere is the id of the root key on the first machine.
func (s *site) rootKeyHere() string {
	s.t.Helper()
	keys, err := s.Ring.List()
	if err != nil || keys[0].Role != "root" {
		s.t.Fatal(keys, err)
	}
	return keys[0].ID
}

func TestTargetsOfTwoPeopleWantBoth(t *testing.T) {
	s := newSite(t)
	ann := ring(t, "ann")
	c := repo.Ceremony{Keys: map[string]int{"targets": 2}, Threshold: map[string]int{"targets": 2}, Given: []keyring.Key{newKey(t, ann, "targets")}}
	if _, err := s.Init(c); err != nil {
		t.Fatal(err)
	}
	s.at(ann).sign()
	s.publish()
	s.add("pump/1", words(1, 5_000))
	if _, err := s.Publish(); !errors.Is(err, repo.ErrUnsigned) || !strings.Contains(err.Error(), "2.targets.json wants 1 more") {
		t.Fatalf("%v", err)
	}
	all := s.at(ann).sign()
	if len(all) != 1 || all[0].New != 1 || len(all[0].Signed) != 2 || !strings.HasPrefix(all[0].What[0], "adds pump/1.json, SHA-256 ") {
		t.Errorf("%+v", all)
	}
	s.publish()
	if _, err := s.verify(s.Dir, repo.Check{}); err != nil {
		t.Error(err)
	}
}

func TestEveryRoleGetsNewKeys(t *testing.T) {
	for _, role := range keyring.Roles {
		for _, stolen := range []bool{false, true} {
			s := founded(t)
			s.add("pump/1", words(1, 5_000))
			s.publish()
			f := newFleet(t, s.files()["metadata/1.root.json"], 2)
			if err := f.look(0, s.files(), s.now); err != nil {
				t.Fatal(err)
			}
			before, err := s.Seats()
			if err != nil {
				t.Fatal(err)
			}
			if role != "root" && stolen { // or lost: it is not there to sign
				s.forget(role)
			}
			if _, err := s.Rotate(repo.Rotation{Role: role}); err != nil {
				t.Fatal(role, err)
			}
			s.publish()
			after, err := s.Seats()
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range after {
				if same := a.ID == before[i].ID; same != (a.Role != role) {
					t.Errorf("%s: seat %+v was %+v", role, a, before[i])
				}
			}
			for i := range f.known {
				if err := f.look(i, s.files(), s.now); err != nil {
					t.Errorf("%s, stolen %t: %v", role, stolen, err)
				}
			}
			s.add("pump/2", words(2, 5_000))
			s.publish()
			if err := f.look(0, s.files(), s.now); err != nil {
				t.Errorf("%s, and then a release: %v", role, err)
			}
		}
	}
}

// forget removes the keys of a role from the machine.
func (s *site) forget(role string) {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Ring.Dir, role+"-*"))
	if err != nil || len(names) == 0 {
		s.t.Fatal(names, err)
	}
	for _, n := range names {
		if err := os.Remove(n); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestKeysThatCannotBeReplacedAreSaid(t *testing.T) {
	s := newSite(t)
	if _, err := s.Init(repo.Ceremony{Threshold: map[string]int{"root": 2}}); err != nil {
		t.Fatal(err)
	}
	s.publish()
	for name, c := range map[string]repo.Rotation{
		"too few of root are left": {Role: "root", Lost: []string{s.rootKeyHere()}},
		"a key nobody has":         {Role: "root", Lost: []string{"0123456789"}},
		"too short":                {Role: "root", Lost: []string{s.rootKeyHere()[:3]}},
		"no such role":             {Role: "mirrors"},
		"more than there are":      {Role: "targets", Threshold: 2},
		"too many":                 {Role: "targets", Number: 40},
	} {
		keys := len(mustList(t, s.Ring))
		if _, err := s.Rotate(c); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(mustList(t, s.Ring)); n != keys {
			t.Errorf("%s: %d keys were made", name, n-keys)
		}
		if all, err := s.Staged(); err != nil || len(all) > 0 {
			t.Errorf("%s: staged is %+v, %v", name, all, err)
		}
	}
}

func mustList(t *testing.T, r *keyring.Ring) []keyring.Key {
	t.Helper()
	keys, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeyThatWasStolenSignsNoMore(t *testing.T) {
	s := founded(t)
	thief := s.timestampOf() // what a thief signs with the old key
	f := newFleet(t, s.files()["metadata/1.root.json"], 1)
	if err := f.look(0, s.files(), s.now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rotate(repo.Rotation{Role: "timestamp"}); err != nil {
		t.Fatal(err)
	}
	s.publish()
	if err := f.look(0, s.files(), s.now); err != nil {
		t.Fatal(err)
	}
	files := s.files()
	files["metadata/timestamp.json"] = thief
	if _, err := ours(f.known[0], s.now, from(files)); err == nil {
		t.Error("the device takes a timestamp of the old key")
	}
	if bytes.Equal(thief, s.files()["metadata/timestamp.json"]) {
		t.Error("nothing was rotated")
	}
}

// timestampOf is a timestamp far ahead, by the keys of now.
func (s *site) timestampOf() []byte {
	s.t.Helper()
	dir := s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.Dir)); err != nil {
		s.t.Fatal(err)
	}
	ahead := s.at(s.Ring)
	ahead.Dir = dir
	for range 5 {
		ahead.publish()
	}
	return ahead.files()["metadata/timestamp.json"]
}

func TestWhatDevicesWouldRefuseIsNotPublished(t *testing.T) {
	s := founded(t)
	s.Life = map[string]time.Duration{"targets": -time.Hour}
	s.add("pump/1", words(1, 5_000))
	before := s.files()
	if _, err := s.Publish(); !errors.Is(err, repo.ErrRefused) || !errors.Is(err, trust.ErrExpired) {
		t.Errorf("%v", err)
	}
	if !maps.EqualFunc(before, s.files(), bytes.Equal) {
		t.Error("something was published")
	}
}

func TestSignersAreToldWhatChanges(t *testing.T) {
	s := founded(t)
	for role, want := range map[string]string{repo.Content: "role content: content/* wants 1 of ", "timestamp": "timestamp: adds key "} {
		if _, err := s.Rotate(repo.Rotation{Role: role}); err != nil {
			t.Fatal(err)
		}
		all, err := s.Staged()
		if err != nil || !slices.ContainsFunc(all, func(g repo.Signing) bool {
			return slices.ContainsFunc(g.What, func(w string) bool { return strings.HasPrefix(w, want) })
		}) {
			t.Errorf("%s: %+v, %v", role, all, err)
		}
		s.publish()
	}
}
