package repair_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/actuators/repair"
)

// lay writes files below a directory.
func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatFilesSayAgainstRepairs(t *testing.T) {
	const session = "# This is private data. Do not parse.\nUID=1000\nUSER=anna\nACTIVE=1\nIS_DISPLAY=0\nSTATE=%s\nREMOTE=1\nTYPE=tty\nCLASS=%s\nTTY=pts/0\n"
	const lock = "# This is private data. Do not parse.\nWHAT=%s\nMODE=%s\nUID=0\nPID=812\nWHO=Package manager\nWHY=dpkg runs\nFIFO=/run/systemd/inhibit/1.ref\n"
	for _, tt := range []struct {
		name                 string
		files                map[string]string
		off, holds, sessions string
	}{
		{name: "nothing"},
		{name: "the kill switch", files: map[string]string{"off": ""}, off: "DIR/off is there"},
		{name: "a hold", files: map[string]string{"holds/update-of-line-3": "until Friday\nmore"}, holds: "held by update-of-line-3 until Friday"},
		{name: "an empty hold", files: map[string]string{"holds/x": ""}, holds: "held by x"},
		{name: "a hold that wants to write the log", files: map[string]string{"holds/x": "a\x1b[31mb" + strings.Repeat("c", 5000)}, holds: "held by x a[31mb" + strings.Repeat("c", 94) + "…"},
		{name: "a name that is hidden", files: map[string]string{"holds/.x": "y"}},
		{name: "a lock", files: map[string]string{"systemd/inhibit/1": fmt.Sprintf(lock, "sleep:shutdown", "block")}, holds: "a lock keeps the machine from shutting down: Package manager dpkg runs"},
		{name: "a lock that only delays", files: map[string]string{"systemd/inhibit/1": fmt.Sprintf(lock, "shutdown", "delay")}},
		{name: "a lock of sleep", files: map[string]string{"systemd/inhibit/1": fmt.Sprintf(lock, "sleep:handle-lid-switch", "block")}},
		{name: "a user", files: map[string]string{"systemd/sessions/3": fmt.Sprintf(session, "active", "user")}, sessions: "a user has a session: anna pts/0"},
		{name: "a user in the background", files: map[string]string{"systemd/sessions/3": fmt.Sprintf(session, "online", "user-early")}, sessions: "a user has a session: anna pts/0"},
		{name: "a user who leaves", files: map[string]string{"systemd/sessions/3": fmt.Sprintf(session, "closing", "user")}},
		{name: "a greeter and a manager", files: map[string]string{"systemd/sessions/3": fmt.Sprintf(session, "active", "greeter"), "systemd/sessions/4": fmt.Sprintf(session, "active", "manager")}},
	} {
		dir := t.TempDir()
		lay(t, dir, tt.files)
		s := repair.Switches{OffFile: filepath.Join(dir, "off"), HoldsDir: filepath.Join(dir, "holds"), Systemd: filepath.Join(dir, "systemd")}
		want := [3]string{strings.Replace(tt.off, "DIR", dir, 1), tt.holds, tt.sessions}
		if got := [3]string{s.Off(), s.Holds(), s.Sessions()}; got != want {
			t.Errorf("%s:\n%q, want\n%q", tt.name, got, want)
		}
	}
	if s := (repair.Switches{}); s.Off() != "" {
		t.Errorf("no kill switch: %q", s.Off())
	}
}

// The agent's own user may write a hold: what it lays there is not waited for and not followed.
func TestAHoldIsNoWayIntoTheWarden(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, map[string]string{"secret": "the root's password", "holds/.keep": ""})
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "holds/link")); err != nil {
		t.Fatal(err)
	}
	s := repair.Switches{HoldsDir: filepath.Join(dir, "holds")}
	if got := s.Holds(); got != "held by link" {
		t.Errorf("a link: %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "holds/link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "holds/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Holds(); got != "held by pipe" {
		t.Errorf("a pipe: %q", got)
	}
	crowd := map[string]string{}
	for i := range 257 {
		crowd[fmt.Sprintf("systemd/sessions/.%d", i)] = ""
	}
	lay(t, dir, crowd)
	if got := (repair.Switches{Systemd: filepath.Join(dir, "systemd")}).Sessions(); !strings.HasSuffix(got, "has more files than are looked at") {
		t.Errorf("a crowd: %q", got)
	}
}
