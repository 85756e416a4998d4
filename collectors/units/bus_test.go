package units_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/units"
)

// systemd1 is a small systemd on a real bus.
type systemd1 struct {
	mu       sync.Mutex
	restarts map[string]uint32 // of the units there are
	asked    int
	changed  uint64 // when ssh.service did
	groups   int    // how often its control group was asked for
}

type listed struct {
	Name, Description, Load, Active, Sub, Followed string
	Path                                           dbus.ObjectPath
	JobID                                          uint32
	JobType                                        string
	JobPath                                        dbus.ObjectPath
}

func (s *systemd1) ListUnitsByNames(names []string) ([]listed, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	var out []listed
	for _, n := range names {
		if n == "broken.service" {
			return nil, dbus.NewError("org.freedesktop.systemd1.LoadFailed", []any{"out of cheese"})
		}
		u := listed{Name: n, Load: "not-found", Active: "inactive", Sub: "dead", Path: "/x", JobPath: "/"}
		if _, there := s.restarts[n]; there {
			u.Load, u.Active, u.Sub = "loaded", "active", "running"
		}
		out = append(out, u)
	}
	return out, nil
}

func threeSecondsAgo() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // there is always one
	return uint64(ts.Nano()/1000) - 3_000_000
}

// property answers org.freedesktop.DBus.Properties.Get of one unit.
type property struct {
	s    *systemd1
	name string
}

func (p property) Get(_, name string) (dbus.Variant, *dbus.Error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch {
	case name == "StateChangeTimestampMonotonic" && p.name == "ssh.service":
		return dbus.MakeVariant(p.s.changed), nil
	case name == "StateChangeTimestampMonotonic":
		return dbus.MakeVariant(threeSecondsAgo()), nil
	case name == "ControlGroup" && p.name == "ssh.service":
		p.s.groups++
		return dbus.MakeVariant("/ssh.service"), nil
	case name == "NRestarts" && p.name == "old.service":
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
	case name == "NRestarts":
		return dbus.MakeVariant(p.s.restarts[p.name]), nil
	}
	return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
}

// startBus runs a bus of our own in dir.
func startBus(t *testing.T, dir string) (stop func()) {
	t.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("skipped: dbus-daemon is not installed (Debian: dbus-daemon)")
	}
	address := "unix:path=" + filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	policy := `<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>`
	if err := os.WriteFile(conf, []byte("<busconfig><listen>"+address+"</listen><auth>EXTERNAL</auth>"+policy+"</busconfig>"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config-file="+conf, "--nofork", "--nopidfile", "--nosyslog", "--print-address=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // killed on purpose
	t.Cleanup(stop)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens when it has printed its address
		t.Fatalf("dbus-daemon: %v", err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	return stop
}

// serve puts s on the bus.
func serve(t *testing.T, s *systemd1) *dbus.Conn {
	t.Helper()
	c, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the bus may be gone already
	err = c.Export(s, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
	for name := range s.restarts {
		escaped := strings.NewReplacer(".", "_2e", "@", "_40").Replace(name)
		path := dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + escaped)
		err = errors.Join(err, c.Export(property{s, name}, path, "org.freedesktop.DBus.Properties"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := c.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("own the name of systemd: %v, %v", reply, err)
	}
	return c
}

// collect returns what a source says, "unit active state restarts since", with since as whether it is there, and
// long where it is 2 s or more.
func collect(t *testing.T, u *units.Units) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out []string
	err := u.Collect(ctx, func(s collectors.Sample) {
		active, _ := s.Field("active")
		state, _ := s.Field("state")
		b, _ := active.Bool()
		text, _ := state.Text()
		line := fmt.Sprintf("%s %t %s", s.Instance, b, text)
		if v, has := s.Field("restarts_count"); has {
			n, _ := v.Number()
			line += fmt.Sprintf(" %v", n)
		}
		if v, has := s.Field("since_seconds"); has {
			n, _ := v.Number()
			if line += " since"; n >= 2 {
				line += " long"
			}
			if n < 0 || n > 300 {
				t.Errorf("%s: since_seconds = %v", s.Instance, n)
			}
		}
		if s.Source != "units" {
			t.Errorf("source = %q", s.Source)
		}
		out = append(out, line)
	})
	return out, err
}

func TestUnitsOverARealBus(t *testing.T) {
	dir := t.TempDir()
	stopBus := startBus(t, dir)
	u := units.New(units.System)
	t.Cleanup(u.Close)
	names := []string{"ssh.service", "no-such.service", "getty@tty1.service", "basic.target", "old.service"}
	if err := u.Watch(names); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, u); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("on a bus without systemd: %v, want ErrNoData", err)
	}
	s := &systemd1{restarts: map[string]uint32{"ssh.service": 3, "getty@tty1.service": 0, "basic.target": 7, "old.service": 1}, changed: threeSecondsAgo()}
	serve(t, s)
	want := "ssh.service true active/running 3 since long, no-such.service false not-found, getty@tty1.service true active/running 0 since long, " +
		"basic.target true active/running since long, old.service true active/running since long"
	expect := func() {
		t.Helper()
		if got, err := collect(t, u); err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%v\n got %s\nwant %s", err, strings.Join(got, ", "), want)
		}
	}
	expect()
	expect()
	if s.asked != 2 {
		t.Errorf("systemd was asked %d times for two readings", s.asked)
	}
	s.mu.Lock()
	asked := s.groups
	s.changed++
	s.mu.Unlock()
	if expect(); asked != 1 || s.groups != 2 {
		t.Errorf("for the control group it was asked %d times, and %d after a change, want 1 and 2", asked, s.groups)
	}

	if err := u.Watch([]string{"broken.service"}); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, u); !errors.Is(err, units.ErrRefused) || errors.Is(err, collectors.ErrNoData) || !strings.Contains(err.Error(), "out of cheese") {
		t.Errorf("when systemd answers with an error: %v", err)
	}
	if err := u.Watch(names); err != nil {
		t.Fatal(err)
	}
	// The bus dies and another one comes: the next reading is whole again.
	stopBus()
	if _, err := collect(t, u); err == nil {
		t.Error("a reading without a bus worked")
	}
	_ = os.Remove(filepath.Join(dir, "bus")) // dbus-daemon had no time to
	if _, err := collect(t, u); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("without a socket: %v, want ErrNoData", err)
	}
	stopBus = startBus(t, dir)
	serve(t, s)
	expect()
	stopBus() // and while nobody looks
	_ = os.Remove(filepath.Join(dir, "bus"))
	startBus(t, dir)
	serve(t, s)
	expect()
}

// TestUnitsOfARealSystemd asks a systemd that runs for this test alone: a user's, with mounts of
// its own. It must see our process id, so that it has no name space for those, and is asked to end with its services.
func TestUnitsOfARealSystemd(t *testing.T) {
	const program = "/lib/systemd/systemd"
	if _, err := os.Stat(program); err != nil {
		t.Skip("skipped: systemd is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can make the namespaces that a second systemd needs")
	}
	dir, err := os.MkdirTemp("", "u") // the socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range map[string]string{
		"steady.service": "[Service]\nExecStart=sleep infinity\n",
		"flaky.service":  "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=false\nRestart=always\nRestartSec=10ms\n",
		"default.target": "[Unit]\nWants=steady.service flaky.service\n",
	} {
		file := filepath.Join(dir, "systemd", "user", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	// systemd --user looks for /run/systemd/system to know that systemd booted the machine.
	script := "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec " + program + " --user --log-target=console"
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir, "DBUS_SESSION_BUS_ADDRESS=")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: no namespaces here: %v", err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Error("systemd does not end")
			_ = cmd.Process.Kill()
		}
	})

	u := units.New(units.Private(filepath.Join(dir, "systemd", "private")))
	t.Cleanup(u.Close)
	if err := u.Watch([]string{"steady.service", "flaky.service", "no-such.service", "basic.target"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for deadline := time.After(30 * time.Second); ; {
		var err error
		got, err = collect(t, u)
		var restarts int
		if len(got) == 4 {
			f := strings.Fields(got[1])
			_, _ = fmt.Sscan(f[min(3, len(f)-1)], &restarts) // not a number before it has any
		}
		if restarts >= 2 && strings.HasPrefix(got[0], "steady.service true active/running 0 since") {
			break
		}
		select {
		case <-gone:
			said, _ := os.ReadFile(log.Name())
			t.Skipf("skipped: no second systemd can run here: %s", said)
		case <-deadline:
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("after 30 s: %q, %v\n%s", got, err, said)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got[2] != "no-such.service false not-found" || !strings.HasPrefix(got[3], "basic.target true active/active since") {
		t.Errorf("got %q", got)
	}
	t.Logf("systemd says: %q", got)
	usage := ""
	if err := u.Collect(t.Context(), func(s collectors.Sample) {
		if s.Instance == "steady.service" {
			usage = string(s.AppendJSON(nil))
		}
	}); err != nil {
		t.Error(err)
	}
	t.Logf("of its control group: %s", usage)
}
