package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/script"
	"holdfast/board/boardtest"
)

// installed returns a set that runs the scripts given by name and text, and the directory they are in.
func installed(t *testing.T, o script.Options, scripts map[string]string) (*actuators.Set, string) {
	t.Helper()
	o.Dir, o.Owner, o.Clock = t.TempDir(), os.Getuid(), boardtest.Clock{}
	// The umask of whoever runs the test is not the test's business.
	for dir := o.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range scripts {
		if strings.HasSuffix(name, ".toml") {
			write(t, filepath.Join(o.Dir, name), text, 0o644)
			continue
		}
		write(t, filepath.Join(o.Dir, name), "#!/bin/bash\n"+text, 0o755)
	}
	v, faults, err := script.Verb(o)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: []string{"script"}}, v)
	if err != nil {
		t.Fatal(err)
	}
	return s, o.Dir
}

// five declares five free texts.
var five = strings.Repeat("[[arg]]\nname = \"a\"\nkind = \"text\"\noptional = true\n", 5)

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, s *actuators.Set, name string, args ...string) (actuators.Result, error) {
	t.Helper()
	raw, _ := json.Marshal(map[string]any{"name": name, "args": append([]string{}, args...)})
	checked, err := s.Check("script", raw)
	if err != nil {
		return nil, err
	}
	return s.Do(t.Context(), "script", checked)
}

func TestArgumentsReachTheScriptAsTheyAre(t *testing.T) {
	s, _ := installed(t, script.Options{}, map[string]string{
		"show.toml": five,
		"show":      `printf '%s|' "$@"; env | sort | grep -v -e ^_= -e ^SHLVL= -e ^PWD=; pwd; cat; exit ${#}`,
	})
	t.Setenv("SECRET", "of the agent")
	hostile := []string{"a b", "$(id)", "; reboot", "-x", ""}
	r, err := run(t, s, "show", hostile...)
	want := "a b|$(id)|; reboot|-x||HOME=/\nLANG=C.UTF-8\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n/\n"
	if r["output"] != want || r["exit_code"] != 5 || r["cut"] != false {
		t.Errorf("%q, want output %q", r, want)
	}
	if err == nil || err.Error() != "script show: exit status 5" {
		t.Errorf("error %v", err)
	}
	if _, err := run(t, s, "show"); err != nil {
		t.Errorf("no arguments, exit 0: %v", err)
	}
}

func TestOnlyTheTailOfAFloodIsKept(t *testing.T) {
	s, _ := installed(t, script.Options{}, map[string]string{
		"flood": `head -c 20000000 /dev/zero | tr '\0' x; printf '\xffend'`,
	})
	r, err := run(t, s, "flood")
	out, _ := r["output"].(string)
	if err != nil || r["cut"] != true || !strings.HasSuffix(out, "x\uFFFDend") || len(out) > 32<<10+2 || len(out) < 32<<10-2 {
		t.Errorf("%d bytes, cut %v, %v", len(out), r["cut"], err)
	}
}

// alive returns the processes whose arguments hold mark. Those that merely wait to be reaped have none.
func alive(t *testing.T, mark string) []string {
	t.Helper()
	var found []string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if strings.Contains(string(line), mark) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func zombies(t *testing.T) int {
	t.Helper()
	n := 0
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), fmt.Sprintf(") Z %d ", os.Getpid())) {
			n++
		}
	}
	return n
}

func TestNothingSurvivesARun(t *testing.T) {
	mark := fmt.Sprintf("98765%d", os.Getpid())
	for _, tt := range []struct {
		name, text string
		late       bool
	}{
		{"hangs", "sleep MARK", true},
		{"ignores TERM", "trap '' TERM; while :; do sleep MARK; done", true},
		{"forks and ends", "for i in 1 2 3 4 5; do sleep MARK & done", false},
		{"detaches", "setsid sleep MARK & exit 0", false},
		{"detaches twice", "setsid bash -c 'setsid bash -c \"trap \\\"\\\" TERM HUP; sleep MARK\" & disown; exit' & sleep 0.1", false},
		{"detaches and hangs", "(setsid bash -c 'trap \"\" TERM; sleep MARK; sleep MARK' &); sleep MARK", true},
		{"holds the output", "setsid sleep MARK 2>&1 & disown", false},
		{"forks without end", "f() { setsid bash -c \"sleep MARK\" & }; for i in $(seq 50); do f; done", false},
		{"empties its environment", "env -i /usr/bin/setsid /bin/sleep MARK & sleep 0.1", false},
		{"stops itself", "kill -STOP $$", true},
		{"floods", "trap '' TERM; yes MARK", true},
		{"forks until it may not", "trap '' TERM; while :; do setsid sleep MARK & done", true},
	} {
		s, _ := installed(t, script.Options{Limit: 400 * time.Millisecond, Grace: 200 * time.Millisecond}, map[string]string{
			"x": strings.ReplaceAll(tt.text, "MARK", mark),
		})
		_, err := run(t, s, "x")
		if tt.late && (err == nil || !strings.Contains(err.Error(), "time limit of 400ms")) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !tt.late && err != nil && !strings.Contains(err.Error(), "time limit") { // a slow machine may reach the limit
			t.Errorf("%s: %v", tt.name, err)
		}
		if left := alive(t, mark); len(left) > 0 {
			t.Errorf("%s: alive afterwards: %q", tt.name, left)
		}
	}
	if n := zombies(t); n > 0 {
		t.Errorf("%d zombies", n)
	}
}

func TestChildrenOfOtherPartsAreLeftAlone(t *testing.T) {
	s, _ := installed(t, script.Options{}, map[string]string{"x": "setsid sleep 1000 & exit 0"})
	other, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, s, "x"); err != nil {
		t.Fatal(err)
	}
	if err := other.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("another part's child: %v", err)
	}
	if err := other.Kill(); err != nil {
		t.Fatal(err)
	}
	if state, err := other.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("its owner waits for it: %v, %v", state, err)
	}
}

func TestACallerWhoGivesUpEndsTheScript(t *testing.T) {
	s, dir := installed(t, script.Options{Grace: 100 * time.Millisecond}, map[string]string{
		"x.toml": five,
		"x":      `trap '' TERM; echo > "$1"; sleep 1000`,
	})
	ctx, stop := context.WithCancelCause(t.Context())
	begun := filepath.Join(dir, "begun")
	if err := syscall.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = os.ReadFile(begun) // returns once the script has written
		stop(errors.New("link is down"))
	}()
	_, err := s.Do(ctx, "script", actuators.Args{"name": "x", "args": []string{begun}})
	if err == nil || err.Error() != "script x: link is down" {
		t.Errorf("error %v", err)
	}
}

func TestWhatOthersCouldChangeIsNotRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
	}{
		{"file writable by the group", func(dir string) error { return os.Chmod(dir+"/x", 0o775) }},
		{"file writable by all", func(dir string) error { return os.Chmod(dir+"/x", 0o757) }},
		{"directory writable by all", func(dir string) error { return os.Chmod(dir, 0o777) }},
		{"directory with the sticky bit", func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }},
		{"not executable", func(dir string) error { return os.Chmod(dir+"/x", 0o644) }},
		{"a link", func(dir string) error { return errors.Join(os.Remove(dir+"/x"), os.Symlink("/bin/true", dir+"/x")) }},
		{"gone", func(dir string) error { return os.Remove(dir + "/x") }},
		{"a directory", func(dir string) error { return errors.Join(os.Remove(dir+"/x"), os.Mkdir(dir+"/x", 0o755)) }},
		{"another's", func(dir string) error {
			if os.Getuid() != 0 {
				t.Log("not root: a script that belongs to another is not tried")
				return os.Remove(dir + "/x")
			}
			return os.Chown(dir+"/x", 12345, 0)
		}},
		{"in a directory that is a link", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir))
		}},
	} {
		s, dir := installed(t, script.Options{}, map[string]string{"x": "exit 0"})
		if _, err := run(t, s, "x"); err != nil {
			t.Fatalf("before: %v", err)
		}
		if err := tt.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if r, err := run(t, s, "x"); err == nil || r != nil {
			t.Errorf("%s: it was run: %v", tt.name, r)
		}
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	s, dir := installed(t, script.Options{}, map[string]string{"x": "", ".hidden": "", "a b": "", "README": ""})
	_ = os.Chmod(filepath.Join(dir, "README"), 0o644)
	for _, name := range []string{"../x", "/bin/true", ".hidden", "a b", "README", "", "x/", "y"} {
		if r, err := run(t, s, name); err == nil || r != nil {
			t.Errorf("%q: %v, %v", name, r, err)
		}
	}
	v, _, err := script.Verb(script.Options{Dir: "/nonexistent/scripts", Clock: boardtest.Clock{}})
	if err != nil {
		t.Fatalf("no directory: %v", err)
	}
	if _, err := v.Do(t.Context(), actuators.Args{"name": ""}); !errors.Is(err, actuators.ErrDenied) {
		t.Errorf("no scripts: %v", err)
	}
	if _, _, err := script.Verb(script.Options{Dir: "relative", Clock: boardtest.Clock{}}); err == nil {
		t.Error("a relative directory was accepted")
	}
}
