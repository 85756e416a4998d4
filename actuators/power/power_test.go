package power_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"holdfast/actuators"
	"holdfast/actuators/power"
)

type clock struct{}

func (clock) Now() time.Time                                 { return time.Now() }
func (clock) Trusted() bool                                  { return true }
func (clock) Timer(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

type powerSwitch struct {
	pressed int
	err     error
}

func (p *powerSwitch) Reboot(context.Context) error { p.pressed++; return p.err }

func TestTheVerbAsksForARestart(t *testing.T) {
	p := &powerSwitch{}
	v := power.Verb(p)
	if !v.Destructive || v.Class != actuators.Reboot {
		t.Errorf("reboot is %+v: wants to be destructive and counted", v)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: clock{}, Allow: []string{"reboot"}}, v)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Do(t.Context(), "reboot", actuators.Args{"reason": "kernel hangs"}); err != nil || r["rebooting"] != true || p.pressed != 1 {
		t.Errorf("%v, %v, pressed %d times", r, err, p.pressed)
	}
	p.err = errors.New("stuck")
	if _, err := s.Do(t.Context(), "reboot", nil); err == nil || err.Error() != "reboot: stuck" {
		t.Errorf("a switch that is stuck: %v", err)
	}
}

type login struct{ asked chan bool }

func (l *login) Reboot(interactive bool) *dbus.Error {
	if interactive {
		return dbus.NewError("test.Interactive", nil)
	}
	l.asked <- true
	return nil
}

type inhibited struct{}

func (inhibited) Reboot(bool) *dbus.Error {
	return dbus.NewError("org.freedesktop.login1.BlockedByInhibitorLock", []any{"apt is at work"})
}

type manager struct{ asked chan string }

func (m *manager) StartUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	m.asked <- name + " " + mode
	return "/org/freedesktop/systemd1/job/1", nil
}

// privateBus starts a dbus-daemon of the test's own and returns a connection to it and its address.
func privateBus(t *testing.T) (*dbus.Conn, string) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed: logind's wire is not tested")
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
	conn, err := dbus.Connect(strings.TrimSpace(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, strings.TrimSpace(address)
}

func export(t *testing.T, conn *dbus.Conn, v any, name, path string) {
	t.Helper()
	if err := conn.Export(v, dbus.ObjectPath(path), name+".Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(name, 0); err != nil {
		t.Fatal(err)
	}
}

func TestLogindIsAskedFirst(t *testing.T) {
	conn, address := privateBus(t)
	l, m := &login{asked: make(chan bool, 1)}, &manager{asked: make(chan string, 1)}
	export(t, conn, l, "org.freedesktop.login1", "/org/freedesktop/login1")
	export(t, conn, m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if err := (power.Systemd{Bus: address}).Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.asked) != 1 || len(m.asked) != 0 {
		t.Errorf("logind was asked %d times, systemd %d", len(l.asked), len(m.asked))
	}
}

func TestAnInhibitorIsRespected(t *testing.T) {
	conn, address := privateBus(t)
	m := &manager{asked: make(chan string, 1)}
	export(t, conn, inhibited{}, "org.freedesktop.login1", "/org/freedesktop/login1")
	export(t, conn, m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	err := (power.Systemd{Bus: address}).Reboot(t.Context())
	if err == nil || err.Error() != "logind: apt is at work" || len(m.asked) != 0 {
		t.Errorf("%v; systemd was asked %d times", err, len(m.asked))
	}
}

func TestSystemdIsAskedWithoutLogind(t *testing.T) {
	conn, address := privateBus(t)
	m := &manager{asked: make(chan string, 1)}
	export(t, conn, m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if err := (power.Systemd{Bus: address}).Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-m.asked; got != "reboot.target replace-irreversibly" {
		t.Errorf("systemd was asked for %q", got)
	}
}

func TestNobodyToAskIsAnError(t *testing.T) {
	_, address := privateBus(t)
	if err := (power.Systemd{Bus: address}).Reboot(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "systemd: ") {
		t.Errorf("an empty bus: %v", err)
	}
	if err := (power.Systemd{Bus: "unix:path=/nonexistent"}).Reboot(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "open bus: ") {
		t.Errorf("no bus: %v", err)
	}
}
