package unit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godbus/dbus/v5"

	"holdfast/actuators"
	"holdfast/actuators/unit"
	"holdfast/board/boardtest"
)

// A bus answers as told, or hangs when it has nothing to say.
type bus struct {
	result string
	after  unit.State
	err    error
	units  []string
}

func (b *bus) Restart(ctx context.Context, name string) (string, unit.State, error) {
	b.units = append(b.units, name)
	if b.result == "" && b.err == nil {
		<-ctx.Done()
		return "", b.after, context.Cause(ctx)
	}
	return b.result, b.after, b.err
}

func set(t *testing.T, b unit.Bus, limit time.Duration, units ...string) *actuators.Set {
	t.Helper()
	v, err := unit.Verb(b, boardtest.Clock{}, limit, units...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: []string{"unit.restart"}}, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func restart(t *testing.T, s *actuators.Set, name string) (actuators.Result, error) {
	raw, _ := json.Marshal(map[string]string{"unit": name})
	args, err := s.Check("unit.restart", raw)
	if err != nil {
		return nil, err
	}
	return s.Do(t.Context(), "unit.restart", args)
}

func TestOnlyListedUnitsAreRestarted(t *testing.T) {
	b := &bus{result: "done"}
	s := set(t, b, 0, "ssh.service", "getty@tty1.service")
	if r, err := restart(t, s, "ssh.service"); err != nil || r["unit"] != "ssh.service" {
		t.Errorf("listed: %v, %v", r, err)
	}
	for _, name := range []string{"sshd.service", "", "ssh.service\n", "*", "SSH.service"} {
		if _, err := restart(t, s, name); !errors.Is(err, actuators.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := restart(t, set(t, b, 0), ""); err == nil {
		t.Error("an empty list allowed something")
	}
	if len(b.units) != 1 {
		t.Errorf("the bus was asked for %q", b.units)
	}
	for _, bad := range []string{"ssh", "", "a/b.service", "*.service", ".service", "x.exe", strings.Repeat("x", 256) + ".service"} {
		if _, err := unit.Verb(b, boardtest.Clock{}, 0, bad); err == nil {
			t.Errorf("%q was taken for a unit", bad)
		}
	}
}

func TestAJobThatDoesNotEndWellIsAnError(t *testing.T) {
	for _, b := range []*bus{{result: "failed"}, {result: "timeout"}, {err: errors.New("no such unit")}} {
		if _, err := restart(t, set(t, b, 0, "x.service"), "x.service"); err == nil || !strings.HasPrefix(err.Error(), "restart x.service: ") {
			t.Errorf("%+v: %v", b, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := restart(t, set(t, &bus{}, time.Minute, "x.service"), "x.service")
		if err == nil || err.Error() != "restart x.service: job not ended after 1m0s" || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestTheStateAfterARestartIsTold(t *testing.T) {
	for _, tt := range []struct {
		b   *bus
		why string
	}{
		{&bus{result: "done", after: unit.State{Active: "active", Sub: "running", Result: "success", Restarts: 3}}, ""},
		{&bus{result: "done", after: unit.State{Active: "activating", Sub: "start", Result: "success"}}, ""},
		{&bus{result: "done", after: unit.State{Active: "activating", Sub: "auto-restart", Result: "exit-code", Restarts: 7}}, "it is activating (exit-code)"},
		{&bus{result: "done", after: unit.State{Active: "failed", Sub: "failed", Result: "start-limit-hit"}}, "it is failed (start-limit-hit)"},
		{&bus{result: "failed", after: unit.State{Active: "failed", Sub: "failed", Result: "timeout"}}, "job failed, and it is failed (timeout)"},
		{&bus{err: errors.New("lost"), after: unit.State{Active: "inactive", Sub: "dead"}}, "lost"},
	} {
		r, err := restart(t, set(t, tt.b, 0, "x.service"), "x.service")
		if r["active"] != tt.b.after.Active || r["sub"] != tt.b.after.Sub || r["restarts"] != tt.b.after.Restarts || r["result"] != tt.b.after.Result {
			t.Errorf("%+v: %v", tt.b, r)
		}
		if (err == nil) != (tt.why == "") || err != nil && err.Error() != "restart x.service: "+tt.why {
			t.Errorf("%+v: %v, want %q", tt.b, err, tt.why)
		}
	}
}

// A manager is systemd as far as a restart can see it, exported on a real bus.
type manager struct {
	bus  *dbus.Conn
	jobs int
}

func (m *manager) RestartUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	if mode != "replace" || name == "gone.service" {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not found."})
	}
	m.jobs++
	job := dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", m.jobs))
	result := "done"
	switch name {
	case "hang.service":
		return job, nil
	case "bad.service":
		result = "failed"
	}
	// The signal can overtake the answer, as systemd's does for a job that ends at once.
	_ = m.bus.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", uint32(m.jobs), job, name, result)
	return job, nil
}

// privateBus starts a dbus-daemon of the test's own and returns its address.
func privateBus(t *testing.T) string {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed: systemd's wire is not tested")
	}
	conf := filepath.Join(t.TempDir(), "bus.conf")
	err = os.WriteFile(conf, []byte(`<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--nofork", "--print-address", "--config-file="+conf)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

func TestSystemdOnARealBus(t *testing.T) {
	address := privateBus(t)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &manager{bus: conn}
	if err := conn.Export(m, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	s := set(t, unit.Systemd{Address: address}, time.Minute, "good.service", "bad.service", "gone.service")
	for range 20 {
		if _, err := restart(t, s, "good.service"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := restart(t, s, "bad.service"); err == nil || err.Error() != "restart bad.service: job failed" {
		t.Errorf("a job that fails: %v", err)
	}
	if _, err := restart(t, s, "gone.service"); err == nil || !strings.Contains(err.Error(), "Unit gone.service not found.") {
		t.Errorf("a unit that is not there: %v", err)
	}
	hang := set(t, unit.Systemd{Address: address}, 50*time.Millisecond, "hang.service")
	if _, err := restart(t, hang, "hang.service"); err == nil || !strings.Contains(err.Error(), "not ended after 50ms") {
		t.Errorf("a job that hangs: %v", err)
	}
	if _, _, err := (unit.Systemd{Address: "unix:path=/nonexistent"}).Restart(t.Context(), "good.service"); err == nil || !strings.HasPrefix(err.Error(), "open bus: ") {
		t.Errorf("without a bus: %v", err)
	}
}
