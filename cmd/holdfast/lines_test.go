package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// process starts this program as holdfast with the arguments. It is killed at the end of the test.
func process(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "holdfast")
	if err := os.Symlink(self, name); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error: it has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(args, " "), &said)
		}
	})
	return cmd
}

func TestOutputsAreSafeWhenTheAgentStopsOrDies(t *testing.T) {
	t.Parallel()
	dir, me := t.TempDir(), "root"
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	file := filepath.Join(dir, "holdfast.toml")
	text := fmt.Sprintf("id = \"bench\"\nstate_dir = %q\nrun_dir = %q\n[warden]\nuser = %q\n[broker]\nurls = [\"mqtt://127.0.0.1:1\"]\n"+
		"[lines.pump]\ndriver = \"sim\"\noutput = true\n[lines.vent]\ndriver = \"sim\"\noutput = true\nsafe = true\nexcludes = [\"pump\"]\n", dir, dir, me)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func(s lines.Standing) bool) (took time.Duration) {
		t.Helper()
		var s lines.Standing
		var err error
		for began := time.Now(); ; {
			if s, err = wire.Levels(t.Context(), c); err == nil && ok(s) {
				return time.Since(began)
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%s: %+v, %v", what, s, err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	set := func(name string, on bool) error {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		_, err := (&warden.Client{Dial: warden.Unix(wire.LinesSocket(c))}).Do(ctx, "relay.set", actuators.Args{"name": name, "on": on}, "")
		return err
	}
	pumping := func(s lines.Standing) bool { return s.Lines["pump"].High && !s.Lines["vent"].High }
	venting := func(s lines.Standing) bool { return !s.Lines["pump"].High && s.Lines["vent"].High }
	owner := process(t, dir, "lines", "--config", file)
	wait("nobody has come", func(s lines.Standing) bool { return s.Silent && venting(s) })
	if err := set("vent", false); err == nil {
		t.Error("an output is set though no agent runs")
	}
	agent := process(t, dir, "run", "--config", file)
	begin := func() {
		t.Helper()
		wait("an agent runs", func(s lines.Standing) bool { return !s.Silent })
		if err := set("pump", true); err == nil {
			t.Error("the pump runs beside the vent")
		}
		for _, err := range []error{set("vent", false), set("pump", true)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		wait("it pumps", pumping)
	}
	begin()
	if err := agent.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// The last beat was at most half a second ago.
	if took := wait("stopped", venting); took < lines.Silence-lines.BeatEvery-100*time.Millisecond || took > 10*time.Second {
		t.Errorf("stopped, the outputs were safe after %v", took)
	}
	if err := agent.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait("it goes on", func(s lines.Standing) bool { return s.Silences == 1 && !s.Silent && venting(s) })
	begin()
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait("killed", func(s lines.Standing) bool { return s.Silences == 2 && venting(s) })
	if err := owner.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := owner.Wait(); err != nil {
		t.Errorf("the owner ended: %v", err)
	}
	if _, err := os.Stat(wire.LinesSocket(c)); err == nil {
		t.Error("its socket is left")
	}
}

func TestWithoutLinesThereIsNothingToOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) string {
		name := filepath.Join(dir, "c.toml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		text, flag, says string
		exit             int
	}{
		{"", "--log=info", "no lines are configured", exitNothing},
		{"[lines.a]\n", "--log=info", "which line is it?", exitUsage},
		{"root = \"" + dir + "\"\n", "--list", "no GPIO chips", exitFailed},
	} {
		var out bytes.Buffer
		exit := dispatch(t.Context(), []string{"lines", "--config", write(tt.text), tt.flag}, streams{&out, &out})
		if exit != tt.exit || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%q %s: exit code %d, %q; want %d, %q", tt.text, tt.flag, exit, &out, tt.exit, tt.says)
		}
	}
}
