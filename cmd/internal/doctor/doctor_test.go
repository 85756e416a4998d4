package doctor_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
	"holdfast/cmd/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files")

// noon is the time of tests in which no certificate is judged.
var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

type clock struct {
	now       time.Time // zero is the real time
	untrusted bool
}

func (c clock) Now() time.Time {
	if c.now.IsZero() {
		return time.Now()
	}
	return c.now
}

func (clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

func (c clock) Trusted() bool { return !c.untrusted }

// options are those of a machine without systemd, agent and warden, whose state directory is there.
func options(t *testing.T, change func(c *config.Config)) doctor.Options {
	t.Helper()
	c := config.Default()
	c.ID, c.StateDir, c.RunDir, c.Root = "gate-17", t.TempDir(), t.TempDir(), t.TempDir()
	c.Broker.URLs = []string{"mqtt://" + closedPort(t)}
	if change != nil {
		change(&c)
	}
	file := filepath.Join(c.StateDir, "holdfast.toml")
	write(t, file, "")
	return doctor.Options{Config: c, File: file, Version: "1.0.0", Clock: clock{},
		Account: func(string) (int, int, bool) { return os.Getuid(), os.Getgid(), true }, Step: 10 * time.Second}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// bootloader says which slot comes next, in slot a.
func bootloader(next board.SlotID, err error, doubts ...string) func() (wire.Switch, error) {
	return func() (wire.Switch, error) {
		return wire.Switch{BootFacts: board.BootFacts{Booted: "a", Next: next}, Doubts: doubts}, err
	}
}

// find returns the first check of the name.
func find(t *testing.T, r *doctor.Report, name string) doctor.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s among %v", name, r.Checks)
	return doctor.Check{}
}

// expect compares a check, given as outcome and what must be in its words.
func expect(t *testing.T, c doctor.Check, outcome doctor.Outcome, words ...string) {
	t.Helper()
	text := c.Seen + "\n" + strings.Join(c.Detail, "\n") + "\nhint: " + c.Hint
	if c.Outcome != outcome {
		t.Errorf("%s is %s, want %s: %s", c.Name, c.Outcome, outcome, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q: %s", c.Name, w, text)
		}
	}
	if (c.Outcome == doctor.Fail || c.Outcome == doctor.Warn) && c.Hint == "" {
		t.Errorf("%s has no hint: %s", c.Name, text)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationProblemsAreAllTold(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("holdfast.toml", []byte("idd = \"x\"\n[broker]\nurlss = 1\n"))
	o := options(t, nil)
	o.ConfigErr = err
	r := doctor.Run(t.Context(), o)
	expect(t, find(t, r, "configuration"), doctor.Fail, "2 problems", "holdfast.toml:1:1", "did you mean \"id\"?", "holdfast.toml:3:1")
	expect(t, find(t, r, "login"), doctor.Skipped, "because the configuration is wrong")
	if !r.Misconfigured() || r.OK {
		t.Errorf("misconfigured %t, ok %t", r.Misconfigured(), r.OK)
	}
	r = doctor.Run(t.Context(), options(t, func(c *config.Config) { c.Broker.URLs = nil }))
	expect(t, find(t, r, "configuration"), doctor.Fail, "no broker is named", "urls = [")
	o.ConfigErr = fmt.Errorf("read configuration: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission})
	expect(t, find(t, doctor.Run(t.Context(), o), "configuration"), doctor.Fail, "hint: run it as root")
}

func TestClock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		clock   clock
		vouched bool
		outcome doctor.Outcome
		words   string
	}{
		{"1970", clock{now: time.Unix(60, 0), untrusted: true}, false, doctor.Fail, "in the past"},
		{"not synchronised", clock{untrusted: true}, false, doctor.Warn, "timedatectl"},
		{"synchronised", clock{}, false, doctor.OK, ", synchronised"},
		{"vouched for", clock{}, true, doctor.OK, "vouched for"},
	} {
		o := options(t, func(c *config.Config) { c.Vouched = tt.vouched })
		o.Clock = tt.clock
		expect(t, find(t, doctor.Run(t.Context(), o), "clock"), tt.outcome, tt.words)
	}
}

// healthy is a machine on which all is well but the broker, with systemd and an eMMC.
func healthy(t *testing.T) doctor.Options {
	o := options(t, nil)
	root := o.Config.Root
	for _, name := range []string{"run/systemd/system/x", "sys/block/mmcblk0/device/x", "sys/block/mmcblk0boot0/device/x", "sys/block/sda/device/x"} {
		write(t, filepath.Join(root, name), "")
	}
	write(t, filepath.Join(root, "sys/block/mmcblk0/device/life_time"), "0x01 0x03\n")
	write(t, filepath.Join(root, "sys/block/mmcblk0/device/pre_eol_info"), "0x01\n")
	write(t, filepath.Join(root, "sys/block/mmcblk0boot0/device/life_time"), "0x0b 0x0b\n")
	write(t, filepath.Join(o.Config.StateDir, "spool/00000001"), strings.Repeat("x", 5000))
	o.Clock = clock{now: noon}
	o.Systemctl = func(context.Context, ...string) ([]byte, error) {
		return []byte("Id=holdfast.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nNRestarts=0\nWatchdogUSec=1min\n\n" +
			"Id=holdfast-warden.socket\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=listening\n"), nil
	}
	o.Limits = func(context.Context) (map[string]warden.Left, string, error) {
		return map[string]warden.Left{"reboot": {Deeds: 3}, "repair": {Deeds: 20}}, "", nil
	}
	o.Status = func(context.Context) (agent.Status, error) {
		return agent.Status{Version: "1.0.0", Uptime: 93784, Board: board.Identity{ID: "gate-17"},
			Link: agent.LinkStatus{Up: false, Error: "TCP: connection refused, nothing listens there"}}, nil
	}
	return o
}

func TestTextIsReadAtAGlance(t *testing.T) {
	t.Parallel()
	o := healthy(t)
	r := doctor.Run(t.Context(), o)
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(o.Config.Broker.URLs[0], "mqtt://"))
	got := strings.NewReplacer(o.Config.StateDir, "STATE", ":"+port, ":PORT").Replace(b.String())
	got = regexp.MustCompile(`(STATE is writable), .*`).ReplaceAllString(got, "$1, ROOM")
	golden := filepath.Join("testdata", "text.golden")
	if *update {
		write(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	show := func(service, socket string) func(context.Context, ...string) ([]byte, error) {
		return func(context.Context, ...string) ([]byte, error) {
			return []byte("Id=holdfast.service\n" + service + "\n\nId=holdfast-warden.socket\n" + socket + "\n"), nil
		}
	}
	const well = "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nWatchdogUSec=1min"
	status := func(change func(*agent.Status)) func(context.Context) (agent.Status, error) {
		return func(context.Context) (agent.Status, error) {
			s := agent.Status{Version: "1.0.0", Board: board.Identity{ID: "gate-17"}, Link: agent.LinkStatus{Up: true}}
			change(&s)
			return s, nil
		}
	}
	limits := func(left map[string]warden.Left, fault string, err error) func(context.Context) (map[string]warden.Left, string, error) {
		return func(context.Context) (map[string]warden.Left, string, error) { return left, fault, err }
	}
	for _, tt := range []struct {
		name    string
		change  func(*doctor.Options)
		check   string
		outcome doctor.Outcome
		words   string
	}{
		{"all is well", func(*doctor.Options) {}, "systemd", doctor.OK, "watchdog 1min"},
		{"no systemd", func(o *doctor.Options) { os.RemoveAll(o.Config.Root + "/run") }, "systemd", doctor.Skipped, "does not run this machine"},
		{"not installed", func(o *doctor.Options) { o.Systemctl = show("LoadState=not-found", well) }, "systemd", doctor.Fail, "not installed"},
		{"masked", func(o *doctor.Options) { o.Systemctl = show("LoadState=masked", well) }, "systemd", doctor.Fail, "unmask"},
		{"failed", func(o *doctor.Options) {
			o.Systemctl = show("LoadState=loaded\nActiveState=failed\nResult=watchdog", well)
		},
			"systemd", doctor.Fail, "failed: watchdog"},
		{"stopped", func(o *doctor.Options) { o.Systemctl = show("LoadState=loaded\nActiveState=inactive", well) },
			"systemd", doctor.Fail, "systemctl enable --now holdfast.service"},
		{"loops", func(o *doctor.Options) {
			o.Systemctl = show("LoadState=loaded\nActiveState=activating\nNRestarts=9", well)
		},
			"systemd", doctor.Fail, "9 times"},
		{"restarted", func(o *doctor.Options) { o.Systemctl = show(well+"\nNRestarts=9", well) }, "systemd", doctor.Warn, "restarted 9 times"},
		{"not enabled", func(o *doctor.Options) { o.Systemctl = show(strings.Replace(well, "=enabled", "=disabled", 1), well) },
			"systemd", doctor.Warn, "after the next boot"},
		{"no watchdog", func(o *doctor.Options) { o.Systemctl = show(strings.Replace(well, "1min", "0", 1), well) }, "systemd", doctor.Warn, "no watchdog"},
		{"systemctl is mute", func(o *doctor.Options) {
			o.Systemctl = func(context.Context, ...string) ([]byte, error) { return nil, nil }
		}, "systemd", doctor.Warn, "no answer"},
		{"warden answers", func(*doctor.Options) {}, "warden", doctor.OK, "3 of class reboot, 20 of class repair"},
		{"warden is away", func(o *doctor.Options) { o.Limits = nil }, "warden", doctor.Fail, "enable --now holdfast-warden.socket"},
		{"warden knows us not", func(o *doctor.Options) { o.Limits = limits(nil, "", warden.ErrStranger) }, "warden", doctor.Skipped, "needs root"},
		{"warden is lost", func(o *doctor.Options) { o.Limits = limits(nil, "", warden.ErrLost) }, "warden", doctor.Fail, "journalctl"},
		{"record damaged", func(o *doctor.Options) { o.Limits = limits(nil, "torn", nil) }, "warden", doctor.Fail, "torn"},
		{"used up", func(o *doctor.Options) { o.Limits = limits(map[string]warden.Left{"reboot": {Seconds: 90}}, "", nil) },
			"warden", doctor.Warn, "the next of class reboot in 1m30s"},
		{"no bootloader", func(*doctor.Options) {}, "bootloader", doctor.Skipped, "not updated"},
		{"bootloader answers", func(o *doctor.Options) { o.Bootloader = bootloader("b", nil) }, "bootloader", doctor.OK, "slot a runs, the next start leads to slot b: an update"},
		{"bootloader is mute", func(o *doctor.Options) { o.Bootloader = bootloader("a", errors.New("ORDER is not set")) }, "bootloader", doctor.Fail, "ORDER is not set"},
		{"bootloader's files are root's", func(o *doctor.Options) {
			o.UID, o.Bootloader = 1000, bootloader("a", nil, "open /boot/grub/grubenv: permission denied")
		}, "bootloader", doctor.OK, "root alone can see"},
		{"bootloader's files are not even root's", func(o *doctor.Options) {
			o.UID, o.Bootloader = 0, bootloader("a", nil, "open /boot/grub/grubenv: permission denied")
		}, "bootloader", doctor.Warn, "permission denied"},
		{"bootloader has doubts that anybody can have", func(o *doctor.Options) {
			o.UID, o.Bootloader = 1000, bootloader("a", nil, "open grubenv: permission denied", "the copy is damaged")
		}, "bootloader", doctor.Warn, ": the copy is damaged"},
		{"bootloader has doubts", func(o *doctor.Options) { o.Bootloader = bootloader("a", nil, "the copy is damaged") }, "bootloader", doctor.Warn, "the copy is damaged"},
		{"bootloader wants root", func(o *doctor.Options) {
			o.UID, o.Bootloader = 1000, bootloader("a", fs.ErrPermission)
		}, "bootloader", doctor.Skipped, "needs root"},
		{"bootloader of the configuration", func(o *doctor.Options) {
			o.Config.Update.Bootloader, o.Config.Update.Parts = "grub", map[string]config.Part{"root": {A: "/none/a", B: "/none/b"}}
			o.Config.Update.GRUB.Env = o.Config.Root + "/grubenv"
			write(t, o.Config.Root+"/proc/cmdline", "rauc.slot=A")
			write(t, o.Config.Root+"/proc/self/mountinfo", "22 1 0:2 / / rw - rootfs rootfs rw\n")
		}, "bootloader", doctor.Fail, "no such file"},
		{"agent is away", func(o *doctor.Options) { o.Status = nil }, "agent", doctor.Warn, "systemctl start holdfast"},
		{"agent hangs", func(o *doctor.Options) {
			o.Status = func(context.Context) (agent.Status, error) { return agent.Status{}, errors.New("i/o timeout") }
		}, "agent", doctor.Fail, "systemctl restart"},
		{"agent is well", func(o *doctor.Options) { o.Status = status(func(*agent.Status) {}) }, "agent", doctor.OK, "connected"},
		{"agent is older", func(o *doctor.Options) { o.Status = status(func(s *agent.Status) { s.Version = "0.9" }) },
			"agent", doctor.Warn, "the installed program is 1.0.0"},
		{"agent has another name", func(o *doctor.Options) { o.Status = status(func(s *agent.Status) { s.Board.ID = "bench" }) },
			"agent", doctor.Warn, "calls itself bench"},
		{"agent has problems", func(o *doctor.Options) {
			o.Status = status(func(s *agent.Status) { s.Problems = map[string]string{"spool": "disk full"} })
		}, "agent", doctor.Warn, "spool: disk full"},
		{"spool degraded", func(o *doctor.Options) {
			o.Status = status(func(s *agent.Status) { s.Spool.Degraded = "read-only file system" })
		}, "spool", doctor.Fail, "memory alone: read-only"},
	} {
		o := healthy(t)
		tt.change(&o)
		c := find(t, doctor.Run(t.Context(), o), tt.check)
		t.Run(tt.name, func(t *testing.T) { expect(t, c, tt.outcome, tt.words) })
	}
}

func TestStorage(t *testing.T) {
	t.Parallel()
	o := healthy(t)
	r := doctor.Run(t.Context(), o)
	expect(t, find(t, r, "state"), doctor.OK, "is writable", "free")
	expect(t, find(t, r, "spool"), doctor.OK, "8.0 KiB of 16MiB used")
	if left, _ := filepath.Glob(filepath.Join(o.Config.StateDir, ".doctor*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	o.Config.Spool.LimitBytes = 9000
	expect(t, find(t, doctor.Run(t.Context(), o), "spool"), doctor.Warn, "oldest telemetry")
	o.Account = func(string) (int, int, bool) { return 54321, 54321, true }
	expect(t, find(t, doctor.Run(t.Context(), o), "state"), doctor.Fail, "chown -R holdfast:")
	file := filepath.Join(o.Config.StateDir, "spool/00000001")
	o.Config.StateDir = file
	expect(t, find(t, doctor.Run(t.Context(), o), "state"), doctor.Fail, "is not a directory")
	o.Config.StateDir += "-gone"
	expect(t, find(t, doctor.Run(t.Context(), o), "state"), doctor.Warn, "is not there")
}

func TestRoom(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, tt := range []struct {
		free, all, inodes, allInodes int64
		outcome                      doctor.Outcome
		words                        string
	}{
		{200 * mib, gib, 5000, 10000, doctor.OK, "200.0 MiB of 1.0 GiB free, 5000 of 10000 inodes"},
		{7 * mib, 100 * mib, 5000, 10000, doctor.Fail, "make room"},
		{30 * mib, gib, 5000, 10000, doctor.Warn, "nearly full"},
		{2 * gib, 100 * gib, 5000, 10000, doctor.OK, "2.0 GiB"}, // little of much is enough
		{200 * mib, gib, 63, 10000, doctor.Fail, "63 of 10000"},
		{200 * mib, gib, 400, 10000, doctor.Warn, "nearly full"},
		{200 * mib, gib, 0, 0, doctor.OK, "free"},
	} {
		expect(t, doctor.Room("/var", tt.free, tt.all, tt.inodes, tt.allInodes), tt.outcome, tt.words)
	}
}

func TestWear(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		life, eol string
		outcome   doctor.Outcome
		words     string
	}{
		{"0x01 0x03", "0x01", doctor.OK, "20 to 30 % of its life used, reserve blocks normal"},
		{"0x09 0x01", "0x01", doctor.Warn, "80 to 90 %"},
		{"0x0b 0x01", "0x01", doctor.Fail, "past its designed life"},
		{"0x01 0x01", "0x02", doctor.Warn, "80 % of the reserve"},
		{"0x01 0x01", "0x03", doctor.Fail, "90 % of the reserve"},
		{"0x00 0x00", "0x00", doctor.Skipped, "does not tell"},
		{"", "0x02", doctor.Warn, "life not told"},
		{"nonsense", "", doctor.Skipped, "does not tell"},
	} {
		expect(t, doctor.Wear(tt.life, tt.eol), tt.outcome, tt.words)
	}
	o := healthy(t)
	o.Clock = clock{now: noon}
	c := find(t, doctor.Run(t.Context(), o), "flash")
	if expect(t, c, doctor.OK, "20 to 30 %"); c.Subject != "mmcblk0" {
		t.Errorf("looked at %s", c.Subject)
	}
	os.RemoveAll(filepath.Join(o.Config.Root, "sys"))
	expect(t, find(t, doctor.Run(t.Context(), o), "flash"), doctor.Skipped, "no eMMC")
}

func FuzzShow(f *testing.F) {
	f.Add([]byte("Id=a\nNRestarts=3\n\nId=b\n"))
	f.Add([]byte("=\n\n\n==x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		units := doctor.ParseShow(b)
		if len(units) > 8 {
			t.Fatalf("%d units", len(units))
		}
		for _, u := range units {
			if c := doctor.Unit(u); c.Outcome == "" || c.Outcome != doctor.OK && c.Hint == "" {
				t.Errorf("%v: %+v", u, c)
			}
		}
	})
}

func FuzzWear(f *testing.F) {
	f.Add("0x01 0x03", "0x01")
	f.Fuzz(func(t *testing.T, life, eol string) {
		if c := doctor.Wear(life, eol); c.Outcome == "" || (c.Outcome == doctor.Warn || c.Outcome == doctor.Fail) && c.Hint == "" {
			t.Errorf("%+v", c)
		}
	})
}
