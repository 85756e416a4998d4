package fetch_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"holdfast/agent"
	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

func TestOnlyRegularFilesBelowTheDirectoryAreOpened(t *testing.T) {
	top := t.TempDir()
	fill(t, top, map[string][]byte{"secret": []byte("geheim"), "stick/r/f": []byte("hello"), "stick/r/d/f": []byte("below"),
		"stick/other": []byte("beside")})
	stick := filepath.Join(top, "stick")
	for name, to := range map[string]string{
		"r/up": "../../secret", "r/absolute": filepath.Join(top, "secret"), "r/dir": "../..", "r/loop": "loop", "r/good": "d/f",
		"r/beside": "../other", "out": "../..", "in": "r/d",
	} {
		if err := os.Symlink(to, filepath.Join(stick, name)); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("unix", filepath.Join(stick, "r/socket")) // which cannot be opened
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := syscall.Mkfifo(filepath.Join(stick, "r/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ base, name, data, want string }{
		{"/r", "f", "hello", ""},
		{"/r", "good", "below", ""},
		{"/r", "beside", "beside", ""}, // it stays on the stick
		{"/in", "f", "below", ""},
		{"/r", "up", "", "escapes"},
		{"/r", "absolute", "", "escapes"},
		{"/r", "dir/secret", "", "escapes"},
		{"/r", "loop", "", "symbolic links"},
		{"/out", "secret", "", "escapes"},
		{"/r", "fifo", "", "not a regular file"},
		{"/r", "socket", "", "not a regular file"},
		{"/r", "d", "", "not a regular file"},
		{"/r", "f/f", "", agent.ErrAbsent.Error()},
		{"/none", "f", "", agent.ErrAbsent.Error()},
	} {
		r, err := fetch.Open(stick+tt.base, fetch.Options{Allow: []string{stick}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := get(t.Context(), r, tt.name, 0)
		if string(data) != tt.data || (err == nil) != (tt.want == "") {
			t.Errorf("%s%s: %q, %v", tt.base, tt.name, data, err)
		}
		if tt.want != "" {
			contains(t, err, tt.want)
		}
	}
	gone := fetch.Dir{Path: filepath.Join(top, "gone")}
	if _, err := get(t.Context(), gone, "f", 0); err == nil || errors.Is(err, agent.ErrAbsent) {
		t.Errorf("a stick that is not there: %v", err)
	}
}

func TestADirectoryIsLeftOpenByNothing(t *testing.T) {
	d := fetch.Dir{Path: fill(t, t.TempDir(), map[string][]byte{"f": []byte("hello"), "d/f": nil})}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what nobody has
	before := linktest.InUse()
	for range 20 {
		for _, name := range []string{"f", "d", "none"} {
			for offset := range int64(7) {
				get(t.Context(), d, name, offset)
			}
		}
	}
	if now := linktest.InUse(); now.Descriptors > before.Descriptors {
		t.Errorf("in use %+v, before %+v", now, before)
	}
}
