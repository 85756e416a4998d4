package repo_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/repo"
)

func (s *site) verify(where string, c repo.Check) (*repo.Report, error) {
	s.t.Helper()
	source, err := repo.NewSource(where)
	if err != nil {
		return nil, err
	}
	c.Now = s.now
	return repo.Verify(s.t.Context(), source, c)
}

// stocked is a site with three releases of three segments.
func stocked(t *testing.T) *site {
	s := founded(t)
	image := make([]byte, 9<<20)
	for i := range 3 {
		copy(image[i<<22:], words(uint64(i), 100_000))
	}
	for i, name := range []string{"pump/1", "pump/2", "pump/3"} {
		s.add(name, image)
		s.publish()
		image = altered(image, uint64(i)+7)
	}
	return s
}

// only finds the one file that a pattern names.
func (s *site) only(pattern string) string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.Dir, pattern))
	if err != nil || len(found) == 0 {
		s.t.Fatal(pattern, found, err)
	}
	return found[len(found)-1]
}

func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(slices.Clone(raw)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerifyReadsEverything(t *testing.T) {
	s := stocked(t)
	for _, where := range []string{s.Dir, serve(t, http.FileServer(http.Dir(s.Dir)))} {
		r, err := s.verify(where, repo.Check{Deep: true})
		if err != nil {
			t.Fatal(err)
		}
		// Three full images; the deltas 1 to 2, 1 to 3 and 2 to 3.
		if len(r.Releases) != 3 || r.Payloads != 6 || r.Decoded != 6 || len(r.Roles) != 5 {
			t.Errorf("%s: %+v", where, r)
		}
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestVerifyFindsWhatIsSpoilt(t *testing.T) {
	s := stocked(t)
	full := s.release("pump/3").Manifest.Parts[0].Full
	deltas := s.release("pump/3").Manifest.Parts[0].Deltas
	second := full.Patch.Segments[1]
	for name, tt := range map[string]struct {
		path   string
		change func([]byte) []byte
		want   string
	}{
		"a bit of a segment":    {full.File, func(b []byte) []byte { b[second.Offset+7] ^= 1; return b }, "segment 1: its checksum is another"},
		"a bit of the head":     {full.File, func(b []byte) []byte { b[40] ^= 1; return b }, "its head is not what the manifest says"},
		"a payload cut short":   {full.File, func(b []byte) []byte { return b[:len(b)-1] }, "segment 2"},
		"a payload with a tail": {full.File, func(b []byte) []byte { return append(b, 0) }, "it goes on after its end"},
		"another delta":         {deltas[0].File, func([]byte) []byte { return s.files()[deltas[1].File] }, "its head is not"},
		"a manifest":            {"targets/pump/*.3.json", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "pump/3.json"},
		"the timestamp":         {"metadata/timestamp.json", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "devices would refuse it: timestamp.json"},
		"the newest targets":    {"metadata/4.targets.json", func(b []byte) []byte { return append(b, ' ') }, "devices would refuse it: 4.targets.json"},
	} {
		path := s.only(tt.path)
		had, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, path, tt.change)
		if _, err := s.verify(s.Dir, repo.Check{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		rewrite(t, path, func([]byte) []byte { return had })
	}
	path := s.only(full.File)
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.verify(s.Dir, repo.Check{}); err == nil || r == nil || len(r.Problems) != 1 {
		t.Errorf("a payload that is missing: %+v, %v", r, err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(31 * 24 * time.Hour)
	if _, err := s.verify(s.Dir, repo.Check{}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a month later: %v", err)
	}
}

func (s *site) release(name string) repo.Listed {
	s.t.Helper()
	all, err := s.Releases()
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l repo.Listed) bool { return l.Name == name })
	if i < 0 {
		s.t.Fatalf("no release %s", name)
	}
	return all[i]
}

func TestVerifyWantsServersThatSendParts(t *testing.T) {
	s := founded(t)
	s.add("pump/1", words(1, 100_000))
	s.publish()
	files := http.FileServer(http.Dir(s.Dir))
	where := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		files.ServeHTTP(w, r)
	}))
	if _, err := s.verify(where, repo.Check{}); err == nil || !strings.Contains(err.Error(), "devices could not resume") {
		t.Errorf("%v", err)
	}
}

func TestVerifyBelievesTheRootThatIsGiven(t *testing.T) {
	s, other := founded(t), founded(t)
	if _, err := s.verify(s.Dir, repo.Check{Root: other.files()["metadata/1.root.json"]}); err == nil || !strings.Contains(err.Error(), "devices would refuse it") {
		t.Errorf("%v", err)
	}
}
