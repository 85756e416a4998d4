package clean_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/clean"
	"holdfast/board/boardtest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lay lays out files below a new directory, each with its age, and returns the directory.
func lay(t *testing.T, files map[string]time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	for name, age := range files {
		put(t, filepath.Join(dir, name), age)
	}
	return dir
}

func put(t *testing.T, name string, age time.Duration) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, make([]byte, 4096), 0o644)
	}
	if err == nil {
		err = os.Chtimes(name, now.Add(-age), now.Add(-age))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// left is what lies below dir, directories with a slash.
func left(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if d.IsDir() {
			name += "/"
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func sweep(t *testing.T, e clean.Entry, dry bool) clean.Report {
	t.Helper()
	r, err := clean.Sweep(e, now, dry)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOldFilesThatMatchAreDeletedAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		what  string
		paths []string
		entry clean.Entry
		left  string
		files int64
	}{
		{"one level", []string{"*.log.*"}, clean.Entry{}, "a.log d/ d/e/ d/e/g.log.1 d/f.log.1 new.tmp", 2},
		{"a directory by pattern", []string{"*/*.log.*"}, clean.Entry{}, "a.log a.log.1 a.log.2 d/ d/e/ d/e/g.log.1 new.tmp", 1},
		{"any directories", []string{"**/*.log.*"}, clean.Entry{}, "a.log d/ d/e/ new.tmp", 4},
		{"any in the middle", []string{"d/**/g*"}, clean.Entry{}, "a.log a.log.1 a.log.2 d/ d/e/ d/f.log.1 new.tmp", 1},
		{"patterns that overlap", []string{"*.1", "a*"}, clean.Entry{}, "d/ d/e/ d/e/g.log.1 d/f.log.1 new.tmp", 3},
		{"everything is files alone", []string{"*"}, clean.Entry{}, "d/ d/e/ d/e/g.log.1 d/f.log.1", 4},
		{"one by name", []string{"a.log"}, clean.Entry{}, "a.log.1 a.log.2 d/ d/e/ d/e/g.log.1 d/f.log.1 new.tmp", 1},
		{"age", []string{"**/*"}, clean.Entry{OlderThan: 3 * time.Hour}, "a.log a.log.1 d/ d/e/ d/f.log.1 new.tmp", 2},
		{"the newest are kept", []string{"**/*"}, clean.Entry{KeepBytes: 3*4096 + 100}, "a.log d/ d/e/ d/f.log.1 new.tmp", 3},
		{"both", []string{"**/*"}, clean.Entry{KeepBytes: 5 * 4096, OlderThan: 3 * time.Hour}, "a.log a.log.1 a.log.2 d/ d/e/ d/f.log.1 new.tmp", 1},
		{"a hidden one is a file", []string{"nothing/*"}, clean.Entry{}, "a.log a.log.1 a.log.2 d/ d/e/ d/e/g.log.1 d/f.log.1 new.tmp", 0},
	} {
		dir := lay(t, map[string]time.Duration{"a.log": time.Minute, "a.log.1": 2 * time.Hour, "a.log.2": 3 * time.Hour, "d/f.log.1": time.Hour,
			"d/e/g.log.1": 4 * time.Hour, "new.tmp": -time.Hour})
		for _, p := range tt.paths {
			tt.entry.Paths = append(tt.entry.Paths, dir+"/"+p)
		}
		all := left(t, dir)
		if r := sweep(t, tt.entry, true); r.Files != tt.files || r.Bytes != tt.files*4096 || !r.Dry || left(t, dir) != all {
			t.Errorf("%s: dry: %+v, left %s", tt.what, r, left(t, dir))
		}
		r := sweep(t, tt.entry, false)
		if got := left(t, dir); got != tt.left || r.Files != tt.files || r.Bytes != tt.files*4096 || r.Trouble != "" || r.More {
			t.Errorf("%s: left %s, want %s; %+v", tt.what, got, tt.left, r)
		}
	}
}

func TestLinksAreNeitherFollowedNorDeleted(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"app/x": time.Hour, "secret/x": time.Hour, "secret/d/x": time.Hour})
	for to, name := range map[string]string{dir + "/secret": "app/dir", dir + "/secret/x": "app/file", "../secret": "app/up", "app": "way"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := "app/ app/dir app/file app/up secret/ secret/d/ secret/d/x secret/x way"
	r := sweep(t, clean.Entry{Paths: []string{dir + "/app/*", dir + "/app/*/*", dir + "/app/**/x"}}, false)
	if got := left(t, dir); got != want || r.Files != 1 || r.Trouble != "" {
		t.Errorf("left %s, want %s; %+v", got, want, r)
	}
	for _, base := range []string{dir + "/way/*", dir + "/app/dir/*", dir + "/app/up/d/*"} {
		r := sweep(t, clean.Entry{Paths: []string{base}}, false)
		if got := left(t, dir); got != want || r.Files != 0 || r.Trouble == "" {
			t.Errorf("%s: left %s; %+v", base, got, r)
		}
	}
}

func TestNamesMayHoldAnything(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"a\nb": time.Hour, "-rf": time.Hour, "$(id)": time.Hour, "\xff\xfe": time.Hour, "*": time.Hour,
		"...": time.Hour, strings.Repeat("x", 255): time.Hour})
	if r := sweep(t, clean.Entry{Paths: []string{dir + "/*"}}, false); r.Files != 7 || left(t, dir) != "" {
		t.Errorf("%+v, left %q", r, left(t, dir))
	}
}

func TestWhatSomebodyWritesToIsLeft(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"open": time.Hour, "read": time.Hour, "closed": time.Hour})
	w, err := os.OpenFile(dir+"/open", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(dir + "/read")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report := sweep(t, clean.Entry{Paths: []string{dir + "/*"}}, false)
	if got := left(t, dir); got != "open" || report.InUse != 1 || report.Files != 2 {
		t.Errorf("left %s, %+v", got, report)
	}
	w.Close()
	if report := sweep(t, clean.Entry{Paths: []string{dir + "/*"}}, false); report.Files != 1 || report.InUse != 0 {
		t.Errorf("closed: %+v", report)
	}
}

func TestAFileWithAnotherNameGivesNothingBack(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"app/x": time.Hour, "elsewhere": time.Hour})
	if err := os.Link(dir+"/elsewhere", dir+"/app/y"); err != nil {
		t.Fatal(err)
	}
	if r := sweep(t, clean.Entry{Paths: []string{dir + "/app/*"}}, false); r.Files != 2 || r.Bytes != 4096 || left(t, dir) != "app/ elsewhere" {
		t.Errorf("%+v, left %s", r, left(t, dir))
	}
}

// Whoever owns the tree exchanges a directory and a link to another one as fast as it can; nothing of the other may go.
func TestATreeThatChangesMeanwhile(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"secret/x": time.Hour, "app/real/other": time.Hour})
	if err := os.Symlink("../secret", dir+"/app/link"); err != nil {
		t.Fatal(err)
	}
	swap := exec.Command("/bin/bash", "-c", `cd "$0" && while :; do mv real d && mv d t && mv link d && mv d link && mv t real; done 2>/dev/null`, dir+"/app")
	if err := swap.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = swap.Process.Kill(); _ = swap.Wait() }()
	for range 100 {
		sweep(t, clean.Entry{Paths: []string{dir + "/app/**/x", dir + "/app/d/x", dir + "/app/*/x"}}, false)
	}
	if _, err := os.Stat(dir + "/secret/x"); err != nil {
		t.Errorf("what the link leads to: %v", err)
	}
}

func TestOtherFileSystemsAreLeftAlone(t *testing.T) {
	dir := lay(t, map[string]time.Duration{"app/x": time.Hour, "app/mnt/y": time.Hour, "app/bound/y": time.Hour, "elsewhere/z": time.Hour})
	mounts := [][]string{{"-t", "tmpfs", "tmpfs", dir + "/app/mnt"}, {"--bind", dir + "/elsewhere", dir + "/app/bound"}}
	for _, m := range mounts {
		if out, err := exec.Command("mount", m...).CombinedOutput(); err != nil {
			if os.Getuid() == 0 {
				t.Fatalf("mount: %s", out)
			}
			t.Logf("not root: no file system is mounted: %s", out)
			return
		}
		defer func() { _ = exec.Command("umount", m[len(m)-1]).Run() }()
	}
	put(t, dir+"/app/mnt/z", time.Hour)
	r := sweep(t, clean.Entry{Paths: []string{dir + "/app/**/*"}}, false)
	if got := left(t, dir); got != "app/ app/bound/ app/bound/z app/mnt/ app/mnt/z elsewhere/ elsewhere/z" || r.Files != 1 {
		t.Errorf("left %s, %+v", got, r)
	}
}

func TestAHugeDirectoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 20_100 {
		f, err := os.Create(fmt.Sprintf("%s/%d", dir, i))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	e := clean.Entry{Paths: []string{dir + "/*"}}
	future := time.Now().Add(time.Hour)
	if r, err := clean.Sweep(e, future, false); err != nil || r.Files != 20_000 || !r.More {
		t.Errorf("first: %+v, %v", r, err)
	}
	if r, err := clean.Sweep(e, future, false); err != nil || r.Files != 100 || r.More {
		t.Errorf("second: %+v, %v", r, err)
	}
}

func TestWhatIsNothingToCleanIsRefused(t *testing.T) {
	for _, p := range []string{"", "x/*", "/*", "/**/x", "/etc/*", "/etc", "/usr/*", "/dev/shm/*", "/proc/1/*", "/sys/a/*", "/var/../etc/*", "/var//x", "/var/x/",
		"/var/[", "/var/log/**", "/var/*/a/b/c/d/e/f/g/h", "/bin/x"} {
		if _, err := clean.Sweep(clean.Entry{Paths: []string{p}}, now, true); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
	for _, e := range []clean.Entry{{}, {Paths: make([]string, 17)}, {Paths: []string{"/var/x/*"}, OlderThan: -1}, {Paths: []string{"/var/x/*"}, KeepBytes: -1}} {
		if err := e.Valid(); err == nil {
			t.Errorf("%+v was taken", e)
		}
	}
	got := clean.Entry{Paths: []string{"/var/log/app/*.1", "/var/log/app/**/x", "/tmp/x", "/srv/*/y"}}.Bases()
	if fmt.Sprint(got) != "[/srv /tmp /var/log/app]" {
		t.Errorf("bases %v", got)
	}
}

func TestTheVerbCleansListedEntriesAlone(t *testing.T) {
	asked := ""
	said, fail := `{"files":2,"bytes":10,"kept":1}`, error(nil)
	v, err := clean.Verb(map[string]clean.Entry{"logs": {Paths: []string{"/var/log/app/*.1"}}}, func(_ context.Context, name string, dry bool) ([]byte, error) {
		asked = fmt.Sprint(name, dry)
		return []byte(said), fail
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: []string{"clean"}}, v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Do(t.Context(), "clean", actuators.Args{"name": "logs", "dry": true})
	if err != nil || asked != "logstrue" || r["files"] != int64(2) || r["bytes"] != int64(10) {
		t.Errorf("%v, %v, asked %s", r, err, asked)
	}
	if _, err := s.Do(t.Context(), "clean", actuators.Args{"name": "others"}); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("another: %v", err)
	}
	for _, bad := range []string{"", "{", `{"files":-1e99}`, `{"files":1,"files":2}`, strings.Repeat(" ", 5000)} {
		if said = bad; true {
			if _, err := s.Do(t.Context(), "clean", actuators.Args{"name": "logs"}); err == nil {
				t.Errorf("a report of %.20q was taken", bad)
			}
		}
	}
	said = `{"files":0,"bytes":0,"kept":0,"trouble":"no"}`
	if _, err := s.Do(t.Context(), "clean", actuators.Args{"name": "logs"}); err == nil || err.Error() != "clean logs: no" {
		t.Errorf("trouble and nothing done: %v", err)
	}
	if _, err := clean.Verb(map[string]clean.Entry{"bad": {Paths: []string{"/etc/*"}}}, nil); err == nil {
		t.Error("a bad entry was taken")
	}
	none, err := clean.Verb(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Do(t.Context(), actuators.Args{"name": ""}); !errors.Is(err, actuators.ErrDenied) {
		t.Errorf("no entries: %v", err)
	}
}
